"""Ten faults of ``make faults``, quick ones that need no mount; and that its judgement can fail."""

from functools import partial

import pytest

pytest.importorskip("resource")

import faults
from fault_units import UNITS, Unit

from pn_lib.files import write_text
from pn_lib.run.results.trust_results import FaultOutcomes, FaultRow

QUICK = [
    (0, "training", "SIGKILL"), (1, "training", "one bit flipped"), (2, "study", "SIGTERM"), (3, "study", "one bit flipped"),
    (4, "study", "of another run"), (5, "packed", "truncated"), (6, "stories", "one bit flipped"), (7, "judge", "SIGKILL"),
    (8, "judge", "one bit flipped"), (9, "stories", "clock set back"),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "unit", "kind"), QUICK)
def test_nothing_is_lost(seed, unit, kind, monkeypatch):
    monkeypatch.setenv("CI", "1")
    assert not faults.attempt(seed, (kind,), unit).failed


def add(folder, careful):
    """Goes on from what it kept, and sees or overlooks that it is no longer what it was."""
    kept = folder / "kept" / "sum"
    if not kept.exists() or (careful and kept.read_text() != "3"):
        write_text(kept, "3")
    write_text(folder / "out", kept.read_text() + ".")


@pytest.mark.parametrize("careful", [True, False])
def test_a_wrong_number_that_nobody_notices_is_found(careful, monkeypatch):
    unit = Unit(lambda folder, seed: None, partial(add, careful=careful), ("out",), ("kept/*",))
    monkeypatch.setitem(UNITS, f"sum {careful}", unit)
    outcome = faults.attempt(1, ("one bit flipped",), f"sum {careful}")
    assert (outcome.same, outcome.failed) == (careful, not careful)


def test_outcomes_add_up():
    rows = [FaultRow(fault="SIGKILL", part=part, same=1, told=0, failed=0) for part in ("study", "training", "study")]
    found = FaultOutcomes.none()
    for row in rows:
        found = found.with_one(row)
    assert found.faults == 3 and [(row.part, row.same) for row in found.rows] == [("study", 2), ("training", 1)]
