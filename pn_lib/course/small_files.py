"""The table of published small files in the guides, made from what judged them."""

from collections.abc import Iterator
from pathlib import Path

from pn_lib.files import read_json
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published"
RUNS = {"reference": "TinyStories", "coherent-pocket": "Pocket stories"}  # published files alone, and what they read
HEADS = (
    "file",
    "stories",
    "kB",
    "million weights",
    "bits a weight",
    "million tokens read",
    "core minutes",
    "bits per byte",
)
BITS = {"int8": "8", "int4": "4", "ternary": "1.6"}  # as they lie in the file


def small_files_table() -> str:
    """The files that ``generate RUN/NAME`` opens, from small to large for each kind of stories, as Markdown."""
    rows = [row for run, stories in RUNS.items() for row in _rows(PUBLISHED / run, stories)]
    return "\n".join([f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|", *rows])


def _rows(folder: Path, stories: str) -> Iterator[str]:
    found, timed = (read_json(folder / room / "frontier.json")["models"] for room in ("", "timings"))
    minutes = {timing["name"]: timing["processes"] * timing["seconds"] / 60 for timing in timed}
    for model in sorted(found, key=lambda model: model["file_bytes"]):
        loss = model["bits_per_byte"]
        cells = (
            f"`{folder.name}/{model['name']}`",
            stories,
            f"{model['file_bytes'] / 1000:.0f}",
            f"{model['parameters'] / 1e6:.2f}",
            BITS[model["integers"]],
            f"{model['tokens'] / 1e6:.0f}",
            f"{minutes[model['name']]:.0f}",
            f"{loss['value']:.3f} [{loss['low']:.3f}, {loss['high']:.3f}]",
        )
        yield f"| {' | '.join(cells)} |"


def small_files_in_words() -> str:
    """The size and the loss of each of those files, by the stories that it has read."""
    said = []
    for run, stories in RUNS.items():
        files = sorted(read_json(PUBLISHED / run / "frontier.json")["models"], key=lambda model: model["file_bytes"])
        sizes = [f"{each['file_bytes'] / 1000:.0f} kB, {each['bits_per_byte']['value']:.3f}" for each in files]
        said.append(f"on {stories}, {'; '.join(sizes)}")
    return "; ".join(said)
