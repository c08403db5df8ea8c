"""Ten faults of ``make faults``, quick ones that need no mount; and that its judgement can fail."""

from functools import partial

import faults
import pytest
from fault_units import UNITS, Unit

from pn_lib.files import atomic, write_text
from pn_lib.run.results.trust_results import FaultOutcomes, FaultRow

QUICK = [
    ("training", "SIGKILL"),
    ("training", "one bit flipped"),
    ("study", "SIGTERM"),
    ("study", "one bit flipped"),
    ("study", "of another run"),
    ("packed", "truncated"),
    ("stories", "one bit flipped"),
    ("stories", "clock set back"),
    ("judge", "SIGKILL"),
    ("judge", "one bit flipped"),
]


@pytest.mark.parametrize(("unit", "kind"), QUICK)
def test_nothing_is_lost(unit, kind, monkeypatch):
    monkeypatch.setenv("CI", "1")
    assert not faults.attempt(0, (kind,), unit).failed


def add(folder, careful):
    """Goes on from what it kept, and sees or overlooks that it is no longer what it was."""
    kept = folder / "kept" / "sum"
    if not kept.exists() or (careful and kept.read_bytes() != b"3"):
        write_text(kept, "3")
    with atomic(folder / "out") as out:
        out.write_bytes(kept.read_bytes())


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
