"""What a judge is asked about a story: GPT-Eval (Eldan & Li 2023, arXiv:2305.07759).

The judge, a large language model, reads the beginning of a story and how somebody went on with it. It writes an
assessment first and grades afterwards, so that the grades can follow from the assessment. The wording is our own, and
stands in ``rubrics/``.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from pn_lib.evaluation.judge_reply import Grades, Verdict

DIVIDER = "***"  # stands where a student's own words begin, as the rubrics say


class Rubric(NamedTuple):
    """What a judge is told before it sees a text, and the form of its reply."""

    name: str
    text: str
    reply: type[BaseModel]

    @property
    def fingerprint(self) -> str:
        """Changes with the wording or the form of the reply, as gradings by different rubrics do not compare."""
        return digest(self.text, json.dumps(self.reply.model_json_schema(), sort_keys=True))


def _rubric(name: str, reply: type[BaseModel]) -> Rubric:
    return Rubric(name, (Path(__file__).parent / "rubrics" / f"{name}.txt").read_text(encoding="utf-8"), reply)


def digest(*parts: str) -> str:
    """Sixteen hex digits that stand for the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


GRADES = _rubric("grades", Grades)
PAIRS = _rubric("pairs", Verdict)


@dataclass(frozen=True)
class Sample:
    """An ending that somebody (a teller: a model, or the human author) gave a beginning."""

    teller: str
    beginning: int  # numbers of the beginning, and of the ending among the teller's for it
    ending: int
    prompt: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.teller}/{self.beginning}/{self.ending}"


class Key(NamedTuple):
    """What an answer belongs to: a changed text, judge (its fingerprint) or rubric makes another question."""

    sample: str
    message: str
    judge: str
    rubric: str
    repeat: int


@dataclass(frozen=True)
class Task:
    """One question to a judge."""

    sample: str  # a sample's id, or those of two, in the order shown
    rubric: Rubric
    message: str  # the text itself, which the judge gets after the rubric
    repeat: int = 0

    def key(self, judge: str) -> Key:
        return Key(self.sample, digest(self.message), judge, self.rubric.fingerprint, self.repeat)


def grading(sample: Sample, repeat: int = 0) -> Task:
    """The task to grade one ending."""
    return Task(sample.id, GRADES, _fenced(_plain(sample.prompt) + DIVIDER + _plain(sample.text)), repeat)


def comparison(first: Sample, second: Sample) -> Task:
    """The task to choose between two endings of one beginning, shown in this order."""
    parts = (first.prompt, first.text, second.text)
    return Task(f"{first.id} {second.id}", PAIRS, _fenced(f"\n{DIVIDER}\n".join(map(_plain, parts))))


def pairings(samples: Sequence[Sample], beginnings: int) -> list[tuple[Sample, Sample]]:
    """Every two tellers' first endings of the first ``beginnings`` beginnings, each pair once."""
    first = {(s.teller, s.beginning): s for s in samples if s.ending == 0}
    return [
        (first[a, b], first[other, b])
        for a, other in combinations(dict.fromkeys(s.teller for s in samples), 2)
        for b in range(beginnings)
        if (a, b) in first and (other, b) in first
    ]


def _plain(text: str) -> str:
    """A story's own rows of stars, set apart from the divider."""
    return text.replace(DIVIDER, "* * *")


def _fenced(text: str) -> str:
    """The text between two lines that it cannot hold itself, as they depend on all of it."""
    line = f"----- {digest(text)} -----"
    return f"{line}\n{text}\n{line}"
