"""Checks for the exercises of notebook 08: one function per exercise, with the learner's function's name."""

import math
from collections.abc import Callable

import numpy as np

from pn_lib.course.checks import expect, expect_equal, hints, number, refuses, run_check


@hints(
    "Ask first for the opposite: with what probability is one word sound? And n words, one after another?",
    "A word is sound with 1 − ε, a story of n words with (1 − ε) to the power n. Set that equal to the share, "
    "take the n-th root on both sides, and solve for ε.",
)
def allowed_leak(answer: Callable) -> bool:
    """Exercise 8.1: the leak per word that keeps a share of the stories whole."""
    return run_check("8.1", answer, _half_of_one_word, _two_words, _a_story)


def _half_of_one_word(answer: Callable) -> None:
    expect_equal(number(answer(0.5, 1), "Your answer"), 0.5, "half of stories of one word", "The leak is what is lost.")
    got = number(answer(0.9, 1), "Your answer")
    expect(abs(got - 0.9) > 1e-6, "a share of 0.9, one word: that is the chance of a good word; the leak is the rest.")
    expect_equal(got, 0.1, "a share of 0.9, one word", "One word in ten may be wrong.")


def _two_words(answer: Callable) -> None:
    got = number(answer(0.25, 2), "Your answer")
    expect(
        abs(got - 0.375) > 1e-6, "a share of 0.25, two words: chances multiply, so what you may lose does not add up."
    )
    expect(abs(got - 0.9375) > 1e-6, "a share of 0.25, two words: the power is 1/n, not n.")
    expect_equal(got, 0.5, "a share of 0.25, two words", "0.5 times 0.5.")


def _a_story(answer: Callable) -> None:
    got = number(answer(0.5, 160), "Your answer")
    expect_equal(got, 1 - 0.5 ** (1 / 160), "half of stories of 160 words", "(1 - leak)^160 = 0.5.", 1e-6)


@hints(
    "Write the loss as a function of M alone, with R replaced. The floor drops out of the derivative. Which of "
    "the two other terms falls as M grows, and which rises?",
    "With P = C/k, the loss is c_0 + c_M M^(−α) + c_R (M/P)^β. Its derivative is zero where α c_M M^(−α) equals β "
    "c_R (M/P)^β. Bring all powers of M to one side: M^(α + β) = α c_M P^β divided by β c_R. The last step is a "
    "root.",
)
def best_size(answer: Callable) -> bool:
    """Exercise 8.2: the size with the lowest loss for a budget, in closed form."""
    return run_check("8.2", answer, _alike, _lowest)


def _alike(answer: Callable) -> None:
    got = number(answer(600.0, 6.0, 1.0, 0.5, 1.0, 0.5), "Your answer")
    expect(abs(got - 100.0) > 1e-3, "600 FLOPs at 6: M times R is 100, so M alone is its root.")
    expect(abs(got - math.sqrt(600)) > 1e-3, "600 FLOPs at 6: divide the budget by the FLOPs per parameter and token.")
    expect_equal(got / 10, 1.0, "size and reading alike, M R = 100, your M / 10", "M = R = 10.")


def _lowest(answer: Callable) -> None:
    for given in (
        (1e12, 6.0, 60.0, 0.45, 90.0, 0.4),
        (3e10, 4.5, 5.0, 0.3, 900.0, 0.7),
        (1e30, 6.0, 60.0, 0.45, 90.0, 0.4),
    ):
        flops, per, c_M, alpha, c_R, beta = given
        case = f"C = {flops:.0e}, k = {per}, c_M = {c_M}, alpha = {alpha}, c_R = {c_R}, beta = {beta}"
        got, best = number(answer(*given), "Your answer"), _searched(*given)
        expect(got > 0, f"{case}: a size is above zero, not {got:.3g}.")
        tokens = flops / per / best
        expect(abs(got / tokens - 1) > 1e-3, f"{case}: that is the number of tokens R; the exercise asks for M.")
        without = best * (alpha / beta) ** (-1 / (alpha + beta))
        expect(abs(got / without - 1) > 1e-3, f"{case}: the exponents come down as factors in the derivative.")
        upside_down = best * (c_M * alpha / c_R / beta) ** (-2 / (alpha + beta))
        expect(abs(got / upside_down - 1) > 1e-3, f"{case}: your ratio of the two terms is upside down.")
        expect_equal(got / best, 1.0, f"{case}, your M over the best", "Where the derivative is zero.", 1e-4)


