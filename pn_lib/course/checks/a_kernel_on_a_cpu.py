"""Checks for the exercises of appendix A1: one function per exercise, with the learner's function's name."""

from collections.abc import Callable

import torch
from torch import Tensor

from pn_lib.course.checks import close, expect, expect_equal, floats, hints, number, run_check

__all__ = ["best_chunk", "gate_gradients", "moved_bytes"]


@hints(
    "List the seven tensors and how many numbers each one holds. How many bytes does a float32 take?",
    "Three tensors have a number for each row, token, and channel; two have one for each row, token, and state "
    "number; A and D do not grow with the text. Add up the numbers, then turn them into bytes.",
)
def moved_bytes(answer: Callable) -> bool:
    """Exercise A1.1: the bytes that a scan must read and write at least."""
    return run_check("A1.1", answer, _bytes_of_ones, _bytes_of_any_scan)


def _bytes_of_ones(answer: Callable) -> None:
    got = number(answer(1, 1, 1, 1), "all sizes 1")
    expect(got != 7, "These are numbers, not bytes: a float32 takes four.")
    expect(got != 24, "You count six tensors of the seven: y must be written, too.")
    expect_equal(got, 28.0, "all sizes 1", "Seven tensors of one float32 each.")


def _bytes_of_any_scan(answer: Callable) -> None:
    batch, T, E, N = 2, 5, 3, 7
    got = number(answer(batch, T, E, N), "(B, T, E, N) = (2, 5, 3, 7)")
    right = 4 * (batch * T * (3 * E + 2 * N) + E * (N + 1))
    expect(got != right + 4 * (batch - 1) * E * (N + 1), "A and D are the same for all rows of a batch.")
    expect(
        got != right + 8 * batch * T * (E - 1) * N,
        "You give every channel its own B and C; all channels share them.",
    )
    expect(
        got != right + 8 * batch * T * (E - N),
        "B and C have a number for each state number, not for each channel.",
    )
    expect_equal(got, float(right), "(B, T, E, N) = (2, 5, 3, 7)", "Which axes does each of the seven tensors have?")


@hints(
    "Try all lengths: how many chunks does each one make, and how many states does one chunk hold?",
    "For each Q from 1 to T add the number of chunks, which is T / Q rounded up, to Q, and take the Q with the "
    "least sum; Python's min with a key returns the first of several.",
)
def best_chunk(answer: Callable) -> bool:
    """Exercise A1.2: the length of chunk for which the fewest states are in memory."""
    return run_check("A1.2", answer, _chunks_of_a_square, _chunks_of_any_length)


def _chunks_of_a_square(answer: Callable) -> None:
    got = number(answer(16), "T = 16")
    expect(got != 8, "That is what a chunk keeps and needs together; return its length.")
    expect(got != 16, "One chunk of all tokens keeps a single state, but needs room for all of them at once.")
    expect(got != 1, "Chunks of one token need room for one state, but keep all of them.")
    expect_equal(got, 4.0, "T = 16", "Four states are kept, and four more are in the chunk.")


def _states_in_memory(T: int, Q: int) -> int:
    return -(-T // Q) + Q


def _chunks_of_any_length(answer: Callable) -> None:
    for T in (1, 2, 10, 12, 17, 100, 1000):
        got, case = number(answer(T), f"T = {T}"), f"T = {T}"
        expect(got == int(got) and 1 <= got <= T, f"{case}: a chunk has a whole number of tokens, 1 to {T}, not {got}.")
        sums = {Q: _states_in_memory(T, Q) for Q in range(1, T + 1)}
        least = min(sums.values())
        first = next(Q for Q, states in sums.items() if states == least)
        expect(
            sums[int(got)] == least,
            f"{case}: chunks of {got:.0f} need {sums[int(got)]} states, and {least} are enough. The last chunk may be "
            "shorter, so Q need not divide T.",
        )
        expect(got == first, f"{case}: chunks of {first} need no more states; return the shorter of equals.")


@hints(
    "y is a product of two factors, and only one of them depends on z.",
    "The gradient of one factor is grad_y times the other. For z multiply that by the derivative of z σ(z), which by "
    "the product rule is σ(z) + z σ(z) (1 − σ(z)).",
)
def gate_gradients(answer: Callable) -> bool:
    """Exercise A1.3: the gradients of y = out silu(z) with respect to out and z."""
    return run_check("A1.3", answer, _gate_at_zero, _gate_anywhere)


def _two(answer: Callable, *given: Tensor) -> tuple[Tensor, Tensor]:
    got = answer(*given)
    expect(isinstance(got, (tuple, list)) and len(got) == 2, "Return two tensors: the gradients of out and of z.")
    shape = tuple(given[0].shape)
    return floats(got[0], shape, "The gradient of out"), floats(got[1], shape, "The gradient of z")


def _gate_at_zero(answer: Callable) -> None:
    of_out, of_z = _two(answer, torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([0.0]))
    expect(
        not (close(of_out, torch.tensor([1.5])) and close(of_z, torch.tensor([0.0]))),
        "These are swapped: of out first.",
    )
    expect(not close(of_z, torch.tensor([0.75])), "You differentiate the sigmoid alone; SiLU is z times it.")
    expect_equal(of_out, torch.zeros(1), "the gradient of out at z = 0", "A closed gate passes nothing on.")
    expect_equal(of_z, torch.tensor([1.5]), "the gradient of z at z = 0", "There SiLU has the slope 1/2.")


def _gate_anywhere(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(3)
    grad_y, out, z = (torch.randn(2, 5, generator=generator) for _ in range(3))
    of_out, of_z = _two(answer, grad_y, out, z)
    leaves = [v.clone().requires_grad_() for v in (out, z)]
    (leaves[0] * torch.nn.functional.silu(leaves[1])).backward(grad_y)
    right_out, right_z = (v.grad for v in leaves)
    expect(not close(of_out * grad_y, right_out), "The gradient of out lacks grad_y.")
    expect(not close(of_z * grad_y, right_z), "The gradient of z lacks grad_y.")
    expect(not close(of_z, grad_y * out * torch.sigmoid(z)), "The derivative of z σ(z) has a second term.")
    expect_equal(of_out, right_out, "the gradient of out", "It is grad_y times the other factor.", tolerance=1e-4)
    expect_equal(of_z, right_z, "the gradient of z", "Check the derivative of SiLU.", tolerance=1e-4)
