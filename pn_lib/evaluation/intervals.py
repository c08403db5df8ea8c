"""Intervals: how much a number could have varied, over stories or over seeds."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from pn_lib.errors import InputError


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval, all in the estimate's unit; for a single seed, no ends."""

    value: float
    low: float | None
    high: float | None


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """sum(values) / sum(weights) over stories, with the percentile bootstrap (Efron & Tibshirani 1993, section 13.3).

    ``values`` and ``weights`` (n,) hold a number for each story; without ``weights`` the statistic is the mean. Whole
    stories are drawn with replacement, because the tokens of one story are not independent. Deterministic given
    ``seed``.
    """
    values = np.asarray(values, float)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, float)
    if len(values) < 2 or len(values) != len(weights):
        raise InputError(
            f"a bootstrap needs two stories or more, and as many weights as values, "
            f"not {len(values)} values and {len(weights)} weights"
        )
    rng = np.random.default_rng(seed)
    estimates = np.empty(resamples)
    for i in range(resamples):
        drawn = rng.integers(len(values), size=len(values))
        estimates[i] = values[drawn].sum() / weights[drawn].sum()
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.sum() / weights.sum()), float(low), float(high))


def bits_per_byte_interval(story_nats: np.ndarray, story_bytes: np.ndarray, **options: float) -> Interval:
    """Bits per byte over stories. Give the difference of two models' nats on the same stories for a paired comparison.

    Pairing removes the variation due to stories that are hard for both models. ``options`` go to
    ``bootstrap_interval``.
    """
    return bootstrap_interval(np.asarray(story_nats) / math.log(2), story_bytes, **options)


def t_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """The mean over a few seeds with Student's interval: exact if the values are normal, wide if they are few.

    For two variants run with the same seeds, give the differences seed by seed.

    Raises:
        InputError: fewer than two values, which have no spread.
    """
    values = np.asarray(values, float)
    n = len(values)
    if n < 2:
        raise InputError(f"an interval over seeds needs two seeds or more, not {n}")
    mean, half = float(values.mean()), t_quantile(n - 1, confidence) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def over_seeds(values: np.ndarray) -> Interval:
    """``t_interval`` for several seeds; for a single one, its value without ends."""
    return t_interval(values) if len(values) > 1 else Interval(float(np.asarray(values)[0]), None, None)


def verdict(low: float | None, high: float | None) -> str:
    """What the interval of a difference, the variant's loss minus the baseline's, says of the variant."""
    if low is None or high is None:
        return "one seed"
    return "worse" if low > 0 else "better" if high < 0 else "not told apart"


def t_quantile(df: int, confidence: float = 0.95) -> float:
    """t with P(|T| < t) = confidence, T of Student's distribution with ``df`` degrees of freedom.

    With T = sqrt(df) tan(angle), the density of the angle is proportional to cos(angle)^(df - 1) on a quarter circle:
    nothing runs to infinity, and a trapezoid sum gives six digits.
    """
    angles = np.linspace(0, math.pi / 2, 200_001)
    density = np.cos(angles) ** (df - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(df) * math.tan(float(np.interp(confidence, mass / mass[-1], angles)))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """A share with Wilson's score interval (1927), which stays honest near 0 and 1 and for small ``n``."""
    if not 0 <= successes <= n or n < 1:
        raise InputError(f"a share needs at least one trial and no more successes than trials, not {successes} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))
