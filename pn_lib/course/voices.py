"""One beginning and how it goes on: as its author wrote it, and as small files write it."""

import re

from pn_lib.files import read_json
from pn_lib.models.generation import generate
from pn_lib.models.loading import open_model
from pn_lib.run.saved_models import model_source
from pn_lib.run.stages import REFERENCE, REPOSITORY

TEMPERATURE = 0.5  # that of the README's command
FILES = ("3m", "300k", "100k")  # of the reference's
SHOWN_WORDS = 30  # of each ending, to the end of a sentence


def voices() -> str:
    """The README's table: the reference run's shortest beginning, with the first sentences of each ending: the real one
    and those of published files."""
    example = min(read_json(REFERENCE / "evaluation.json")["gallery"], key=lambda example: len(example["beginning"]))
    files = read_json(REPOSITORY / "results" / "published" / "reference" / "frontier.json")["models"]
    sizes = {file["name"]: file["file_bytes"] / 1000 for file in files}
    rows = {"the real story": example["endings"]["human"]}
    rows |= {f"our file of {sizes[name]:,.0f} kB": written(name, example["beginning"]) for name in FILES}
    lines = [f"| {who} | …{first_sentences(ending)} |" for who, ending in rows.items()]
    return "\n".join([f"> {one_line(example['beginning'])} …", "", "| author | continuation |", "|---|---|", *lines])


def written(name: str, beginning: str) -> str:
    """What a published file writes after a beginning, seed 0."""
    model, tokenizer = open_model(model_source(f"reference/{name}"))
    ids = [tokenizer.separator_id, *tokenizer.encode(beginning)]
    [ending] = generate(model, [ids], 300, temperature=TEMPERATURE, stop_id=tokenizer.separator_id)
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
