"""One beginning and how it goes on: as its author wrote it, and as small files write it."""

import re

from pn_lib.files import read_json
from pn_lib.models.generation import generate
from pn_lib.models.loading import open_model
from pn_lib.run.saved_models import model_source
from pn_lib.run.stages import REFERENCE, REPOSITORY

TEMPERATURE = 0.5  # that of the README's command
BOLD = 1.0
SHOWN_WORDS = 30  # of each ending, to the end of a sentence


def voices() -> str:
    """The README's table: the reference run's shortest beginning, with each ending's first sentences: the real one,
    those of the published files, and one of the largest at a higher temperature."""
    example = min(read_json(REFERENCE / "evaluation.json")["gallery"], key=lambda example: len(example["beginning"]))
    files = read_json(REPOSITORY / "results" / "published" / "reference" / "frontier.json")["models"]
    files = sorted(files, key=lambda file: -file["file_bytes"])
    rows = {"the real story": example["endings"]["human"]}
    for file, temperature in [*((file, TEMPERATURE) for file in files), (files[0], BOLD)]:
        who = f"our file of {file['file_bytes'] / 1000:,.0f} kB, temperature {temperature:g}"
        rows[who] = written(f"reference/{file['name']}", example["beginning"], temperature)
    lines = [f"| {who} | …{first_sentences(ending)} |" for who, ending in rows.items()]
    return "\n".join([f"> {one_line(example['beginning'])} …", "", "| | goes on |", "|---|---|", *lines])


def written(name: str, beginning: str, temperature: float) -> str:
    """What a published file writes after a beginning, seed 0."""
    model, tokenizer = open_model(model_source(name))
    ids = [tokenizer.separator_id, *tokenizer.encode(beginning)]
    [ending] = generate(model, [ids], 300, temperature=temperature, stop_id=tokenizer.separator_id)
    return tokenizer.decode(ending.ids)


def first_sentences(text: str) -> str:
    """The sentences of a text until they have ``SHOWN_WORDS`` words, in one line; dots where more follows."""
    sentences = re.split(r"(?:(?<=[.!?])|(?<=[.!?][\"”]))\s+", one_line(text))
    shown: list[str] = []
    while sentences and len(" ".join(shown).split()) < SHOWN_WORDS:
        shown.append(sentences.pop(0))
    return " ".join(shown) + (" …" if sentences else "")


def one_line(text: str) -> str:
    """A text in one line of Markdown, its signs as they are."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))
