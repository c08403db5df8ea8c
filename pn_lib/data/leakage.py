"""Leakage: training stories that the validation set holds too, whole or in large part."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import datasets
import numpy as np

from pn_lib.data.cleaning import story_key
from pn_lib.data.scripts import UNSPACED, UNSPACED_LETTER
from pn_lib.data.stories import iterate, to_dataset
from pn_lib.errors import InputError
from pn_lib.progress import progress

_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing modulo 2^64


@dataclass(frozen=True)
class LeakageReport:
    """Training stories by what they have in common with the validation set. Each is counted once, by the strongest.

    Attributes:
        ngram: length, in words, of the runs compared.
        exact: the same as a validation story but for whitespace.
        near: over half of the runs of the shorter story are runs of the other.
        shared: some run in common, but less than near; not removed.
        removed: stories taken out of the training set.
    """

    ngram: int
    exact: int
    near: int
    shared: int
    removed: int


def remove_leakage(
    train: datasets.Dataset, validation: datasets.Dataset, n: int = 16, file: Path | None = None
) -> tuple[datasets.Dataset, LeakageReport]:
    """Take out of ``train`` the exact and near copies of validation stories; the validation set stays as it is.

    Stories are compared by their runs of ``n`` words (2n characters, in scripts without spaces), case and punctuation
    apart. One shared run is no leak: these stories are formulaic ("once upon a time there was a little girl named lily
    she loved to play"), Pocket stories by design, and whoever drops every story with a stock phrase trains on another
    language. A copy, though cut, continued or edited here and there, shares *most* of its runs with *one* story: A and
    B are near when |A n B| > min(|A|, |B|) / 2 for their sets of runs. The minimum finds an excerpt on either side;
    comparing with one story at a time is what stock phrases from many stories cannot add up to. Of two stories that
    differ in every sixteenth word nothing is shared, so paraphrases are not found.

    Memory is 24 bytes for each run of the validation set; the result is in memory, or in the Arrow ``file``.

    Raises:
        InputError: no training story is left.
    """
    index, counts = _Index(validation, n), Counter()

    def kept() -> Iterator[str]:
        for text in progress(iterate(train), "Comparing with validation", total=len(train), unit="story"):
            kind = index.kind(text)
            counts[kind] += 1
            if kind not in ("exact", "near"):
                yield text

    result = to_dataset(kept(), file)
    if not len(result):
        raise InputError(f"all {len(train):,} training stories are in the validation set too; give other stories")
    return result, LeakageReport(n, counts["exact"], counts["near"], counts["shared"], counts["exact"] + counts["near"])


class _Index:
    """The validation stories, to be looked up by whole story and by run of words."""

    def __init__(self, validation: datasets.Dataset, n: int):
        self.n = n
        self.stories = {story_key(text) for text in iterate(validation)}
        runs = [_runs(text, n) for text in iterate(validation)]
        self.sizes = np.array([len(r) for r in runs], np.int64)
        hashes = np.concatenate([np.empty(0, np.uint64), *runs])
        owners = np.repeat(np.arange(len(runs)), self.sizes)
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.owners = hashes[order], owners[order]  # (runs,): each run and the story it is from

    def kind(self, text: str) -> str:
        """What a story has in common with them: exact, near, shared or none."""
        if story_key(text) in self.stories:
            return "exact"
        runs = _runs(text, self.n)
        first, end = np.searchsorted(self.hashes, runs, "left"), np.searchsorted(self.hashes, runs, "right")
        hit = end > first
        if not hit.any():
            return "none"
        owners = [self.owners[a:b] for a, b in zip(first[hit], end[hit], strict=True)]
        stories, shared = np.unique(np.concatenate(owners), return_counts=True)
        near = 2 * shared > np.minimum(self.sizes[stories], len(runs))
        return "near" if near.any() else "shared"


def _runs(text: str, n: int) -> np.ndarray:
    """64-bit hashes, sorted and distinct, of all runs of ``n`` words of ``text``: polynomials in the words' hashes."""
    words = np.array(list(map(_word_hash, _WORD.findall(text.lower()))), np.uint64)
    if 2 * len(UNSPACED_LETTER.findall(text)) > len(words):
        n *= 2  # characters: a word has about two of them
    if len(words) < n:
        return np.empty(0, np.uint64)
    powers = _MULTIPLIER ** np.arange(n, dtype=np.uint64)  # wraps modulo 2^64, as meant
    return np.unique(np.convolve(words, powers, "valid"))


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
