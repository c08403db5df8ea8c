"""The pages around the lessons, made from the lessons themselves: contents, glossary, and the README's table."""

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from pn_lib.course.address import first_cell
from pn_lib.course.exercises import Exercise, lesson_paths, load_sheet, new_notebook
from pn_lib.errors import InputError
from pn_lib.run.stages import METADATA_KEY, NAVIGATION_TAG, NOTEBOOKS, load_stages, maker
from pn_lib.run.times import SHOWN, notebook_seconds, total_seconds

CONTENTS, GLOSSARY, RESULTS = "contents.ipynb", "glossary.ipynb", "results.ipynb"
# Pages of Markdown on what one can do with the course, for GitHub and the site
GUIDES = "guides"
GUIDE_NAMES = (
    "running",
    "models",
    "stories",
    "judge",
    "teaching",
    "cluster",
    "speed",
    "findings",
    "trust",
    "how_it_is_built",
)
GLOSSARY_SOURCE = Path(__file__).with_name("glossary.toml")
WORDS_A_MINUTE, LINES_A_MINUTE = 120, 12  # of prose and of code, read to be understood
SECTION = re.compile(r"## (A?\d+\.\d+ .+)")


@dataclass(frozen=True)
class Lesson:
    """One notebook of the course, as the pages around it show it."""

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
    """The lessons in order, then the appendices.

    Raises:
        InputError: one has no title, no question in bold below it, or no word in its metadata on what is built.
    """
    return [_lesson(path) for path in lesson_paths()]


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


# --- the pages ----------------------------------------------------------------------------------------------------

CONTENTS_TITLE = """# PocketNarrator

**How small, how cheap and how fast can a language model be and still tell a coherent children's story?**

Eleven notebooks build the answer from nothing. Each asks one question, builds what it needs, checks it, measures, and \
ends with exercises that give feedback at once. They assume Python, a first course in machine learning, and some \
linear algebra. Work through them in order; an appendix, on what makes a kernel fast, builds on notebook 09. The \
[glossary](glossary.ipynb) explains symbols and terms, and the page [what a run leaves](results.ipynb) lists every \
number that a run saves."""

# The contents' one cell of code: the page as such needs none, so the site leaves it out
WHERE_YOU_ARE = """# Where are you? Click here and press Shift+Enter, now and whenever you come back: this checks that
# everything is installed, ticks the notebooks that are done, and names the one to open next.
{first_cell}

from pn_lib.course.whats_next import whats_next

whats_next()"""

PROFILES = {
    "smoke": "tests: everything works, nothing is learned well",
    "quick": "a first complete run (the default)",
    "laptop": "the reference report's experiments, on TinyStories, without the files trained for hours",
    "overnight": "the reference report: the same, with those files",
    "coherent": "a small model file, trained on Pocket stories only",
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
        f"| profile | for | all eleven notebooks on two cores with {SHOWN[0]} | with {SHOWN[1]} |\n"
        f"|---|---|---|---|\n{rows}"
    )


def contents_page(lessons: list[Lesson]) -> NotebookNode:
    """The notebook ``contents.ipynb``."""
    needed = _needed()
    rows = "\n".join(
        f"| {lesson.link} | {lesson.question} | {', '.join(sorted(needed.get(lesson.path.name[:2], ())))} | "
        f"{hours(lesson.reading_minutes)} | {len(lesson.exercises)}, {hours(lesson.exercise_minutes)}, "
        f"{lesson.points} points |"
        for lesson in lessons
    )
    table = (
        f"## The lessons\n\n| | question | uses results of | reading time | exercises |\n|---|---|---|---|---|\n"
        f"{rows}\n\nReading times assume {WORDS_A_MINUTE} words and {LINES_A_MINUTE} lines of code a minute. The top "
        "of each notebook says how long it takes to run, as measured."
    )
    parts = [
        f"### {lesson.link}\n\nYou build {lesson.builds}.\n\n" + "\n".join(f"- {name}" for name in lesson.sections)
        for lesson in lessons
    ]
    guides = "## Guides\n\n" + "\n".join(f"- [{guide_title(name)}]({GUIDES}/{name}.md)" for name in GUIDE_NAMES)
    names = [lesson.path.stem for lesson in lessons]
    menu = {
        "Lessons": [*names, Path(GLOSSARY).stem, Path(RESULTS).stem],
        "Guides": [f"{GUIDES}/{name}" for name in GUIDE_NAMES],
        "Solutions": [f"solutions/{name}" for name in names],
    }
    texts = [CONTENTS_TITLE, table, guides, "## What is in the lessons", *parts]
    page = new_page("contents", texts, **{METADATA_KEY: {"pages": menu}})
    source = WHERE_YOU_ARE.format(first_cell=first_cell())
    cell = nbformat.v4.new_code_cell(source, id="contents-next", metadata={"tags": [NAVIGATION_TAG]})
    page.cells.insert(1, cell)
    return page


def _needed() -> dict[str, set[str]]:
    """The numbers of the notebooks whose results each one reads, by its number."""
    stages = load_stages()
    made = {stage.name[:2]: [maker(read, stages) for read in stage.reads] for stage in stages}
    return {number: {stage.name[:2] for stage in makers if stage} for number, makers in made.items()}  # or committed


def guide_title(name: str) -> str:
    """The heading of a guide, a page of Markdown in ``notebooks/guides``."""
    text = (NOTEBOOKS / GUIDES / f"{name}.md").read_text(encoding="utf-8")
    return text.splitlines()[0].removeprefix("# ")


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
            "# Glossary\n\nWhat the letters and words mean, and where each first appears. Where a letter changes its "
            "meaning, its row names the notebook.",
            f"## Symbols\n\n| symbol | name | meaning | from |\n|---|---|---|---|\n{symbols}",
            f"## Terms\n\n| term | meaning | from |\n|---|---|---|\n{terms}",
        ],
    )


def load_glossary() -> list[dict]:
    """The entries of ``glossary.toml``: ``symbol`` and ``name``, or ``term``; ``meaning``; ``notebook``, two digits."""
    return tomllib.loads(GLOSSARY_SOURCE.read_text(encoding="utf-8"))["entry"]


def readme_map(lessons: list[Lesson]) -> str:
    """The part of the README between its map marks: a table of the lessons."""
    rows = "\n".join(
        f"| {number} | [{title}]({NOTEBOOKS.name}/{lesson.path.name}) | {lesson.question} | "
        f"{hours(lesson.reading_minutes)} |"
        for lesson in lessons
        for number, title in [lesson.title.split(". ", 1)]
    )
    return f"| | notebook | question | reading time |\n|---|---|---|---|\n{rows}"


def new_page(name: str, texts: list[str], **metadata) -> NotebookNode:
    """A notebook of prose alone, a cell for each text."""
    return new_notebook(
        [nbformat.v4.new_markdown_cell(text, id=f"{name}-{i:02d}") for i, text in enumerate(texts)], **metadata
    )
