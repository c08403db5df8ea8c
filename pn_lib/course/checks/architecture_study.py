"""Checks for the exercises of notebook 07."""

import math
from collections.abc import Callable

import numpy as np

from pn_lib.course.checks import expect, expect_equal, hints, number, refuses, run_check


@hints(
    "Go through seeds, not through values: the two dictionaries may be in different orders. Which seeds do both have?",
    "The keys of a dictionary can be intersected like sets. If nothing is left, raise the ValueError; otherwise "
    "subtract seed by seed, variant minus baseline, and average.",
)
def paired_difference(answer: Callable) -> bool:
    """The mean difference over shared seeds."""
    return run_check("7.1", answer, _direction, _pairs_by_seed, _only_shared_seeds, _no_shared_seed)


def _direction(answer: Callable) -> None:
    got = number(answer({0: 1.30}, {0: 1.32}), "baseline 1.30, variant 1.32")
    expect(not math.isclose(got, -0.02, abs_tol=1e-9), "The sign is wrong: take variant minus baseline.")
    expect_equal(got, 0.02, "baseline 1.30, variant 1.32", "Variant minus baseline.")


def _pairs_by_seed(answer: Callable) -> None:
    case = "seeds 0, 1, 2 with differences 0.2, 0.2, 0.5"
    got = number(answer({0: 1.0, 1: 2.0, 2: 3.0}, {2: 3.5, 0: 1.2, 1: 2.2}), case)
    expect(not math.isclose(got, 0.9, abs_tol=1e-6), f"{case}: you returned their sum; return the mean.")
    expect_equal(got, 0.3, case, "Look each seed up in both.")
    case = "the same scores under other seeds"
    got = number(answer({0: 1.0, 1: 2.0, 2: 3.0}, {2: 3.5, 3: 1.2, 4: 2.2}), case)
    expect(
        not math.isclose(got, 0.3, abs_tol=1e-6),
        f"{case}: only seed 2 is in both, but you paired three. Pair by seed, not by place or sorted order.",
    )


def _only_shared_seeds(answer: Callable) -> None:
    case = "baseline with seeds 0, 1, 7 and variant with 1, 0"
    got = number(answer({0: 1.0, 1: 2.0, 7: 9.0}, {1: 2.3, 0: 1.1}), case)
    expect(
        not math.isclose(got, 1.7 - 4.0, abs_tol=1e-6),
        "You subtracted the means of all seeds; seed 7 has no partner and must not count.",
    )
    expect(not math.isclose(got, 0.4 / 3, abs_tol=1e-6), "You divided by all seeds, not by the pairs.")
    expect(
        not math.isclose(got, (0.4 - 9) / 3, abs_tol=1e-6),
        "You took 0 for the score that seed 7 lacks; a missing score is not a score.",
    )
    expect_equal(got, 0.2, case, "Only seeds that both have.")
    expect_equal(
        number(answer({1: 2.0}, {1: 2.3, 5: 9.0}), case),
        0.3,
        "a seed that only the variant has",
        "Only seeds that both have.",
    )


def _no_shared_seed(answer: Callable) -> None:
    try:
        got = answer({0: 1.0}, {1: 1.0})
    except ValueError:
        return
    except ZeroDivisionError:
        expect(False, "Without a shared seed you divide by zero; raise a ValueError that says what is wrong.")
    expect(False, f"Seeds 0 and 1 are not a pair, but you returned {got!r}; raise a ValueError.")


@hints(
    "Write down how many parameters both have, with a letter for the unknown width. What cancels?",
    "“At most as many” means 6 D x + 2 D ≤ 3 D F, where x is the width and F the `d_ff`. Divide by D, solve for x, "
    "and round *down*: Python's // does that without floats.",
)
def mixture_width(answer: Callable) -> bool:
    """The width at which a mixture of two has as many parameters."""
    return run_check("7.2", answer, _room_for_the_router, _largest_that_fits)


def _room_for_the_router(answer: Callable) -> None:
    got = answer(64, 176)
    width = number(got, "D=64, F=176")
    expect(width != 88, "Two networks of width 88 use up all parameters; where is the router's 64 x 2?")
    expect(width != 117, "That is the width for networks of two matrices; SwiGLU has three.")
    expect(width != 175, "That is one network and a router. A mixture of two has two networks.")
    expect(isinstance(got, (int, np.integer)), f"A width is a whole number (int), not {got!r}: round down.")


def _largest_that_fits(answer: Callable) -> None:
    for d_model, d_ff in ((8, 4), (64, 176), (16, 48), (48, 129), (128, 352)):
        width = int(number(answer(d_model, d_ff), f"D={d_model}, F={d_ff}"))
        budget = 3 * d_model * d_ff
        case = f"D={d_model}, F={d_ff}: your width {width}"
        taken = _mixture(d_model, width)
        expect(taken <= budget, f"{case} takes {taken:,} of {budget:,} parameters.")
        expect(_mixture(d_model, width + 1) > budget, f"{case} leaves room for another channel.")


