"""Checks for the exercises of notebook 09: one function per exercise, with the learner's function's name.

That of its project, 9.6, is in ``fourier_scan``.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pn_lib.course.checks import close, expect, expect_equal, floats, hints, number, run_check
from pn_lib.course.checks.fourier_scan import fixed_scan
from pn_lib.models.ssd import decay_mask as decay_table

__all__ = [
    "convolve_piece", "counting_gates", "decay_mask", "fixed_scan", "half_life", "recurrence_gradients",
]  # fmt: skip


def _two(value: object, what: str) -> tuple:
    expect(value is not None, "Your function returned None.")
    expect(isinstance(value, (tuple, list)) and len(value) == 2, f"Return two tensors: {what}.")
    return tuple(value)


@hints(
    "Write the question as an equation: what is left after n tokens equals one half.",
    "e^(−n Δ |A|) = 1/2. Take the logarithm on both sides and solve for n; the signs cancel.",
)
def half_life(answer: Callable) -> bool:
    """Exercise 9.1: the half-life of a state number, in tokens."""
    return run_check("9.1", answer, _half_life_of_a_unit, _half_life_halves)


def _half_life_of_a_unit(answer: Callable) -> None:
    got = number(answer(0.1, -1.0), "dt = 0.1, A = -1")
    expect(got > 0, f"A half-life of {got:g} tokens would lie in the past; A is negative; use its absolute value.")
    expect(not math.isclose(got, 10.0, rel_tol=1e-4), "After 10 tokens 1/e = 37 % is left, not half.")
    expect(got not in (6.0, 7.0), "You round to whole tokens; return the exact number.")
    expect(
        not math.isclose(got, math.log2(math.e) * 10, rel_tol=1e-4),
        "You divide by ln 2 where the equation asks you to multiply by it.",
    )
    expect_equal(got, 6.931472, "dt = 0.1, A = -1", "The state must have been halved after that many tokens.")


def _half_life_halves(answer: Callable) -> None:
    for dt, A in ((0.001, -1.0), (0.1, -16.0), (0.7, -0.3)):
        left = math.exp(dt * A * float(answer(dt, A)))
        expect_equal(
            left,
            0.5,
            f"share left after your half-life, dt = {dt:g}, A = {A:g}",
            "It should be half; both dt and A set the pace.",
        )


@hints(
    "At a separator the state must become 0, whatever it was. At any other token it must stay and grow by 1. "
    "Which a and b do that?",
    "At a separator both gates are 0, elsewhere both are 1. So one comparison of the ids with the separator gives "
    "you both; turn it into floats.",
)
def counting_gates(answer: Callable) -> bool:
    """Exercise 9.2: gates of a recurrence that counts the tokens since the last separator."""
    return run_check("9.2", answer, _counts_from_a_separator, _counts_any_stream)


def _count(answer: Callable, ids: list[int], separator: int) -> list[float]:
    """Run h = a h + b with the learner's gates."""
    given = torch.tensor(ids)
    gates = _two(answer(given, separator), "a and b")
    expect(given.tolist() == ids, "Your function changed the ids given to it.")
    for name, gate in zip("ab", gates, strict=True):
        expect(isinstance(gate, Tensor), f"{name} must be a tensor, not {type(gate).__name__}.")
        expect(
            tuple(gate.shape) == (len(ids),),
            f"{name} must have shape ({len(ids)},), one gate per token, not {tuple(gate.shape)}.",
        )
        expect(gate.is_floating_point(), f"{name} must hold floats, not {gate.dtype}: a recurrence multiplies by it.")
    h, counts = 0.0, []
    for a_t, b_t in zip(gates[0].tolist(), gates[1].tolist(), strict=True):
        h = a_t * h + b_t
        counts.append(h)
    return counts


