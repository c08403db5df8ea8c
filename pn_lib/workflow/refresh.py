"""Keeps the committed notebooks whole: links between them, measured time budgets, outputs of the run quick-pocket."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from pn_lib.errors import InputError
from pn_lib.files import read_json, write_text
from pn_lib.workflow.profiles import profile_names
from pn_lib.workflow.stages import NAVIGATION_TAG, NOTEBOOKS, REPOSITORY, load_stages, output_root

STORED_RUN = "quick-pocket"  # the run whose outputs the committed notebooks show
CONTENTS = "../README.md#the-notebooks"


def refresh_notebooks() -> list[Path]:
    """Rewrite the numbered notebooks in place; doing it twice changes nothing more. Returns their paths.

    Raises:
        InputError: the run ``quick-pocket`` has not executed a notebook as it now stands.
    """
    paths = [stage.path for stage in load_stages()]
    notebooks = {path: nbformat.read(path, as_version=4) for path in paths}
    titles = {path: _title(notebook) for path, notebook in notebooks.items()}
    for number, path in enumerate(paths):
        neighbours = paths[number - 1] if number else None, paths[number + 1] if number + 1 < len(paths) else None
        _take_outputs(notebooks[path], path)
        _set_navigation(notebooks[path], _links(neighbours, titles), _budget(path.stem))
    for path, notebook in notebooks.items():  # only now, when all are known to be good
        write_text(path, nbformat.writes(notebook) + "\n")
    return paths


def _title(notebook: NotebookNode) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return cell.source.splitlines()[0].removeprefix("# ")
    raise InputError("a notebook has no title cell that begins with '# '")


def _links(neighbours: tuple[Path | None, Path | None], titles: dict[Path, str]) -> str:
    before, after = neighbours
    parts = [f"[← {titles[before]}]({before.name})" if before else "", f"[Contents]({CONTENTS})",
             f"[{titles[after]} →]({after.name})" if after else ""]
    return " · ".join(part for part in parts if part)


def _budget(name: str) -> str:
    """Measured seconds of this notebook, by profile, in the runs at hand (the local one before the published one)."""
    known, cores = [], None
    for profile in profile_names():
        for results in (output_root() / "results", REPOSITORY / "results" / "published"):
            path = results / f"{profile}-pocket" / "timings" / "stages.json"
            rows = {row["notebook"]: row["seconds"] for row in read_json(path)["stages"]} if path.exists() else {}
            if name in rows:
                known.append(f"{profile} {_duration(rows[name])}")
                cores = read_json(path.with_name("machine.json"))["cores"]
                break
    return f"Measured time on {cores} CPU cores: {', '.join(known)}." if known else ""


def _duration(seconds: float) -> str:
    return f"{round(seconds)} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _set_navigation(notebook: NotebookNode, links: str, budget: str) -> None:
    body = [cell for cell in notebook.cells if NAVIGATION_TAG not in cell.metadata.get("tags", [])]
    top = f"{links}\n\n{budget}".strip()
    cells = [nbformat.v4.new_markdown_cell(text, id=name, metadata={"tags": [NAVIGATION_TAG]})
             for name, text in (("navigation-top", top), ("navigation-end", links))]
    notebook.cells = [cells[0], *body, cells[1]]


def _take_outputs(notebook: NotebookNode, path: Path) -> None:
    executed = output_root() / "results" / STORED_RUN / "notebooks" / path.name
    if not executed.exists():
        raise InputError(f"{executed} does not exist; run python -m pn_lib run (profile quick, corpus pocket) first")
    cells = {cell.id: cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if cell.id not in cells or cells[cell.id].source != cell.source:
            raise InputError(f"{NOTEBOOKS.name}/{path.name} has changed since the run {STORED_RUN}; run it again first")
        if cells[cell.id].execution_count is None:
            raise InputError(f"the run {STORED_RUN} did not execute {path.name} to its end; run it again first")
        cell.outputs = cells[cell.id].outputs
        cell.execution_count = cells[cell.id].execution_count