def _mixture(d_model: int, width: int) -> int:
    return 2 * 3 * d_model * width + 2 * d_model


@hints(
    "itertools.product can list all choices of n signs. Which of the means are at least as far from zero as the "
    "observed one, on either side?",
    "For each choice of signs, sum sign times difference and take the absolute value; sums serve as well as "
    "means, since n is always the same. Count those that are at least the observed one's, and divide by 2^n. "
    "Floats: sums that should be equal may differ in the last digit, so allow for a tiny difference.",
)
def sign_flip_p(answer: Callable) -> bool:
    """The exact p-value of paired differences, over all choices of signs."""
    return run_check(
        "7.3", answer, _three_differences, _negative_mean, _ties_count, _smallest_possible, _nothing_to_test
    )


def _p(answer: Callable, differences: list[float]) -> float:
    given = list(differences)
    got = number(answer(given), f"differences {differences}")
    expect(given == differences, "Your function changed the list given to it; work on a copy.")
    return got


def _three_differences(answer: Callable) -> None:
    got = _p(answer, [1.0, 2.0, 3.0])
    expect(got != 0.125, "0.125 counts +++ alone. A mean of -2 is as far from zero as 2: the test has two sides.")
    expect(
        got != 1.0,
        "1.0 says that every way is as extreme, so your means never change. Flip the sign of each "
        "difference by itself; their order does not matter, and their sizes stay.",
    )
    expect(
        got != 0.0, "0 says that no way is as far from zero, but the observed one is. Did you write > instead of >=?"
    )
    expect(got not in (2.0, 2), "You returned how many ways there are; divide by all of them, 2**n.")
    expect(
        (8 * got).is_integer(),
        f"[1, 2, 3]: there are 8 ways, so the answer is a number of eighths, not {got!r}. "
        "Go through all ways once; do not draw signs at random.",
    )
    expect_equal(got, 0.25, "[1, 2, 3]", "Of the 8 ways +++ and --- are as far from zero.")


def _negative_mean(answer: Callable) -> None:
    got = _p(answer, [-1.0, -2.0, -3.0])
    expect(
        got != 1.0,
        "[-1, -2, -3]: expected 0.25, got 1.0. Does your comparison use the observed mean without its sign?",
    )
    expect_equal(got, 0.25, "[-1, -2, -3]", "A gain and a worsening of the same size are equally far from zero.")
    expect_equal(
        _p(answer, [4.0, -1.0, 2.0]),
        0.5,
        "[4, -1, 2]",
        "The means of the ways are 7, 5, 3 and 1 thirds, each with both signs; the observed one is 5 thirds.",
    )


def _ties_count(answer: Callable) -> None:
    got = _p(answer, [1.0, 1.0, -1.0])
    expect(got != 0.25, "[1, 1, -1]: ways at exactly the observed distance count too. Did you write > instead of >=?")
    expect_equal(got, 1.0, "[1, 1, -1]", "No way has a mean nearer to zero.")


def _smallest_possible(answer: Callable) -> None:
    got = _p(answer, [0.5, 0.25, 1.0, 2.0, 0.5, 1.0])
    expect(got != 0.25, "Six differences have 2**6 ways, not 2**3.")
    expect_equal(got, 2 / 64, "six differences above zero", "All + and all - are 2 of 64 ways.")


def _nothing_to_test(answer: Callable) -> None:
    refuses(answer, ([],), "an empty list", "without differences there is nothing to test.")


@hints(
    "The answer must come in the order given. So sort the *places* by their p-values, and leave the list alone.",
    "Begin with False everywhere. Go through the places from the smallest p-value to the largest, with a rank "
    "that counts from 0. The limit at each is the level over (k − rank). Write True while the p-value is within "
    "it, and stop for good at the first that is not.",
)
def holm(answer: Callable) -> bool:
    """Holm's step-down correction."""
    return run_check(
        "7.4", answer, _given_order, _better_than_bonferroni, _stops_at_the_first_failure, _other_level, _no_comparison
    )


def _findings(answer: Callable, p_values: list[float], *level: float) -> list[bool]:
    given = list(p_values)
    got = answer(given, *level)
    expect(given == p_values, "Your function changed the list given to it; sort a copy.")
    expect(isinstance(got, (list, tuple, np.ndarray)), f"Expected a list of booleans, got {type(got).__name__}.")
    expect(
        len(got) == len(p_values),
        f"{len(p_values)} p-values need as many answers, not {len(got)}: one for each, finding or not.",
    )
    expect(
        all(isinstance(finding, (bool, np.bool_)) for finding in got),
        f"Each answer is True or False, not {got!r}: is this comparison a finding?",
    )
    return [bool(finding) for finding in got]