def _searched(flops: float, per: float, c_M: float, alpha: float, c_R: float, beta: float) -> float:
    """The best size by search, so that this file gives no formula away."""
    low, high = 0.0, math.log(flops / per)  # of ln M
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        loss = [c_M * math.exp(-alpha * x) + c_R * (per / flops) ** beta * math.exp(beta * x) for x in (a, b)]
        low, high = (low, b) if loss[0] < loss[1] else (a, high)
    return math.exp((low + high) / 2)


@hints(
    "The largest size need not be the last in the list. Find its *place*; then both lists lose the same place.",
    "Find the place with max over the numbers of places, by their size. Join what stands before it and behind it, "
    "for sizes and losses alike; `fit` of these two lists gives a function. Call it with the size left out, "
    "subtract the loss measured there, and divide by that loss.",
)
def largest_left_out(answer: Callable) -> bool:
    """Exercise 8.3: the error of a fit at the largest size, which it has not seen."""
    return run_check("8.3", answer, _smallest_loss, _sees_the_rest, _any_order)


def _smallest_loss(answer: Callable) -> None:
    case = "sizes [1, 4, 2], losses [3, 1, 2], fit: the smallest loss"
    got = number(answer(lambda sizes, losses: lambda size: min(losses), [1, 4, 2], [3.0, 1.0, 2.0]), "Your answer")
    expect(got != 0.0, f"{case}: your fit has seen the largest size; leave it out.")
    expect(abs(got + 0.5) > 1e-6, f"{case}: you left out the last one given; the largest is 4.")
    expect(abs(got + 1.0) > 1e-6, f"{case}: predicted minus measured, not the other way around.")
    expect(abs(got - 0.5) > 1e-6, f"{case}: divide by what was measured, not by what was predicted.")
    expect_equal(got, 1.0, case, "Predicted 2, measured 1.")


def _sees_the_rest(answer: Callable) -> None:
    seen: list = []

    def fit(sizes, losses):
        seen.append((list(sizes), list(losses)))
        return lambda size: 0.5 if size == 9 else 99.0

    sizes, losses = [3, 9, 5, 1], [1.0, 0.4, 0.8, 2.0]
    got = number(answer(fit, sizes, losses), "Your answer")
    expect(sizes == [3, 9, 5, 1] and losses == [1.0, 0.4, 0.8, 2.0], "A list given to you changed; work on copies.")
    expect(len(seen) == 1, f"fit was called {len(seen)} times; once is enough.")
    expect(seen[0] == ([3, 5, 1], [1.0, 0.8, 2.0]), f"fit got {seen[0]}; pass the others on in the order given.")
    expect_equal(got, 0.25, "a fit that says 0.5 at size 9, measured 0.4", "Ask it for the size left out.")


def _any_order(answer: Callable) -> None:
    def line(sizes, losses):
        slope, start = np.polyfit(sizes, losses, 1)
        return lambda size: start + slope * size

    got = number(answer(line, [4.0, 1.0, 2.0, 3.0], [1.0, 4.0, 3.0, 2.0]), "Your answer")
    expect_equal(got, 0.0, "losses on a straight line, the largest size first", "A line predicts itself.", 1e-6)


SIZES = [1e3, 1e4, 1e5, 1e6]
LOSSES = [0.5 + 40 / size**0.4 for size in SIZES]


@hints(
    "First choose the best size for a budget, then ask what loss it reaches. At the best size both of the law's "
    "falling terms shrink with the *same* power of the budget. Which?",
    "Write P for parameters times tokens. The best size is G P^(β/(α + β)) with G^(α + β) = α c_M / (β c_R), so the "
    "tokens are P^(α/(α + β)) / G. Put both into the law: loss − c_0 = K P^(−αβ/(α + β)), with K = c_M G^(−α) + "
    "c_R G^β. Solve for P; each parameter and token costs `per_parameter`. At c_0 or below, no budget is enough.",
)
def price_of_a_loss(answer: Callable) -> bool:
    """Exercise 8.4: the FLOPs with which the best model reaches a loss."""
    return run_check("8.4", answer, _ten_thousand, _floor, _cheapest)


