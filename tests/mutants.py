"""Would the tests notice a mistake? ``make mutants`` changes pn_lib in one place at a time, in a copy, runs the tests
that cover the changed module, and prints the mutants that no test noticed.

Why a script and not a tool: mutmut runs the whole suite first, to see which test runs what, and cosmic-ray one command
for all modules; neither draws a sample. cosmic-ray also puts ten operators in the place of each ``+``, most of which
any test would notice.

The kernels that Numba compiles are left out: each of their mutants would be compiled for a minute. Their tests compare
them with PyTorch's results.
"""

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
COPY = ROOT / "build/mutants"
PACKAGE = sorted(ROOT.glob("pn_lib/**/*.py"))
ROOMS = ("models", "training", "evaluation")
FILES = 6  # at most so many test files for a module
SECONDS = 120  # for one test: a mutant that makes it last longer is noticed
OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.USub: ast.UAdd,
}  # fmt: skip
UNCHANGED = ("annotation", "returns", "decorator_list")
SYMMETRIC = {"add", "mul", "max", "min", "transpose", "suppress"}  # in their first two arguments


def change(node: ast.AST) -> tuple[str, Any] | None:
    """The field of a node to replace, and by what: one change that a tired author could have made."""
    match node:
        case ast.Compare(ops=[op, *rest]) if type(op) in OTHER:
            return "ops", [OTHER[type(op)](), *rest]
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op) | ast.UnaryOp(op=op) if type(op) in OTHER:
            return "op", OTHER[type(op)]()
        case ast.Constant(value=bool(value)):
            return "value", not value
        case ast.Constant(value=int(value) | float(value)):
            return "value", value + 1
        case ast.If(test=test) | ast.IfExp(test=test) if not isinstance(test, ast.Compare | ast.BoolOp):
            return "test", ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            return "value", None
        case ast.Call(args=[first, second, *rest]) if ast.unparse(node.func).split(".")[-1] not in SYMMETRIC:
            return "args", [second, first, *rest]
    return None


def places(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that can be changed, but for types, decorators, and the words of errors."""
    if change(node):
        yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (name in UNCHANGED or isinstance(child, ast.Raise | ast.JoinedStr)):
                yield from places(child)


@cache
def imported(path: Path) -> frozenset[Path]:
    """The files of pn_lib that a file imports itself."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    files = (ROOT / (name.replace(".", "/") + ".py") for name in names if name.startswith("pn_lib"))
    return frozenset(file for file in files if file.exists())


def covering(module: Path) -> list[str]:
    """The test files of a module: its own, then those nearest along the imports, own ones of what imports it first."""
    tests, reached = sorted(ROOT.glob("tests/test_*.py"), key=lambda test: len(imported(test))), {module}
    found = [test for test in tests if test.stem == f"test_{module.stem}"]
    for _ in range(3):  # imports between a test and the module
        names = {f"test_{file.stem}" for file in reached}
        near = [test for test in tests if imported(test) & reached and test not in found]
        found += sorted(near, key=lambda test: test.stem not in names)
        reached = reached | {file for file in PACKAGE if imported(file) & reached}
    return [str(test.relative_to(ROOT)) for test in found[:FILES]]


def copy_repository() -> None:
    """What git knows or could add, without runs and builds."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in names:
        if (ROOT / name).is_file():  # and not deleted since
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def passes(tests: list[str]) -> bool:
    """Whether tests pass in the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", f"--timeout={SECONDS}", *tests]
    environment = os.environ | {"PYTHONPATH": str(COPY), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.DEVNULL).returncode == 0


def survives(module: Path, place: int) -> tuple[bool, str]:
    """Whether a mutant goes unnoticed, and the change in words."""
    tree = ast.parse(module.read_text())
    node = list(places(tree))[place]
    before, (field, value) = ast.unparse(node), change(node)
    setattr(node, field, value)
    file = COPY / module.relative_to(ROOT)
    file.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    unnoticed = passes(covering(module))
    shutil.copy2(module, file)
    first, second = (" ".join(text.split())[:80] for text in (before, ast.unparse(node)))
    return unnoticed, f"{module.relative_to(ROOT)}:{node.lineno}: {first}  ->  {second}"


def main(sample: int) -> None:
    modules = [path for path in PACKAGE if path.relative_to(ROOT).parts[1] in ROOMS]
    modules = [path for path in modules if path.parent.name != "cpu" or "from numba import" not in path.read_text()]
    mutants = [(module, i) for module in modules for i in range(len(list(places(ast.parse(module.read_text())))))]
    random.Random(0).shuffle(mutants)
    print(f"{sample} of {len(mutants):,} mutants of {len(modules)} modules", flush=True)
    copy_repository()
    if not passes(sorted({test for module, _ in mutants[:sample] for test in covering(module)})):
        sys.exit("These tests fail without a mutant already; see make unit-tests.")
    survivors = []
    for number, mutant in enumerate(mutants[:sample], 1):
        unnoticed, words = survives(*mutant)
        survivors += [words] * unnoticed
        print(f"{number:4} {'SURVIVED' if unnoticed else 'noticed '} {words}", flush=True)
    print(f"{1 - len(survivors) / sample:.0%} of {sample} noticed. Survivors:", *sorted(survivors), sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
