"""Keeps the committed notebooks whole: links between them, measured times, outputs of the run quick-pocket, and the
pages around them."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from pn_lib.course import pages
from pn_lib.course.address import binder_link, citation, clone_command, colab_link, first_cell
from pn_lib.course.frontier_figure import PICTURE, frontier_markdown, frontier_picture
from pn_lib.course.pages import CONTENTS, GLOSSARY, RESULTS, Lesson
from pn_lib.course.published_coherence import PICTURE as COHERENCE_PICTURE
from pn_lib.course.published_coherence import coherence_finding, coherence_picture
from pn_lib.course.results_page import results_page
from pn_lib.course.small_files import small_files_table
from pn_lib.course.speeds import speeds_table
from pn_lib.course.trust import faults_table, fuzz_table, large_table, numbers_table
from pn_lib.course.vocabularies import vocabulary_finding
from pn_lib.course.voices import voices
from pn_lib.errors import InputError
from pn_lib.files import write_text
from pn_lib.run.execution import execute
from pn_lib.run.stages import NAVIGATION_TAG, NOTEBOOKS, REPOSITORY, output_root
from pn_lib.run.times import long_cells

DEFAULT = "quick"  # the profile of a notebook that is opened
STORED_RUN = "quick-pocket"  # the run whose outputs the committed notebooks show
APPENDIX = "A"  # how the name of a notebook begins that belongs to no run, and so is executed here
# The generated parts of other pages: each stands between two marks of its name
PARTS = {
    REPOSITORY / "README.md": ("voices", "frontier", "clone", "map"),
    NOTEBOOKS / pages.GUIDES / "running.md": ("times",),
    NOTEBOOKS / pages.GUIDES / "speed.md": ("speeds",),
    NOTEBOOKS / pages.GUIDES / "findings.md": ("coherence", "vocabulary", "files"),
    NOTEBOOKS / pages.GUIDES / "trust.md": ("faults", "numbers", "large", "fuzz"),
}


def refresh_notebooks() -> list[Path]:
    """Rewrite the lessons and the pages around them in place; doing it twice changes nothing more.

    An appendix that has changed is executed first. Returns the paths written.

    Raises:
        InputError: the run ``quick-pocket`` has not executed a notebook as it now stands.
    """
    lessons = pages.load_lessons()
    written: dict[Path, str] = {}
    for lesson, before, after in zip(lessons, [None, *lessons], [*lessons[1:], None], strict=False):
        notebook = nbformat.read(lesson.path, as_version=4)
        _take_outputs(notebook, lesson.path)
        _set_navigation(notebook, lesson, _links(before, after))
        written[lesson.path] = nbformat.writes(notebook) + "\n"
    around = {CONTENTS: pages.contents_page(lessons), GLOSSARY: pages.glossary_page(lessons), RESULTS: results_page()}
    for name, page in around.items():
        written[NOTEBOOKS / name] = nbformat.writes(page) + "\n"
    written |= {REPOSITORY / "CITATION.cff": citation(), PICTURE: frontier_picture()}
    written[COHERENCE_PICTURE] = coherence_picture()
    written |= {path: _marked(path, names, lessons) for path, names in PARTS.items()}
    for path, text in written.items():  # only now, when all are known to be good
        write_text(path, text)
    return list(written)


def _links(before: Lesson | None, after: Lesson | None) -> str:
    parts = [
        f"[← {before.title}]({before.path.name})" if before else "",
        f"[Contents]({CONTENTS})",
        f"[Glossary]({GLOSSARY})",
        f"[{after.title} →]({after.path.name})" if after else "",
    ]
    return " · ".join(part for part in parts if part)


def _times(lesson: Lesson) -> str:
    """What the lesson takes: the machine's time as measured, and the reader's."""
    measured = "; ".join(
        f"with {kind}: " + ", ".join(f"{profile} {pages.duration(seconds)}" for profile, seconds in took.items())
        for kind, took in lesson.seconds.items()
        if took
    )
    running = f" Running it, measured on two CPU cores, {measured}." if measured else ""
    waits = "; ".join(
        f"with {kind}: " + ", ".join(f"{section} ({pages.duration(seconds)})" for section, seconds in cells.items())
        for kind, cells in long_cells(lesson.path.stem, DEFAULT).items()
        if cells
    )
    waiting = f" Sections with a cell to wait for, profile {DEFAULT}, {waits}." if waits else ""
    return (
        f"Reading: about {pages.hours(lesson.reading_minutes)}. "
        f"Exercises: {pages.hours(lesson.exercise_minutes)}.{running}{waiting}"
    )


def _set_navigation(notebook: NotebookNode, lesson: Lesson, links: str) -> None:
    title, *body = [cell for cell in notebook.cells if NAVIGATION_TAG not in cell.metadata.get("tags", [])]
    tags = {"tags": [NAVIGATION_TAG]}
    top = f"{links} · open in [Binder]({binder_link(lesson.path)}) or [Colab]({colab_link(lesson.path)})"
    notebook.cells = [
        nbformat.v4.new_markdown_cell(f"{top}\n\n{_times(lesson)}", id="navigation-top", metadata=tags),
        title,
        nbformat.v4.new_code_cell(first_cell(), id="navigation-colab", metadata=tags),
        *body,
        nbformat.v4.new_markdown_cell(links, id="navigation-end", metadata=tags),
    ]


def _marked(path: Path, names: tuple[str, ...], lessons: list[Lesson]) -> str:
    """A page of Markdown with its generated parts made anew."""
    make = {
        "voices": voices,
        "frontier": frontier_markdown,
        "clone": clone_command,
        "map": lambda: pages.readme_map(lessons),
        "times": pages.profiles_table,
        "speeds": speeds_table,
        "files": small_files_table,
        "coherence": coherence_finding,
        "vocabulary": vocabulary_finding,
        "faults": faults_table,
        "numbers": numbers_table,
        "large": large_table,
        "fuzz": fuzz_table,
    }
    text = path.read_text(encoding="utf-8")
    for name in names:
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise InputError(f"{path.name} must hold the marks {begin} and {end}, between which the {name} go")
        text = f"{before}{begin}\n{make[name]()}\n{end}{after}"
    return text


def _take_outputs(notebook: NotebookNode, path: Path) -> None:
    executed = output_root() / "results" / STORED_RUN / "notebooks" / path.name
    asked = [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and NAVIGATION_TAG not in cell.metadata.get("tags", [])
    ]
    if path.name.startswith(APPENDIX) and not _has_run(asked, executed):
        execute(path, executed, {}, executed.parents[1] / "work" / path.stem, path.stem)
    if not executed.exists():
        raise InputError(f"{executed} does not exist; run python -m pn_lib run (profile quick, corpus pocket) first")
    cells = _code_cells(executed)
    for cell in asked:
        if cell.id not in cells or cells[cell.id].source != cell.source:
            raise InputError(f"{NOTEBOOKS.name}/{path.name} has changed since the run {STORED_RUN}; run it again first")
        if cells[cell.id].execution_count is None:
            raise InputError(f"the run {STORED_RUN} did not execute {path.name} to its end; run it again first")
        cell.outputs = cells[cell.id].outputs
        cell.execution_count = cells[cell.id].execution_count


def _code_cells(path: Path) -> dict[str, NotebookNode]:
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"}


def _has_run(asked: list[NotebookNode], executed: Path) -> bool:
    """Whether these cells have been executed as they now stand."""
    cells = _code_cells(executed) if executed.exists() else {}
    return all(cell.id in cells and cells[cell.id].source == cell.source for cell in asked)
