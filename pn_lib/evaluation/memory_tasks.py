"""Right answers at tasks of memory: their means over seeds, and a hybrid beside the architectures that it mixes."""

from collections.abc import Mapping, Sequence

import numpy as np

from pn_lib.evaluation.intervals import Interval, over_seeds, t_interval
from pn_lib.models.hybrid import HybridConfig
from pn_lib.titles import LETTERS

Shares = Mapping[tuple[str, str], np.ndarray]  # by task and architecture, right answers (seeds, lengths)


def accuracy_rows(shares: Shares, lengths: Sequence[int]) -> list[dict[str, str | int | float | None]]:
    """A row for each task, architecture and length: ``mean``, ``low``, ``high``, ``seeds``.

    Student's interval over seeds, cut to what a share can be; with one seed its ends are None.
    """
    rows = []
    for (task, architecture), found in shares.items():
        for length, values in zip(lengths, np.asarray(found, float).T, strict=True):
            mean, low, high = over_seeds(values)
            ends = (None, None) if low is None else (max(low, 0.0), min(high, 1.0))
            row = {"task": task, "architecture": architecture, "length": length, "mean": mean}
            rows.append(row | dict(zip(("low", "high"), ends, strict=True)) | {"seeds": len(values)})
    return rows


def parents(config: HybridConfig) -> list[str]:
    """The architectures that a hybrid mixes."""
    return [parent for letter, parent in LETTERS.items() if letter in config.layers]


def beside_parents(shares: Shares, mixed: Sequence[str]) -> dict[tuple[str, str], Interval]:
    """By task and parent, the hybrid's share of right answers less the parent's at the longest length.

    Paired by seed. The intervals hold together with a confidence of 95 % or more (Bonferroni's correction: of m
    intervals each has a confidence of 1 - 0.05 / m); with one seed they have no ends.
    """
    taught = [(task, parent) for task, kind in shares if kind == "hybrid" for parent in mixed]
    pairs = [pair for pair in taught if pair in shares]
    confidence = 1 - 0.05 / max(1, len(pairs))
    found = {}
    for task, parent in pairs:
        differences = (np.asarray(shares[task, "hybrid"]) - np.asarray(shares[task, parent]))[:, -1]
        single = len(differences) == 1
        found[task, parent] = over_seeds(differences) if single else t_interval(differences, confidence)
    return found


def standing(difference: Interval) -> str:
    """What the interval of a difference in right answers says of the first of the two."""
    if difference.low is None or difference.high is None:
        return "one seed"
    return "ahead" if difference.low > 0 else "behind" if difference.high < 0 else "not told apart"
