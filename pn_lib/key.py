"""What decides a result, as one digest: the code that makes it, what it reads, and the settings that it is given.

Whatever is kept to be used again (a notebook's results, an experiment, a checkpoint, an index) is kept with its key,
and made anew when its key has changed. Code enters a key as the modules of this package that are really imported,
directly or by one another, wherever the import stands. A module is known by its syntax tree without docstrings, in
which there are no comments and no line numbers, and by the data files that it names: an edit of prose changes no key,
an edit of a constant does.

What is kept has a digest beside it: a flipped bit, or a file of another run in its place, is never read as a result.
"""

import ast
import hashlib
import json
import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pn_lib.errors import InputError
from pn_lib.files import read_json, sha256, write_json

ROOT = Path(__file__).resolve().parents[1]  # the folder that holds pn_lib
PROFILES = "profiles"  # no module's data: a key holds the values of a profile that its result depends on


def make_key(parts: Any) -> str:
    """Hex digest of JSON-like values: equal values, equal key, in every process."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def keep(path: Path, key: str, value: dict[str, Any]) -> None:
    """Write a JSON object with the key of what it was made from, and the digest of what it says."""
    write_json(path, {"key": key, "digest": make_key(json.loads(json.dumps(value))), **value})


def read_kept(path: Path) -> dict[str, Any]:
    """What ``keep`` wrote, with its ``key``; no ``digest`` if an older version did, which kept none.

    Raises:
        InputError: the file is missing or damaged.
    """
    value = read_json(path)
    told = {name: part for name, part in value.items() if name not in ("key", "digest")}
    if value.get("digest", make_key(told)) != make_key(told):
        raise InputError(f"{path} is damaged (its digest is of something else); delete it and run again")
    return value


def kept(path: Path, key: str | None = None) -> dict[str, Any] | None:
    """What ``keep`` wrote there under ``key`` (None: under any), without the key; None if nothing did.

    A damaged file counts as none, since whatever was kept can be made anew; a warning says so.
    """
    if not path.exists():
        return None
    try:
        value = read_kept(path)
    except InputError as error:
        logging.getLogger(__name__).warning("%s; it is made anew", str(error).partition(";")[0])
        return None
    made_from, known = value.pop("key", None), value.pop("digest", None) is not None
    return value if known and key in (None, made_from) else None


def code(modules: Iterable[str]) -> dict[str, str]:
    """The digest of each of these modules, by name, and of those of pn_lib that they import, directly or not.

    Names that are no module of pn_lib are passed over: a library, or what a module defines.
    """
    found: dict[str, str] = {}
    waiting = set(modules)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name not in found and path is not None:
            own, imported, texts = _module(path, path.stat().st_mtime_ns)
            found[name] = make_key([own, _data(path, texts - {PROFILES})])
            waiting |= imported | {name.rpartition(".")[0]}  # importing a module runs the packages that it lies in
    return found


def imports(source: str) -> set[str]:
    """What of pn_lib Python source imports, anywhere in it; ``from a import b`` counts as a and a.b, since b may be a
    module or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "pn_lib"}


def digest(path: Path) -> str:
    """Hex digest of a file's or folder's bytes; a file that has not been touched since is not read again."""
    if path.is_dir():
        return make_key({each.relative_to(path).as_posix(): digest(each) for each in files_in(path)})
    return _sha256(path, path.stat().st_mtime_ns)


def files_in(folder: Path) -> list[Path]:
    """All files below a folder; not hidden ones, which a file manager or a killed process may have left."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _file(name: str) -> Path | None:
    """Looked for on the disk: importlib would import the packages on the way, two seconds of every kernel's start."""
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if name and p.is_file()), None)


@cache
def _sha256(path: Path, _modified: int) -> str:
    return sha256(path)


@cache
def _module(path: Path, _modified: int) -> tuple[str, frozenset[str], frozenset[str]]:
    """A module's digest without its data, what of pn_lib it imports, and the names that may be those of its data."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):  # of a module, a class, a function, a branch, a loop
            node.body = [statement for statement in body if not _is_text(statement)]
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), frozenset(imports(source)), frozenset(texts)


def _is_text(node: ast.AST) -> bool:
    """A docstring: a string that stands alone does nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _data(module: Path, names: frozenset[str]) -> dict[str, str]:
    """The digests of the files, and folders of files, beside a module that are among the ``names`` it speaks of."""
    beside = [path for path in module.parent.iterdir() if path.name in names and not path.name.startswith("_")]
    return {path.name: digest(path) for path in beside if path.suffix != ".py" and not (path / "__init__.py").exists()}
