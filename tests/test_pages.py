"""The pages around the lessons: as committed they are what the lessons say now; no symbol is without its meaning."""

import re

import nbformat
import pytest
from pydantic import Field

from pn_lib.course import pages
from pn_lib.course.address import binder_link, colab_link
from pn_lib.course.pages import load_glossary
from pn_lib.course.results_page import keys, results_page
from pn_lib.run.results.catalogue import CATALOGUE
from pn_lib.run.results.result import Part
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

LESSONS = pages.load_lessons()
# An inline formula that is one letter, perhaps with an index or an accent: $T$, $h_t$, $\Delta$, $\bar A$
LONE = re.compile(
    r"(?<![\\$])\$\s*(\\(?:bar|hat|mathbf|mathrm|boldsymbol|tilde)\s*\{?)?(\\?[A-Za-z]+)\}?"
    r"(?:_(?:\w|\{[^}]*\}|\\text\{[^}]*\}))?\s*\$(?!\$)"
)


def letters(text: str) -> set[str]:
    return {match[2] for match in LONE.finditer(text) if match[2].startswith("\\") or len(match[2]) == 1}


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("contents", pages.contents_page),
        ("glossary", pages.glossary_page),
        ("results", lambda lessons: results_page()),
    ],
)
def test_a_generated_page_is_what_the_lessons_say_now(name, make):
    committed = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert committed == make(LESSONS), "run python -m pn_lib refresh"


def test_a_key_of_a_result_says_where_it_lies():
    class Inner(Part):
        x: int = Field(description="a number")

    class Outer(Part):
        one: Inner | None = Field(description="one")
        many: list[Inner] = Field(description="many")
        named: dict[str, list[Inner]] = Field(description="named")

    assert list(keys(Outer)) == [
        ("one", "one"), ("one.x", "a number"), ("many", "many"), ("many[].x", "a number"),
        ("named", "named"), ("named.*[].x", "a number"),
    ]  # fmt: skip


def test_every_key_of_a_result_has_a_meaning():
    assert not [(kind.FILE, key) for kind in CATALOGUE for key, meaning in keys(kind) if not meaning]


def test_the_map_in_the_readme_is_what_the_lessons_say_now():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert pages.readme_map(LESSONS) in text, "run python -m pn_lib refresh"


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.path.stem)
def test_every_letter_of_a_lesson_is_in_the_glossary(lesson):
    known = set().union(*(letters(entry["symbol"]) for entry in load_glossary() if "symbol" in entry))
    cells = nbformat.read(lesson.path, as_version=4).cells
    used = set().union(*(letters(cell.source) for cell in cells if cell.cell_type == "markdown"))
    assert not used - known


def test_the_glossary_names_each_thing_once_and_says_where_it_comes_from():
    entries = load_glossary()
    names = [entry.get("symbol", entry.get("term")) for entry in entries]
    assert len(set(names)) == len(names)
    assert all(("symbol" in entry) != ("term" in entry) for entry in entries)
    assert {entry["notebook"] for entry in entries} <= {lesson.path.name[:2] for lesson in LESSONS}
    terms = [entry["term"].lower() for entry in entries if "term" in entry]
    assert terms == sorted(terms)


@pytest.mark.parametrize("entry", [e for e in load_glossary() if "term" in e], ids=lambda entry: entry["term"])
def test_a_term_stands_in_the_lesson_that_is_said_to_introduce_it(entry):
    [path] = NOTEBOOKS.glob(f"{entry['notebook']}_*.ipynb")
    text = " ".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    word = re.split(r"[ ,(]", entry["term"])[0].lower()
    assert word[:-1] in re.sub(r"\s+", " ", text.replace("$", "")).lower()


def test_durations_in_words():
    assert [pages.duration(12.4), pages.duration(168)] == ["12 s", "2.8 min"]
    assert [pages.hours(minutes) for minutes in (45, 60, 125)] == ["45 min", "1 h", "2 h 05 min"]


def test_binder_and_colab_open_the_same_repository_which_pyproject_names():
    path = LESSONS[0].path
    assert binder_link(path).startswith("https://mybinder.org/v2/gh/")
    slug = binder_link(path).removeprefix("https://mybinder.org/v2/gh/").split("/HEAD")[0]
    assert colab_link(path) == f"https://colab.research.google.com/github/{slug}/blob/HEAD/notebooks/{path.name}"
    assert f'Repository = "https://github.com/{slug}"' in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
