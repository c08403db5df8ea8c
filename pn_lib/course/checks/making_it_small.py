"""Checks for the exercises of notebook 11: one function per exercise, with the learner's function's name."""

from collections.abc import Callable

import torch
from torch import Tensor

from pn_lib.course.checks import Wrong, close, expect, expect_equal, floats, hints, run_check

Parts = list[dict[str, tuple[int, float]]]


def _random(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _answered(answer: Callable, w: Tensor, *arguments: object, shape: tuple[int, ...] | None = None) -> Tensor:
    """What the learner makes of ``w``, which must stay as it was."""
    given = w.clone()
    got = floats(answer(w, *arguments), tuple(w.shape) if shape is None else shape, "The answer")
    expect(torch.equal(given, w), "Your function changed the weights given to it.")
    return got


@hints(
    "The largest weight must land on the integer n: that fixes the scale. Which scale does a row of zeros get?",
    "Divide the largest absolute weight by n, which is 2^(bits − 1) − 1: that is the scale. Divide the row by it, "
    "round, multiply by it again. A row of zeros may have any scale but 0.",
)
def round_row(answer: Callable) -> bool:
    """Exercise 11.1: a row on a symmetric grid of a number of bits."""
    return run_check("11.1", answer, _three_bits, _many_bits, _zeros)


def _three_bits(answer: Callable) -> None:
    w, case = torch.tensor([0.6, -0.5, 0.1]), "the row 0.6, -0.5, 0.1 with 3 bits"
    got = _answered(answer, w, 3)
    for wrong, hint in (
        ([3.0, -2.0, 0.0], "These are the integers; multiply them by the scale."),
        ([0.6, -0.45, 0.15], "You use n = 4; with zero in the middle, 3 bits leave three integers on each side."),
        ([0.6, -0.6, 0.0], "Take the nearest integer, and let round decide ties."),
        ([0.6, -0.4, 0.2], "Weights must go to the *nearest* integer, not always up."),
    ):
        expect(not close(got, torch.tensor(wrong)), f"{case}: {hint}")
    expect_equal(got, torch.tensor([0.6, -0.4, 0.0]), case, "The scale is the largest absolute value over n.")


def _many_bits(answer: Callable) -> None:
    w = -_random(50).abs()  # the largest one is negative
    for bits in (2, 4, 8):
        n = (1 << (bits - 1)) - 1
        got, scale = _answered(answer, w, bits), float(w.abs().max()) / n
        steps, case = got / scale, f"50 weights below zero with {bits} bits"
        expect(
            close(steps, steps.round()), f"{case}: not all are on the grid. The scale is that of max |w|, not max w."
        )
        worst = float((got - w).abs().max())
        expect(
            worst <= 0.5001 * scale, f"{case}: a weight moved by {worst / scale:.2f} steps; half a step is the most."
        )


def _zeros(answer: Callable) -> None:
    got = answer(torch.zeros(4), 4)
    expect(isinstance(got, Tensor), f"Return a tensor, not {type(got).__name__}.")
    expect(not got.isnan().any(), "A row of zeros gives NaN: its scale is 0, and 0 / 0 is not a number.")
    expect_equal(got, torch.zeros(4), "a row of zeros", "It stays zeros.")


@hints(
    "One scale per output is one number per row. Over which axis do you take the maximum, and which shape must it "
    "keep so that it divides each row?",
    "The largest absolute weight of each row (amax over dim 1, with keepdim) over n is a column of scales, (out, "
    "1), and broadcasts. Round the matrix with it; then norms over dim 1, of the change and of W, one over the "
    "other.",
)
def row_errors(answer: Callable) -> bool:
    """Exercise 11.2: the relative error of each output's row with a scale of its own."""
    return run_check("11.2", answer, _small_row, _outlier_row, _any_matrix)


def _rounded(W: Tensor, scale: Tensor) -> Tensor:
    return torch.round(W / scale).mul(scale)


def _relative(W: Tensor, scale: Tensor) -> Tensor:
    gap = _rounded(W, scale) - W
    return gap.norm(dim=1).div(W.norm(dim=1))


def _compared(answer: Callable, W: Tensor, n: int, case: str) -> None:
    got = _answered(answer, W, n, shape=(len(W),))
    peaks = W.abs()
    expected = _relative(W, peaks.max(1, keepdim=True).values / n)
    for wrong, hint in (
        (_relative(W, peaks.max(0, keepdim=True).values / n), "Your scales belong to the inputs' columns."),
        (_relative(W, peaks.max() / n), "You use one scale for the whole matrix."),
        (expected * W.norm(dim=1), "These errors are absolute: divide by the norm of the row."),
    ):
        expect(close(expected, wrong) or not close(got, wrong), f"{case}: {hint}")
    expect_equal(got, expected, case, "One scale per output, which reaches the largest weight of its row.", 1e-4)


def _small_row(answer: Callable) -> None:
    _compared(answer, torch.tensor([[7.0, 1.4], [0.07, 0.014]]), 7, "the rows (7, 1.4) and (0.07, 0.014) with n = 7")


def _outlier_row(answer: Callable) -> None:
    W = _random(3, 8)
    W[1, 2] = 100.0
    _compared(answer, W, 7, "three rows, one of them with an outlier")


def _any_matrix(answer: Callable) -> None:
    for shape, n in (((5, 5), 7), ((4, 16), 127), ((1, 6), 1)):
        _compared(answer, _random(*shape), n, f"a matrix of shape {shape} with n = {n}")


@hints(
    "First decide which weights stay, as a mask of booleans. Then find the scale of the *others*.",
    "topk of the absolute values gives the places of the k largest; make the mask True there. The scale is the "
    "largest absolute weight outside the mask over n. torch.where picks the weight itself under the mask and the "
    "rounded one elsewhere.",
)
def keep_outliers(answer: Callable) -> bool:
    """Exercise 11.3: a row with its largest weights kept exactly."""
    return run_check("11.3", answer, _one_outlier, _negative_outlier, _any_number)


def _one_outlier(answer: Callable) -> None:
    w, case = torch.tensor([8.0, 0.5, -0.3, 0.2]), "the row 8, 0.5, -0.3, 0.2 with n = 5, k = 1"
    got = _answered(answer, w, 5, 1)
    expect(not close(got, torch.tensor([8.0, 0, 0, 0])), f"{case}: the outlier still sets the scale of the others.")
    expect(not close(got, torch.tensor([0.5, 0.5, -0.3, 0.2])), f"{case}: the outlier was clamped; keep it as it is.")
    expect(not close(got, torch.tensor([0.0, 0.5, -0.3, 0.2])), f"{case}: the outlier is lost; put it back.")
    expect_equal(got, w, case, "Without the outlier the scale is 0.5 / 5 = 0.1.")


def _negative_outlier(answer: Callable) -> None:
    w, case = torch.tensor([0.33, -9.0, 0.5, 0.1]), "the row 0.33, -9, 0.5, 0.1 with n = 5, k = 1"
    got = _answered(answer, w, 5, 1)
    expect(
        not close(got, torch.tensor([0.0, -9.0, 0.5, 0.0])),
        f"{case}: -9 is the largest by its absolute value, and yet it sets the scale of the others.",
    )
    expect_equal(got, torch.tensor([0.3, -9.0, 0.5, 0.1]), case, "Only the k outliers are kept exactly.")


def _any_number(answer: Callable) -> None:
    w = _random(20)
    order = sorted(range(20), key=lambda i: -abs(float(w[i])))
    for k in (0, 3, 19):
        got, rest, case = _answered(answer, w, 7, k), order[k:], f"20 weights with n = 7, k = {k}"
        expect(close(got[order[:k]], w[order[:k]]), f"{case}: the {k} largest must stay as they are.")
        unit = abs(float(w[rest[0]])) / 7
        expect_equal(got[rest], _rounded(w[rest], torch.tensor(unit)), case, "With k = 0 all are rounded.", 1e-4)


@hints(
    "The straight-through trick of section 11.6 lends a rounded value the gradient of something else. Of what, if "
    "there should be none beyond the grid?",
    "clamp passes gradients inside its limits and stops them outside. So clamp w to ±n·s first. To the clamped "
    "weight add its rounding *error*, detached: then the value is the rounded one, and the gradient is that of "
    "clamp.",
)
def fake_round(answer: Callable) -> bool:
    """Exercise 11.4: rounding with a straight-through gradient inside the grid."""
    return run_check("11.4", answer, _values, _gradients, _chain)


def _values(answer: Callable) -> None:
    w, case = torch.tensor([0.4, 2.6, -0.9]), "the weights 0.4, 2.6, -0.9 with scale 1, n = 2"
    got = _answered(answer, w, 1.0, 2)
    expect(not close(got, w), f"{case}: the weights come back unrounded.")
    expect(not close(got, torch.tensor([0.0, 3.0, -1.0])), f"{case}: 3 is beyond the grid; clamp it to n.")
    expect_equal(got, torch.tensor([0.0, 2.0, -1.0]), case, "First round, then clamp.")
    half, case = torch.tensor([[0.26, -0.9]]), "the weights 0.26, -0.9 with scale 0.5, n = 2"
    got = _answered(answer, half, 0.5, 2)
    expect(not close(got, torch.tensor([[1.0, -2.0]])), f"{case}: these are integers; multiply by the scale.")
    expect_equal(got, torch.tensor([[0.5, -1.0]]), case, "Divide by the scale before rounding.")


def _gradient(answer: Callable, values: list[float], scale: float, n: int) -> Tensor:
    w = torch.tensor(values, requires_grad=True)
    got = answer(w, scale, n)
    expect(got.requires_grad, "No gradient flows through your result: detach only the rounding, not the weights.")
    got.sum().backward()
    expect(w.grad is not None, "No gradient reaches the weights.")
    return w.grad


def _gradients(answer: Callable) -> None:
    case = "the weights 0.4, 2.6, -0.9 with scale 1, n = 2"
    got = _gradient(answer, [0.4, 2.6, -0.9], 1.0, 2)
    expect(bool(got.any()), f"{case}: all gradients are zero, as round's own are. Hide the rounding from the gradient.")
    expect(float(got[1]) == 0, f"{case}: 2.6 lies beyond the grid, so its gradient must be zero.")
    expect_equal(got, torch.tensor([1.0, 0.0, 1.0]), f"gradients of {case}", "Inside the grid it passes unchanged.")


def _chain(answer: Callable) -> None:
    case = "the weights 0.26, 1, -1.2 with scale 0.5, n = 2"
    got = _gradient(answer, [0.26, 1.0, -1.2], 0.5, 2)
    expect(not close(got, 2 * torch.tensor([1.0, 1, 0])), f"{case}: your gradient has a factor of 1 / scale too many.")
    expect_equal(got, torch.tensor([1.0, 1.0, 0.0]), f"gradients of {case}", "The grid ends at n times the scale.")


@hints(
    "Suppose the first few parts are decided. What do you still need to know of them? Only how many bytes they "
    "use, and the least rise that is possible with so many.",
    "Keep a dictionary: bytes used → (least rise, choices). It begins with 0 bytes, no rise, no choices. For each "
    "part, make a new one: extend each entry by each precision that still fits the budget; of two with equal "
    "bytes, keep the smaller rise. In the end take the least rise of all. If the dictionary is empty, nothing "
    "fits.",
)
def allocate(answer: Callable) -> bool:
    """Exercise 11.5: the precision of each part, within a budget of bytes."""
    return run_check("11.5", answer, _two_parts, _no_room, _greedy_fails, _forty_parts)


def _rise(answer: Callable, parts: Parts, budget: int, case: str) -> float:
    """The summed rise of the learner's choice, once it is one and fits."""
    chosen = answer(parts, budget)
    expect(
        isinstance(chosen, list) and len(chosen) == len(parts),
        f"{case}: return a list with one precision for each of the {len(parts)} parts.",
    )
    known = all(name in part for part, name in zip(parts, chosen, strict=True))
    expect(known, f"{case}: a part has no such precision: {chosen[:4]}")
    size = sum(part[name][0] for part, name in zip(parts, chosen, strict=True))
    expect(size <= budget, f"{case}: your choice takes {size} bytes, over the budget of {budget}.")
    return sum(part[name][1] for part, name in zip(parts, chosen, strict=True))


def _least(parts: Parts, budget: int) -> float:
    """By the least rise for every exact size."""
    best = {0: 0.0}
    for part in parts:
        following: dict[int, float] = {}
        for size, rise in best.items():
            for more, worse in part.values():
                if size + more <= budget:
                    following[size + more] = min(following.get(size + more, float("inf")), rise + worse)
        best = following
    return min(best.values())


def _two_parts(answer: Callable) -> None:
    parts = [{"int8": (8, 0.0), "int4": (4, 0.3)}, {"int8": (4, 0.0), "int4": (2, 0.1)}]
    for budget in (12, 10, 6):
        case = f"two parts and a budget of {budget}"
        got, least = _rise(answer, parts, budget, case), _least(parts, budget)
        expect(abs(got - least) < 1e-9, f"{case}: your choice raises the loss by {got:.1f}; {least:.1f} is possible.")


def _no_room(answer: Callable) -> None:
    try:
        answer([{"int8": (8, 0.0), "ternary": (2, 0.5)}] * 3, 5)
    except ValueError:
        return
    raise Wrong("three parts of at least 2 bytes cannot fit into 5: raise ValueError.")


def _greedy_fails(answer: Callable) -> None:
    parts = [{"int8": (11, 0.0), "int4": (5, 0.9)}] + [{"int8": (10, 0.0), "int4": (5, 0.7)}] * 2
    got, least = _rise(answer, parts, 25, "three parts"), _least(parts, 25)
    expect(
        got < least + 1e-9,
        f"three parts and a budget of 25: {got:.1f} is what a greedy choice reaches; {least:.1f} is possible.",
    )


def _forty_parts(answer: Callable) -> None:
    sizes = torch.randint(5, 40, (40,), generator=torch.Generator().manual_seed(3)).tolist()
    parts = [
        {"int8": (4 * s, 0.0), "int4": (2 * s, 0.1 + (s * 7 % 11) / 10), "ternary": (s, 0.9 + (s * 5 % 13) / 5)}
        for s in sizes
    ]
    budget = 2 * sum(sizes)
    got, least = _rise(answer, parts, budget, "forty parts"), _least(parts, budget)
    expect(
        abs(got - least) < 1e-6,
        f"forty parts and a budget of {budget}: your choice raises the loss by {got:.2f}, and {least:.2f} is possible.",
    )
