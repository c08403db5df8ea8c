"""The table of published small files in the guides, made from what judged them."""

from pathlib import Path

from pn_lib.files import read_json
from pn_lib.run.stages import REPOSITORY

REFERENCE = REPOSITORY / "results" / "published" / "reference"
HEADS = (
    "file",
    "kB",
    "million weights",
    "bits a weight",
    "million tokens read",
    "minutes on one core",
    "bits per byte",
)
BITS = {"int8": "8", "int4": "4", "ternary": "1.6"}  # as they lie in the file


def small_files_table(folder: Path = REFERENCE) -> str:
    """The files that ``generate reference/NAME`` opens, from small to large, as Markdown."""
    found, timed = (read_json(folder / room / "frontier.json")["models"] for room in ("", "timings"))
    minutes = {timing["name"]: timing["seconds"] / 60 for timing in timed}
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for model in sorted(found, key=lambda model: model["file_bytes"]):
        loss = model["bits_per_byte"]
        cells = (
            f"`reference/{model['name']}`",
            f"{model['file_bytes'] / 1000:.0f}",
            f"{model['parameters'] / 1e6:.2f}",
            BITS[model["integers"]],
            f"{model['tokens'] / 1e6:.0f}",
            f"{minutes[model['name']]:.0f}",
            f"{loss['value']:.3f} [{loss['low']:.3f}, {loss['high']:.3f}]",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def small_files_in_words(folder: Path = REFERENCE) -> str:
    """The size and the loss of each of those files."""
    found = sorted(read_json(folder / "frontier.json")["models"], key=lambda model: model["file_bytes"])
    return "; ".join(
        f"{model['file_bytes'] / 1000:.0f} kB, {model['bits_per_byte']['value']:.3f} bits per byte" for model in found
    )
