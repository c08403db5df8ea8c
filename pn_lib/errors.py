"""Errors that somebody can act upon: one clear sentence, shown without a traceback by the command line."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 300  # characters of a library's message


class InputError(ValueError):
    """Something given to PocketNarrator is wrong; the message says what, where, and what to do about it."""


class NoStoriesError(InputError):
    """A file holds no stories, though it can be read; among others in a folder it is left out."""


class DivergenceError(InputError):
    """Training left the numbers: the loss is NaN or infinite."""


def one_line(error: Exception) -> str:
    """What an error says, for a sentence: some libraries' messages have line breaks, or quote half a damaged file."""
    said = " ".join(str(error).split())
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Which of the ``known`` names was probably meant, as the end of a sentence; empty if none is near."""
    near = get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
