"""What was tried against results: faults, other ways to compute, long and large work. Of no run and no corpus."""

from sources import Run, Traced

from pn_lib.course.trust import TRUST, fault_counts
from pn_lib.run.results.trust_results import FaultOutcomes, FuzzResult, LargeResult, NumbersResult


def trust(run: Run) -> dict[str, object]:
    """Outcomes by kind of fault; what was fuzzed; how far numbers move in each setting; what is large."""
    kinds = FaultOutcomes, FuzzResult, NumbersResult, LargeResult
    faults, fuzz, numbers, large = (run.shipped(kind, TRUST) for kind in kinds)
    settings = dict.fromkeys(row.setting for row in numbers.rows)
    return {
        "faults": fault_counts(faults.rows),
        "fuzz": fuzz.rows,
        "cpu": numbers.cpu,
        "instructions": numbers.instructions,
        "numbers": [_setting([row for row in numbers.rows if row.setting == name]) for name in settings],
        "large": large.rows,
    }


def _setting(rows: list[Traced]) -> dict[str, object]:
    """Of all result files: the largest relative movement of a number, that of a loss, and how many texts are others."""
    return {
        "name": rows[0].setting,
        "moved": max(row.moved for row in rows),
        "loss": max(row.bits_per_byte or 0.0 for row in rows),
        "other": sum(row.other_texts for row in rows if not row.numbers),
        "texts": sum(row.texts for row in rows if not row.numbers),
    }
