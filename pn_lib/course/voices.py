"""One beginning and how it goes on: as its author wrote it, by the reference run's Transformer, and by a small
file."""

import re

from pn_lib.files import read_json
from pn_lib.models.generation import generate
from pn_lib.models.loading import open_model
from pn_lib.run.saved_models import model_source
from pn_lib.run.stages import REFERENCE

SMALL = "reference/300k"  # as generate takes it
COOLER = 0.5  # the temperature of the README's command
SHOWN_WORDS = 30  # of each ending, to the end of a sentence


def voices() -> str:
    """The README's table: the reference run's shortest beginning, with each ending's first sentences."""
    evaluation = read_json(REFERENCE / "evaluation.json")
    example = min(evaluation["gallery"], key=lambda example: len(example["beginning"]))
    temperature = evaluation["completions"]["temperature"]
    beginning, endings = example["beginning"], example["endings"]
    size = read_json(REFERENCE / "training.json")["model"]["parameters"] / 1e6
    rows = {
        "the real story": endings["human"],
        f"the main model ({size:.1f} million parameters), temperature {temperature:g}": endings["transformer"],
        f"the 300 kB file, temperature {temperature:g}": small_ending(beginning, temperature),
        f"the 300 kB file, temperature {COOLER:g}": small_ending(beginning, COOLER),
    }
    lines = [f"| {teller} | …{first_sentences(ending)} |" for teller, ending in rows.items()]
    return "\n".join([f"> {one_line(beginning)} …", "", "| | goes on |", "|---|---|", *lines])


def small_ending(beginning: str, temperature: float) -> str:
    """What the 300 kB file writes after a beginning, seed 0."""
    model, tokenizer = open_model(model_source(SMALL))
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
