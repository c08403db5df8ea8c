"""A run beside the published one of the same name: does this machine find what ours found?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.run.times import total_seconds

EXACT, ROUNDING = 0.0, 1e-6
# Bits per byte of a trained model: a little above the largest movement that `make numbers` found, which is that of
# matrix products in bfloat16 (results/published/trust/numbers.json, the table in the guide to trust).
TRAINED = 0.02


@dataclass(frozen=True)
class Compared:
    """A number of a run: ``file`` (of ``results/<run>/``) and the keys to it, and how far two machines may differ."""

    words: str
    file: str
    keys: tuple[str, ...]
    tolerance: float

    def of(self, results: Path) -> float:
        """The number; an InputError names it where it is missing."""
        value: Any = read_json(results / f"{self.file}.json")
        try:
            for key in self.keys:
                value = value[int(key)] if isinstance(value, list) else value[key]
            return value + 0  # null is no number
        except (KeyError, IndexError, TypeError):
            raise InputError(
                f"{results / self.file}.json has no number {'.'.join(self.keys)}; run the notebook that makes it again"
            ) from None


COMPARED = (
    Compared("training text, bytes", "data", ("splits", "train", "bytes"), EXACT),
    Compared("training text, tokens", "tokenization", ("tokens", "train"), EXACT),
    Compared("n-gram, bits per byte", "training", ("ngram", "bits_per_byte"), ROUNDING),
    Compared("Transformer, bits per byte", "training", ("transformer", "bits_per_byte"), TRAINED),
    Compared("Mamba, bits per byte", "mamba", ("model", "bits_per_byte", "value"), TRAINED),
    Compared("recipe of 2017, bits per byte", "recipe", ("ladder", "0", "bits_per_byte"), TRAINED),
    Compared("our recipe, bits per byte", "recipe", ("ladder", "-1", "bits_per_byte"), TRAINED),
    Compared("study's baseline, bits per byte", "study", ("baseline", "mean"), TRAINED),
    Compared("Transformer beside other mixers", "mixers", ("sizes", "0", "models", "0", "loss", "value"), TRAINED),
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
    differing = _what_differs(ours, theirs)
    if differing:
        return f"{head}\nnot compared, since this run has {' and '.join(differing)}."
    rows = {compared.words: _row(compared, compared.of(ours), compared.of(theirs)) for compared in COMPARED}
    rows |= _clock(ours)
    outside = [words for words, row in rows.items() if row[-1] == "outside"]
    verdict = (
        f"Outside: {'; '.join(outside)}. Expected after a change to the code; else a bug, or a machine that "
        "calculates differently: please report it."
        if outside
        else "All within tolerance: this machine reproduces the published results."
    )
    table = pd.DataFrame.from_dict(rows, "index", columns=["this run", "published", "difference", "tolerance", ""])
    return f"{head}\n{table.to_string()}\n{verdict}"


def _what_differs(ours: Path, theirs: Path) -> list[str]:
    """What makes the two different runs, though they have one name."""
    settings = [read_json(results / "run.json")["settings"] for results in (ours, theirs)]
    prints = [read_json(results / "data.json")["corpus"]["fingerprint"] for results in (ours, theirs)]
    return ["other settings"] * (settings[0] != settings[1]) + ["other stories"] * (prints[0] != prints[1])


def _clock(ours: Path) -> dict[str, tuple[str, ...]]:
    """A row, shown and not judged: this run's seconds beside those of a processor of its kind, where one was timed."""
    instructions, profile = (
        read_json(ours / name)[key] for name, key in (("timings/machine.json", "instructions"), ("run.json", "profile"))
    )
    mine, known = read_json(ours / "timings" / "stages.json")["total_seconds"], total_seconds(instructions, profile)
    theirs = ("not measured", "") if known is None else (f"{known:,.0f}", f"{mine - known:+,.0f}")
    return {f"whole run, seconds ({instructions})": (f"{mine:,.0f}", *theirs, "none", "")}


def _row(compared: Compared, ours: float, theirs: float) -> tuple[str, ...]:
    form = ",.0f" if compared.tolerance == EXACT else ".4f"
    allowed = "exact" if compared.tolerance == EXACT else f"{compared.tolerance:g}"
    judged = "within" if abs(ours - theirs) <= compared.tolerance else "outside"
    return (f"{ours:{form}}", f"{theirs:{form}}", f"{ours - theirs:+{form}}", allowed, judged)
