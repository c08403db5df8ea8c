"""From loss to coherence: what an excess of bits means for whole stories, and where a share of valid ones is reached.

Let p be the source, q a model, and v the share of q's stories that p could have told. Then, exactly,

    KL(p || q) = -log2 v + KL(p || q given that the story is valid)    (bits a story)

since q's probability of a valid story is v times its probability among the valid ones. The left side is the model's
excess over the source, E, so v is at least 2^-E: a loss this low enforces coherence. The first term on the right is
probability that leaks out of the language, the second what is misplaced within it. With a constant *leak*, the share of
the first in E,

    -log2 v = leak x E,

and half of the stories are valid once E is 1 / leak bits a story, however long a story is.
"""

import math
from collections.abc import Sequence

import numpy as np

from pn_lib.evaluation.intervals import Interval

LEAKS = np.linspace(0.001, 1, 1000)
RESAMPLES = 1000


def fit_leak(excess_bits: Sequence[float], valid: Sequence[int], told: Sequence[int], seed: int = 0) -> Interval | None:
    """The likeliest leak for models with so many excess bits a story, of whose ``told`` stories so many were valid;
    with the percentile bootstrap interval over models, of which one alone has none. None if no story was valid.

    A model none of whose stories was valid counts too: its leak cannot be small.
    """
    E, k, n = (np.asarray(values, float) for values in (excess_bits, valid, told))
    if not k.sum():
        return None
    log_v = -LEAKS[:, None] * np.maximum(E, 1e-9) * math.log(2)  # (leaks, models)
    likelihoods = k * log_v + (n - k) * np.log(-np.expm1(log_v))
    best = float(LEAKS[likelihoods.sum(1).argmax()])
    if len(E) == 1:
        return Interval(best, None, None)
    drawn = np.random.default_rng(seed).multinomial(len(E), np.full(len(E), 1 / len(E)), RESAMPLES)
    drawn = drawn[drawn @ k > 0]
    low, high = np.quantile(LEAKS[(likelihoods @ drawn.T).argmax(0)], [0.025, 0.975])
    return Interval(best, min(best, float(low)), max(best, float(high)))


def steady_share(valid: float, words_before_fault: float, story_words: float) -> float:
    """The share of stories of ``story_words`` that would be valid if each word were wrong with one probability, the
    faults a word that were seen: exp(-rate n). Far below the true share, some words are much harder than others."""
    if words_before_fault == 0:
        return 0.0
    rate = (1 - valid) / words_before_fault
    return math.exp(-rate * story_words)


def crossing(tokens: Sequence[float], shares: Sequence[float], level: float) -> float | None:
    """How many tokens it takes until ``level`` of the stories are valid: between two budgets on a straight line over
    the logarithm of tokens; the smallest budget if that suffices; None if no budget does."""
    budgets = sorted(zip(tokens, shares, strict=True))
    i = next((i for i, (_, share) in enumerate(budgets) if share >= level), None)
    if i is None:
        return None
    more, above = budgets[i]
    if i == 0:
        return float(more)
    less, below = budgets[i - 1]
    return less * (more / less) ** (
        (level - below) / (above - below)
    )  # NumPy's log differs by processor, this does not
