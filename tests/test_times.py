"""Times are promised by kind of processor, from committed measurements; a machine's own become such by publishing."""

import pytest

from pn_lib.course import pages
from pn_lib.course.refresh import _times
from pn_lib.errors import InputError
from pn_lib.files import read_json, write_json
from pn_lib.run import times
from pn_lib.run.publish import publish
from pn_lib.run.stage_times import StageTimes
from pn_lib.run.stages import NOTEBOOKS, load_stages

NAMES = [stage.name for stage in load_stages()]


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A run of the profile smoke on a processor of another kind."""
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    timings = tmp_path / "results" / "smoke-pocket" / "timings"
    write_json(timings / "machine.json", {"cpu": "Invented", "instructions": "SVE", "cores": 2, "commit": "0" * 12})
    write_json(
        timings / "stages.json",
        {"stages": [{"notebook": name, "seconds": 3.5} for name in NAMES], "total_seconds": 24.5},
    )
    cells = [
        ("markdown", "## 4.8 A section", None),
        ("code", "a", 19.9),
        ("markdown", "## 4.9 Another", None),
        ("code", "b", 45.06),
        ("code", "c", 21.0),
        ("code", "d", None),
    ]
    for name in NAMES:
        told = cells if name == NAMES[3] else cells[:2]
        notes = [{"papermill": {"duration": seconds}} for _, _, seconds in told]
        written = [{"cell_type": k, "source": [s], "metadata": m} for (k, s, _), m in zip(told, notes, strict=True)]
        write_json(tmp_path / "results" / "smoke-pocket" / "notebooks" / f"{name}.ipynb", {"cells": written})
    return tmp_path


def test_a_stage_that_finds_its_experiments_keeps_its_longer_time(tmp_path, monkeypatch):
    times, names = StageTimes(tmp_path), ["first", "second"]
    assert times.seconds() == {}

    def note(name: str, seconds: float, finds_experiments: bool) -> tuple[dict[str, float], float]:
        times.note(name, seconds, names, finds_experiments)
        return times.seconds(), read_json(tmp_path / "stages.json")["total_seconds"]

    assert note("second", 5.04, True) == ({"second": 5.0}, 5.0)
    assert note("first", 10.0, False) == ({"first": 10.0, "second": 5.0}, 15.0)
    assert list(times.seconds()) == names
    assert note("first", 2.0, True) == ({"first": 10.0, "second": 5.0}, 15.0)
    assert note("first", 12.0, True) == ({"first": 12.0, "second": 5.0}, 17.0)
    assert note("first", 2.0, False) == ({"first": 2.0, "second": 5.0}, 7.0)
    names.remove("second")  # a notebook that is no more
    assert note("first", 2.0, False) == ({"first": 2.0}, 2.0)
    assert read_json(tmp_path / "stages.json")["peak_memory_mb"] >= 0
    assert read_json(tmp_path / "machine.json")["cores"] > 0
    # Another stage, on another machine: each keeps its own
    monkeypatch.setattr("pn_lib.run.stage_times.describe_machine", lambda: {"cpu": "Invented", "commit": "0" * 12})
    times.note("third", 1.0, ["first", "third"], False)
    first, third = read_json(tmp_path / "stages.json")["stages"]
    assert (third["cpu"], third["commit"]) == ("Invented", "0" * 12)
    assert first["cpu"] != "Invented" and first["commit"]


def test_publishing_adds_a_profile_and_keeps_the_others(root):
    path = root / "results" / "published" / "clock" / "SVE.json"
    write_json(path, {"profiles": {"quick": {"total_seconds": 600.0}, "smoke": {"total_seconds": 1.0}}})
    assert publish("clock") == [path]
    profiles = read_json(path)["profiles"]
    assert profiles["quick"] == {"total_seconds": 600.0}
    assert profiles["smoke"] == {
        "cpu": "Invented",
        "cores": 2,
        "commit": "0" * 12,
        "total_seconds": 24.5,
        "stages": dict.fromkeys(NAMES, 3.5),
        "long_cells": {NAMES[3]: {"4.9": 45.1}},
    }


def test_the_top_of_a_notebook_says_where_one_waits(root, monkeypatch):
    publish("clock")
    measured = read_json(root / "results" / "published" / "clock" / "SVE.json")["profiles"]["smoke"]
    monkeypatch.setattr(times, "load_clock", lambda: {"AVX2": {"quick": measured}})
    lessons = pages.load_lessons()
    assert _times(lessons[3]).endswith(" Sections with a cell to wait for, profile quick, with AVX2: 4.9 (45 s).")
    assert "wait" not in _times(lessons[2])


def test_without_a_run_there_is_nothing_to_publish(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    with pytest.raises(InputError, match="no run whose times could be kept"):
        publish("clock")


@pytest.mark.parametrize("kind", times.SHOWN)
@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_both_columns_are_filled_for_what_everybody_runs(kind, profile):
    total = times.total_seconds(kind, profile)
    parts = [times.notebook_seconds(name)[kind].get(profile) for name in NAMES]
    row = next(line for line in pages.profiles_table().splitlines() if f"`{profile}`" in line)
    assert pages.duration(total) in row
    if None in parts:
        pytest.skip("its notebooks were timed before two of them became four")
    assert total == pytest.approx(sum(parts), abs=1)


def test_the_table_in_the_guide_is_the_measured_one():
    guide = NOTEBOOKS / pages.GUIDES / "running.md"
    assert pages.profiles_table() in guide.read_text(encoding="utf-8"), "run python -m pn_lib refresh"
