"""Measures of stories that need no judge: are they new, varied, free of loops, in known words, and finished?

Words are runs of letters, with apostrophes inside them, in lower case: "Don't!" is one word, punctuation none.
n-grams are of words, and taken as sets unless said otherwise, so that saying a thing twice counts once.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words(text: str) -> list[str]:
    """The words of ``text`` in lower case; a curly apostrophe counts as a straight one."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """All n-grams of words, repeated ones as often as they occur."""
    sequence = words(text)
    return list(zip(*(sequence[i:] for i in range(n)), strict=False))


def rouge2_precision(candidate: str, reference: str) -> float:
    """Share of the candidate's 2-grams that the reference has: ROUGE-2 precision (Lin 2004), over sets as in
    TinyStories' measure of diversity (Eldan & Li 2023). 0 where the candidate has no 2-gram."""
    found, wanted = set(ngrams(candidate, 2)), set(ngrams(reference, 2))
    return len(found & wanted) / len(found) if found else 0.0


def self_rouge2(texts: Sequence[str]) -> np.ndarray:
    """How like its likest fellow each text is: (len(texts),), high where texts resemble each other.

    For each text, the highest ROUGE-2 F-measure (harmonic mean of the precision both ways, as neither is the reference)
    with any other one (Eldan & Li 2023). It rises with the number of texts.
    """
    grams = [set(ngrams(text, 2)) for text in texts]
    return np.array([max((_f_measure(a, b) for j, b in enumerate(grams) if j != i), default=0.0)
                     for i, a in enumerate(grams)])


def _f_measure(a: set, b: set) -> float:
    return 2 * len(a & b) / (len(a) + len(b)) if a or b else 0.0


def distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Different n-grams per n-gram over all texts together (Li et al. 2016): 1 if none occurs twice.

    It falls as the texts grow longer or more, so compare it between sets of the same size only.
    """
    counts = Counter(gram for text in texts for gram in ngrams(text, n))
    return len(counts) / counts.total() if counts else 0.0


def repetition(text: str, n: int = 4) -> float:
    """Share of a story's n-grams that repeat an earlier one of the same story: 0 for none, towards 1 in a loop."""
    grams = ngrams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def quotes_close(text: str) -> bool:
    """Whether every quotation is closed: straight quotes in pairs, curly ones in turn."""
    curly = "".join(re.findall("[“”]", text))
    return text.count('"') % 2 == 0 and curly.replace("“”", "") == ""


class StoryIndex:
    """Finds where the 2-grams of a text occur in the training stories: what was copied, and from which story.

    One stream of word numbers holds all stories, with 0 between them; its 2-grams are sorted once. Memory is about
    24 bytes a word, so give a sample of a corpus of hundreds of millions of words, and say so.
    """

    def __init__(self, stories: Sequence[str]):
        self.vocabulary: dict[str, int] = {}
        stream, starts = [0], []
        for story in stories:
            starts.append(len(stream))
            stream.extend(self.vocabulary.setdefault(word, len(self.vocabulary) + 1) for word in words(story))
            stream.append(0)
        self._stream = np.array(stream, np.int64)
        self._starts = np.array(starts, np.int64)
        pairs = self._codes(self._stream)
        self._order = np.argsort(pairs, kind="stable")  # positions of 2-grams, those of equal 2-grams ascending
        self._pairs = pairs[self._order]

    def _codes(self, ids: np.ndarray) -> np.ndarray:
        """A number for each 2-gram of (n,) word numbers: (n - 1,)."""
        return ids[:-1] * (len(self.vocabulary) + 1) + ids[1:]

    def _ids(self, text: str) -> np.ndarray:
        return np.array([self.vocabulary.get(word, -1) for word in words(text)], np.int64)

    def _positions(self, pair: np.ndarray) -> np.ndarray:
        """Where in the stream the 2-gram occurs, ascending; nowhere if it has a word that training lacks."""
        if pair.min() < 1:
            return np.empty(0, np.int64)
        low, high = np.searchsorted(self._pairs, self._codes(pair)[0] + np.array([0, 1]))
        return self._order[low:high]

    def known_words(self, text: str) -> float:
        """Share of the words of ``text`` that occur in the training stories; 1 for a text of no words."""
        ids = self._ids(text)
        return float((ids > 0).mean()) if len(ids) else 1.0

    def nearest(self, text: str) -> tuple[int, float]:
        """The training story with most 2-grams of ``text``, and the ROUGE-2 precision against it: memorisation as
        TinyStories measures it. (-1, 0.0) if no story shares any."""
        ids = self._ids(text)
        grams = set(ngrams(text, 2))
        shared = np.zeros(len(self._starts), np.int64)
        for pair in {(int(a), int(b)) for a, b in pairwise(ids)}:
            positions = self._positions(np.array(pair))
            shared[np.unique(np.searchsorted(self._starts, positions, side="right") - 1)] += 1  # once a story
        if not shared.any():
            return -1, 0.0
        best = int(shared.argmax())
        return best, float(shared[best]) / len(grams)

    def longest_copied_span(self, text: str) -> list[str]:
        """The longest run of words of ``text`` found word for word in some training story; the first of equals."""
        ids = self._ids(text)
        start, length = 0, 0
        for begin in range(len(ids)):  # a run of k words holds runs of k - 1: only longer ones need a look
            while begin + length < len(ids) and self._occurs(ids[begin:begin + length + 1]):
                start, length = begin, length + 1
        return words(text)[start:start + length]

    def _occurs(self, span: np.ndarray) -> bool:
        """Whether the stream holds the span (n,), n >= 1: look where its rarest 2-gram occurs."""
        if len(span) == 1:
            return bool(span[0] > 0)
        found = [self._positions(span[i:i + 2]) for i in range(len(span) - 1)]
        rarest = min(range(len(found)), key=lambda i: len(found[i]))
        places = found[rarest] - rarest
        places = places[(places >= 0) & (places + len(span) <= len(self._stream))]
        for offset, word in enumerate(span):
            places = places[self._stream[places + offset] == word]
        return len(places) > 0


def measure_stories(beginnings: Sequence[str], completions: Sequence[str], references: Sequence[str],
                    ended: Sequence[bool], index: StoryIndex) -> dict[str, float]:
    """Every measure here, averaged over the completions of story beginnings (the longest copy: its median, in words).

    ``references`` are the true endings of the same beginnings, ``ended`` whether a completion reached its separator.
    Quotation marks are looked at in beginning and completion together. Given the references as completions too, it
    yields what the source of the stories scores (and 1 for ``rouge2_reference``): the yardstick.
    """
    precisions = [rouge2_precision(found, true) for found, true in zip(completions, references, strict=True)]
    stories = [beginning + completion for beginning, completion in zip(beginnings, completions, strict=True)]
    return {
        "rouge2_reference": float(np.mean(precisions)),
        "self_rouge2": float(self_rouge2(completions).mean()),
        "memorisation_rouge2": float(np.mean([index.nearest(text)[1] for text in completions])),
        "longest_copy_median": float(np.median([len(index.longest_copied_span(text)) for text in completions])),
        "distinct_2": distinct_n(completions, 2),
        "repetition": float(np.mean([repetition(text) for text in completions])),
        "known_words": float(np.mean([index.known_words(text) for text in completions])),
        "quotes_close": float(np.mean([quotes_close(story) for story in stories])),
        "ended": float(np.mean(ended)),
    }
