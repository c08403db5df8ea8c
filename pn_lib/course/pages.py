"""The pages around the lessons, made from the lessons themselves: contents, glossary, and the map in the README."""

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from pn_lib.course.exercises import Exercise, load_sheet, new_notebook
from pn_lib.errors import InputError
from pn_lib.run.stages import METADATA_KEY, NAVIGATION_TAG, NOTEBOOKS, REPOSITORY, load_stages, maker
from pn_lib.run.times import SHOWN, notebook_seconds, total_seconds

CONTENTS, GLOSSARY, RESULTS = "contents.ipynb", "glossary.ipynb", "results.ipynb"
GLOSSARY_SOURCE = Path(__file__).with_name("glossary.toml")
WORDS_A_MINUTE, LINES_A_MINUTE = 120, 12  # of prose and of code, read to be understood
SECTION = re.compile(r"## (\d\.\d+ .+)")


@dataclass(frozen=True)
class Lesson:
    """One numbered notebook, as the pages around it show it."""

    path: Path
    title: str  # "3. Building a Transformer"
    question: str
    builds: str
    sections: tuple[str, ...]
    reading_minutes: int
    exercises: tuple[Exercise, ...]
    seconds: dict[str, dict[str, float]]  # by kind of processor and by profile, as measured

    @property
    def link(self) -> str:
        return f"[{self.title}]({self.path.name})"

    @property
    def exercise_minutes(self) -> int:
        return sum(exercise.minutes for exercise in self.exercises)

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)


def load_lessons() -> list[Lesson]:
    """The lessons in order.

    Raises:
        InputError: one has no title, no question in bold below it, or no word in its metadata on what is built.
    """
    return [_lesson(stage.path) for stage in load_stages()]


def _lesson(path: Path) -> Lesson:
    notebook = nbformat.read(path, as_version=4)
    body = [cell for cell in notebook.cells if NAVIGATION_TAG not in cell.metadata.get("tags", [])]
    question = re.match(r"# .+\n+\*\*(.+?)\*\*", body[0].source)
    builds = notebook.metadata[METADATA_KEY].get("builds")
    if not (question and builds):
        raise InputError(
            f"{path.name} must begin with its title and its question in bold, and its metadata say in "
            f"{METADATA_KEY}.builds what the reader builds"
        )
    headings = [cell.source.splitlines()[0] for cell in body if cell.cell_type == "markdown" and cell.source]
    sections = tuple(match[1] for heading in headings if (match := SECTION.match(heading)))
    sheet = load_sheet(path)
    return Lesson(
        path,
        sheet.title,
        question[1],
        builds,
        sections,
        _reading_minutes(body),
        sheet.exercises,
        notebook_seconds(path.stem),
    )


def _reading_minutes(cells: list[NotebookNode]) -> int:
    """To the next five minutes, without the exercises."""
    end = next(i for i, cell in enumerate(cells) if cell.source.startswith("## Exercises"))
    words = sum(len(cell.source.split()) for cell in cells[:end] if cell.cell_type == "markdown")
    lines = sum(len(cell.source.splitlines()) for cell in cells[:end] if cell.cell_type == "code")
    return 5 * math.ceil((words / WORDS_A_MINUTE + lines / LINES_A_MINUTE) / 5)


def duration(seconds: float) -> str:
    """Seconds in words: ``"12 s"``, ``"2.8 min"``."""
    return f"{round(seconds)} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def hours(minutes: int) -> str:
    """Minutes in words: ``"45 min"``, ``"2 h"``, ``"2 h 05 min"``."""
    whole, rest = divmod(minutes, 60)
    if not whole:
        return f"{rest} min"
    return f"{whole} h {rest:02d} min" if rest else f"{whole} h"


def repository_url() -> str:
    """Where the repository is published, as pyproject.toml says: what Binder and Colab fetch."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def _slug() -> str:
    return repository_url().removeprefix("https://github.com/")


def binder_link(path: Path) -> str:
    """Where Binder opens a notebook of the published repository."""
    return f"https://mybinder.org/v2/gh/{_slug()}/HEAD?urlpath=lab/tree/{NOTEBOOKS.name}/{path.name}"


def colab_link(path: Path) -> str:
    """Where Colab opens it."""
    return f"https://colab.research.google.com/github/{_slug()}/blob/HEAD/{NOTEBOOKS.name}/{path.name}"


# --- the pages ----------------------------------------------------------------------------------------------------

CONTENTS_TITLE = """# PocketNarrator

**How small, how cheap and how fast can a language model be and still tell a coherent children's story?**

