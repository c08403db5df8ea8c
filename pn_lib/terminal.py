"""What a terminal can show and pass on: everything is printed as well as its encoding can, and never fails for it;
and what is said there of mistakes."""

import codecs
import errno
import os
import sys
import unicodedata
from io import TextIOWrapper

from typer import TyperException

PROGRAM = "python -m pn_lib"
OUT_OF_MEMORY = "the memory does not suffice; close other programs, or choose a smaller profile or model, and run again"
LONGEST = 2000  # characters of an error
# Of typography, what Unicode itself does not take apart into plainer letters
PLAINER = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-", "×": "x", "·": "*"}


def settle() -> None:
    """Let standard output and error replace letters that they cannot show: quotes by plain ones, é by e, 猫 by ?."""
    codecs.register_error("nearest", _nearest)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="nearest")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(letter: str) -> str:
    parts = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    accent = unicodedata.combining(letter)  # its letter stands before it
    return PLAINER.get(letter) or parts or ("" if accent else "?")


def typed(text: str) -> str:
    """An argument of the command line as it was typed, in UTF-8, where Python took the terminal for one of ASCII."""
    return os.fsencode(text).decode("utf-8", "surrogateescape")


def abandon_output() -> None:
    """After the reader of a pipe has gone: what is still to be printed goes nowhere, without complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(message: str, code: int) -> int:
    """Say what went wrong; returns the exit code."""
    print(f"error: {message}", file=sys.stderr)
    return code


def shortened(message: str) -> str:
    """Without its middle, where it is longer than anything we say: a damaged file's word can be a megabyte."""
    return message if len(message) <= LONGEST else f"{message[: LONGEST // 2]} … {message[-LONGEST // 2 :]}"


def system_message(error: OSError) -> str:
    """What the system refuses and what to do; raises the error again if that is nobody's to mend."""
    if error.errno == errno.ENOMEM:
        return OUT_OF_MEMORY
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk is full; free some space and run the same command again, which goes on from the last whole result"
        )
    if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{error.filename}: {error.strerror}; change its permissions, or set the environment variable PN_ROOT to a "
            "folder of your own, where results are kept then"
        )
    if error.filename and error.errno == errno.ENAMETOOLONG:
        return shortened(f"{error.filename}: a name too long for a file; give a shorter one")
    raise error


def usage_message(error: TyperException) -> str:
    """What was mistyped, and where to read what can be typed."""
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]} (see {context.command_path if context else PROGRAM} --help)"
