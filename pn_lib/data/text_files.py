"""Text as it lies on disks, compressed or not, in whatever encoding; what only looks like it is told for what it is."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import pyarrow as pa

from pn_lib.errors import InputError, NoStoriesError

HEAD = 1 << 20  # bytes at a file's beginning by which it is judged

_COMPRESSED = {  # how a file begins, and what opens it
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"),
}
_IMPOSTORS = {  # how a file begins (after white space), and what its owner can do
    b"version https://git-lfs.github.com/": "is a Git LFS pointer, not the data; fetch them with: git lfs pull",
    b"<!doctype html": "is a web page, not stories; download the file itself (on the Hub: its 'resolve' address)",
    b"<html": "is a web page, not stories; download the file itself (on the Hub: its 'resolve' address)",
    b"<?xml": "is XML; save its stories as .txt or .jsonl",
    b"pk\x03\x04": "is a ZIP archive or an office document; unpack it, or save its text as .txt",
    b"%pdf": "is a PDF; save its text as .txt",
    b"{\\rtf": "is a document in RTF; save its text as .txt",
    b"sqlite format 3": "is an SQLite database; export its stories as .csv",
    b"\x93numpy": "is a NumPy array; save its stories as .jsonl",
    b"\x89hdf": "is an HDF5 file; save its stories as .jsonl",
    b"gguf": "is a model (GGUF), not stories",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"rar!": "is a RAR archive; unpack it",
}
_BYTE_ORDER_MARKS = {  # the longer first: UTF-32's begins with UTF-16's
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
_MANY_CONTROLS = 0.01  # of the bytes; some stories may hold a zero byte, but no text has as many
# What Western European text in code page 1252 holds beside ASCII.
_WESTERN = re.compile("[\\s\x20-\x7e\xa0-\xff‚„…‹›‘’“”•–—€™ŠšŽžŒœŸƒ]*")
_FEW_LETTERS = 0.15  # of the letters may be outside ASCII in such text; more is a script of its own


def open_binary(path: Path) -> BinaryIO:
    """The bytes of a file, decompressed if its first bytes say gzip, bzip2, xz or zstd, whatever its name."""
    with path.open("rb") as file:
        start = file.read(8)
    opener = next((opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)), None)
    return path.open("rb") if opener is None else opener(path)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell of whatever keeps a file from being read in one sentence.

    Raises:
        InputError: it cannot be read, or not to its end.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({why}); if it was downloaded, fetch it again") from None


def read_head(path: Path) -> bytes:
    """The first HEAD bytes of a file, decompressed.

    Raises:
        NoStoriesError: it is empty.
        InputError: it is no data at all: a pointer, a web page, an archive, a document.
    """
    with told(path), open_binary(path) as file:
        head = file.read(HEAD)
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    for start, what in _IMPOSTORS.items():
        if begin.startswith(start):
            raise InputError(f"{path} {what}")
    if head[257:262] == b"ustar":
        raise InputError(f"{path} is a tar archive; unpack it (tar -xf) and give the folder")
    if not head.strip():
        raise NoStoriesError(f"{path} is empty: it holds no stories; was it downloaded or saved to its end?")
    return head


def find_encoding(path: Path, head: bytes) -> tuple[str, str | None]:
    """Python's name of a text's encoding, and a remark where it had to be guessed.

    Raises:
        InputError: no text, or text in an encoding that cannot be known.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding, None if encoding == "utf-8-sig" else f"{path.name} is {encoding.upper()}, read as such"
    zeros = (head[::2].count(0), head[1::2].count(0))
    if max(zeros) > 0.3 * len(head) / 2 and min(zeros) < 0.1 * max(zeros):  # letters of Latin, each with a zero byte
        encoding = "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        return encoding, f"{path.name} is {encoding.upper()} without a mark, read as such"
    if sum(map(head.count, map(bytes, zip(_CONTROL, strict=True)))) > _MANY_CONTROLS * len(head):
        what = "zero bytes" if 0 in head else "control characters"
        raise InputError(f"{path} is not a text file: it holds {what}; give the stories as UTF-8 text")
    if not _is_code_page(head):
        return "utf-8", None
    text = head.decode("cp1252", errors="replace")
    letters = [letter for letter in text if letter.isalpha()]
    foreign = sum(not letter.isascii() for letter in letters)
    if _WESTERN.fullmatch(text) and foreign <= _FEW_LETTERS * len(letters):
        return "cp1252", f"{path.name} is no UTF-8; read as code page 1252 (Windows): do its letters look right?"
    raise InputError(
        f"{path} is no UTF-8 text, and its encoding cannot be known; save it as UTF-8 (if you know the encoding: "
        "iconv -f ENCODING -t UTF-8 OLD > NEW)"
    )


def _is_code_page(head: bytes) -> bool:
    """Whether the text is in another encoding as a whole, rather than UTF-8 with a damaged line here and there."""
    lines = head.splitlines()[: -1 if len(head) == HEAD else None]  # the last may be cut within a character
    foreign = [line for line in lines if not line.isascii()]
    damaged = sum(not _is_utf8(line) for line in foreign)
    return 2 * damaged > len(foreign) and damaged > 0.02 * len(lines)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def open_text(path: Path, encoding: str) -> TextIO:
    """A text file, decompressed, its line ends turned into line feeds. Bytes that are not UTF-8 become lone surrogates,
    by which their story is known as damaged (see ``is_text``)."""
    binary = open_binary(path)
    if isinstance(binary, pa.NativeFile):
        binary = io.BufferedReader(binary)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    return io.TextIOWrapper(binary, encoding=encoding, errors=errors)


def is_text(value: object) -> bool:
    """Whether ``value`` is a string that UTF-8 can hold (lone surrogates have no bytes)."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