Nine notebooks build the answer from nothing. Each asks one question, builds what it needs, checks it, measures, and \
ends with exercises that give feedback at once. They assume Python, a first course in machine learning, and some \
linear algebra. Work through them in order; the [glossary](glossary.ipynb) lists every symbol and term, and \
[what a run leaves](results.ipynb) every number that a run saves."""


PROFILES = {
    "smoke": "tests: everything works, nothing is learned well",
    "quick": "a first complete run (the default)",
    "laptop": "the reference report, on TinyStories",
    "paper": "TinyStories' own sizes, for one GPU or several",
}


def profiles_table() -> str:
    """What the profiles are for, and what a run takes on two cores of each kind."""

    def took(profile: str, kind: str) -> str:
        seconds = total_seconds(kind, profile)
        return "not measured" if seconds is None else duration(seconds)

    rows = "\n".join(
        f"| `{profile}` | {purpose} | {' | '.join(took(profile, kind) for kind in SHOWN)} |"
        for profile, purpose in PROFILES.items()
    )
    return (
        f"| profile | for | all nine notebooks on two cores with {SHOWN[0]} | with {SHOWN[1]} |\n"
        f"|---|---|---|---|\n{rows}"
    )


def contents_page(lessons: list[Lesson]) -> NotebookNode:
    """The notebook ``contents.ipynb``."""
    rows = "\n".join(
        f"| {lesson.link} | {lesson.question} | {hours(lesson.reading_minutes)} | {len(lesson.exercises)}, "
        f"{hours(lesson.exercise_minutes)}, {lesson.points} points |"
        for lesson in lessons
    )
    table = f"## The nine lessons\n\n| | question | to read | exercises |\n|---|---|---|---|\n{rows}\n\n" + (
        f"Reading times assume {WORDS_A_MINUTE} words and {LINES_A_MINUTE} lines of code a minute. The top of each "
        "notebook says how long it takes to run, as measured."
    )
    parts = [
        f"### {lesson.link}\n\nYou build {lesson.builds}.\n\n" + "\n".join(f"- {name}" for name in lesson.sections)
        for lesson in lessons
    ]
    names = [lesson.path.stem for lesson in lessons]
    menu = {
        "Lessons": [*names, Path(GLOSSARY).stem, Path(RESULTS).stem],
        "Solutions": [f"solutions/{name}" for name in names],
    }
    return new_page(
        "contents", [CONTENTS_TITLE, table, "## What is in them", *parts], **{METADATA_KEY: {"pages": menu}}
    )


def glossary_page(lessons: list[Lesson]) -> NotebookNode:
    """The notebook ``glossary.ipynb``: symbols, then terms, each with the lesson that introduces it."""
    by_number = {lesson.path.name[:2]: lesson for lesson in lessons}
    entries = load_glossary()

    def row(entry: dict) -> str:
        lesson = by_number[entry["notebook"]]
        return f"[{entry['notebook']}]({lesson.path.name})"

    symbols = "\n".join(
        f"| {entry['symbol']} | {entry['name']} | {entry['meaning']} | {row(entry)} |"
        for entry in entries
        if "symbol" in entry
    )
    terms = "\n".join(
        f"| {entry['term']} | {entry['meaning']} | {row(entry)} |" for entry in entries if "term" in entry
    )
    return new_page(
        "glossary",
        [
            f"[Contents]({CONTENTS})",
            "# Glossary\n\n"
            "What the letters and words mean, the same in all nine notebooks, and where each first comes.",
            f"## Symbols\n\n| symbol | name | meaning | from |\n|---|---|---|---|\n{symbols}",
            f"## Terms\n\n| term | meaning | from |\n|---|---|---|\n{terms}",
        ],
    )


def load_glossary() -> list[dict]:
    """The entries of ``glossary.toml``: ``symbol`` and ``name``, or ``term``; ``meaning``; ``notebook``, two digits."""
    return tomllib.loads(GLOSSARY_SOURCE.read_text(encoding="utf-8"))["entry"]


def readme_map(lessons: list[Lesson]) -> str:
    """The part of the README between its map marks: a table of the lessons, and which of them need which."""
    rows = "\n".join(
        f"| [{lesson.path.name[:2]}]({NOTEBOOKS.name}/{lesson.path.name}) {lesson.title[3:]} | {lesson.question} | "
        f"{lesson.builds} | {hours(lesson.reading_minutes)} | {len(lesson.exercises)}, "
        f"{hours(lesson.exercise_minutes)} | "
        f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder_link(lesson.path)}) "
        f"[![Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab_link(lesson.path)}) |"
        for lesson in lessons
    )
    return (
        "| | question | you build | to read | exercises | open |\n|---|---|---|---|---|---|\n"
        f"{rows}\n\n{_flow(lessons)}"
    )


def _flow(lessons: list[Lesson]) -> str:
    """Which lesson needs what another made, as the notebooks declare it: a Mermaid diagram, which GitHub draws."""
    stages = load_stages()
    needs = {(maker(artifact, stages).name[:2], stage.name[:2]) for stage in stages for artifact in stage.reads}
    boxes = "\n".join(f'    n{lesson.path.name[:2]}["{lesson.title}"]' for lesson in lessons)
    arrows = "\n".join(f"    n{before} --> n{after}" for before, after in sorted(needs))
    return f"```mermaid\nflowchart LR\n{boxes}\n{arrows}\n```"


def new_page(name: str, texts: list[str], **metadata) -> NotebookNode:
    """A notebook of prose alone, a cell for each text."""
    return new_notebook(
        [nbformat.v4.new_markdown_cell(text, id=f"{name}-{i:02d}") for i, text in enumerate(texts)], **metadata
    )