def _least_loss(flops: float, per_parameter: float, c_0: float, c_M: float, alpha: float, c_R: float, beta: float):
    """The law's lowest loss for a budget, by trying many sizes."""
    M = np.geomspace(1e-3, 1e13, 200_001)
    return float((c_0 + c_M / M**alpha + c_R / (flops / per_parameter / M) ** beta).min())


def _ten_thousand(answer: Callable) -> None:
    got = number(answer(1.2, 6.0, 1.0, 1.0, 0.5, 1.0, 0.5), "Your answer")
    case = "a loss of 1.2 where size and reading are alike"
    for wrong, message in (
        (1e4, "that is parameters times tokens: each of them costs `per_parameter` FLOPs"),
        (6 * (2 / 1.2) ** 4, "you left out the floor: only what lies above c_0 can be bought"),
        (6 * 5.0**4, "you let one of the two terms vanish; with a finite budget both remain"),
        (6 * 0.1**4, "the power is upside down: a smaller gap must cost more"),
    ):
        expect(not math.isclose(got, wrong, rel_tol=1e-3), f"{case}: got {got:.4g}; {message}.")
    expect_equal(got / 6e4, 1.0, f"{case}: your FLOPs over 60,000", "M = R = 100, and both terms are 0.1.", 1e-3)


def _floor(answer: Callable) -> None:
    for target in (1.0, 0.9):
        try:
            got = answer(target, 6.0, 1.0, 1.0, 0.5, 1.0, 0.5)
        except ZeroDivisionError:
            expect(False, f"A loss of {target:g} with a floor of 1 divides by zero. No budget is enough: math.inf.")
        expect(not isinstance(got, complex), f"A loss of {target:g} lies below the floor, and you take a root of it.")
        expect(got == math.inf, f"A loss of {target:g} with a floor of 1: no budget is enough, return math.inf.")


def _cheapest(answer: Callable) -> None:
    for target, *law in ((0.9, 6.0, 0.4, 30.0, 0.35, 90.0, 0.3), (1.5, 7.5, 1.1, 4.0, 0.2, 900.0, 0.45)):
        got = number(answer(target, *law), "Your answer")
        expect(got > 0 and math.isfinite(got), f"A loss of {target:g} above the floor has a finite price, not {got:g}.")
        reached = _least_loss(got, *law)
        what = "less than it needs" if reached > target else "more than it needs"
        expect(
            abs(reached - target) < 1e-3,
            f"A loss of {target:g}: with your {got:.3g} FLOPs the best size reaches {reached:.4f}. That is {what}: do "
            "you choose the *best* size, where α c_M M^(−α) = β c_R R^(−β)?",
        )


@hints(
    "For a *given* exponent the law is linear in floor and coefficient, so least squares finds both at once. What "
    "must each equation be divided by for its error to be relative? And what if the best floor comes out "
    "negative?",
    "For each exponent, two columns: ones, and the sizes to the power −α; divide both by the losses, so that the "
    "target is 1 everywhere, and call np.linalg.lstsq. If a number comes out negative, the best allowed one has a "
    "zero: so also fit each column alone, and keep the allowed fit with the least squared error. Divide the sizes by "
    "the first one before you take powers (the columns are then of similar size), and undo that in the "
    "coefficient.",
)
def fit_power_law(answer: Callable) -> bool:
    """A power law with a floor, fitted by relative least squares."""
    return run_check("8.5", answer, _known_law, _floor_is_not_negative, _relative_errors, _three_sizes)


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
    refuses(
        answer,
        ([1e3, 1e4, 1e4], [2.0, 1.5, 1.4]),
        "two different sizes (one of them twice)",
        "three unknowns fit two sizes in infinitely many ways.",
    )