def _counts_from_a_separator(answer: Callable) -> None:
    got = _count(answer, [0, 5, 6, 0, 7, 8, 9], 0)
    expect(got != [0, 1, 2, 2, 3, 4, 5], "The count goes on after the second separator: what should be kept there?")
    expect(got != [1, 2, 3, 1, 2, 3, 4], "You count the separator itself: what should be added there?")
    expect(got != [1, 0, 0, 1, 0, 0, 0], "Your gates are the wrong way around: they count at separators only.")
    expect_equal(
        got,
        [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 3.0],
        "the counts of ids 0 5 6 0 7 8 9 with separator 0",
        "Ask for each token: how much of the count is kept here, and how much is added?",
    )


def _counts_any_stream(answer: Callable) -> None:
    expect_equal(
        _count(answer, [3, 2, 9, 9, 4], 9),
        [1.0, 2.0, 0.0, 0.0, 1.0],
        "the counts of ids 3 2 9 9 4 with separator 9",
        "Which token is the separator here?",
    )
    expect_equal(
        _count(answer, [4, 4], 9),
        [1.0, 2.0],
        "the counts of ids 4 4, no separator",
        "Count a stream without a separator from its beginning.",
    )


@hints(
    "Put the window in front of the new inputs. Now each output looks at K inputs in a row, and all of them are "
    "there. Which inputs will the next call need?",
    "Join window and x along time: K − 1 + T inputs. Output t is the sum, over the filter's columns k, of column "
    "k times input t + k; slices do this for all t at once. Add the bias. Drop the first T of the joined inputs, "
    "and what remains is the new window, even if T is 1.",
)
def convolve_piece(answer: Callable) -> bool:
    """Exercise 9.3: the causal convolution of the next T inputs, and the window for the next call."""
    return run_check("9.3", answer, _piece_in_the_middle, _window_moves, _short_piece, _pieces_equal_the_whole)


def _example() -> tuple[Tensor, Tensor, Tensor]:
    """x (2, 9, 3), weight (3, 4), bias (3,)"""
    generator = torch.Generator().manual_seed(7)
    return tuple(torch.randn(*shape, generator=generator) for shape in ((2, 9, 3), (3, 4), (3,)))


def _whole(x: Tensor, weight: Tensor, bias: Tensor, right: int = 0) -> Tensor:
    """x (B, T, E) -> (B, T, E), by PyTorch; zeros before it, of which ``right`` are put behind it instead."""
    return F.conv1d(F.pad(x.mT, (weight.shape[1] - 1 - right, right)), weight[:, None], bias, groups=len(bias)).mT


def _piece_in_the_middle(answer: Callable) -> None:
    x, weight, bias = _example()
    piece, window, given = x[:, 3:8], x[:, :3].clone(), x[:, :3].clone()
    output, _ = _two(answer(piece, window, weight, bias), "the outputs and the new window")
    expect(torch.equal(window, given), "Your function changed the window given to it; return a new one.")
    expect(
        not (isinstance(output, Tensor) and output.ndim == 3 and output.shape[1] == 8),
        "You return T + K - 1 outputs: return one for each new input, none for those in the window.",
    )
    output = floats(output, (2, 5, 3), "The output (B, T, E)")
    expected = _whole(x, weight, bias)[:, 3:8]
    expect(not close(output, expected - bias), "The bias is missing.")
    expect(
        not close(output, _whole(x, weight.flip(1), bias)[:, 3:8]),
        "Your filter runs backwards: its last column belongs to the newest input.",
    )
    expect(
        not close(output, _whole(piece, weight, bias)),
        "You put zeros before the piece; the inputs before it are in the window.",
    )
    symmetric = [_whole(part, weight, bias, right) for part in (piece, x[:, :8]) for right in (1, 2)]
    expect(
        not any(close(output, wrong[:, -5:]) for wrong in symmetric),
        "Your outputs see the future: inputs are padded on both sides, so that each looks at later ones.",
    )
    expect(not close(output, _whole(x, weight, bias)[:, 2:7]), "Your outputs come one token late.")
    expect_equal(
        output,
        expected,
        "the outputs of inputs 3 to 7",
        "Each is a weighted sum of K inputs, the newest being its own.",
        tolerance=1e-4,
    )


