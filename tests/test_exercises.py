"""Every exercise of the course: its stub fails, its solution passes, each typical mistake is told what it is."""

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from pn_lib.course.checks import mamba_construction, run_check
from pn_lib.course.exercises import UNSOLVED, Exercise, ExerciseSheet, load_sheet, load_sheets
from pn_lib.errors import InputError

SHEETS = load_sheets()
EXERCISES = [
    pytest.param(sheet, exercise, id=f"{exercise.number}-{exercise.name}")
    for sheet in SHEETS
    for exercise in sheet.exercises
]
MISTAKES = {
    sheet.notebook: importlib.import_module(f"mistakes.mistakes_{sheet.notebook[:2].lower()}").MISTAKES
    for sheet in SHEETS
}


def checks_of(sheet: ExerciseSheet) -> ModuleType:
    return importlib.import_module(f"pn_lib.course.checks.{sheet.notebook[3:]}")


def attempt(sheet: ExerciseSheet, exercise: Exercise, code: str) -> bool:
    """Run a learner's cell and the check below it, as the notebook does."""
    names: dict = {}
    exec(compile(sheet.imports, "<imports>", "exec"), names)
    exec(compile(code, "<answer>", "exec"), names)
    return getattr(checks_of(sheet), exercise.name)(names[exercise.name])


def passages(text: str, length: int = 20) -> set[str]:
    """All rows of so many signs in a text, white space and backticks aside."""
    signs = "".join(text.split()).replace("`", "")
    return {signs[i : i + length] for i in range(len(signs) - length + 1)}


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.notebook)
def test_a_notebook_has_four_exercises_or_more_from_minutes_to_a_project(sheet):
    number, appendix = sheet.notebook.split("_")[0].lstrip("0"), sheet.notebook.startswith("A")
    assert [exercise.number for exercise in sheet.exercises] == [
        f"{number}.{i + 1}" for i in range(len(sheet.exercises))
    ]
    minutes = [exercise.minutes for exercise in sheet.exercises]
    assert min(minutes) <= 5
    assert appendix or (len(minutes) >= 4 and max(minutes) >= 60)  # an appendix is read for itself


@pytest.mark.parametrize(("sheet", "exercise"), EXERCISES)
class TestExercise:
    def test_its_stub_is_not_attempted_yet(self, sheet, exercise, capsys):
        assert attempt(sheet, exercise, exercise.stub) is False
        verdict = capsys.readouterr().out
        assert verdict.startswith(f"Exercise {exercise.number}: not attempted yet.") and verdict.count("\n") == 1
        assert f"checks.{exercise.name}.hint(1)" in verdict

    def test_its_solution_passes(self, sheet, exercise, capsys):
        assert attempt(sheet, exercise, exercise.solution) is True
        assert capsys.readouterr().out.endswith(f"Exercise {exercise.number}: correct.\n")

    def test_an_answer_of_nothing_is_told_so_without_a_traceback(self, sheet, exercise, capsys):
        assert getattr(checks_of(sheet), exercise.name)(lambda *args, **kwargs: None) is False
        verdict = capsys.readouterr().out
        assert "not yet" in verdict and "raised" not in verdict

    def test_it_has_two_hints_and_neither_holds_the_solution(self, sheet, exercise, capsys):
        check = getattr(checks_of(sheet), exercise.name)
        check.hint(1)
        check.hint(2)
        nudge, tell = capsys.readouterr().out.splitlines()
        assert nudge.startswith("Hint 1 of 2: ") and tell.startswith("Hint 2 of 2: ")
        assert len(set(check.hints)) == 2 and min(map(len, check.hints)) > 40
        code = exercise.solution.removeprefix(exercise.given)
        assert not [hint for hint in check.hints if passages(hint) & passages(code) - passages(exercise.task)]

    def test_at_least_three_typical_mistakes_are_known(self, sheet, exercise):
        check = getattr(checks_of(sheet), exercise.name)
        messages = [message for function, _, message in MISTAKES[sheet.notebook] if function is check]
        assert len(set(messages)) == len(messages) >= 3

    def test_its_check_does_not_hold_the_solution(self, sheet, exercise):
        body = exercise.solution.removeprefix(exercise.given).splitlines()
        telling = [
            line.strip() for line in body if len(line.strip()) > 25 and not line.strip().startswith(("#", "def "))
        ]
        module = checks_of(sheet)
        files = {module.__file__, inspect.getsourcefile(getattr(module, exercise.name))}  # a project's is by itself
        source = "".join(Path(file).read_text(encoding="utf-8") for file in files)
        assert not [line for line in telling if line in source]


