"""The exercises as nbgrader assignments: one for each notebook, with cells that grade themselves."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from traitlets.config import PyFileConfigLoader

from pn_lib.course.exercises import Exercise, ExerciseSheet, load_sheets, new_notebook
from pn_lib.errors import InputError
from pn_lib.files import write_text

SCHEMA_VERSION = 3  # of nbgrader's cell metadata
CONFIG = '''"""nbgrader's settings for this course; run nbgrader in this folder."""

c = get_config()
c.CourseDirectory.course_id = "pocketnarrator"
c.ExecutePreprocessor.timeout = 120  # seconds a cell may take
c.ClearSolutions.code_stub = {"python": "# your code here\\nraise NotImplementedError"}
'''


def build_assignments(folder: Path) -> list[Path]:
    """Make a course folder of nbgrader: ``source/`` (with solutions, for the teacher) and ``release/`` (for students).

    A gradebook and submissions that lie in ``folder`` already stay as they are. Returns the released notebooks.

    Raises:
        InputError: nbgrader is not installed, or refuses a notebook.
    """
    try:
        from nbgrader.apps import NbGraderAPI
    except ModuleNotFoundError:
        raise InputError("nbgrader is not installed; make assignment installs it, or pip install -e .[teach]") from None
    # nbgrader calls alembic, a program of its own environment, by name
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    sheets = load_sheets()
    write_text(folder / "nbgrader_config.py", CONFIG)
    for sheet in sheets:
        write_text(
            folder / "source" / sheet.notebook / f"{sheet.notebook}.ipynb",
            nbformat.writes(source_notebook(sheet)) + "\n",
        )
    config = PyFileConfigLoader("nbgrader_config.py", path=str(folder)).load_config()
    config.CourseDirectory.root = str(folder.resolve())
    api = NbGraderAPI(config=config)
    for sheet in sheets:
        result = api.generate_assignment(sheet.notebook, force=True, create=True)
        if not result["success"]:
            raise InputError(f"nbgrader refuses {sheet.notebook}: {result.get('log')}")
    return [folder / "release" / sheet.notebook / f"{sheet.notebook}.ipynb" for sheet in sheets]


def source_notebook(sheet: ExerciseSheet) -> NotebookNode:
    """The teacher's version of one assignment: tasks, solutions between nbgrader's marks, and graded checks."""
    cells = [
        _text(
            "title",
            f"# {sheet.title}: exercises\n\nFill in each function, run the cell below it, and read "
            "what it says. A check answers at once and as often as you like; if you are stuck, "
            f"`checks.{sheet.exercises[0].name}.hint(1)` nudges and `hint(2)` nearly gives it away. "
            "“This notebook” and the "
            f"sections named below are those of the lesson, `{sheet.notebook}`.",
        ),
        _code("imports", sheet.imports, locked=True),
    ]
    for exercise in sheet.exercises:
        cells += _exercise_cells(exercise)
    return new_notebook(cells)


def _exercise_cells(exercise: Exercise) -> Iterable[NotebookNode]:
    worth = "1 point" if exercise.points == 1 else f"{exercise.points} points"
    heading = f"## Exercise {exercise.number}: {exercise.title} ({worth})"
    yield _text(f"task-{exercise.name}", f"{heading}\n\n{exercise.task}")
    body = exercise.solution.removeprefix(exercise.given)
    marked = f"{exercise.given}    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
    yield _code(f"answer-{exercise.name}", marked, solution=True)
    yield _code(
        f"check-{exercise.name}",
        f"assert checks.{exercise.name}({exercise.name})",
        locked=True,
        grade=True,
        points=exercise.points,
    )


def _text(name: str, text: str) -> NotebookNode:
    return nbformat.v4.new_markdown_cell(text, id=_id(name), metadata=_metadata(name, "markdown", locked=True))


def _code(name: str, source: str, **kind) -> NotebookNode:
    return nbformat.v4.new_code_cell(source, id=_id(name), metadata=_metadata(name, "code", **kind))


def _id(name: str) -> str:
    return name.replace("_", "-")[:64]


def _metadata(
    name: str,
    cell_type: str,
    *,
    locked: bool = False,
    solution: bool = False,
    grade: bool = False,
    points: int | None = None,
) -> dict:
    cell = {
        "schema_version": SCHEMA_VERSION,
        "grade_id": name,
        "cell_type": cell_type,
        "locked": locked,
        "solution": solution,
        "grade": grade,
        "task": False,
    }
    return {"nbgrader": cell | ({"points": points} if points is not None else {})}
