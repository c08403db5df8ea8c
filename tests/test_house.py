"""The house: its rooms import one way, no modules in a circle, one name for one thing, files of readable size."""

import ast
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from pn_lib.run.stages import REPOSITORY

PACKAGE = REPOSITORY / "pn_lib"
ROOMS = ("data", "models", "training", "evaluation", "run")  # each may import those to its left
ABOVE = ("course", "benchmark")  # may import all rooms, but not one another
MOST_LINES = 400
# A room's main module may be called as the room is; training's config is what pn_lib/config.py reads.
SHARED_NAMES = {"config", "run"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def known_module(name: str) -> str:
    """The module that ``name`` is, or is defined in; empty if it is none of ours."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def named_modules(tree: ast.AST) -> set[str]:
    """The modules of pn_lib that code imports, anywhere in it, or names in a string, for others to import."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("pn_lib."):
            names.add(node.value)
    return {known_module(name) for name in names} - {""}


IMPORTS = {name: named_modules(tree) - {name} for name, tree in TREES.items()}


def room(module: str) -> str:
    """The folder that a module lies in; its own name if it lies in none."""
    return module.split(".")[1] if "." in module else ""


def allowed(importer: str, imported: str) -> bool:
    """Whether a module of the room ``importer`` may import one of the room ``imported``."""
    if importer in ("cli", "__main__"):
        return True
    if importer in ABOVE:
        return imported == importer or imported not in (*ABOVE, "cli", "__main__")
    if importer in ROOMS:
        return imported not in (*ROOMS[ROOMS.index(importer) + 1 :], *ABOVE, "cli", "__main__")
    return imported not in (*ROOMS, *ABOVE, "cli", "__main__")  # errors, files, progress, ... are below all


@pytest.mark.parametrize("module", MODULES)
def test_rooms_import_one_way(module):
    up = {imported for imported in IMPORTS[module] if not allowed(room(module), room(imported))}
    assert not up, f"{module} may not import {', '.join(sorted(up))}"


def test_what_is_allowed_is_one_way():
    assert allowed("run", "data") and allowed("benchmark", "run") and allowed("data", "files") and allowed("cli", "run")
    for importer, imported in [
        ("data", "models"),
        ("training", "benchmark"),
        ("files", "data"),
        ("course", "benchmark"),
        ("run", "cli"),
    ]:
        assert not allowed(importer, imported)
    code = "def f():\n    from pn_lib.run import stages\nPRELOAD = ['pn_lib.benchmark.tables']"
    assert named_modules(ast.parse(code)) == {"pn_lib.run.stages", "pn_lib.benchmark.tables"}


def test_no_modules_import_one_another_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_only_the_pipeline_knows_the_report_builder():
    """It starts report/build.py in a process of its own; nothing else names the folder's code or imports it."""
    builders = {path.stem for path in (REPOSITORY / "report").glob("*.py")}
    assert "build" in builders
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
                assert not {each.split(".")[0] for each in names} & {*builders, "report"}, f"{name} imports the report"
    starting = {name for name, path in MODULES.items() if "build.py" in path.read_text(encoding="utf-8")}
    assert len(starting) == 1 and room(*starting) == "run"


def test_no_module_name_twice_for_two_subjects():
    places = defaultdict(set)
    for name in MODULES:
        places[name.rpartition(".")[2]].add(name)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert twice.keys() == SHARED_NAMES, twice


@pytest.mark.parametrize("module", MODULES)
def test_files_are_of_readable_size(module):
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{module} has {lines} lines: does it have two subjects?"
