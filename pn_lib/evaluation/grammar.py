"""Grammar faults, found by a real checker: Harper (Automattic; package ``harper-py``), offline and deterministic.

Only rules about the form of sentences are on: style, names and simple words are not faults. The
checker finds local slips (an article, an agreement, a doubled word, a verb form) and is blind to much else: a missing
article, a sentence without a verb, nonsense in good grammar. So its count is a lower bound, and means something only
beside the same count on real stories. What it finds and misses is measured in notebook 05 by ``CORRUPTIONS``.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from random import Random

import harper

from pn_lib.errors import InputError
from pn_lib.evaluation.diversity import words

RULES = (
    # articles and determiners
    "AnA",
    "MissingDeterminer",
    "TheMy",
    "SomeWithoutArticle",
    "ThisTypeOfThing",
    "OneOfTheSingular",
    # agreement
    "PronounInflectionBe",
    "PronounVerbAgreement",
    "IAmAgreement",
    "ThereIsAgreement",
    "HavePronoun",
    "NominalWants",
    # verb forms
    "DidPast",
    "HelpedPast",
    "SimplePastToPastParticiple",
    "InflectedVerbAfterTo",
    "ProgressiveNeedsBe",
    "ModalOf",
    "DoubleModal",
    "MissingTo",
    "WentAheadAndAgreement",
    # pronouns, repetition, sentences
    "SubjectPronoun",
    "TheyToThem",
    "CompoundSubjectI",
    "FriendOfMe",
    "CapitalizePersonalPronouns",
    "MultipleSequentialPronouns",
    "RepeatedWords",
    "ToTo",
    "DoubleNegative",
    "SentenceCapitalization",
)


@dataclass(frozen=True)
class Fault:
    """A fault at ``text[start:end]``, by the checker's rule, with its message."""

    start: int
    end: int
    rule: str
    message: str


@cache
def _linter() -> harper.Linter:
    linter = harper.Linter()  # reads its dictionary: most of a second
    known = linter.get_lint_config()
    unknown = [rule for rule in RULES if rule not in known]
    if unknown:
        raise InputError(f"this version of harper-py has no rule {unknown[0]}; install the one of requirements.lock")
    linter.set_lint_config({rule: rule in RULES for rule in known})
    return linter


def faults(text: str) -> list[Fault]:
    """The faults of ``text`` in their order."""
    found = _linter().organized_lints(text, language="plaintext")
    return sorted(
        (Fault(lint.span.start, lint.span.end, rule, lint.message) for rule, lints in found.items() for lint in lints),
        key=lambda fault: (fault.start, fault.end, fault.rule),
    )


def faults_per_100_words(beginning: str, completion: str) -> float:
    """Faults that reach into the completion, for each 100 of its words. It is read with its beginning, whose faults
    do not count."""
    count = sum(fault.end > len(beginning) for fault in faults(beginning + completion))
    return 100 * count / max(1, len(words(completion)))


REGULAR = "ask|clean|cook|follow|help|jump|kick|laugh|look|open|paint|pick|play|pull|push|talk|touch|walk|want|watch"


def _swap(pattern: str, replacement: str) -> Callable[[str, Random], str]:
    """A corruption: one match of ``pattern``, chosen at random, replaced; the text itself where there is none."""

    def corrupt(text: str, rng: Random) -> str:
        matches = list(re.finditer(pattern, text))
        if not matches:
            return text
        match = matches[int(rng.random() * len(matches))]
        return text[: match.start()] + match.expand(replacement) + text[match.end() :]

    return corrupt


CORRUPTIONS: dict[str, Callable[[str, Random], str]] = {
    "an → a": _swap(r"\ban ([aeiou])", r"a \1"),
    "a → an": _swap(r"\ba ([b-df-hj-np-tv-z])", r"an \1"),
    "a word doubled": _swap(r"\b(the|to|and|was|her|his) ", r"\1 \1 "),
    "he was → he were": _swap(r"\b(He|She|he|she) was\b", r"\1 were"),
    "they were → they was": _swap(r"\b(They|they) were\b", r"\1 was"),
    "did not know → did not went": _swap(r"\b(did not|didn't|could not) \w+", r"\1 went"),
    "she played → she play": _swap(rf"\b(He|She) ({REGULAR})ed\b", r"\1 \2"),
    "he went → him went": _swap(r"\b(He|he) (?=went|said|saw|ran|was)", r"him "),
    "two dogs → two dog": _swap(r"\b(two|three|many) (\w+)s\b", r"\1 \2"),
    "in the park → in park": _swap(r" (in|on|to|at) the (?=\w)", r" \1 "),
    "a full stop left out": _swap(r"\.(?= [A-Z])", ""),
    "two words exchanged": _swap(r"\b(\w+) (\w+)\b", r"\2 \1"),
}


def recall(stories: Iterable[str], seed: int = 0) -> dict[str, tuple[int, int]]:
    """How many of each kind of corruption the checker notices: name -> (noticed, tried), one per story.

    Noticed means that the corrupted story has more faults than the story had.
    """
    stories = list(stories)
    before = [len(faults(story)) for story in stories]
    result = {}
    for name, corrupt in CORRUPTIONS.items():
        rng = Random(f"{name} {seed}")
        tried = [(corrupt(story, rng), count) for story, count in zip(stories, before, strict=True)]
        tried = [(text, count) for (text, count), story in zip(tried, stories, strict=True) if text != story]
        result[name] = (sum(len(faults(text)) > count for text, count in tried), len(tried))
    return result
