"""Ten faults of ``make faults``, quick ones that need no mount; and that its judgement can fail."""

import json
import os
import random
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import faults
import pytest
from fault_units import UNITS, Unit

from pn_lib.files import atomic, write_text
from pn_lib.run.results.trust_results import FaultOutcomes, FaultRow
from pn_lib.run.stages import REPOSITORY

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


PROGRAM = """
import json, sys
from faults import attempt
for unit, kind in json.loads(sys.argv[1]):
    print(attempt(0, (kind,), unit).model_dump_json(), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes():
    """Of all ten, from a process that has not used OpenMP: GNU's does not survive the forks that faults are made in."""
    folders = os.pathsep.join([str(Path(__file__).parent), str(REPOSITORY)])
    environment = os.environ | {"CI": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": folders}
    command = [sys.executable, "-c", PROGRAM, json.dumps(QUICK)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    lines = done.stdout.splitlines()  # of each fault what came of it in words, and then its row
    return dict(zip(QUICK, zip(lines[::2], map(FaultRow.model_validate_json, lines[1::2]), strict=True), strict=True))


@pytest.mark.parametrize("fault", QUICK, ids=": ".join)
def test_nothing_is_lost(fault, outcomes):
    words, row = outcomes[fault]
    assert not row.failed, words


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


@pytest.mark.parametrize("row", [{"a": 1, "digest": "0" * 64}, {"digest": "0" * 64, "a": 1}])
def test_what_an_older_version_wrote_is_whole(row):
    bench = SimpleNamespace(rng=random.Random(0))
    older = faults._damaged(bench, "of an older version", Path("log.jsonl"), json.dumps(row).encode())
    assert json.loads(older) == {"a": 1}


def test_outcomes_add_up():
    rows = [FaultRow(fault="SIGKILL", part=part, same=1, told=0, failed=0) for part in ("study", "training", "study")]
    found = FaultOutcomes.none()
    for row in rows:
        found = found.with_one(row)
    assert found.faults == 3 and [(row.part, row.same) for row in found.rows] == [("study", 2), ("training", 1)]
