"""Whether a tokenizer gives texts back as they were.

Ours do. One that lowercases, normalizes characters or drops spaces does not: its tokens are those of another text,
often an easier one, and what they cost says nothing about the bytes of the text that was given.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pn_lib.data.tokenizer import Coder
from pn_lib.errors import InputError

AROUND = 12  # characters shown on either side of the first difference


@dataclass(frozen=True)
class RoundTrip:
    """How texts fared that were encoded and decoded again: the places of those that came back, and what became of the
    first that did not."""

    texts: int
    kept: tuple[int, ...]
    example: tuple[str, str] | None  # a piece of that text, before and after

    @property
    def sentence(self) -> str | None:
        """What is wrong, if anything is, to be put into a sentence of its own."""
        if self.example is None:
            return None
        lost, (before, after) = self.texts - len(self.kept), self.example
        which = "the text" if self.texts == 1 else f"{lost:,} of {self.texts:,} texts"
        return f"the model's tokenizer changes {which} ({before!r} becomes {after!r})"


def round_trip(tokenizer: Coder, texts: Sequence[str]) -> RoundTrip:
    """Encode and decode each text, and compare."""
    kept, example = [], None
    for place, text in enumerate(texts):
        back = tokenizer.decode(tokenizer.encode(text))
        if back == text:
            kept.append(place)
        elif example is None:
            example = _difference(text, back)
    return RoundTrip(len(texts), tuple(kept), example)


def check_lossless(tokenizer: Coder, texts: Sequence[str]) -> None:
    """Refuse a tokenizer that changes any of the texts, as no bits per byte can then be measured on them.

    Raises:
        InputError: it does.
    """
    found = round_trip(tokenizer, texts)
    if found.sentence is not None:
        raise InputError(
            f"{found.sentence}, so no bits per byte can be measured on all; leave those out, or take another model"
        )


def warn_of_changes(tokenizer: Coder, beginnings: Sequence[str]) -> None:
    """Say on standard error if a model reads other beginnings than those it was given."""
    found = round_trip(tokenizer, beginnings)
    if found.sentence is not None:
        print(f"warning: {found.sentence}; the model goes on from what that made of it", file=sys.stderr)


def _difference(before: str, after: str) -> tuple[str, str]:
    """Both texts around the first place in which they differ."""
    place = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = max(0, place - AROUND)
    return before[start : place + AROUND], after[start : place + AROUND]
