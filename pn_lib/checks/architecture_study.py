"""Checks for the exercises of notebook 06."""

import math
from collections.abc import Callable

from pn_lib.checks import expect, expect_equal, run_check


def exercise_6_1(answer: Callable) -> bool:
    """The mean difference over shared seeds."""
    return run_check("6.1", answer, _direction, _pairs_by_seed, _only_shared_seeds, _no_shared_seed)


def _direction(answer: Callable) -> None:
    got = answer({0: 1.30}, {0: 1.32})
    expect(got is not None, "Your function returned None.")
    expect(not math.isclose(got, -0.02, abs_tol=1e-9), "The sign is wrong: take variant minus baseline.")
    expect_equal(float(got), 0.02, "baseline 1.30, variant 1.32", "Variant minus baseline.")


def _pairs_by_seed(answer: Callable) -> None:
    given = {0: 1.0, 1: 2.0, 2: 3.0}, {2: 3.5, 0: 1.2, 1: 2.2}
    expect_equal(float(answer(*given)), 0.3, "three seeds in another order", "Look each seed up in both.")


def _only_shared_seeds(answer: Callable) -> None:
    case = "baseline with seeds 0, 1, 7 and variant with 1, 0"
    got = float(answer({0: 1.0, 1: 2.0, 7: 9.0}, {1: 2.3, 0: 1.1}))
    expect(not math.isclose(got, 1.7 - 4.0, abs_tol=1e-6),
           "You subtracted the means of all seeds; seed 7 has no partner and must not count.")
    expect(not math.isclose(got, 0.4 / 3, abs_tol=1e-6), "You divided by all seeds, not by the pairs.")
    expect_equal(got, 0.2, case, "Only seeds that both have.")
    expect_equal(float(answer({1: 2.0}, {1: 2.3, 5: 9.0})), 0.3, "a seed that only the variant has",
                 "Only seeds that both have.")


def _no_shared_seed(answer: Callable) -> None:
    try:
        got = answer({0: 1.0}, {1: 1.0})
    except ValueError:
        return
    except ZeroDivisionError:
        expect(False, "Without a shared seed you divide by zero; raise a ValueError that says what is wrong.")
    expect(False, f"Seeds 0 and 1 are no pair, but you returned {got!r}; raise a ValueError.")


def exercise_6_2(answer: Callable) -> bool:
    """Holm's step-down correction."""
    return run_check("6.2", answer, _given_order, _better_than_bonferroni, _stops_at_the_first_failure, _other_alpha)


def _holm(answer: Callable, p_values: list[float], expected: list[bool], hint: str, *alpha: float) -> None:
    given = list(p_values)
    got = answer(given, *alpha)
    expect(given == p_values, "Your function changed the list given to it; sort a copy.")
    expect(got is not None, "Your function returned None.")
    got = [bool(finding) for finding in got]
    asked = f"p-values {p_values}" + (f", alpha {alpha[0]}" if alpha else "")
    expect_equal(got, expected, asked, hint)


def _given_order(answer: Callable) -> None:
    _holm(answer, [0.9, 0.001, 0.5], [False, True, False], "The answers come in the order of the p-values given.")


def _better_than_bonferroni(answer: Callable) -> None:
    got = [bool(finding) for finding in answer([0.02, 0.01, 0.04])]
    expect(got != [False, True, False], "That is Bonferroni's, 0.05 / 3 for all. The second smallest needs 0.05 / 2.")
    _holm(answer, [0.02, 0.01, 0.04], [True, True, True], "Thresholds 0.05 / 3, 0.05 / 2, 0.05 / 1.")


def _stops_at_the_first_failure(answer: Callable) -> None:
    p_values = [0.04, 0.001, 0.03]
    got = [bool(finding) for finding in answer(p_values)]
    expect(got != [True, True, False],
           "0.03 fails its threshold of 0.05 / 2, but you went on to 0.04, which is weaker evidence: stop there.")
    _holm(answer, p_values, [False, True, False], "What comes after the first failure fails too.")


def _other_alpha(answer: Callable) -> None:
    _holm(answer, [0.004, 0.02], [True, False], "Is alpha used?", 0.01)


def exercise_6_3(answer: Callable) -> bool:
    """The width at which a mixture of two has as many parameters."""
    return run_check("6.3", answer, _room_for_the_router, _largest_that_fits)


def _room_for_the_router(answer: Callable) -> None:
    got = answer(64, 176)
    expect(got is not None, "Your function returned None.")
    expect(got != 88, "Two networks of width 88 use up all parameters; where is the router's 64 x 2?")
    expect(got != 117, "That is the width for networks of two matrices; SwiGLU has three.")
    expect(isinstance(got, int), f"A width is a whole number (int), not {got!r}.")


def _largest_that_fits(answer: Callable) -> None:
    for d_model, d_ff in ((64, 176), (16, 48), (48, 129), (128, 352)):
        width = answer(d_model, d_ff)
        budget = 3 * d_model * d_ff
        case = f"D={d_model}, F={d_ff}: your width {width}"
        taken = _mixture(d_model, width)
        expect(taken <= budget, f"{case} takes {taken:,} of {budget:,} parameters.")
        expect(_mixture(d_model, width + 1) > budget, f"{case} leaves room for another channel.")


def _mixture(d_model: int, width: int) -> int:
    return 2 * 3 * d_model * width + 2 * d_model
