"""Check of exercise 9.6, a project: the scan without selection, as one convolution by Fourier transforms."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pn_lib.course.checks import close, expect, expect_equal, expect_no_loop, floats, hints, run_check
from pn_lib.models.scan import selective_scan


@hints(
    "Substitute the recurrence into itself, as in section 9.4. Which weight does the input j steps back have in "
    "y_t? It is a sum over the N numbers of the state.",
    "The filter of channel e at j steps back is Δ_e times the sum over n of C_n B_n e^(j Δ_e A_en). Move time to "
    "the last axis of x. Transform both with room for 2T numbers (rfft and irfft take that length), multiply, "
    "transform back, keep the first T, move time back, and add D times x.",
)
def fixed_scan(answer: Callable) -> bool:
    """Exercise 9.6: the scan without selection, as one convolution by Fourier transforms."""
    return run_check("9.6", answer, _impulse, _fixed_like_selective, _gradients_flow, _no_loop)


def _fixed_inputs(T: int) -> tuple[Tensor, ...]:
    """x, dt, A, B, C, D with (B, T, E, N) = (2, T, 3, 4)"""
    generator = torch.Generator().manual_seed(11)
    x, B, C, D = (torch.randn(*shape, generator=generator) for shape in ((2, T, 3), (4,), (4,), (3,)))
    return (x, torch.rand(3, generator=generator) * 0.3 + 0.05, -torch.rand(3, 4, generator=generator) - 0.05, B, C, D)


def _fixed_reference(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    rows, length, channels = x.shape
    return selective_scan(
        x,
        dt.expand(rows, length, channels),
        A,
        B.expand(rows, length, len(B)),
        C.expand(rows, length, len(C)),
        D,
        method="reference",
    )[0]


def _impulse(answer: Callable) -> None:
    x = torch.zeros(1, 4, 1)
    x[0, 1] = 1.0
    half = -math.log(2.0) / 0.5
    got = answer(x, torch.tensor([0.5]), torch.tensor([[half]]), torch.ones(1), torch.ones(1), torch.zeros(1))
    got = floats(got, (1, 4, 1), "y (B, T, E)").flatten()
    case = "inputs 0 1 0 0, dt = 0.5, A = -2 ln 2, B = C = 1, D = 0"
    for hint, wrong in (
        ("Delta multiplies B x as well; in yours the input enters whole.", [0, 1, 0.5, 0.25]),
        ("A token's own input has faded already, though no step lies in between.", [0, 0.25, 0.125, 0.0625]),
        ("The output comes one token late.", [0, 0, 0.5, 0.25]),
    ):
        expect(not close(got, torch.tensor(wrong, dtype=got.dtype)), f"{case}: {hint}")
    expect(
        abs(got[0]) < 1e-5,
        f"{case}: the first output is {got[0]:g}, before anything came in. The convolution is "
        "circular: the end of the text is read before its beginning. What must lie between?",
    )
    expect_equal(got, torch.tensor([0.0, 0.5, 0.25, 0.125]), case, "An input enters by dt B and halves at each token.")


def _fixed_like_selective(answer: Callable) -> None:
    for length in (1, 50, 77):
        inputs = _fixed_inputs(length)
        got, expected = floats(answer(*inputs), tuple(inputs[0].shape), "y (B, T, E)"), _fixed_reference(*inputs)
        expect(not close(got, expected - inputs[5] * inputs[0]), "The direct path D x is missing.")
        expect_equal(
            got,
            expected,
            f"{length} tokens, 3 channels, 4 state numbers",
            "It should equal the selective scan with constant dt, B and C.",
            tolerance=1e-3,
        )


def _gradients_flow(answer: Callable) -> None:
    inputs = [v.requires_grad_() for v in _fixed_inputs(20)]
    got = answer(*inputs)
    expect(got.requires_grad, "No gradient flows through your scan: do not detach, and stay within PyTorch.")
    got.sin().sum().backward()
    mine = [v.grad for v in inputs]
    again = [v.detach().clone().requires_grad_() for v in inputs]
    _fixed_reference(*again).sin().sum().backward()
    for name, grad, other in zip(("x", "dt", "A", "B", "C", "D"), mine, again, strict=True):
        expect(grad is not None, f"No gradient reaches {name}.")
        expect_equal(grad, other.grad, f"gradient of {name}", "Use the inputs themselves.", tolerance=1e-3)


def _no_loop(answer: Callable) -> None:
    expect_no_loop(answer, _fixed_inputs, "Compute the filter and the convolution all at once.")