@pytest.mark.parametrize(
    ("check", "answer", "message"),
    [pytest.param(*case, id=f"{case[0].__name__}-{case[2][:30]}") for cases in MISTAKES.values() for case in cases],
)
def test_a_typical_mistake_gets_its_own_message(check, answer, message, capsys):
    assert check(answer) is False
    assert message in capsys.readouterr().out


DIVIDING = """def half_life(dt, A):
    rate = dt * abs(A)
    return halved(rate)


def halved(rate):
    return 1 / (rate - rate)
"""


def test_an_error_names_the_line_of_the_learners_cell(tmp_path, capsys):
    cell = tmp_path / "cell.py"
    cell.write_text(DIVIDING)
    names: dict = {}
    exec(compile(DIVIDING, cell, "exec"), names)
    for answer in (names["half_life"], torch.no_grad()(names["half_life"])):
        assert mamba_construction.half_life(answer) is False
        assert "Your code raised ZeroDivisionError in line 7, `return 1 / (rate - rate)`: " in capsys.readouterr().out
    assert mamba_construction.half_life(lambda dt, A: A.upper()) is False
    assert "in line " in capsys.readouterr().out


def test_an_answer_that_breaks_the_check_is_not_called_an_error_of_the_code(capsys):
    def check_of_a_list(answer):
        answer(1).append(2)

    assert run_check("1.1", eval("lambda x: x"), check_of_a_list) is False  # a cell of its own
    verdict = capsys.readouterr().out
    assert "What your function returned cannot be used, AttributeError: 'int'" in verdict and "raised" not in verdict


def test_there_is_no_third_hint():
    with pytest.raises(InputError, match=r"half_life has two hints, hint\(1\) and hint\(2\), so no hint\(3\)"):
        mamba_construction.half_life.hint(3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (" (5 minutes, 1 point)", ""),  # no time, no points
        ('"exercise"', '"another"'),
        ("raise NotImplementedError", "pass"),
        ("checks.double(double)", "checks.double(triple)"),
    ],
)
def test_an_exercise_that_breaks_the_form_is_an_error_that_names_it(tmp_path, old, new):
    write_course(tmp_path)
    sheet = load_sheet(tmp_path / "01_x.ipynb")
    assert (sheet.title, sheet.exercises[0].name) == ("1. Doubling", "double")
    lesson = tmp_path / "01_x.ipynb"
    text = lesson.read_text(encoding="utf-8")
    assert old in text
    lesson.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=r"01_x\.ipynb: .*exercise 1\.1"):
        load_sheet(lesson)


def test_a_lesson_without_a_title_is_an_error_that_names_it(tmp_path):
    write_course(tmp_path)
    lesson = tmp_path / "01_x.ipynb"
    lesson.write_text(lesson.read_text(encoding="utf-8").replace("# 1. Doubling", "Doubling"), encoding="utf-8")
    with pytest.raises(InputError, match=r"01_x\.ipynb has no title"):
        load_sheet(lesson)


def test_a_lesson_whose_solutions_lack_one_is_an_error_that_says_which(tmp_path):
    write_course(tmp_path)
    solutions = tmp_path / "solutions" / "01_x.ipynb"
    other = solutions.read_text(encoding="utf-8").replace("Exercise 1.1", "Exercise 1.2")
    solutions.write_text(other, encoding="utf-8")
    with pytest.raises(InputError, match=r"has the exercises 1\.1, its solutions 1\.2"):
        load_sheet(tmp_path / "01_x.ipynb")


def write_course(folder: Path) -> None:
    """One lesson with one exercise, and its solution."""

    def cell(source, *tags):
        return new_code_cell(source, metadata={"tags": list(tags)})

    lesson = [
        new_markdown_cell("# 1. Doubling\n\n**How?**"),
        new_markdown_cell("### Exercise 1.1: Twice (5 minutes, 1 point)\n\nDouble it."),
        cell(f"def double(x):\n{UNSOLVED}", "exercise"),
        cell("passed = checks.double(double)", "check"),
    ]
    solution = [
        cell("import math"),
        new_markdown_cell("## Exercise 1.1: Twice"),
        cell("def double(x):\n    return 2 * x", "exercise"),
        cell("assert checks.double(double)", "check"),
    ]
    (folder / "solutions").mkdir()
    for path, cells in ((folder / "01_x.ipynb", lesson), (folder / "solutions" / "01_x.ipynb", solution)):
        nbformat.write(new_notebook(cells=cells), path)
