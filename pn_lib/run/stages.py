"""The stages of a run: one notebook each, what it reads and writes, and when it has to run again."""

import ast
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pn_lib.data.corpora import NAMED_CORPORA, corpus_path
from pn_lib.errors import InputError
from pn_lib.files import sha256
from pn_lib.run.profile import Profile

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = REPOSITORY / "notebooks"
METADATA_KEY = "pocketnarrator"
NAVIGATION_TAG = "navigation"


def output_root() -> Path:
    """Where results/, figures/ and report/ lie: ``PN_ROOT`` if set (tests set it), else the repository."""
    return Path(os.environ.get("PN_ROOT") or REPOSITORY).resolve()


@dataclass(frozen=True)
class Stage:
    """A notebook with what it declares: artifacts it reads and writes, as paths relative to ``results/<run>/``."""

    name: str
    path: Path
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    source: str  # all cells' kinds and sources; outputs, counters and generated links do not count as a change
    code: str


@cache
def _load_stage(path: Path, _modified: int) -> Stage:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            (cell["cell_type"], "".join(cell["source"]))
            for cell in notebook["cells"]
            if NAVIGATION_TAG not in cell["metadata"].get("tags", [])
        ]
        declared = notebook["metadata"][METADATA_KEY]
        reads, writes = tuple(declared["reads"]), tuple(declared["writes"])
        tagged = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no notebook of this course ({type(error).__name__}: {error}); "
            f"its metadata must hold {METADATA_KEY}: {{reads, writes}}"
        ) from None
    if len(tagged) != 1:
        raise InputError(f"{path} has {len(tagged)} cells tagged 'parameters'; it needs exactly one")
    code = "\n".join(source for kind, source in cells if kind == "code")
    return Stage(path.stem, path, reads, writes, json.dumps(cells), code)


def load_stages(folder: Path = NOTEBOOKS) -> list[Stage]:
    """The numbered notebooks of ``folder`` in order.

    Raises:
        InputError: none found, or one without its declaration or its parameters cell.
    """
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not paths:
        raise InputError(f"no notebooks in {folder}: run from a clone of the repository with pip install -e .")
    return [_load_stage(path, path.stat().st_mtime_ns) for path in paths]


def maker(artifact: str, stages: list[Stage]) -> Stage | None:
    """The stage that writes ``artifact`` or a folder it lies in."""
    return next((s for s in stages if any(covers(w, artifact) for w in s.writes)), None)


def covers(declared: str, artifact: str) -> bool:
    return artifact == declared or artifact.startswith(declared + "/")


def stage_key(stage: Stage, profile: Profile, corpus: str, results: Path, *, with_notebook: bool = True) -> str:
    """A digest of all that decides a stage's outputs: notebook, the pn_lib modules it uses, parameters, and artifacts.

    Without the notebook it is the key of the work folder: unfinished training goes on after an edit of the prose, and
    a changed model or budget is noticed by the checkpoint's own fingerprint.
    """
    parts = {
        "notebook": hashlib.sha256(stage.source.encode()).hexdigest() if with_notebook else None,
        "modules": {name: sha256(path) for name, path in sorted(used_modules(stage.code).items())},
        "profile": profile.settings(),
        "corpus": corpus,
        # Only the first stage looks at the corpus itself; the others see it through what that one wrote.
        "data": None if stage.reads else _corpus_state(corpus),
        "reads": {name: sha256(results / name) for name in stage.reads if (results / name).exists()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _corpus_state(corpus: str) -> str | None:
    """What can change about a corpus while its name stays: the files of a path. The others are set by pn_lib's code."""
    if corpus in NAMED_CORPORA:
        return None
    return sha256(corpus_path(corpus, output_root()))


def used_modules(code: str) -> dict[str, Path]:
    """The pn_lib modules that ``code`` imports, those they import, and the .toml files beside them that they name."""
    found: dict[str, Path] = {}
    waiting = _imports(code)
    while waiting:
        name = waiting.pop()
        path = _module_file(name)
        if name not in found and path is not None:
            source = path.read_text(encoding="utf-8")
            found[name] = path
            found |= {f"{name}: {data.name}": data for data in path.parent.glob("*.toml") if data.name in source}
            waiting |= _imports(source)
    return found


def _imports(code: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(_without_magics(code))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # "from pn_lib.models import scan" may name a module or a function
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "pn_lib"}


def _without_magics(code: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines())


def _module_file(name: str) -> Path | None:
    """Looked for on the disk: importlib would import the packages on the way, two seconds of every kernel's start."""
    path = REPOSITORY.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
