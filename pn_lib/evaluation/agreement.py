"""How far people agree, and what agrees with them: Krippendorff's alpha, and rank correlations of measures with grades.

Grades of endings on one page are not independent: intervals draw whole pages with replacement.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from pn_lib.evaluation.intervals import Interval

RESAMPLES = 1000


def krippendorff_alpha(grades: np.ndarray, pages: Sequence) -> Interval | None:
    """Krippendorff's alpha for ordinal grades: 1 where raters agree, 0 where they agree no more than by chance.

    Args:
        grades: (raters, units), NaN where a rater gave none. A unit that fewer than two graded counts for nothing.
        pages: the page of each unit.

    Returns None where it is undefined: no two raters graded the same unit, or all their grades are equal. The interval
    has no ends if the units are of one page. Source: Krippendorff, "Computing Krippendorff's alpha-reliability" (2011);
    between two units of the scale lie the grades between them, which is the distance of their mean ranks.
    """
    values = np.unique(grades[~np.isnan(grades)])
    counts = (grades[:, :, None] == values).sum(0)  # (units, values): how many raters gave each
    raters = counts.sum(1)
    counts, raters, pages = counts[raters > 1], raters[raters > 1], np.asarray(pages)[raters > 1]
    if not len(counts):
        return None
    own = counts[:, :, None] * np.eye(len(values))
    coincidences = (counts[:, :, None] * counts[:, None] - own) / (raters - 1)[:, None, None]
    of_page = np.array([coincidences[pages == page].sum(0) for page in np.unique(pages)])
    [found] = _resampled(lambda drawn: [_alpha(of_page[drawn].sum(0))], len(of_page))
    return found


def _alpha(coincidences: np.ndarray) -> float:
    """From the coincidences (values, values) of a whole sample; NaN where a single value was given."""
    given = coincidences.sum(0)
    ranks = given.cumsum() - given / 2
    distance = (ranks[:, None] - ranks) ** 2
    expected = (given[:, None] * given * distance).sum() / (given.sum() - 1)
    return float(1 - (coincidences * distance).sum() / expected) if expected else float("nan")


def rank_correlations(
    measures: pd.DataFrame, grades: pd.DataFrame, pages: Sequence
) -> dict[str, dict[str, Interval | None]]:
    """Spearman's correlation of every measure with every criterion: by measure, by criterion.

    The tables have a row for each ending, in one order; ``pages`` has its page. A measure may be NaN where it has no
    value. None for fewer than three endings, or if either does not vary.
    """
    table = pd.concat([each.reset_index(drop=True) for each in (measures, grades)], axis=1)
    rows = [np.flatnonzero(np.asarray(pages) == page) for page in dict.fromkeys(pages)]

    def correlations(drawn: np.ndarray) -> np.ndarray:
        sample = table.iloc[np.concatenate([rows[page] for page in drawn])]
        return sample.corr("spearman", min_periods=3).loc[measures.columns, grades.columns].to_numpy().ravel()

    found = iter(_resampled(correlations, len(rows)))
    return {measure: {criterion: next(found) for criterion in grades} for measure in measures}


def _resampled(statistics: Callable[[np.ndarray], Sequence[float]], pages: int) -> list[Interval | None]:
    """Statistics of all pages, each with its 95 % percentile bootstrap over pages; None for one that is NaN.

    A sample in which a statistic is undefined, as all its grades are equal, is left out.
    """
    rng = np.random.default_rng(0)
    whole = np.asarray(statistics(np.arange(pages)), float)
    if pages < 2:
        return [None if np.isnan(value) else Interval(float(value), None, None) for value in whole]
    drawn = np.array([statistics(rng.integers(pages, size=pages)) for _ in range(RESAMPLES)])
    return [
        None
        if np.isnan(value)
        else Interval(float(value), *map(float, np.quantile(column[~np.isnan(column)], (0.025, 0.975))))
        for value, column in zip(whole, drawn.T, strict=True)
    ]
