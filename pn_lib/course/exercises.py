"""The exercises as they stand in the notebooks: what is asked, the stub, the check, and the solution beside them.

A lesson's exercise is three cells: a markdown cell that begins ``### Exercise 3.2: Title (10 minutes, 2 points)``,
a code cell tagged ``exercise`` (the stub, whose last line is ``raise NotImplementedError``), and one tagged ``check``.
The notebook of the same name in ``solutions/`` has, under ``## Exercise 3.2: Title``, a cell tagged ``exercise`` that
begins as the stub does, and a check.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from pn_lib.errors import InputError
from pn_lib.run.stages import NOTEBOOKS, load_stages

HEADING = re.compile(r"#+ Exercise (A?\d+\.\d+): (.+?)(?: \((\d+) minutes?, (\d+) points?\))?\s*$")
TITLE = re.compile(r"# (A?\d+\. .+)")
CALL = re.compile(r"checks\.(\w+)\((\w+)\)")
UNSOLVED = "    raise NotImplementedError"


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson with its solution."""

    number: str  # "3.2"
    title: str
    minutes: int
    points: int
    task: str  # markdown, without the heading
    stub: str  # code that ends with UNSOLVED
    solution: str  # code that begins as the stub does
    name: str  # of the learner's function, and of its check

    @property
    def given(self) -> str:
        """What the learner is given: the stub without its last line."""
        return self.stub.removesuffix(UNSOLVED)


@dataclass(frozen=True)
class ExerciseSheet:
    """The exercises of one notebook, and the code that they and their solutions need first."""

    notebook: str  # "03_transformer_construction"
    title: str  # the notebook's own: "3. Building a Transformer"
    imports: str
    exercises: tuple[Exercise, ...]


def lesson_paths() -> list[Path]:
    """The notebooks of the course: the stages of a run, then the appendices, which belong to no run."""
    return [*(stage.path for stage in load_stages()), *sorted(NOTEBOOKS.glob("A[0-9]_*.ipynb"))]


def load_sheet(lesson: Path) -> ExerciseSheet:
    """The exercises of a notebook of the course.

    Raises:
        InputError: an exercise without its stub, check or solution, or one that breaks the form described above.
    """
    solutions = nbformat.read(lesson.parent / "solutions" / lesson.name, as_version=4)
    notebook = nbformat.read(lesson, as_version=4)
    asked, solved = _sections(notebook), _sections(solutions)
    if list(asked) != list(solved):
        raise InputError(f"{lesson.name} has the exercises {', '.join(asked)}, its solutions {', '.join(solved)}")
    first = next(cell for cell in solutions.cells if cell.cell_type == "code")
    exercises = tuple(_exercise(lesson.name, asked[number], solved[number]) for number in asked)
    return ExerciseSheet(lesson.stem, _title(notebook, lesson.name), first.source, exercises)


def _title(notebook: NotebookNode, name: str) -> str:
    """A lesson's title, such as ``"3. Building a Transformer"``.

    Raises:
        InputError: it has none; ``name`` says which.
    """
    titles = [match[1] for cell in notebook.cells if (match := TITLE.match(cell.source))]
    if not titles:
        raise InputError(f"{name} has no title: a cell that begins with '# N. Title'")
    return titles[0]


def load_sheets() -> list[ExerciseSheet]:
    """All exercises of the course, in order."""
    return [load_sheet(path) for path in lesson_paths()]


def new_notebook(cells: list[NotebookNode], **metadata) -> NotebookNode:
    """A notebook of this course, for Python's kernel."""
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}, **metadata}
    )


def _sections(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The cells of each exercise of a notebook, by its number; the first of them is its heading."""
    sections: dict[str, list[NotebookNode]] = {}
    current: list[NotebookNode] | None = None
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            match = HEADING.match(cell.source.splitlines()[0])
            current = sections.setdefault(match[1], []) if match else None
        if current is not None:
            current.append(cell)
    return sections


def _exercise(notebook: str, asked: list[NotebookNode], solved: list[NotebookNode]) -> Exercise:
    heading, *task = asked[0].source.splitlines()
    number, title, minutes, points = HEADING.match(heading).groups()
    if minutes is None:
        raise InputError(
            f"{notebook}: exercise {number} must say how long it takes and what it counts, "
            "such as (10 minutes, 2 points)"
        )
    stub, check, solution = _tagged(asked, "exercise"), _tagged(asked, "check"), _tagged(solved, "exercise")
    call = CALL.search(check or "")
    if not (stub and solution and call and call[1] == call[2]):
        raise InputError(
            f"{notebook}: exercise {number} needs a stub (tagged exercise), a check (tagged check) that "
            "calls checks.NAME(NAME), and a solution in the notebook of the same name in solutions/"
        )
    given = stub.removesuffix(UNSOLVED)
    if given == stub or UNSOLVED in given or not solution.startswith(given):
        raise InputError(
            f"{notebook}: the stub of exercise {number} must end with one line 'raise "
            "NotImplementedError', and its solution begin with the lines before it"
        )
    return Exercise(number, title, int(minutes), int(points), "\n".join(task).strip(), stub, solution, call[1])


def _tagged(cells: list[NotebookNode], tag: str) -> str | None:
    return next((cell.source.rstrip() for cell in cells if tag in cell.metadata.get("tags", [])), None)
