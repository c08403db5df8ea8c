"""Typical wrong answers to the exercises of notebook 07, each with a piece of the message that it must get."""

import itertools
import math
import random

import numpy as np

from pn_lib.course.checks import architecture_study as checks
from pn_lib.evaluation.intervals import t_quantile


def mean(values):
    return sum(values) / len(values)


def paired(baseline, variant):
    shared = [seed for seed in baseline if seed in variant]
    if not shared:
        raise ValueError("no shared seed")
    return mean([variant[seed] - baseline[seed] for seed in shared])


def divides_by_all(baseline, variant):
    return sum(variant[s] - baseline[s] for s in baseline if s in variant) / len(baseline)


def pairs_by_place(baseline, variant):
    sorted_scores = (sorted(scores.values()) for scores in (baseline, variant))
    return mean([after - before for before, after in zip(*sorted_scores, strict=True)])


def prints_only(*_):
    return None


def ways(differences):
    return [
        mean([sign * d for sign, d in zip(signs, differences, strict=True)])
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]


def sign_flips(differences, *, extreme=lambda m, observed: abs(m) >= abs(observed)):
    if not differences:
        raise ValueError("no differences")
    return mean([extreme(m, mean(differences)) for m in ways(differences)])


def one_sided(differences):
    return sign_flips(differences, extreme=lambda m, observed: m >= observed)


def strictly_more(differences):
    return sign_flips(differences, extreme=lambda m, observed: abs(m) > abs(observed))


def observed_with_sign(differences):
    return sign_flips(differences, extreme=lambda m, observed: abs(m) >= observed)


def shuffles_instead(differences):
    orders = list(itertools.permutations(differences))
    return mean([abs(mean(order)) >= abs(mean(differences)) for order in orders])


def draws_signs(differences):
    rng = random.Random(0)
    means = [mean([rng.choice((1, -1)) * d for d in differences]) for _ in range(999)]
    return mean([abs(m) >= abs(mean(differences)) for m in means])


def counts_ways(differences):
    return sum(abs(m) >= abs(mean(differences)) for m in ways(differences))


def no_differences(differences):
    return sign_flips(differences) if differences else 1.0


def step_down(p_values, level=0.05, *, stop=True, divisor=None):
    found, k = [False] * len(p_values), len(p_values)
    for rank, i in enumerate(sorted(range(k), key=p_values.__getitem__)):
        found[i] = p_values[i] <= level / (divisor or k - rank)
        if stop and not found[i]:
            break
    return found


def sorts_in_place(p_values, level=0.05):
    found = step_down(p_values, level)
    p_values.sort()
    return found


def answers_in_sorted_order(p_values, level=0.05):
    return sorted(step_down(p_values, level), reverse=True)


def power_of(effect, noise, comparisons, seeds, factor=None):
    rng = np.random.default_rng(0)
    studies = rng.normal(effect, noise, size=(10_000, seeds))
    factor = factor or t_quantile(seeds - 1, 1 - 0.05 / comparisons)
    return np.mean(abs(studies.mean(1)) > factor * studies.std(1, ddof=1) / math.sqrt(seeds))


def seeds_with(effect, noise, comparisons=1, *, least=0.8, factor=None, kind=int):
    return kind(next(n for n in range(2, 99) if power_of(effect, noise, comparisons, n, factor) >= least))


MISTAKES = [
    (checks.paired_difference, lambda b, v: -paired(b, v), "The sign is wrong"),
    (checks.paired_difference, lambda b, v: mean(v.values()) - mean(b.values()), "only seed 2 is in both"),
    (checks.paired_difference, pairs_by_place, "Pair by seed, not by place"),
    (
        checks.paired_difference,
        lambda b, v: mean(v.values()) - mean(b.values()) if len(b.keys() & v.keys()) > 1 else paired(b, v),
        "seed 7 has no partner",
    ),
    (checks.paired_difference, divides_by_all, "divided by all seeds"),
    (checks.paired_difference, lambda b, v: sum(v[s] - b[s] for s in b if s in v), "you returned their sum"),
    (checks.paired_difference, lambda b, v: mean([v.get(s, 0.0) - b[s] for s in b]), "You took 0 for the score"),
    (checks.paired_difference, lambda b, v: mean([v[s] - b[s] for s in b if s in v]), "you divide by zero"),
    (checks.paired_difference, lambda b, v: mean([v[s] - b[s] for s in b if s in v] or [0.0]), "are not a pair"),
    (checks.paired_difference, prints_only, "returned None"),
    (checks.paired_difference, lambda b, v: [v[s] - b[s] for s in b], "which is of type list"),
    (checks.mixture_width, lambda d, f: f // 2, "where is the router"),
    (checks.mixture_width, lambda d, f: (3 * f - 2) / 6, "whole number"),
    (checks.mixture_width, lambda d, f: (4 * f - 2) // 6, "SwiGLU has three"),
    (checks.mixture_width, lambda d, f: f - 1, "A mixture of two has two networks"),
    (checks.mixture_width, lambda d, f: 1, "leaves room"),
    (checks.mixture_width, lambda d, f: f, "parameters."),
    (checks.sign_flip_p, one_sided, "the test has two sides"),
    (checks.sign_flip_p, strictly_more, "0 says that no way is as far from zero"),
    (checks.sign_flip_p, observed_with_sign, "the observed mean without its sign"),
    (checks.sign_flip_p, shuffles_instead, "their order does not matter"),
    (checks.sign_flip_p, draws_signs, "do not draw signs at random"),
    (checks.sign_flip_p, counts_ways, "divide by all of them"),
    (checks.sign_flip_p, no_differences, "nothing to test"),
    (checks.holm, lambda p, level=0.05: step_down(p, level, divisor=len(p)), "That is Bonferroni's"),
    (checks.holm, lambda p, level=0.05: step_down(p, level, stop=False), "stop there"),
    (checks.holm, lambda p, level=0.05: [value <= level for value in p], "which corrects nothing"),
    (checks.holm, lambda p, level=0.05: step_down(p), "Is level used?"),
    (checks.holm, sorts_in_place, "sort a copy"),
    (checks.holm, answers_in_sorted_order, "in sorted order"),
    (checks.holm, lambda p, level=0.05: [i for i, found in enumerate(step_down(p, level)) if found], "one for each"),
    (checks.seeds_needed, lambda e, s, k=1: seeds_with(e, s, k, factor=1.96), "a fixed factor such as 1.96"),
    (checks.seeds_needed, lambda e, s, k=1: seeds_with(e, s), "must pass 5 % / 5"),
    (checks.seeds_needed, lambda e, s, k=1: seeds_with(e, s, k, least=0.5), "at least 80 % are asked for"),
    (checks.seeds_needed, lambda e, s, k=1: seeds_with(e, s, k, kind=float), "a whole number"),
    (checks.seeds_needed, lambda e, s, k=1: 99, "is too many"),
]