def _window_moves(answer: Callable) -> None:
    x, weight, bias = _example()
    _, window = _two(answer(x[:, 3:8], x[:, :3], weight, bias), "the outputs and the new window")
    window = floats(window, (2, 3, 3), "The new window (B, K-1, E)")
    expect(not torch.equal(window, x[:, :3]), "The window did not move: the oldest leave, the newest come in.")
    expect(
        not torch.equal(window, x[:, 5:8].flip(1)), "The new window has its newest input first; put the oldest first."
    )
    expect(not torch.equal(window, x[:, 4:7]), "The new window stops one input too early: it lacks the newest.")
    expect_equal(window, x[:, 5:8], "the new window", "It holds the last K - 1 inputs, not outputs.")


def _short_piece(answer: Callable) -> None:
    x, weight, bias = _example()
    output, window = _two(answer(x[:, 3:4], x[:, :3], weight, bias), "the outputs and the new window")
    expect(
        isinstance(window, Tensor) and tuple(window.shape) == (2, 3, 3),
        "One new input: the new window must still hold K - 1 = 3 inputs. Where the piece is shorter than that, "
        "some of the old window stays.",
    )
    expect_equal(
        output.detach(),
        _whole(x, weight, bias)[:, 3:4],
        "the output of a single input",
        "T = 1 is a piece like any other.",
        tolerance=1e-4,
    )
    expect_equal(window, x[:, 1:4], "the new window after a single input", "Two of the old inputs stay in it.")


def _pieces_equal_the_whole(answer: Callable) -> None:
    x, weight, bias = _example()
    window, outputs = torch.zeros(2, 3, 3), []
    for piece in x.split([2, 1, 5, 1], dim=1):
        output, window = answer(piece, window, weight, bias)
        outputs.append(output)
    expect_equal(
        torch.cat(outputs, 1),
        _whole(x, weight, bias),
        "pieces of 2, 1, 5 and 1 from an empty window",
        "Together they should equal the convolution of the whole sequence.",
        tolerance=1e-4,
    )


@hints(
    "A state changes the loss directly, and through the next state. Express its total effect in terms of the total "
    "effect of the state after it: a recurrence that runs backward.",
    "Call the total effect G. At the last token it is the direct effect alone; before that, G_t = direct_t + a_{t+1} "
    "G_{t+1}. Since b_t enters h_t as it is, its gradient is G_t. Since a_t enters it times h_{t−1}, its gradient "
    "is h_{t−1} G_t, where the state before the first token is 0.",
)
def recurrence_gradients(answer: Callable) -> bool:
    """Exercise 9.4: the gradients of h_t = a_t h_{t-1} + b_t, against autograd."""
    return run_check("9.4", answer, _gradients_of_two_steps, _gradients_like_autograd)


def _states(a: Tensor, b: Tensor) -> Tensor:
    h, states = torch.zeros(()), []
    for a_t, b_t in zip(a.unbind(), b.unbind(), strict=True):
        h = a_t * h + b_t
        states.append(h)
    return torch.stack(states)


def _learners_gradients(answer: Callable, direct: Tensor, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    given = [v.detach().clone() for v in (direct, a, h)]
    grads = _two(answer(*given), "the gradient of a and the gradient of b")
    expect(
        all(torch.equal(v, was) for v, was in zip(given, (direct, a, h), strict=True)),
        "Your function changed a tensor given to it.",
    )
    return tuple(
        floats(grad, tuple(a.shape), f"The gradient of {name}") for name, grad in zip("ab", grads, strict=True)
    )


def _gradients_of_two_steps(answer: Callable) -> None:
    direct, a, h = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.25]), torch.tensor([2.0, 3.0])
    grad_a, grad_b = _learners_gradients(answer, direct, a, h)
    case = "direct = [0, 1], a = [0.5, 0.25], h = [2, 3]"
    expect(grad_b.tolist() != [0.0, 1.0], f"{case}: the first state matters to the loss through the second, too.")
    expect(
        grad_b.tolist() != [0.5, 1.0],
        f"{case}: the gradient of b_1 should be 0.25: the way from state 1 to "
        "state 2 leads through the second token's a, not the first's.",
    )
    expect(grad_a.tolist() != [0.25, 1.0], f"{case}: the two gradients are swapped, or you return the same one twice.")
    expect_equal(grad_b, torch.tensor([0.25, 1.0]), f"gradient of b, {case}", "What is b_1's influence on h_2?")
    expect(grad_a.tolist() != [0.5, 3.0], f"{case}: a_t multiplies the state *before* it, not the one it makes.")
    expect(
        grad_a[0] == 0,
        f"{case}: before the first token the state is 0, so a_1 changes nothing, but its "
        f"gradient is {grad_a[0]:g}. (torch.roll brings the last state round to the front.)",
    )
    expect_equal(grad_a, torch.tensor([0.0, 2.0]), f"gradient of a, {case}", "Which number does a_2 multiply?")


