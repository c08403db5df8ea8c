"""Choosers: one story program, run in three ways.

A *program* is a function that writes text and makes random choices through a chooser. The ``Sampler`` answers each
choice at random: the program writes a story. The ``Reader`` holds a given text and follows every sequence of choices
that yields it: the program becomes an exact probability model of texts. The ``Enumerator`` takes every choice in turn:
all stories of a small program.

Before it follows an option, a chooser may ask how the option *opens*: the text that the program would write first. The
Reader asks, and so drops hopeless options without running them; the Sampler never does.
"""

import math
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random
from typing import Any, Protocol


class Chooser(Protocol):
    """What a program sees of whoever runs it."""

    def choose(self, count: int, opening: Callable[[int], str]) -> int:
        """Return which of `count` options to take; `opening(i)` is the text that option i writes first, as far as it
        is settled already (it may be empty)."""

    def write(self, text: str) -> None:
        """Take the next piece of the story."""


Program = Callable[[Chooser], Any]


@dataclass(frozen=True)
class Law:
    """How likely each of some ranked options is."""

    cumulative: tuple[int, ...]
    log_weights: tuple[float, ...]  # nats


@cache
def zipf(count: int) -> Law:
    """Zipf-Mandelbrot law over `count` ranked options: the k-th (from 0) has weight 1 / (k + 3).

    The weights are whole numbers, so that what a seed draws hangs on no rounding, version or machine.
    """
    weights = [1_000_000 // (rank + 3) for rank in range(count)]
    total = sum(weights)
    return Law(tuple(accumulate(weights)), tuple(math.log(weight / total) for weight in weights))


class Sampler:
    """Draws every choice from `rng`; `text` is the story and `log_weight` the log-probability (nats) of its choices."""

    def __init__(self, rng: Random):
        self.rng = rng
        self.pieces: list[str] = []
        self.log_weight = 0.0

    def choose(self, count: int, opening: Callable[[int], str]) -> int:
        law = zipf(count)
        # Only Random.random is the same in every Python version; choice and choices are not promised to be.
        index = bisect_right(law.cumulative, int(self.rng.random() * law.cumulative[-1]))
        self.log_weight += law.log_weights[index]
        return index

    def write(self, text: str) -> None:
        self.pieces.append(text)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Departed(Exception):
    """The choices followed so far cannot yield the text."""


class Covered(Exception):
    """The program has written all of the wanted prefix; what follows does not matter."""


class Enumerator:
    """Runs a program once for every sequence of choices that it lets pass, depth first.

    A program cannot be stopped and copied in the middle, but it can be replayed: each run repeats a known prefix of
    choices, then takes the first option wherever a new choice comes up and notes the others for later runs.
    """

    def __init__(self) -> None:
        self.pending: list[list[int]] = [[]]  # prefixes of choices still to be followed

    def runs(self, program: Program) -> Iterator[float]:
        """Yield the log-weight (nats) of every run that comes to its end; `text` is then what it wrote."""
        while self.pending:
            self.path = self.pending.pop()
            self.depth = 0
            self.log_weight = 0.0
            self.restart()
            try:
                program(self)
                self.finish()
            except Departed:
                continue
            except Covered:
                pass
            yield self.log_weight

    def choose(self, count: int, opening: Callable[[int], str]) -> int:
        if self.depth == len(self.path):
            first, *others = self.followed(count, opening)
            self.pending += [[*self.path, other] for other in reversed(others)]
            self.path.append(first)
        index = self.path[self.depth]
        self.depth += 1
        self.log_weight += zipf(count).log_weights[index]
        return index

    def restart(self) -> None:
        self.text = ""

    def followed(self, count: int, opening: Callable[[int], str]) -> list[int]:
        """The options worth following: here all of them."""
        return list(range(count))

    def write(self, text: str) -> None:
        self.text += text

    def finish(self) -> None:
        """The program has ended."""


class Reader(Enumerator):
    """Follows only the choices that yield `target`; with `prefix`, those that yield a story beginning with it."""

    def __init__(self, target: str, prefix: bool = False):
        super().__init__()
        self.target = target
        self.prefix = prefix

    def restart(self) -> None:
        self.position = 0  # characters of the target written so far

    def fits(self, text: str) -> bool:
        if self.target.startswith(text, self.position):
            return True
        return self.prefix and text.startswith(self.target[self.position :])

    def covered(self) -> bool:
        """Whether what has been written is enough."""
        return self.prefix and self.position >= len(self.target)

    def followed(self, count: int, opening: Callable[[int], str]) -> list[int]:
        if self.covered():
            raise Covered
        fitting = [index for index in range(count) if self.fits(opening(index))]
        if not fitting:
            raise Departed
        return fitting

    def write(self, text: str) -> None:
        if not self.fits(text):
            raise Departed
        self.position += len(text)
        if self.covered():
            raise Covered

    def finish(self) -> None:
        if self.position != len(self.target):
            raise Departed


class Continuer(Reader):
    """A Reader that goes on behind the prefix until `enough(text)` of what follows; `text` is that, and `ended`
    whether the story was over before."""

    def __init__(self, prefix: str, enough: Callable[[str], bool]):
        super().__init__(prefix, prefix=True)
        self.enough = enough

    def restart(self) -> None:
        super().restart()
        self.text = ""
        self.ended = False

    def covered(self) -> bool:
        return self.position >= len(self.target) and self.enough(self.text)

    def write(self, text: str) -> None:
        self.text += text[max(0, len(self.target) - self.position) :]
        super().write(text)

    def finish(self) -> None:
        if self.position < len(self.target):
            raise Departed
        self.ended = True


class Tracer(Reader):
    """A Reader that remembers the furthest word where the target left the language, and what could stand there."""

    def __init__(self, target: str):
        super().__init__(target)
        self.furthest = 0  # where that word starts
        self.allowed: dict[str, None] = {}  # an ordered set

    def fits(self, text: str) -> bool:
        if super().fits(text):
            return True
        self.note(self.target[: self.position] + text)
        return False

    def finish(self) -> None:
        if self.position != len(self.target):
            self.note(self.target[: self.position])  # the story was over here
        super().finish()

    def note(self, wanted: str) -> None:
        """Take note that the story was to begin with `wanted`, from which the target departs."""
        pairs = enumerate(zip(wanted, self.target, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(wanted), len(self.target)))
        start = max(self.target.rfind(" ", 0, same), self.target.rfind("\n", 0, same)) + 1
        if start > self.furthest:
            self.furthest, self.allowed = start, {}
        if start == self.furthest:
            self.allowed[wanted[start:]] = None


def log_sum(log_weights: list[float]) -> float:
    """Return log(sum(exp(w))) of log-weights in nats; of none, minus infinity."""
    if not log_weights:
        return -math.inf
    largest = max(log_weights)
    return largest + math.log(math.fsum(math.exp(weight - largest) for weight in log_weights))


def log_prob(program: Program, text: str, prefix: bool = False) -> float:
    """Return the log-probability (nats) that `program` writes `text`, or a story that begins with it if `prefix`.

    Exact: the sum over every sequence of choices that yields the text; minus infinity where there is none.
    """
    return log_sum(list(Reader(text, prefix).runs(program)))


def next_words(program: Program, prefix: str, split: Callable[[str], list[str]]) -> dict[str, float]:
    """Return the exact probability of every word that may come after `prefix`, likeliest first; "" is the story's end.

    What a word is says `split`, which cuts a text as GPT-2 does; a word's end is certain once the next character is
    seen, for an apostrophe the next two. That a word ends where `prefix` ends ("Sam", not "Samuel") is given; the
    dictionary is empty where this cannot be.
    """
    tail = re.search(r"(?:\s+\S*|\S+|)\Z", prefix)[0]  # a space behind anything else is a border, whatever follows

    def enough(text: str) -> bool:
        word = _word_after(tail, text, split)
        return len(text) > (1 if word is None else len(word) + (word == "'"))

    reader, weights = Continuer(prefix, enough), defaultdict(list)
    for weight in reader.runs(program):
        word = _word_after(tail, reader.text, split)
        if word is not None:
            weights[word].append(weight)
    sums = {word: log_sum(each) for word, each in weights.items()}
    total = log_sum(list(sums.values()))
    return {word: math.exp(sums[word] - total) for word in sorted(sums, key=lambda word: (-sums[word], word))}


def _word_after(tail: str, text: str, split: Callable[[str], list[str]]) -> str | None:
    """The word of `tail + text` that begins where `tail` ends, "" if nothing does; None if a word goes across."""
    start = 0
    for word in split(tail + text):
        if start == len(tail):
            return word
        start += len(word)
    return "" if start == len(tail) else None
