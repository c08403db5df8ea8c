"""Files that are either whole or absent: everything PocketNarrator writes goes through here."""

import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pn_lib.errors import InputError, one_line

TEMPORARY = ".tmp-"  # how the names of unfinished files begin


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; flush it to disk and rename it onto ``path`` when the block succeeds.

    A reader, or a process killed at any moment, sees the old file or the new one, never a part. The temporary file is
    removed when the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending is kept because some writers (numpy.savez, matplotlib) choose a format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{TEMPORARY}{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _flush(temporary)
        temporary.chmod(0o644)  # mkstemp makes files that only their owner reads
        temporary.replace(path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what processes killed in the middle of a write left below ``folder``."""
    for path in folder.rglob(f"{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """See that files can be made in ``folder`` or, where it does not exist, in the nearest one above it.

    Raises:
        InputError: they cannot.
    """
    place = nearest(folder)
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise InputError(
            f"nothing can be written to {place} ({error.strerror}); change its permissions, or set the environment "
            "variable PN_ROOT to a folder of your own, where results are kept then"
        ) from None


def nearest(folder: Path) -> Path:
    """``folder``, or the nearest one above it that there is."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())


def _flush(path: Path) -> None:
    """fsync a file or a folder: without the folder's, a crash can forget the rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: object) -> None:
    """Write JSON with keys in the order given; NaN and infinity are refused, since JSON has neither."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> dict:
    """Read a JSON object.

    Raises:
        InputError: the file is missing, or is not a whole JSON object.
    """
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; the command that makes it has not run yet") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({one_line(error)}); delete it and run again, and it is made anew"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{path} is damaged (it holds no JSON object); delete it and run again")
    return value


def read_toml(path: Path, what: str) -> dict:
    """Read a file of settings, which an editor may have begun with a byte-order mark; ``what`` names it in errors.

    Raises:
        InputError: there is none, or it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{what} {path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:  # TOML and Unicode errors are ValueErrors
        raise InputError(f"{what} {path} is no valid TOML ({one_line(error)})") from None


def sha256(path: Path | str) -> str:
    """Hex digest of a file's bytes or, for a folder, of the names and bytes of all files in it."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
