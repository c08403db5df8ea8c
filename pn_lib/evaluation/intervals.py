"""Intervals and verdicts: how much a number could have varied, over stories or over seeds, and what that shows."""

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from pn_lib.errors import InputError
from pn_lib.evaluation.enough import TOO_SMALL, too_small

LEVELS = np.geomspace(1e-9, 1, 2000)  # p-values between which p is found
LEAST_VARIANCE = 1e-100  # of a difference of bits per byte: two models that never differ have no spread to divide by


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


def t_quantile(df: int, confidence: float | np.ndarray = 0.95) -> float | np.ndarray:
    """t with P(|T| < t) = confidence, T of Student's distribution with ``df`` degrees of freedom."""
    angles, beyond = _t_tail(df)
    return math.sqrt(df) * np.tan(np.interp(1 - confidence, beyond[::-1], angles[::-1]))


@lru_cache(maxsize=4)
def _t_tail(df: int) -> tuple[np.ndarray, np.ndarray]:
    """Angles from 0 to a quarter circle, and for each P(|T| > sqrt(df) tan(angle)).

    The density of the angle is proportional to cos(angle)^(df - 1): nothing runs to infinity, and a trapezoid sum gives
    six digits.
    """
    angles = np.linspace(0, math.pi / 2, 200_001)
    density = np.cos(angles) ** (df - 1)
    beyond = np.append(np.cumsum((density[1:] + density[:-1])[::-1])[::-1], 0.0)
    return angles, beyond / beyond[0]


def t_p_value(difference: Interval, n: int) -> float:
    """How often a ``t_interval`` of ``n`` values whose true mean is zero lies at least as far from it, for its width.

    Below 0.05 just where the 95 % interval excludes zero.
    """
    angles, beyond = _t_tail(n - 1)
    half = difference.high - difference.value
    angle = math.atan2(t_quantile(n - 1) * abs(difference.value), math.sqrt(n - 1) * half)
    return float(np.interp(angle, angles, beyond))


