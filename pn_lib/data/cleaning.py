"""Cleaning that says what it did, and a split that does not depend on the order of the stories.

Cleaning is one pass over the stories rather than ``datasets.map``: its counts are part of the result, and a ``map``
that is answered from a cache counts nothing.
"""

import hashlib
import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import ftfy

from pn_lib.data.stories import iterate, to_dataset
from pn_lib.errors import InputError
from pn_lib.progress import progress

# Encoding only: curly quotes, ligatures, HTML and whitespace are the data's own.
_ENCODING_ONLY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)
# Control characters (but tab and line feed), and U+FFFD, where an earlier program gave up on the encoding.
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")

_OTHER_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")  # beside U+0085, by which a text was read as the wrong code page
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_OUTER = re.compile(r"\A[\s\ufeff]+|[\s\ufeff]+\Z")  # a byte order mark is left where files were joined


def _mend_encoding(text: str) -> str:
    """U+0085 alone is a line end (NEL), and must not become the dots that it is in code page 1252."""
    if text.isascii():
        return text
    if "\x85" not in text or _OTHER_CONTROLS.search(text):
        return ftfy.fix_text(text, _ENCODING_ONLY)
    return "\x85".join(ftfy.fix_text(part, _ENCODING_ONLY) for part in text.split("\x85"))


# What is mended, in this order: reason and function.
MENDERS = {
    "damaged encoding": _mend_encoding,
    "composed characters": partial(unicodedata.normalize, "NFC"),
    "line endings": partial(_LINE_ENDS.sub, "\n"),
    "outer whitespace": partial(_OUTER.sub, ""),
}


@dataclass(frozen=True)
class CleaningReport:
    """Stories read and kept, and kept ones that were changed and others dropped, by reason.

    One story may be changed for several reasons, but is dropped for one: read = kept + sum(dropped).
    """

    read: int
    kept: int
    changed: dict[str, int]
    dropped: dict[str, int]

    def __add__(self, other: "CleaningReport") -> "CleaningReport":
        """Two splits counted together."""

        def both(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
            return {reason: first[reason] + second[reason] for reason in first}

        return CleaningReport(
            self.read + other.read,
            self.kept + other.kept,
            both(self.changed, other.changed),
            both(self.dropped, other.dropped),
        )


def clean(
    dataset: datasets.Dataset, min_characters: int = 100, file: Path | None = None
) -> tuple[datasets.Dataset, CleaningReport]:
    """Mend what can be mended and drop what cannot.

    Mended: damaged encoding ("itâ€™s": UTF-8 read as another code page; ftfy), characters in pieces (Unicode NFC), line
    endings, whitespace around a story. Dropped: not text (null, control or replacement characters, no letter), too
    short (under ``min_characters``), duplicate (of an earlier story, but for whitespace). Everything else is kept as
    it is. Memory does not grow with the stories but for 100 bytes each to know duplicates by; the result is in memory,
    or in the Arrow ``file``.

    Raises:
        InputError: no story is left.
    """
    cleaner = Cleaner(min_characters)
    stories = progress(iterate(dataset), "Cleaning stories", total=len(dataset), unit="story")
    result = to_dataset((mended for text in stories if (mended := cleaner(text)) is not None), file)
    report = CleaningReport(len(dataset), len(result), dict(cleaner.changed), dict(cleaner.dropped))
    if not len(result):
        raise InputError(nothing_left(report.read, cleaner))
    return result, report


class Cleaner:
    """Cleans stories one after the other, and counts what it did: see ``clean``."""

    def __init__(self, min_characters: int):
        self.min_characters = min_characters
        self.changed = Counter(dict.fromkeys(MENDERS, 0))
        self.dropped = Counter({"not text": 0, "too short": 0, "duplicate": 0})
        self._seen: set[bytes] = set()

    def __call__(self, text: str | None) -> str | None:
        """The mended story, or None if it is dropped."""
        mended, reasons = mend(text or "")
        fault = _fault(mended, self.min_characters, self._seen)
        if fault:
            self.dropped[fault] += 1
            return None
        self.changed.update(reasons)
        return mended


def nothing_left(read: int, cleaner: Cleaner) -> str:
    """What to say where cleaning has dropped all stories."""
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in cleaner.dropped.items())
    return (
        f"cleaning left no story of {read:,} ({reasons}); a story has letters and at least "
        f"{cleaner.min_characters:,} characters ([data] min_characters in a profile of your own): "
        "is this a corpus of stories?"
    )


def mend(text: str) -> tuple[str, list[str]]:
    """The mended text, and the reasons for which it was changed."""
    reasons = []
    for reason, mender in MENDERS.items():
        mended = mender(text)
        if mended != text:
            reasons.append(reason)
        text = mended
    return text, reasons


def _fault(text: str, min_characters: int, seen: set[bytes]) -> str | None:
    """Why ``text`` is dropped, or None; a text that is kept is added to ``seen``."""
    if _NOT_TEXT.search(text) or not any(map(str.isalpha, text)):
        return "not text"
    if len(text) < min_characters:
        return "too short"
    key = story_key(text)
    if key in seen:
        return "duplicate"
    seen.add(key)
    return None


def story_key(text: str, salt: str = "") -> bytes:
    """16 bytes that two stories share if they are equal but for whitespace (and the ``salt`` is the same)."""
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16, key=salt.encode()).digest()


def check_split(stories: int, validation_stories: int, where: str = "") -> None:
    """See that so many ``stories`` can be split; the message begins with ``where``.

    Raises:
        InputError: there would be fewer training stories than validation stories.
    """
    if not 0 < 2 * validation_stories <= stories:
        raise InputError(
            f"{where}{validation_stories:,} validation stories cannot be taken from {stories:,} stories, at "
            "least one and at most half can; give more stories, or ask for fewer "
            "([data] validation_stories in a profile of your own)"
        )


def split(
    dataset: datasets.Dataset, validation_stories: int, seed: int, folder: Path | None = None
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Split into training and validation stories, in memory or in ``folder``: validation takes the stories whose seeded
    hashes are smallest, whatever the order of the stories.

    Raises:
        InputError: there would be fewer training stories than validation stories.
    """
    check_split(len(dataset), validation_stories)
    keys = ((story_key(text or "", str(seed)), i) for i, text in enumerate(iterate(dataset)))
    chosen = {i for _, i in heapq.nsmallest(validation_stories, keys)}

    def part(validation: bool) -> Iterator[str | None]:
        return (text for i, text in enumerate(iterate(dataset)) if (i in chosen) == validation)

    return (
        to_dataset(part(False), folder and folder / "train.arrow"),
        to_dataset(part(True), folder and folder / "validation.arrow"),
    )
