"""Where a reader is in the course: what is done is ticked, what comes next is named, with its measured time."""

import pytest

from pn_lib.course import whats_next as module
from pn_lib.course.whats_next import DONE, LATER, NEXT, whats_next
from pn_lib.files import write_json
from pn_lib.run.run import run_command
from pn_lib.run.stages import load_stages
from pn_lib.run.times import notebook_seconds

STAGES = load_stages()


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    monkeypatch.setenv("PN_PROFILE", "smoke")
    monkeypatch.delenv("PN_CORPUS", raising=False)
    monkeypatch.setattr(module.hardware, "instructions", lambda: "AVX2")
    return tmp_path / "results" / "smoke-pocket"


def marks() -> list[str]:
    return [line.split()[1] for line in whats_next().data.splitlines() if line.startswith("- ")]


def test_what_is_done_is_ticked_and_the_next_is_named(results):
    later = [LATER] * (len(STAGES) - 2)
    assert marks() == [NEXT, LATER, *later]
    first, second, *_ = STAGES
    for artifact in first.writes:
        assert marks()[0] == NEXT  # not done before all that it writes is there
        write_json(results / artifact, {})
    assert marks() == [DONE, NEXT, *later]
    for artifact in STAGES[4].writes:  # out of order
        write_json(results / artifact, {})
    assert [i for i, mark in enumerate(marks()) if mark == DONE] == [0, 4] and marks()[1] == NEXT
    _, line = [line for line in whats_next().data.splitlines() if line.startswith("- ")][:2]
    assert f"({second.path.name}), runs about {notebook_seconds(second.name)['AVX2']['smoke']:.0f} s on two" in line


def test_when_all_is_done_the_command_for_the_report_is_named(results):
    for artifact in (artifact for stage in STAGES for artifact in stage.writes):
        write_json(results / artifact, {})
    assert set(marks()) == {DONE}
    assert f"{len(STAGES)} of {len(STAGES)} notebooks done" in whats_next().data
    assert run_command("smoke", "pocket") in whats_next().data


def test_no_time_is_promised_that_was_not_measured(results, monkeypatch):
    monkeypatch.setattr(module.hardware, "instructions", lambda: "SVE")
    assert "runs about" not in whats_next().data
