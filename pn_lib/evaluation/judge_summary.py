"""What judges said, in numbers: mean grades, how far judges agree, and their known leanings to length and position.

A table of gradings has a row for each: teller, beginning, ending, repeat, words (length of the ending), the four
``CRITERIA`` and age_group. Everything follows from the log's records, in an order that does not depend on theirs.
Shares, correlations and intervals that too few gradings leave undefined are None.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from pn_lib.evaluation.diversity import words
from pn_lib.evaluation.intervals import bootstrap_interval, wilson_interval
from pn_lib.evaluation.judge import GRADES, PAIRS, Sample, comparison, grading
from pn_lib.evaluation.judge_reply import AGE_GROUPS, CRITERIA
from pn_lib.evaluation.judging import Judging

COLUMNS = ("teller", "beginning", "ending", "repeat", "words", *CRITERIA, "age_group")
STORY = ["teller", "beginning", "ending"]


def summarize(judgings: Sequence[Judging], samples: Sequence[Sample], pairs: Sequence[tuple[Sample, Sample]]) -> dict:
    """What ``judge.json`` holds: follows from the logs, whatever the order of their lines."""
    tables = {judging.judge.name: gradings_of(judging, samples) for judging in judgings}
    return {
        "protocol": {
            "criteria": list(CRITERIA),
            "scale": [1, 10],
            "grades_rubric": GRADES.fingerprint,
            "pairs_rubric": PAIRS.fingerprint,
        },
        "stories": dict(Counter(sample.teller for sample in samples)),
        "judges": {
            judging.judge.name: {
                **_replies(judging),
                "tellers": teller_summary(table),
                "between_repeats": between_repeats(table) if judging.judge.repeats > 1 else None,
                "length_bias": length_bias(table),
                "pairs": position_bias(judging, pairs),
            }
            for judging, table in zip(judgings, tables.values(), strict=True)
        },
        "between_judges": [
            {"judges": [a, b], **between_judges(tables[a], tables[b])} for a, b in combinations(tables, 2)
        ],
    }


def _replies(judging: Judging) -> dict:
    """Who the judge is, how many texts it judged and gave up, and what all replies about them took."""
    judge, tasks = judging.judge, judging.tasks
    records = [record for task in tasks for record in judging.records(task)]
    given_up = [judging.records(t)[-1].outcome for t in tasks if judging.finished(t) and judging.valid(t) is None]
    tokens_in, tokens_out = sum(r.tokens_in for r in records), sum(r.tokens_out for r in records)
    names = ("model", "host", "fingerprint", "temperature", "structured", "repeats")
    return {
        **{name: getattr(judge, name) for name in names},
        "model_served": sorted({record.model for record in records if record.model}),
        "requested": len(tasks),
        "judged": sum(judging.valid(task) is not None for task in tasks),
        "refused": given_up.count("refused"),
        "invalid": given_up.count("invalid"),
        "replies": len(records),
        "replies_counted_by_server": sum(r.counted for r in records),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "cost": judge.cost(tokens_in, tokens_out) if judge.priced else None,
    }


def gradings_of(judging: Judging, samples: Sequence[Sample]) -> pd.DataFrame:
    """The table of a judge's valid gradings of these samples."""
    rows = [
        {**vars(sample), "repeat": repeat, "words": len(words(sample.text)), **record.answer}
        for sample in samples
        for repeat in range(judging.judge.repeats)
        if (record := judging.valid(grading(sample, repeat)))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def teller_summary(gradings: pd.DataFrame) -> dict[str, dict]:
    """For each teller the number of gradings, mean grades with 95 % intervals, and how often each age was guessed."""
    return {
        teller: {
            "gradings": len(rows),
            "grades": {c: clustered_mean(rows[c], rows["beginning"]) for c in CRITERIA},
            "age_groups": {group: int((rows["age_group"] == group).sum()) for group in AGE_GROUPS},
        }
        for teller, rows in gradings.groupby("teller", sort=False)
    }


def clustered_mean(values: pd.Series, clusters: pd.Series, weights: pd.Series | None = None) -> dict:
    """sum(values) / sum(weights), by default the mean, and its bootstrap interval over whole clusters.

    Gradings of one beginning are not independent: whole beginnings are drawn. One beginning alone gives no interval.
    """
    weights = pd.Series(1.0, values.index) if weights is None else weights
    sums, totals = values.groupby(clusters).sum(), weights.groupby(clusters).sum()
    sums, totals = sums[totals > 0], totals[totals > 0]  # one without weight says nothing, and alone is 0 / 0
    if len(sums) < 2:
        return {"value": float(sums.sum() / totals.sum()), "low": None, "high": None}
    return bootstrap_interval(sums.to_numpy(), totals.to_numpy())._asdict()


def agreement(pairs: pd.DataFrame) -> dict[str, dict]:
    """How far two gradings of the same stories agree, by criterion: Spearman's rank correlation and the mean absolute
    difference in points. ``pairs`` has columns such as plot_x and plot_y, a row for each pair of gradings."""
    found = {}
    for criterion in CRITERIA:
        x, y = pairs[f"{criterion}_x"].astype(float), pairs[f"{criterion}_y"].astype(float)
        found[criterion] = {
            "pairs": len(pairs),
            "spearman": correlation(x.rank(), y.rank()),
            "mean_absolute_difference": float((x - y).abs().mean()) if len(pairs) else None,
        }
    return found


def between_judges(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, dict]:
    """``agreement`` of two judges on the stories that both graded, by their means over repeats."""
    means = [gradings.groupby(STORY)[list(CRITERIA)].mean().reset_index() for gradings in (first, second)]
    return agreement(means[0].merge(means[1], on=STORY))


def between_repeats(gradings: pd.DataFrame) -> dict[str, dict]:
    """``agreement`` of a judge with itself: every two repeats of the same story."""
    pairs = gradings.merge(gradings, on=STORY)
    return agreement(pairs[pairs["repeat_x"] < pairs["repeat_y"]])


def correlation(x: pd.Series, y: pd.Series) -> float | None:
    """Pearson's correlation; None for fewer than three values, or if either does not vary."""
    if len(x) < 3 or x.nunique() < 2 or y.nunique() < 2:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def length_bias(gradings: pd.DataFrame) -> dict[str, dict]:
    """How grades go with the ending's length in words: correlation, and points per word with a 95 % interval.

    Both are within tellers: length and grade less the teller's means, as a better teller may well write longer stories.
    What is left may still be a merit of longer stories: a slope shows that a judge could lean, not that it does.
    """
    found = {}
    x = (gradings["words"] - gradings.groupby("teller")["words"].transform("mean")).round(9)  # equal lengths give 0
    for criterion in CRITERIA:
        y = gradings[criterion] - gradings.groupby("teller")[criterion].transform("mean")
        # least squares through the teller's means: sum(xy) / sum(xx), a ratio of sums over beginnings
        slope = clustered_mean(x * y, gradings["beginning"], x * x) if (x * x).sum() > 0 else None
        found[criterion] = {"correlation": correlation(x, y), "points_per_word": slope}
    return found


def position_bias(judging: Judging, pairs: Sequence[tuple[Sample, Sample]]) -> list[dict]:
    """For every two tellers, from their endings of the same beginnings compared in both orders:

    ``flips``, how often the verdict changes with the order (95 % Wilson interval; a judge that guesses flips in half of
    the pairs, so flips alone are no proof of a bias); ``first_wins``, the share of verdicts for whichever stands first
    (one half without a bias); ``win_rate`` of the first-named teller, corrected: a pair whose verdict flips counts as
    half a win (95 % bootstrap interval over beginnings).
    """
    rows = []
    for a, b in pairs:
        records = [judging.valid(comparison(*order)) for order in ((a, b), (b, a))]
        if None not in records:
            rows.append(((a.teller, b.teller), a.beginning, *(r.answer["better"] == "first" for r in records)))
    table = pd.DataFrame(rows, columns=["tellers", "beginning", "ab", "ba"])  # whether the one shown first was better
    return [
        {
            "tellers": list(tellers),
            "pairs": len(group),
            "flips": wilson_interval(int((group["ab"] == group["ba"]).sum()), len(group))._asdict(),
            "first_wins": float((group["ab"].sum() + group["ba"].sum()) / (2 * len(group))),
            "win_rate": clustered_mean((group["ab"] + 1.0 - group["ba"]) / 2, group["beginning"]),
        }
        for tellers, group in table.groupby("tellers", sort=False)
    ]
