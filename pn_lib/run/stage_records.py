"""What each stage of a run made, by digest, so that nothing damaged or replaced since is taken for it.

``results/<run>/stages/<stage>.json`` is kept when the stage is done. The pipeline makes anew whatever is no longer as
it says; other readers are refused. A notebook run by hand may write other bytes: its artifacts are read as they are,
until the pipeline has looked at them.
"""

from collections.abc import Iterable
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.files import write_text
from pn_lib.key import digest, files_in, keep, kept
from pn_lib.run.stages import covers

TIMINGS = "timings"  # what they hold differs each time
REPORT = "report"  # made like a stage


def note_made(results: Path, stage: str, key: str, paths: Iterable[Path]) -> None:
    """Keep that ``stage`` is done: its key, and the digest of each file in ``paths``, which are files and folders of
    the run's results, figures or report.

    Names are without the run's, so that a copy of the run under another name is one of its own. What somebody puts
    beside these files later is no damage.
    """
    files = {}
    for file in (file for path in paths for file in (files_in(path) if path.is_dir() else [path])):
        room, _, *inside = file.relative_to(results.parents[1]).parts
        files["/".join([room, *inside])] = digest(file)
    keep(_record(results, stage), key, {"files": files})
    _by_hand(results, stage).unlink(missing_ok=True)


def made(results: Path, stage: str, key: str | None = None) -> dict[Path, str] | None:
    """The digest of each file, as it was made under ``key`` (None: any); None if the stage is not done."""
    record = kept(_record(results, stage), key)
    if record is None:
        return None
    rooms = {name: name.partition("/") for name in record["files"]}
    places = {name: results.parents[1] / room / results.name / inside for name, (room, _, inside) in rooms.items()}
    return {places[name]: was for name, was in record["files"].items()}


def forget_made(results: Path, stage: str) -> None:
    """The stage is about to run again."""
    for path in (_record(results, stage), _by_hand(results, stage)):
        path.unlink(missing_ok=True)


def note_by_hand(results: Path, stage: str) -> None:
    """A notebook that runs outside of the pipeline is about to write. (Inside, the record is gone by then.)"""
    if _record(results, stage).exists():
        write_text(_by_hand(results, stage), "")


def altered(results: Path, stage: str, known: dict[Path, str]) -> list[Path]:
    """Which files are missing, or not as they were made; of timings and figures made by hand only the missing."""
    by_hand = _by_hand(results, stage).exists()
    return [
        path
        for path, was in known.items()
        if not path.exists() or (digest(path) != was and not (by_hand and _varies(path, results)))
    ]


def accept_by_hand(results: Path, stage: str, key: str) -> None:
    """Take what a notebook run by hand left, once nothing of it is ``altered``, as what the stage made."""
    if _by_hand(results, stage).exists():
        note_made(results, stage, key, made(results, stage, key) or ())


def check_made(results: Path, artifact: str) -> None:
    """Refuse an artifact (a path below ``results``) that is not as its notebook made it.

    Raises:
        InputError: it is damaged, or was replaced.
    """
    for record in (results / "stages").glob("*.json"):
        known = made(results, record.stem) or {}
        mine = {p: was for p, was in known.items() if covers(str(results / artifact), str(p))}
        if not _by_hand(results, record.stem).exists():
            _refuse(altered(results, record.stem, mine), record.stem)


def check_run(results: Path) -> None:
    """Refuse a run with any artifact or figure that is not as it was made. Errors are those of ``check_made``."""
    for record in (results / "stages").glob("*.json"):
        if record.stem != REPORT:
            _refuse(altered(results, record.stem, made(results, record.stem) or {}), record.stem)


def _refuse(wrong: list[Path], stage: str) -> None:
    if wrong:
        raise InputError(
            f"{wrong[0]} is not what {stage} made (it is damaged, or was replaced); bring the run up to date with "
            "python -m pn_lib run, which makes it anew"
        )


def _record(results: Path, stage: str) -> Path:
    return results / "stages" / f"{stage}.json"


def _by_hand(results: Path, stage: str) -> Path:
    return results / "stages" / f"{stage}.by-hand"


def _varies(path: Path, results: Path) -> bool:
    return not path.is_relative_to(results) or path.relative_to(results).parts[0] == TIMINGS
