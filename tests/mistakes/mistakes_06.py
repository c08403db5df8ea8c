"""Typical wrong answers to the exercises of notebook 06, each with a piece of the message that it must get."""

import itertools
import math
import random

import numpy as np

from pn_lib.course.checks import architecture_study as checks


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


def fit(sizes, losses, *, relative=True, floors=True, cut=None):
    """The right answer, unless an option spoils it. ``cut`` makes something of a negative floor."""
    sizes, losses = np.asarray(sizes, float), np.asarray(losses, float)
    if len(set(sizes)) < 3:
        raise ValueError("three numbers need three sizes")
    weights = 1 / losses if relative else np.ones_like(losses)
    best, least = None, math.inf
    for exponent in np.geomspace(0.05, 2.0, 400):
        columns = np.stack([np.ones_like(sizes), (sizes / sizes[0]) ** -exponent], axis=1) * weights[:, None]
        for chosen in ([0, 1], [1]) if floors else ([1],):
            found = np.zeros(2)
            found[chosen] = np.linalg.lstsq(columns[:, chosen], losses * weights, rcond=None)[0]
            error = ((columns @ found - losses * weights) ** 2).sum()
            if error < least and (found[0] >= 0 or cut):
                best, least = (cut(found[0]) if cut else found[0], found[1] * sizes[0] ** exponent, exponent), error
    return tuple(float(number) for number in best)


def few_exponents(sizes, losses):
    floor, coefficient, exponent = fit(sizes, losses)
    return floor, coefficient, round(exponent * 2) / 2


def floor_of_the_largest(sizes, losses):
    return min(losses), *fit(sizes, losses)[1:]


def any_sizes(sizes, losses):
    return fit(sizes, losses) if len(set(sizes)) > 2 else (0.0, 1.0, 1.0)


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
    (checks.paired_difference, lambda b, v: mean([v[s] - b[s] for s in b if s in v] or [0.0]), "are no pair"),
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
    (checks.fit_power_law, lambda s, y: fit(s, y, floors=False), "Without a floor"),
    (checks.fit_power_law, lambda s, y: fit(s, y, cut=float), "No model has a loss below zero"),
    (checks.fit_power_law, lambda s, y: fit(s, y, cut=lambda floor: max(floor, 0.0)), "Solve again with the floor"),
    (checks.fit_power_law, lambda s, y: fit(s, y, relative=False), "that of the smallest absolute errors"),
    (checks.fit_power_law, lambda s, y: tuple(np.array(fit(s, y)) * (1, 1, -1)), "in the denominator"),
    (checks.fit_power_law, lambda s, y: (fit(s, y)[1], fit(s, y)[0], fit(s, y)[2]), "The order is"),
    (checks.fit_power_law, few_exponents, "Do you try enough exponents"),
    (checks.fit_power_law, floor_of_the_largest, "The smallest loss is not the floor"),
    (checks.fit_power_law, lambda s, y: fit(s, y)[:2], "Return three numbers"),
    (checks.fit_power_law, any_sizes, "three unknowns fit two sizes"),
]