def holm(p_values: np.ndarray) -> np.ndarray:
    """The p-values (k,) after Holm's step-down correction (1979), in the order given.

    Whoever takes those of at most 0.05 for findings reports a false one in at most 5 % of studies, however the
    comparisons depend on one another.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


class Judgment(NamedTuple):
    """What can be said of a variant beside the baseline: its ``p`` alone, the same after Holm's correction, and words.

    With one seed there is no p. The verdict follows from ``p_holm`` at 5 %, so it may be "not told apart" although the
    difference's own interval excludes zero; where updates or seeds are too few (``enough.too_small``), it says so.
    """

    p: float | None
    p_holm: float | None
    verdict: Literal["raises the loss", "lowers the loss", "not told apart", "too small to tell"]


def judge_variants(differences: Sequence[Interval], seeds: Sequence[int], updates: int) -> list[Judgment]:
    """All variants of one study, each beside the baseline, by Student's test over seeds and Holm's correction.

    ``differences`` are the variants' losses minus the baseline's, paired by seed, each with its own 95 % interval over
    so many ``seeds``, after so many ``updates``. A variant with one seed has no test, and so none of the study is
    judged.
    """
    if 1 in seeds:
        return [Judgment(None, None, TOO_SMALL) for _ in differences]
    few = too_small(updates=updates, seeds=min(seeds, default=0))
    p_values = [t_p_value(*each) for each in zip(differences, seeds, strict=True)]
    words = "lowers the loss", "raises the loss"
    return [
        Judgment(p, p_holm, TOO_SMALL if few else _verdict(difference.value, p_holm, *words))
        for difference, p, p_holm in zip(differences, p_values, holm(p_values).tolist(), strict=True)
    ]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """A share with Wilson's score interval (1927), which stays honest near 0 and 1 and for small ``n``."""
    if not 0 <= successes <= n or n < 1:
        raise InputError(f"a share needs at least one trial and no more successes than trials, not {successes} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


class Comparison(NamedTuple):
    """Two models beside each other.

    ``difference``: bits per byte, first minus second, with its own 95 % interval. ``p``: the probability of one at
    least as large if none were true; ``p_holm``: the same after correction for all pairs. With one seed there are
    neither ends nor p. The ``verdict`` is on the first model and follows from ``p_holm`` at 5 %, so it may be "not told
    apart" although the pair's own interval excludes zero.
    """

    first: str
    second: str
    difference: Interval
    p: float | None
    p_holm: float | None
    verdict: Literal["ahead", "behind", "not told apart", "one seed"]


def compare_models(
    story_nats: dict[str, np.ndarray], story_bytes: np.ndarray, resamples: int = 2000, seed: int = 0
) -> list[Comparison]:
    """All pairs of models, in the order of their names, by a bootstrap over seeds and stories together.

    ``story_nats`` holds (S, K) for each model: S runs judged on the same K stories, which have ``story_bytes`` (K,)
    bytes; run s of every model is of the same seed. p is below 0.05 just where the interval excludes zero: see
    ``_t_test``. With three seeds, hardly anything survives Holm's correction for many pairs. Deterministic given
    ``seed``.

    Raises:
        InputError: fewer than two models or two stories; a model with other runs or stories, or a nat that is no finite
            number.
    """
    nats, sizes = _checked(story_nats, story_bytes)  # (models, S, K), (K,)
    S = nats.shape[1]
    rng = np.random.default_rng(seed)
    shares = rng.multinomial(S, np.full(S, 1 / S), resamples) / S  # (resamples, S)
    bpb, drawn = nats.sum(2) / sizes.sum() / math.log(2), _on_drawn_stories(nats, sizes, resamples, rng)
    pairs = list(combinations(range(len(nats)), 2))
    if S == 1:
        found = [(over_seeds(bpb[i] - bpb[j]), None, None) for i, j in pairs]
    else:
        tests = [_t_test(bpb[i] - bpb[j], drawn[:, i] - drawn[:, j], shares, len(sizes)) for i, j in pairs]
        corrected = holm([p for _, p in tests]).tolist()
        found = [(*test, p_holm) for test, p_holm in zip(tests, corrected, strict=True)]
    names = list(story_nats)
    return [
        Comparison(names[i], names[j], difference, p, p_holm, _verdict(difference.value, p_holm, "ahead", "behind"))
        for (i, j), (difference, p, p_holm) in zip(pairs, found, strict=True)
    ]


def _checked(story_nats: dict[str, np.ndarray], story_bytes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sizes = np.asarray(story_bytes, float)
    arrays = {name: np.asarray(nats, float) for name, nats in story_nats.items()}
    if len(arrays) < 2 or len(sizes) < 2:
        raise InputError(f"a comparison needs two models and two stories or more, not {len(arrays)} and {len(sizes)}")
    S = len(next(iter(arrays.values())))
    for name, nats in arrays.items():
        if nats.shape != (S, len(sizes)) or not np.isfinite(nats).all():
            raise InputError(
                f"the nats of {name!r}, of shape {nats.shape}, must be finite numbers for all {S} seeds and "
                f"{len(sizes)} stories; judge each model with the same seeds on the same stories"
            )
    return np.stack(list(arrays.values())), sizes


def _on_drawn_stories(nats: np.ndarray, sizes: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Bits per byte (resamples, models, S) on stories drawn with replacement, the same for every model and seed."""
    models, S, K = nats.shape
    totals = np.vstack([nats.reshape(-1, K) / math.log(2), sizes])
    sums = np.empty((resamples, len(totals)))
    for i in range(resamples):
        sums[i] = totals @ np.bincount(rng.integers(K, size=K), minlength=K).astype(float)
    return (sums[:, :-1] / sums[:, -1:]).reshape(resamples, models, S)


def _t_test(by_seed: np.ndarray, drawn: np.ndarray, shares: np.ndarray, stories: int) -> tuple[Interval, float]:
    """The mean of the differences ``by_seed`` (S,), with Student's interval on bootstrap standard errors, and p.

    A resample takes drawn seeds (``shares`` of them, (resamples, S)) on drawn stories (``drawn``, (resamples, S)); the
    variance over resamples is that of the mean (Efron & Tibshirani 1993, chapter 6), but for three faults:

    - S seeds drawn from S vary by (S - 1)/S of what S new seeds would: for three, a third too little. Deviations from
      the mean over seeds are stretched by sqrt(S / (S - 1)).
    - What is peculiar to one seed on one story is counted three times (Owen 2007, *The pigeonhole bootstrap*), since
      for two crossed factors no resampling is exact (McCullagh 2000). Two of the three are taken off again.
    - The spread of a few seeds is itself a guess, which percentiles ignore. So the seeds' part of the variance and the
      rest get the t of S - 1 and of ``stories`` - 1 degrees of freedom, and the two margins add in quadrature (Zou &
      Donner 2008). Satterthwaite's single t would be narrower, but with three seeds its p is up to three times too
      small around 0.005, where Holm's correction looks; this one errs on the safe side, if at all.

    p is the level at which the interval would just reach zero.
    """
    S, value, means = len(by_seed), float(by_seed.mean()), drawn.mean(1)
    resampled = means + math.sqrt(S / (S - 1)) * ((shares * drawn).sum(1) - means)
    peculiar = (drawn - means[:, None]).var(0).sum() / (S - 1) / S
    of_seeds = by_seed.var(ddof=1) / S
    of_stories = max(resampled.var() - 2 * peculiar, of_seeds, means.var(), LEAST_VARIANCE) - of_seeds

    def margin(p: float | np.ndarray) -> float | np.ndarray:
        t = t_quantile(S - 1, 1 - p), t_quantile(stories - 1, 1 - p)
        return np.sqrt(t[0] ** 2 * of_seeds + t[1] ** 2 * of_stories)

    half, p = float(margin(0.05)), np.interp(abs(value), margin(LEVELS)[::-1], LEVELS[::-1])
    return Interval(value, value - half, value + half), float(p)


def _verdict(difference: float, p_holm: float | None, below: str, above: str) -> str:
    if p_holm is None:
        return "one seed"
    return "not told apart" if p_holm > 0.05 else below if difference < 0 else above
