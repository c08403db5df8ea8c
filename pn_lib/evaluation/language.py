"""Pocket stories only: their source can score any text exactly, so what a model misses is measured, not judged."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np

from pn_lib.data import pocket
from pn_lib.data.pocket_plots import TEMPLATES
from pn_lib.data.pocket_words import POOLS
from pn_lib.errors import InputError
from pn_lib.evaluation.diversity import words
from pn_lib.evaluation.intervals import Interval, bits_per_byte_interval, wilson_interval
from pn_lib.progress import progress

PRONOUNS = {"he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their"}


def source_nats(stories: Sequence[str]) -> np.ndarray:
    """-log p of each story under the source itself, in nats: (len(stories),); infinite outside the language."""
    return np.array([-pocket.log_prob(story) for story in progress(stories, "Scoring by the source", unit="story")])


def valid_share(stories: Sequence[str]) -> Interval:
    """Share of the stories that the source could have told, word for word, with Wilson's interval."""
    return wilson_interval(int(np.isfinite(source_nats(stories)).sum()), len(stories))


def departure_reasons(stories: Sequence[str]) -> list[tuple[str, int]]:
    """What is wrong where each story first leaves the language, and in how many of them; the commonest first.

    A story is charged with the furthest word up to which it follows some story of the source, by what stands there
    and what the source could have there. Stories of the language are not counted.
    """
    departures = [(story, pocket.explain(story)) for story in progress(stories, "Explaining", unit="story")]
    return Counter(_reason(story, departure) for story, departure in departures if departure).most_common()


def _reason(story: str, departure: pocket.Departure) -> str:
    found, allowed = departure.found, departure.allowed
    if pocket.prefix_log_prob(story) > -math.inf:
        return "it stops before its end"
    if any(found.startswith(option) for option in allowed):  # the last word of a story, or nothing
        return "it goes on after its end"
    if _is_pronoun(found) and any(_is_pronoun(option) for option in allowed):
        return "a wrong pronoun"
    if all(_is_fact(option) for option in allowed):
        return "another name, thing, place or deed than it has to be"
    if re.search(r'(^|[.!?]"?)\s*"?$', story[:departure.position]):
        return "a sentence that cannot stand there"
    return "a sentence that goes astray"


def _is_pronoun(text: str) -> bool:
    return bool(PRONOUNS.intersection(words(text)[:1]))


def _is_fact(text: str) -> bool:
    """Whether ``text`` begins with a fact or, if that has several words, with the last ones of it."""
    first = words(text)
    return any(tuple(first[:n]) in _fact_tails() for n in range(1, 6))


@cache
def _fact_tails() -> frozenset[tuple[str, ...]]:
    """All facts (names, things, places, deeds) by words, whole and without their first ones, but for single words
    that the templates around them have too."""
    spelled = (words(form) for pool in POOLS.values() for records in pool.options.values() for record in records
               for form in record.values())
    tails = {tuple(fact[i:]) for fact in spelled for i in range(len(fact))}
    plain = {word for template in TEMPLATES.values() for word in words(re.sub(r"\{[^{}]*\}|<\w+>", " ", template))}
    return frozenset(tail for tail in tails if len(tail) > 1 or not (plain | PRONOUNS).intersection(tail))


def excess_bits_per_byte(story_nats: np.ndarray, stories: Sequence[str]) -> Interval:
    """How many bits per byte a model needs more than the source, on stories of the source: an estimate of the
    Kullback-Leibler divergence, 0 for a perfect model; with the bootstrap interval over stories, paired.

    ``story_nats`` (len(stories),) come from ``likelihood`` on the same stories in the same order. A text has more than
    one spelling in tokens and the model is charged for the one that the tokenizer makes, so the estimate is, by a
    little, too high.

    Raises:
        InputError: a story is not of the language, so that the source finds it impossible.
    """
    exact = source_nats(stories)
    outside = np.flatnonzero(~np.isfinite(exact))
    if len(outside):
        raise InputError(f"{len(outside)} of {len(stories)} stories are no Pocket stories, first number {outside[0]} "
                         f"({stories[outside[0]][:60]!r}); measure the excess on stories of the source")
    return bits_per_byte_interval(story_nats - exact, np.array([len(story.encode()) for story in stories]))