def _gradients_like_autograd(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(3)
    for length in (1, 9):
        a = torch.rand(length, generator=generator).requires_grad_()
        b, direct = (torch.randn(length, generator=generator) for _ in range(2))
        h = _states(a, b.requires_grad_())
        (h * direct).sum().backward()
        got = _learners_gradients(answer, direct, a.detach(), h.detach())
        for name, grad, expected in zip("ab", got, (a.grad, b.grad), strict=True):
            expect_equal(
                grad,
                expected,
                f"gradient of {name}, {length} token(s)",
                "Autograd says otherwise. Every later state counts, not the next one alone.",
                tolerance=1e-4,
            )


@hints(
    "Follow one column downward: it is 1 on the diagonal, and each row below multiplies by its own share. Which "
    "function of torch multiplies along an axis?",
    "Make a table with the share a_t in row t wherever s < t, and 1 everywhere else. Its cumulative product down "
    "the columns is right on the diagonal and below it; clear what is above. Without a logarithm, a share of 0 "
    "does no harm.",
)
def decay_mask(answer: Callable) -> bool:
    """Exercise 9.5: what is left of each token at each later one, from the shares kept."""
    return run_check("9.5", answer, _mask_of_three, _mask_with_a_zero, _mask_like_the_library)


def _mask_of_three(answer: Callable) -> None:
    a, case = torch.tensor([0.5, 0.25, 0.2]), "shares 0.5, 0.25, 0.2"
    got = floats(answer(a.clone()), (3, 3), "L (T, T)")
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.25, 1.0, 0.0], [0.05, 0.2, 1.0]])
    expect(not close(got, expected.T), f"{case}: your table is the wrong way around: a row is the token that reads.")
    expect(
        not close(got.tril(), expected) or close(got, expected),
        f"{case}: there is something above the diagonal: a token would read what comes later.",
    )
    expect(
        not close(got.diag(), a),
        f"{case}: your products begin one token too early, with a_s. A token's own share fades what came before it; "
        "what it writes is whole: L_tt is 1.",
    )
    expect(
        not close(got[1:, 0], torch.tensor([0.5, 0.125])),
        f"{case}: your products run from a_s to a_(t-1): off by one. Between s and t lie a_(s+1) to a_t.",
    )
    expect(
        not close(got[2], torch.tensor([0.2, 0.2, 1.0])),
        f"{case}: what the first token wrote fades at every later token, not at the last alone.",
    )
    expect_equal(got, expected, case, "Which shares has the state passed between writing s and reading t?")


def _mask_with_a_zero(answer: Callable) -> None:
    case = "shares 0.5, 0, 0.5"
    got = answer(torch.tensor([0.5, 0.0, 0.5]))
    expect(
        not (isinstance(got, Tensor) and got.isnan().any()),
        f"{case}: there is NaN in your table. A share of 0 has no logarithm, and nothing can be divided by it.",
    )
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
    expect_equal(floats(got, (3, 3), "L (T, T)"), expected, case, "The second token wipes what the first one wrote.")


def _mask_like_the_library(answer: Callable) -> None:
    for length in (1, 30):
        a = torch.rand(length, generator=torch.Generator().manual_seed(length)) * 0.9 + 0.1
        got = floats(answer(a.clone()), (length, length), "L (T, T)")
        expect_equal(got, decay_table(a.log()), f"{length} token(s)", "It should equal pn_lib's table.")
