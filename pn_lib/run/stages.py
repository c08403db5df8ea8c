"""The stages of a run: one notebook each, what it reads and writes, and the key of all that decides it."""

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pn_lib.data.corpus_paths import NAMED_CORPORA, corpus_path
from pn_lib.errors import InputError
from pn_lib.key import code, digest, imports, make_key
from pn_lib.run.profile import Profile, profile_names
from pn_lib.run.sections import declared_values

REPOSITORY = Path(__file__).resolve().parents[2]
NOTEBOOKS = REPOSITORY / "notebooks"
REFERENCE = REPOSITORY / "results" / "published" / "overnight-tinystories"  # beside which smaller runs are set
SHOWS_REFERENCE = f"{__package__}.reference"  # what a notebook that does so imports
METADATA_KEY = "pocketnarrator"
NAVIGATION_TAG = "navigation"
PUBLISHED = "published"  # artifacts below it are the repository's, not the run's


def output_root() -> Path:
    """Where results/, figures/ and report/ lie: ``PN_ROOT`` if set (tests set it), else the repository."""
    return Path(os.environ.get("PN_ROOT") or REPOSITORY).resolve()


@dataclass(frozen=True)
class Stage:
    """A notebook with what it declares: artifacts it reads and writes, as paths relative to ``results/<run>/``, and
    sections of the profile (``data``), or keys of them (``study.seeds``)."""

    name: str
    path: Path
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    profile: tuple[str, ...]
    source: str  # all cells' kinds and sources; outputs, counters and generated links do not count as a change
    imports: frozenset[str]  # of pn_lib


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
        reads, writes, profile = (tuple(declared[key]) for key in ("reads", "writes", "profile"))
        tagged = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # no JSON, or other JSON
        raise InputError(
            f"{path} is not a notebook of this course ({type(error).__name__}: {error}); "
            f"its metadata must hold {METADATA_KEY}: {{reads, writes, profile}}"
        ) from None
    if len(tagged) != 1:
        raise InputError(f"{path} has {len(tagged)} cells tagged 'parameters'; it needs exactly one")
    used = frozenset().union(*(_imports(source) for kind, source in cells if kind == "code"))
    return Stage(path.stem, path, reads, writes, profile, json.dumps(cells), used)


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
    """The key of all that decides a stage's outputs: notebook, code, what it declares of the profile, and artifacts.

    Without the notebook it is the key of the work folder: unfinished training goes on after an edit of the prose, and
    a changed model or budget is noticed by the checkpoint's own key.

    Raises:
        InputError: the notebook declares a section that profiles do not have.
    """
    parts = {
        "notebook": stage.source if with_notebook else None,
        "code": code(stage.imports),
        "profile": declared_values(profile, stage.profile, stage.name),
        "corpus": corpus,
        # Only the first stage looks at the corpus itself; the others see it through what that one wrote.
        "data": None if stage.reads else corpus_state(corpus),
        "reads": {name: digest(path) for name in stage.reads if (path := _read_at(name, results)).exists()},
    }
    if SHOWS_REFERENCE in stage.imports and not is_as_large(profile.name):
        parts["reference"] = {str(path): digest(REFERENCE / path) for path in _reference_files()}
    return make_key(parts)


def is_as_large(profile: str) -> bool:
    """Whether a run of this profile is at least as large as the reference run, and so needs none beside it."""
    names = profile_names()  # the smallest first
    return profile in names and names.index(profile) >= names.index(REFERENCE.name.split("-")[0])


def _reference_files() -> list[Path]:
    return sorted(path.relative_to(REFERENCE) for path in REFERENCE.rglob("*.json") if "models" not in path.parts)


def _read_at(artifact: str, results: Path) -> Path:
    """What no run makes is committed."""
    return REPOSITORY / "results" / artifact if covers(PUBLISHED, artifact) else results / artifact


def corpus_state(corpus: str) -> str | None:
    """What can change about a corpus while its name stays: the files of a path. The others are set by pn_lib's code."""
    return None if corpus in NAMED_CORPORA else digest(corpus_path(corpus, output_root()))


def _imports(cell: str) -> set[str]:
    """What of pn_lib a cell imports; nothing if it is no Python, such as IPython's ``model?`` or a reader's slip."""
    try:
        return imports("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in cell.splitlines()))
    except (SyntaxError, ValueError, RecursionError):
        return set()
