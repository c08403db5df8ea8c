"""A run beside the published one of the same name: does this machine find what ours found?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pn_lib.errors import InputError
from pn_lib.files import read_json

EXACT, ROUNDING = 0.0, 1e-6
TRAINED = 0.01  # bits per byte of a trained model: other processors add in another order, and training carries that on


@dataclass(frozen=True)
class Compared:
    """A number of a run: ``file`` (of ``results/<run>/``) and the keys to it, and how far two machines may differ."""

    words: str
    file: str
    keys: tuple[str, ...]
    tolerance: float | None  # None: shown, not judged, since the clock is another on every machine

    def of(self, results: Path) -> float | None:
        """The number, None where the run has none."""
        value: Any = read_json(results / f"{self.file}.json")
        for key in self.keys:
            value = value[int(key)] if isinstance(value, list) else value[key]
        return value


COMPARED = (
    Compared("training text, bytes", "data", ("splits", "train", "bytes"), EXACT),
    Compared("training text, tokens", "tokenization", ("tokens", "train"), EXACT),
    Compared("n-gram, bits per byte", "training", ("ngram", "bits_per_byte"), ROUNDING),
    Compared("Transformer, bits per byte", "training", ("transformer", "bits_per_byte"), TRAINED),
    Compared("Mamba, bits per byte", "zoo", ("models", "mamba", "bits_per_byte", "value"), TRAINED),
    Compared("recipe of 2017, bits per byte", "recipe", ("ladder", "0", "bits_per_byte"), TRAINED),
    Compared("our recipe, bits per byte", "recipe", ("ladder", "-1", "bits_per_byte"), TRAINED),
    Compared("study's baseline, bits per byte", "study", ("baseline", "mean"), TRAINED),
    Compared("Mamba minus Transformer, matched", "mamba", ("difference", "mean"), TRAINED),
    Compared("whole run, seconds", "timings/stages", ("total_seconds",), None),
)


def beside_reference(run: str, root: Path, repository: Path) -> str | None:
    """A table of ``root/results/<run>`` beside ``repository/results/published/<run>``; None where none is published.

    Raises:
        InputError: a result is missing or damaged.
    """
    ours, theirs = root / "results" / run, repository / "results" / "published" / run
    if not theirs.is_dir():
        return None
    machine = read_json(theirs / "timings" / "machine.json")
    head = f"This run beside the published {run} (commit {machine['commit']}, {machine['cpu']}):"
    other = _otherwise(ours, theirs)
    if other:
        return f"{head}\nnot compared, since this run has {' and '.join(other)}."
    try:
        rows = [_row(compared, compared.of(ours), compared.of(theirs)) for compared in COMPARED]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"a result of {run} or of its published run has no {error}; run the notebooks again") from None
    outside = [row[0] for row in rows if row[-1] == "outside"]
    verdict = (f"Outside: {'; '.join(outside)}. Expected after a change to the code; else a bug, or a machine that "
               "calculates otherwise: please report it." if outside
               else "All within tolerance: this machine reproduces the published results.")
    return "\n".join([head, *_aligned([("", "this run", "published", "difference", "tolerance", ""), *rows]), verdict])


def _otherwise(ours: Path, theirs: Path) -> list[str]:
    """What makes the two different runs, though they have one name."""
    other = []
    if read_json(ours / "run.json")["settings"] != read_json(theirs / "run.json")["settings"]:
        other.append("other settings")
    prints = [read_json(results / "data.json")["corpus"]["fingerprint"] for results in (ours, theirs)]
    return other + ["other stories"] * (prints[0] != prints[1])


def _row(compared: Compared, ours: float, theirs: float) -> tuple[str, ...]:
    difference = ours - theirs
    whole = isinstance(ours, int)
    numbers = [f"{ours:,}", f"{theirs:,}", f"{difference:+,}"] if whole else (
        [f"{ours:.4f}", f"{theirs:.4f}", f"{difference:+.4f}"])
    if compared.tolerance is None:
        return (compared.words, f"{ours:,.0f}", f"{theirs:,.0f}", f"{difference:+,.0f}", "none", "")
    judged = "within" if abs(difference) <= compared.tolerance else "outside"
    return (compared.words, *numbers, "exact" if compared.tolerance == EXACT else f"{compared.tolerance:g}", judged)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
