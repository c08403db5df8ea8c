"""Checks for the exercises of notebook 07."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pn_lib.checks import expect, expect_equal, run_check


def exercise_7_1(answer: Callable) -> bool:
    """The half-life of a state number, in tokens."""
    return run_check("7.1", answer, _half_life_of_a_unit, _half_life_halves)


def _half_life_of_a_unit(answer: Callable) -> None:
    got = answer(0.1, -1.0)
    expect(got is not None, "Your function returned None.")
    expect(got > 0, f"A half-life of {got:g} tokens would lie in the past; A is negative, its size is what counts.")
    expect(not math.isclose(got, 10.0, rel_tol=1e-4), "After 10 tokens 1/e = 37 % is left, not half.")
    expect_equal(float(got), 6.931472, "dt = 0.1, A = -1", "Solve exp(-dt |A| n) = 1/2 for n.")


def _half_life_halves(answer: Callable) -> None:
    for dt, A in ((0.001, -1.0), (0.1, -16.0), (0.7, -0.3)):
        left = math.exp(dt * A * answer(dt, A))
        expect_equal(left, 0.5, f"share left after your half-life, dt = {dt:g}, A = {A:g}", "It should be half.")


def exercise_7_2(answer: Callable) -> bool:
    """Gates of a recurrence that counts the tokens since the last separator."""
    return run_check("7.2", answer, _counts_from_a_separator, _counts_any_stream)


def _count(answer: Callable, ids: list[int], separator: int) -> list[float]:
    """Run h = a h + b with the learner's gates."""
    gates = answer(torch.tensor(ids), separator)
    expect(isinstance(gates, tuple) and len(gates) == 2, "Return two tensors: a and b.")
    a, b = (torch.as_tensor(gate, dtype=torch.float32) for gate in gates)
    expect(a.shape == b.shape == (len(ids),), f"a and b must each have shape ({len(ids)},), one gate a token; yours "
           f"have {tuple(a.shape)} and {tuple(b.shape)}.")
    h, counts = 0.0, []
    for a_t, b_t in zip(a.tolist(), b.tolist(), strict=True):
        h = a_t * h + b_t
        counts.append(h)
    return counts


def _counts_from_a_separator(answer: Callable) -> None:
    got = _count(answer, [0, 5, 6, 0, 7, 8, 9], 0)
    expect(got != [0, 1, 2, 2, 3, 4, 5], "The count goes on after the second separator: what should be kept there?")
    expect(got != [1, 2, 3, 1, 2, 3, 4], "You count the separator itself: what should be added there?")
    expect_equal(got, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 3.0], "ids 0 5 6 0 7 8 9 with separator 0",
                 "At a separator keep nothing and add nothing; elsewhere keep all and add one.")


def _counts_any_stream(answer: Callable) -> None:
    expect_equal(_count(answer, [3, 2, 9, 9, 4], 9), [1.0, 2.0, 0.0, 0.0, 1.0], "ids 3 2 9 9 4 with separator 9",
                 "Which token is the separator?")


def exercise_7_3(answer: Callable) -> bool:
    """The causal convolution, one token at a time."""
    return run_check("7.3", answer, _first_step, _window_moves, _equals_the_whole)


def _example() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return tuple(torch.randn(*shape, generator=generator) for shape in ((2, 9, 3), (3, 4), (3,)))


def _whole(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (B, T, E) -> (B, T, E), by PyTorch."""
    return F.conv1d(F.pad(x.mT, (weight.shape[1] - 1, 0)), weight[:, None], bias, groups=len(bias)).mT


def _first_step(answer: Callable) -> None:
    x, weight, bias = _example()
    window, x_t = x[:, :3], x[:, 3]
    given = window.clone()
    output, _ = answer(window, x_t, weight, bias)
    expect(torch.equal(window, given), "Your function changed the window given to it; return a new one.")
    expect(tuple(output.shape) == (2, 3), f"The output must be (B, E) = (2, 3), not {tuple(output.shape)}.")
    expected = _whole(x, weight, bias)[:, 3]
    expect(not torch.allclose(output, expected - bias, atol=1e-5), "The bias is missing.")
    flipped = _whole(x, weight.flip(1), bias)[:, 3]
    expect(not torch.allclose(output, flipped, atol=1e-5),
           "Your weights run backwards: the last column belongs to the newest input.")
    expect_equal(output, expected, "the output of one step", "Multiply K inputs, the newest last, by K columns.")


def _window_moves(answer: Callable) -> None:
    x, weight, bias = _example()
    _, window = answer(x[:, :3], x[:, 3], weight, bias)
    expect(tuple(window.shape) == (2, 3, 3), "The next window must hold K-1 = 3 inputs, (B, K-1, E) = (2, 3, 3), not "
           f"{tuple(window.shape)}.")
    expect(not torch.equal(window, x[:, :3]), "The window did not move: the oldest input leaves, the newest comes in.")
    expect_equal(window, x[:, 1:4], "the next window", "Oldest first, newest last.")


def _equals_the_whole(answer: Callable) -> None:
    x, weight, bias = _example()
    window, outputs = torch.zeros(2, 3, 3), []
    for t in range(9):
        output, window = answer(window, x[:, t], weight, bias)
        outputs.append(output)
    expect_equal(torch.stack(outputs, 1), _whole(x, weight, bias), "nine steps from an empty window",
                 "They should equal the convolution of the whole sequence.")
