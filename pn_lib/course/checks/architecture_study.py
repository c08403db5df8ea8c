"""Checks for the exercises of notebook 06."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from pn_lib.course.checks import expect, expect_equal, hints, number, run_check


def _refuses(answer: Callable, given: Sequence, case: str, why: str) -> None:
    """Fail the case unless ``answer(*given)`` raises a ValueError."""
    try:
        got = answer(*given)
    except ValueError:
        return
    except (ZeroDivisionError, IndexError, TypeError) as error:
        expect(False, f"{case}: your code raised {type(error).__name__}; {why} Raise a ValueError that says so.")
    expect(False, f"{case}: you returned {got!r}, but {why} Raise a ValueError.")


@hints(
    "Go through seeds, not through values: the two dictionaries may be in different orders. Which seeds do both have?",
    "The keys of a dictionary can be intersected like sets. If nothing is left, raise the ValueError; otherwise "
    "subtract seed by seed, variant minus baseline, and average.",
)
def paired_difference(answer: Callable) -> bool:
    """The mean difference over shared seeds."""
    return run_check("6.1", answer, _direction, _pairs_by_seed, _only_shared_seeds, _no_shared_seed)


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
    expect(False, f"Seeds 0 and 1 are no pair, but you returned {got!r}; raise a ValueError.")


@hints(
    "Write down how many parameters both have, with a letter for the unknown width. What cancels?",
    "At most as many means 6 D x + 2 D ≤ 3 D F, where x is the width and F the `d_ff`. Divide by D, solve for x, "
    "and round *down*: Python's // does that without floats.",
)
def mixture_width(answer: Callable) -> bool:
    """The width at which a mixture of two has as many parameters."""
    return run_check("6.2", answer, _room_for_the_router, _largest_that_fits)


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
    "itertools.product can list all choices of n signs. Which of the means are as far from zero as the observed "
    "one, on either side?",
    "For each choice of signs, sum sign times difference and take the absolute value; sums serve as well as "
    "means, since n is always the same. Count those that are at least the observed one's, and divide by 2^n. "
    "Floats: sums that should be equal may differ in the last digit, so allow for a tiny difference.",
)
def sign_flip_p(answer: Callable) -> bool:
    """The exact p-value of paired differences, over all choices of signs."""
    return run_check(
        "6.3", answer, _three_differences, _negative_mean, _ties_count, _smallest_possible, _nothing_to_test
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
    expect_equal(got, 0.25, "[-1, -2, -3]", "An improvement is as far from zero as a loss of the same size.")
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
    _refuses(answer, ([],), "an empty list", "without differences there is nothing to test.")


@hints(
    "The answer must come in the order given. So sort the *places* by their p-values, and leave the list alone.",
    "Begin with False everywhere. Go through the places from the smallest p-value to the largest, with a rank "
    "that counts from 0. The limit at each is the level over (k − rank). Write True while the p-value is within "
    "it, and stop for good at the first that is not.",
)
def holm(answer: Callable) -> bool:
    """Holm's step-down correction."""
    return run_check(
        "6.4", answer, _given_order, _better_than_bonferroni, _stops_at_the_first_failure, _other_level, _no_comparison
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


SIZES = [1e3, 1e4, 1e5, 1e6]
LOSSES = [0.5 + 40 / size**0.4 for size in SIZES]


@hints(
    "For a *given* exponent the law is linear in floor and coefficient, so least squares finds both at once. What "
    "must each equation be divided by for its error to be relative? And what if the best floor comes out "
    "negative?",
    "For each exponent, two columns: ones, and the sizes to the power −α; divide both by the losses, so that the "
    "target is 1 everywhere, and call np.linalg.lstsq. If a number comes out negative, the best allowed one has a "
    "zero: so also fit each column alone, and keep the allowed fit of least squared error. Divide the sizes by "
    "the first one before you take powers (the columns are then of similar size), and undo that in the "
    "coefficient.",
)
def fit_power_law(answer: Callable) -> bool:
    """A power law with a floor, fitted by relative least squares."""
    return run_check("6.5", answer, _known_law, _floor_is_not_negative, _relative_errors, _three_sizes)


def _law(answer: Callable, sizes: list[float], losses: list[float]) -> tuple[float, float, float]:
    given = list(sizes), list(losses)
    got = answer(*given)
    expect(given == (sizes, losses), "Your function changed a list given to it; make arrays of them first.")
    expect(
        isinstance(got, (tuple, list, np.ndarray)) and len(got) == 3,
        f"Return three numbers, (floor, coefficient, exponent), not {got!r}.",
    )
    return tuple(number(value, name) for value, name in zip(got, ("floor", "coefficient", "exponent"), strict=True))


def _known_law(answer: Callable) -> None:
    floor, coefficient, exponent = _law(answer, SIZES, LOSSES)
    case = "losses 0.5 + 40 / M^0.4"
    told = f"your floor is {floor:.3g}, coefficient {coefficient:.3g}, exponent {exponent:.3g}"
    expect(exponent > 0, f"{case}: {told}. The exponent is that of size in the denominator: positive.")
    expect(
        not (abs(floor - 40) < 4 and abs(coefficient - 0.5) < 0.1),
        f"{case}: {told}. The order is (floor, coefficient, exponent).",
    )
    expect(
        floor > 0.01,
        f"{case}: {told}. Without a floor you fit a straight line in log-log axes, but these losses level off.",
    )
    expect(floor < 0.6, f"{case}: {told}. The smallest loss is not the floor: even the largest model lies above it.")
    expect(
        abs(exponent - 0.4) < 0.01,
        f"{case}: {told}, but the exponent is 0.4. Do you try enough exponents, and "
        "keep the one with the smallest error?",
    )
    expect_equal(floor, 0.5, f"{case}, floor", "The best exponent has hardly any error left.", tolerance=0.01)
    expect_equal(coefficient / 40, 1.0, f"{case}, coefficient / 40", "Solve for it at the best exponent.", 0.05)


def _floor_is_not_negative(answer: Callable) -> None:
    sizes = [1e3, 4e3, 16e3, 64e3, 256e3]
    floor, coefficient, exponent = _law(answer, sizes, [0.866968, 0.554460, 0.333484, 0.177230, 0.066742])
    case = "losses that fall faster and faster"
    expect(
        floor >= 0,
        f"{case}: your floor is {floor:.3g}. No model has a loss below zero: where the floor would be "
        "negative, set it to 0 and solve for the coefficient again.",
    )
    expect(floor < 0.02, f"{case}: your floor is {floor:.3g}, but the losses do not level off; 0 fits best.")
    expect(
        abs(exponent - 0.2498) > 0.01,
        f"{case}: a negative floor, cut to 0 afterwards, leaves the coefficient and "
        "exponent of the negative one. Solve again with the floor at 0.",
    )
    expect(
        abs(exponent - 0.3718) > 0.01,
        f"{case}: your exponent is {exponent:.3f}, that of the smallest absolute "
        "errors. Divide each error by the loss that was measured.",
    )
    expect_equal(exponent, 0.4556, f"{case}, exponent", "Of all exponents, with a floor of 0.", tolerance=0.02)
    expect(
        coefficient > 0, f"{case}: your coefficient is {coefficient:.3g}; larger models do better, so it is positive."
    )


def _relative_errors(answer: Callable) -> None:
    sizes, losses = [100.0, 300.0, 1e3, 3e3, 1e4], [12.0, 4.1, 2.2, 1.25, 1.12]
    floor, coefficient, exponent = _law(answer, sizes, losses)
    case = f"sizes {sizes}, losses {losses}"
    expect(
        abs(exponent - 1.1485) > 0.01 and abs(floor - 1.1427) > 0.01,
        f"{case}: you made the absolute errors small, so the loss of 12 decides nearly everything. Divide each "
        "error by the loss that was measured.",
    )
    expect_equal(
        exponent,
        1.047,
        f"{case}, exponent",
        "The least sum of squares of (fitted - measured) / measured.",
        tolerance=0.02,
    )
    predicted = floor + coefficient / 3e4**exponent
    expect_equal(predicted, 1.0453, f"{case}, loss at size 30,000", "Floor and coefficient at the best exponent.", 0.01)


def _three_sizes(answer: Callable) -> None:
    _refuses(
        answer,
        ([1e3, 1e4, 1e4], [2.0, 1.5, 1.4]),
        "two different sizes (one of them twice)",
        "three unknowns fit two sizes in infinitely many ways.",
    )
