"""Wrong answers to the exercises of appendix A1 that students give, and a piece of what the check must tell them."""

import math

import torch

from pn_lib.course.checks import a_kernel_on_a_cpu as checks


def moved(B, T, E, N, *, bytes_each=4, sequences=3, of_B=None, rates=1):
    """The right answer, or wrong in one place."""
    of_B = N if of_B is None else of_B
    return bytes_each * (B * T * (sequences * E + 2 * of_B) + rates * E * (N + 1))


def dividing(T):
    return min((Q for Q in range(1, T + 1) if T % Q == 0), key=lambda Q: T // Q + Q)


def gate(grad_y, out, z, *, slope=None, times_out=True, times_z=True):
    s = torch.sigmoid(z)
    slope = s + z * s * (1 - s) if slope is None else slope(s, z)
    return (grad_y if times_out else 1) * z * s, (grad_y if times_z else 1) * out * slope


MISTAKES = [
    (checks.moved_bytes, lambda *s: moved(*s, bytes_each=1), "numbers, not bytes"),
    (checks.moved_bytes, lambda *s: moved(*s, sequences=2), "y must be written, too"),
    (checks.moved_bytes, lambda B, T, E, N: moved(B, T, E, N, rates=B), "the same for all rows"),
    (checks.moved_bytes, lambda B, T, E, N: moved(B, T, E, N, of_B=E * N), "all channels share them"),
    (checks.moved_bytes, lambda B, T, E, N: moved(B, T, E, N, of_B=E), "not for each channel"),
    (checks.best_chunk, lambda T: min(-(-T // Q) + Q for Q in range(1, T + 1)), "return its length"),
    (checks.best_chunk, lambda T: T, "needs room for all of them at once"),
    (checks.best_chunk, lambda T: 1, "but keep all of them"),
    (checks.best_chunk, math.sqrt, "a whole number of tokens"),
    (checks.best_chunk, dividing, "need not divide T"),
    (checks.best_chunk, lambda T: min(range(T, 0, -1), key=lambda Q: -(-T // Q) + Q), "the shorter of equals"),
    (checks.gate_gradients, lambda *v: gate(*v)[::-1], "These are swapped"),
    (checks.gate_gradients, lambda *v: gate(*v)[0], "Return two tensors"),
    (checks.gate_gradients, lambda *v: gate(*v, slope=lambda s, z: s * (1 - s)), "the sigmoid alone"),
    (checks.gate_gradients, lambda *v: gate(*v, slope=lambda s, z: s), "has a second term"),
    (checks.gate_gradients, lambda *v: gate(*v, times_out=False), "of out lacks grad_y"),
    (checks.gate_gradients, lambda *v: gate(*v, times_z=False), "of z lacks grad_y"),
]  # fmt: skip
