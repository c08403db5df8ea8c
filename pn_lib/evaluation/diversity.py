"""How alike texts are, to each other and within themselves: ROUGE-2, distinct-n, repetition, loops.

Words are runs of letters, with apostrophes inside them, in lower case: "Don't!" is one word, punctuation none. In
scripts that put no space between words each character is one.
n-grams are of words, and taken as sets unless said otherwise, so that saying a thing twice counts once.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pn_lib.data.scripts import UNSPACED

LONGEST_LOOP = 20  # words
_WORD = re.compile(rf"[{UNSPACED}]|[^\W\d_{UNSPACED}]+(?:['’][^\W\d_{UNSPACED}]+)*")


def words(text: str) -> list[str]:
    """The words of ``text`` in lower case; a curly apostrophe counts as a straight one."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """All n-grams of words, repeated ones as often as they occur."""
    sequence = words(text)
    return list(zip(*(sequence[i:] for i in range(n)), strict=False))


def rouge2_precision(candidate: str, reference: str) -> float:
    """Share of the candidate's 2-grams that also occur in the reference: ROUGE-2 precision (Lin 2004), over sets as in
    TinyStories' measure of diversity (Eldan & Li 2023). 0 where the candidate has no 2-gram."""
    found, wanted = set(ngrams(candidate, 2)), set(ngrams(reference, 2))
    return len(found & wanted) / len(found) if found else 0.0


def self_rouge2(texts: Sequence[str]) -> np.ndarray:
    """How much each text resembles the text most like it: (len(texts),), high where texts resemble each other.

    For each text, the highest ROUGE-2 F-measure (harmonic mean of the precision both ways, as neither is the reference)
    with any other one (Eldan & Li 2023). It rises with the number of texts.
    """
    grams = [set(ngrams(text, 2)) for text in texts]
    return np.array(
        [max((_f_measure(a, b) for j, b in enumerate(grams) if j != i), default=0.0) for i, a in enumerate(grams)]
    )


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


def loops(text: str) -> bool:
    """Whether some run of up to 20 words occurs three times in a row: "and the dog and the dog and the dog". A single
    word counts from four times on ("very, very, very" is speech)."""
    sequence = words(text)
    for n in range(1, LONGEST_LOOP + 1):
        wanted = 3 if n == 1 else 2 * n  # words in a row that equal the n-th before them
        run = 0
        for i in range(n, len(sequence)):
            run = run + 1 if sequence[i] == sequence[i - n] else 0
            if run >= wanted:
                return True
    return False
