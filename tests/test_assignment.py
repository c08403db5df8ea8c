"""The assignments, by nbgrader itself: what students get, and what three of them are given for what they hand in."""

import warnings
from pathlib import Path

import nbformat
import pytest

from pn_lib.course.assignment import build_assignments
from pn_lib.course.exercises import load_sheets

SHEETS = load_sheets()
GRADED = SHEETS[1]  # the one whose exercises need no torch: three kernels start quickly


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    build_assignments(folder)
    return folder


@pytest.fixture(scope="module")
def api(course):
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    config.CourseDirectory.root = str(course)
    return NbGraderAPI(config=config)


def notebook(course: Path, kind: str, name: str) -> Path:
    return course / kind / name / f"{name}.ipynb"


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.notebook)
class TestRelease:
    def test_students_get_every_task_and_no_solution(self, course, sheet):
        released = nbformat.read(notebook(course, "release", sheet.notebook), as_version=4)
        text = "\n".join(cell.source for cell in released.cells)
        for exercise in sheet.exercises:
            assert f"Exercise {exercise.number}: {exercise.title}" in text and exercise.given in text
            body = exercise.solution.removeprefix(exercise.given)
            assert not [line for line in body.splitlines() if len(line.strip()) > 25 and line in text]
        assert text.count("raise NotImplementedError") == len(sheet.exercises)
        assert f"# {sheet.title}: exercises" in text and sheet.title.partition(".")[0] == sheet.notebook[:2].lstrip("0")
        assert "SOLUTION" not in text

    def test_the_checks_are_locked_and_carry_the_points(self, course, sheet):
        released = nbformat.read(notebook(course, "release", sheet.notebook), as_version=4)
        graded = [cell.metadata.nbgrader for cell in released.cells if cell.metadata.nbgrader.grade]
        assert [cell.points for cell in graded] == [exercise.points for exercise in sheet.exercises]
        assert all(cell.locked for cell in graded)

    def test_nbgrader_knows_the_most_that_can_be_reached(self, api, course, sheet):
        assert api.get_assignment(sheet.notebook)["max_score"] == sum(exercise.points for exercise in sheet.exercises)


def hand_in(course: Path, student: str, cells: dict[str, str]) -> None:
    """Submit the released notebook with some answers filled in, by the name of the function."""
    submission = nbformat.read(notebook(course, "release", GRADED.notebook), as_version=4)
    for cell in submission.cells:
        name = cell.metadata.nbgrader.grade_id.removeprefix("answer-")
        if name in cells:
            cell.source = cells[name]
        elif cell.metadata.nbgrader.grade:
            cell.source = "assert True"  # a cheat: nbgrader puts the locked check back
    path = course / "submitted" / student / GRADED.notebook / f"{GRADED.notebook}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(submission, path)


def test_nbgrader_grades_what_is_handed_in(api, course):
    solved = {exercise.name: exercise.solution for exercise in GRADED.exercises}
    first = GRADED.exercises[0]
    half = solved | {first.name: first.given + "    return None"}
    for student, cells in (("ada", solved), ("ben", {}), ("eve", half)):
        hand_in(course, student, cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy's, about nbgrader's own sessions
            assert api.autograde(GRADED.notebook, student)["success"]
    total = sum(exercise.points for exercise in GRADED.exercises)
    scores = {entry["student"]: entry["score"] for entry in api.get_submissions(GRADED.notebook)}
    assert scores == {"ada": total, "ben": 0, "eve": total - first.points}


def test_building_it_again_keeps_the_grades(api, course):
    before = [entry["score"] for entry in api.get_submissions(GRADED.notebook)]
    assert len(before) == 3
    build_assignments(course)
    assert [entry["score"] for entry in api.get_submissions(GRADED.notebook)] == before


def test_the_teacher_keeps_a_version_with_the_solutions(course):
    for sheet in SHEETS:
        text = notebook(course, "source", sheet.notebook).read_text(encoding="utf-8")
        assert text.count("### BEGIN SOLUTION") == len(sheet.exercises)
