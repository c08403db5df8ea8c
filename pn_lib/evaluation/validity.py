"""Pocket stories only: their source can score any text exactly, so a model's faults are measured, not judged."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import pandas as pd

from pn_lib.data import pocket
from pn_lib.data.pocket.chooser import Chooser, Continuer
from pn_lib.data.pocket.content import POOLS
from pn_lib.data.pocket.templates import Language, Mention, Telling
from pn_lib.errors import InputError
from pn_lib.evaluation.diversity import words
from pn_lib.evaluation.intervals import Interval, bits_per_byte_interval, wilson_interval
from pn_lib.progress import progress

PRONOUNS = {"he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their"}
SPACING = "a space or a new paragraph that stands where it cannot"


def source_nats(stories: Sequence[str], language: Language = pocket.STORIES) -> np.ndarray:
    """-log p of each story under the source itself, in nats: (len(stories),); infinite outside the language."""
    scored = progress(stories, "Scoring by the source", unit="story")
    return np.array([-pocket.log_prob(story, language) for story in scored])


def valid_share(stories: Sequence[str]) -> Interval:
    """Share of the stories that the source could have produced, word for word, with Wilson's interval. (The study of
    coherence, which asks for the ``departures`` anyway, counts those that have none.)"""
    return wilson_interval(int(np.isfinite(source_nats(stories)).sum()), len(stories))


def departures(stories: Sequence[str], language: Language = pocket.STORIES) -> pd.DataFrame:
    """Where and how stories leave the language: a row for each that does, its number in column story.

    Each story counts once, at the furthest word up to which it follows some story of the source. ``reason`` says what
    is wrong; at character ``position`` it has ``found`` where the source has ``expected`` or something less likely.
    ``slot`` is the fact broken (a key of ``POOLS``), if one is: another of its kind was found, or it had
    been named before and had to be named here again. ``back`` is how many characters before it was last spelled out,
    in any form but a pronoun; missing if it never was.
    """
    faults = [
        (number, *_fault(story, departure.position, language))
        for number, story in enumerate(progress(stories, "Explaining", unit="story"))
        if (departure := pocket.explain(story, language=language))
    ]
    return pd.DataFrame(faults, columns=["story", *_Fault._fields]).astype({"back": "Int64"})


def departure_reasons(stories: Sequence[str]) -> list[tuple[str, int]]:
    """The reasons of ``departures``, and in how many stories each is the first fault; the commonest first."""
    return Counter(departures(stories)["reason"]).most_common()


class _Fault(NamedTuple):
    position: int
    reason: str
    expected: str
    found: str
    slot: str | None = None
    back: int | None = None


@dataclass(frozen=True)
class _Branch:
    """One way in which the source could have continued: ``text``, up to and including the first piece (a fact or a
    template's words) that the story does not have; ``telling`` is all that was told until then."""

    log_weight: float  # nats
    text: str
    ended: bool  # there is no such piece, as the source's story was over
    telling: Telling

    @property
    def fact(self) -> tuple[int, Mention] | None:
        """Where that piece starts and how it is spelled, if it is a fact."""
        if not self.telling.mentions:
            return None
        start, mention = self.telling.mentions[-1]
        length = len(mention.spell(self.telling.facts[mention.slot]))
        return (start, mention) if start + length == self.telling.length else None

    @property
    def heard(self) -> int | None:
        """Where that fact was last spelled out before, if it was."""
        *before, (_, mention) = self.telling.mentions
        return next(
            (
                start
                for start, other in reversed(before)
                if other.slot == mention.slot and other.form not in pocket.PRONOUN_FORMS
            ),
            None,
        )

    @property
    def names(self) -> bool:
        """Whether that piece has to be a certain name, thing, place or deed."""
        return self.fact is not None and self.heard is not None and self.fact[1].form not in pocket.PRONOUN_FORMS


def _branches(story: str, position: int, language: Language) -> list[_Branch]:
    """All ways to continue from ``position``, likeliest first."""
    rest, telling, branches = story[position:], None, []

    def program(chooser: Chooser) -> None:
        nonlocal telling  # cannot be returned: an exception ends the program once it has told enough
        telling = Telling(language.pools, chooser)
        telling.tell(language.parts)

    reader = Continuer(story[:position], enough=lambda text: not rest.startswith(text))
    for log_weight in reader.runs(program):
        branches.append(_Branch(log_weight, reader.text, reader.ended, telling))
    return sorted(branches, key=lambda branch: -branch.log_weight)


def likeliest_telling(beginning: str, language: Language = pocket.STORIES) -> Telling:
    """What the source has told, most likely, once it has written ``beginning``, which some story of it begins with.

    The last mention may go on behind it.
    """
    return _branches(beginning, len(beginning), language)[0].telling


def _fault(story: str, position: int, language: Language) -> _Fault:
    """What is wrong with the word that begins at ``position``."""
    rest, branches = story[position:], _branches(story, position, language)
    for branch in branches:
        if branch.text.startswith(rest):
            return _Fault(position, "it stops before its end", _word(branch.text), rest)
    for branch in branches:
        if branch.ended:
            end = position + len(branch.text)
            return _Fault(end, "it goes on after its end", "", _word(story[end:].lstrip()))
    for branch in branches:
        if branch.fact and _spelled(story, *branch.fact):
            return _broken_fact(story, position, branch)
    for branch in branches:
        word = _word(branch.text)
        if word.isspace() or (rest[0].isspace() and rest.lstrip().startswith(word)):
            return _Fault(position, SPACING, word, _word(rest))
        if word == _word(rest):  # and another space behind it
            end = position + len(word)
            return _Fault(end, SPACING, _word(branch.text[len(word) :]), _word(story[end:]))
    if all(branch.names for branch in branches):
        return _broken_fact(story, position, branches[0])
    reason = "a sentence that goes astray"
    if _is_pronoun(rest) and any(_is_pronoun(branch.text) for branch in branches):
        reason = "a wrong pronoun"
    elif re.search(r'(^|[.!?]"?)\s*"?$', story[:position]):
        reason = "a sentence that cannot stand there"
    return _Fault(position, reason, _word(branches[0].text), _word(rest))


def _broken_fact(story: str, position: int, branch: _Branch) -> _Fault:
    """The fault where the fact that ``branch`` ends with is broken, from its first wrong word to its last."""
    start, mention = branch.fact
    at = max(position, start)  # the word at ``position`` may have something before the fact, such as a quotation mark
    expected = mention.spell(branch.telling.facts[mention.slot])[at - start :]
    found = _spelled(story, start, mention)[at - start :]
    if not found:  # nothing of that kind: as many words
        found = " ".join(story[at:].split()[: len(expected.split())]).rstrip('.,!?"')
    reason = "another name, thing, place or deed than it has to be"
    if mention.slot == "break":
        reason = SPACING
    elif mention.form in pocket.PRONOUN_FORMS:
        reason = "a wrong pronoun"
    return _Fault(at, reason, expected, found, mention.slot, None if branch.heard is None else at - branch.heard)


def _spelled(story: str, start: int, mention: Mention) -> str:
    """The fact of that kind that the story has at ``start``, as it is spelled; "" if it has none."""
    found = [
        text
        for text in _spellings(mention)
        if story.startswith(text, start) and not (text[-1].isalpha() and story[start + len(text) :][:1].isalpha())
    ]  # not in the middle of a word
    return max(found, key=len, default="")


@cache
def _spellings(mention: Mention) -> frozenset[str]:
    """How the mention would read, were the fact another: all there are."""
    records = chain.from_iterable(POOLS[mention.slot].options.values())
    return frozenset(mention.spell(record) for record in records)


def _is_pronoun(text: str) -> bool:
    return bool(PRONOUNS.intersection(words(text)[:1]))


def _word(text: str) -> str:
    """What ``text`` begins with: a word with its marks, or space."""
    return re.match(r"\S+|\s*", text)[0]


def excess_bits_per_byte(story_nats: np.ndarray, stories: Sequence[str]) -> Interval:
    """How many more bits per byte a model needs than the source, on stories of the source: an estimate of the
    Kullback-Leibler divergence, 0 for a perfect model; with the bootstrap interval over stories, paired.

    ``story_nats`` (len(stories),) come from ``likelihood`` on the same stories in the same order. A text has more than
    one spelling in tokens and the model is charged for the one that the tokenizer makes, so the estimate is
    slightly too high.

    Raises:
        InputError: a story is outside the language, so the source finds it impossible.
    """
    exact = source_nats(stories)
    outside = np.flatnonzero(~np.isfinite(exact))
    if len(outside):
        raise InputError(
            f"{len(outside)} of {len(stories)} stories are not Pocket stories, first number {outside[0]} "
            f"({stories[outside[0]][:60]!r}); measure the excess on stories of the source"
        )
    return bits_per_byte_interval(story_nats - exact, np.array([len(story.encode()) for story in stories]))