def _given_order(answer: Callable) -> None:
    got = _findings(answer, [0.9, 0.001, 0.5])
    expect(
        got != [True, False, False],
        "[0.9, 0.001, 0.5]: your answers are in sorted order. Give them in the order "
        "of the p-values given: the second is the finding.",
    )
    expect(got != [True, False, True], "[0.9, 0.001, 0.5]: you marked the large p-values. A small one is a finding.")
    expect_equal(got, [False, True, False], "[0.9, 0.001, 0.5]", "Only 0.001 is at most 0.05 / 3.")


def _better_than_bonferroni(answer: Callable) -> None:
    got = _findings(answer, [0.02, 0.01, 0.04])
    expect(got != [False, True, False], "That is Bonferroni's, 0.05 / 3 for all. The second smallest needs 0.05 / 2.")
    expect_equal(got, [True, True, True], "[0.02, 0.01, 0.04]", "Thresholds 0.05 / 3, 0.05 / 2, 0.05 / 1.")


def _stops_at_the_first_failure(answer: Callable) -> None:
    got = _findings(answer, [0.04, 0.001, 0.03])
    expect(got != [True, True, True], "[0.04, 0.001, 0.03]: you compare each with 0.05, which corrects nothing.")
    expect(
        got != [True, True, False],
        "0.03 fails its threshold of 0.05 / 2, but you went on to 0.04, which is weaker evidence: stop there.",
    )
    expect_equal(got, [False, True, False], "[0.04, 0.001, 0.03]", "Everything after the first failure fails too.")


def _other_level(answer: Callable) -> None:
    got = _findings(answer, [0.004, 0.02], 0.01)
    expect_equal(got, [True, False], "[0.004, 0.02], level 0.01", "Is level used?")
    expect_equal(_findings(answer, [0.05]), [True], "[0.05]", "At most the threshold: equal is enough.")


def _no_comparison(answer: Callable) -> None:
    expect_equal(_findings(answer, []), [], "an empty list", "No comparisons, no findings.")


@hints(
    "One study is a row of n normal numbers; 10,000 studies are a table, and NumPy treats all its rows at once. "
    "When does one study find the effect?",
    "For n = 2, 3, and so on: draw the table around the effect, with the noise as its standard deviation; a row's "
    "standard error is its standard deviation (ddof=1) over the root of n. The study has found something if the "
    "absolute mean is more than t_quantile(n − 1, 1 − 0.05/comparisons) times that error. Return the first n "
    "at which the share of such rows is 0.8 or more. Make the generator once, with a fixed seed.",
)
def seeds_needed(answer: Callable) -> bool:
    """Exercise 7.5: the fewest seeds with which most studies find an effect."""
    return run_check("7.5", answer, _clear_effect, _several_comparisons, _most_studies)


def _seeds(answer: Callable, *given: float) -> int:
    got = answer(*given)
    seeds = number(got, f"effect and noise {given[:2]}")
    expect(isinstance(got, (int, np.integer)), f"A number of seeds is a whole number (int), not {got!r}.")
    return int(seeds)


def _clear_effect(answer: Callable) -> None:
    got, case = _seeds(answer, 0.02, 0.005), "an effect of 0.02, noise 0.005"
    expect(got > 2, f"{case}: two seeds pass only with a fixed factor such as 1.96; Student's has {got - 1} df.")
    expect(got < 20, f"{case}: {got} is too many. Is the standard error the noise divided by the root of n?")
    expect_equal(got, 3, case, "Three seeds find it in 91 % of studies, two in 34 %.")
    got = _seeds(answer, 20.0, 5.0)
    expect_equal(got, 3, "the same in other units", "Only effect divided by noise counts.")


def _several_comparisons(answer: Callable) -> None:
    got, case = _seeds(answer, 0.02, 0.005, 5), "the same with five comparisons"
    expect(got != 3, f"{case}: still 3. The p-value must pass 5 % / 5.")
    expect_equal(got, 4, case, "85 % of studies of four seeds find it, 39 % of studies of three.")


def _most_studies(answer: Callable) -> None:
    got, case = _seeds(answer, 0.0125, 0.005), "an effect 2.5 times the noise"
    expect(got != 3, f"{case}: three seeds find it in 62 % of studies; at least 80 % are asked for.")
    expect_equal(got, 4, case, "Four seeds find it in 90 %.")
    expect_equal(_seeds(answer, 2.0, 1.0, 15), 8, "twice the noise, fifteen comparisons", "83 % of studies find it.")
