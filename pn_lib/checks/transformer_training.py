"""Checks for the exercises of notebook 04."""

import math
from collections.abc import Callable

import torch

from pn_lib.checks import expect, expect_equal, run_check


def exercise_4_1(answer: Callable) -> bool:
    """Bits per byte from summed nats and stories."""
    return run_check("4.1", answer, _one_byte_letters, _letters_of_many_bytes)


def _one_byte_letters(answer: Callable) -> None:
    got = answer(math.log(2) * 12, ["abcd", "ab"])
    expect(not math.isclose(got, math.log(2) * 2, rel_tol=1e-6), "That is nats per byte: a bit is ln 2 nats.")
    expect(not math.isclose(got, 6.0, rel_tol=1e-6), "You divided by the number of stories, not by their bytes.")
    expect_equal(got, 2.0, "12 bits over 6 bytes", "All nats, in bits, over all bytes.")


def _letters_of_many_bytes(answer: Callable) -> None:
    got = answer(math.log(2) * 6, ["né", "é"])
    expect(not math.isclose(got, 2.0, rel_tol=1e-6), "You counted characters; é is one, and two bytes of UTF-8.")
    expect_equal(got, 1.2, "6 bits over the stories 'né' and 'é'", "How many bytes has each letter in UTF-8?")


def exercise_4_2(answer: Callable) -> bool:
    """Warm-up, stable, decay."""
    return run_check("4.2", answer, _warmup, _plateau, _decay)


def _rates(answer: Callable) -> list[float]:
    return [answer(step, 20, 2.0, 4, 5) for step in range(20)]


def _warmup(answer: Callable) -> None:
    rates = _rates(answer)
    expect(rates[0] != 0, "Step 0 has rate 0 and is wasted: the first of 4 warm-up steps should get peak / 4.")
    expect(max(rates) <= 2.0 + 1e-9, f"The rate reaches {max(rates):g}, above its peak of 2.")
    expect_equal(rates[:4], [0.5, 1.0, 1.5, 2.0], "first four steps (peak 2, warmup 4)", "Equal rises, up to the peak.")


def _plateau(answer: Callable) -> None:
    between = _rates(answer)[4:15]
    expect_equal(between, [2.0] * 11, "steps 4 to 14 of 20 (warmup 4, decay 5)", "Between, nothing changes.")


def _decay(answer: Callable) -> None:
    rates = _rates(answer)
    expect(rates[-1] != 0, "The last step has rate 0 and is wasted: it should get peak / decay.")
    expect_equal([round(rate, 6) for rate in rates[15:]], [2.0, 1.6, 1.2, 0.8, 0.4], "last five of 20 steps",
                 "Equal falls, so that the last step gets peak / decay.")


def exercise_4_3(answer: Callable) -> bool:
    """Clipping by the norm of all gradients together."""
    return run_check("4.3", answer, _too_large, _small_enough, _all_zero)


def _gradients(scale: float) -> list[torch.Tensor]:
    return [scale * torch.tensor([3.0, 0.0]), scale * torch.tensor([[4.0]])]


def _too_large(answer: Callable) -> None:
    given = _gradients(10.0)
    got = list(answer(given, 1.0))
    unchanged = torch.equal(given[0], _gradients(10.0)[0])
    expect(unchanged, "Your function changed the tensors given to it; return new ones.")
    expect(len(got) == 2, f"Two gradients came in, {len(got)} came back.")
    each_alone = [g.norm().item() for g in got]
    expect(not all(math.isclose(n, 1.0, rel_tol=1e-4) for n in each_alone),
           "You clipped each tensor by itself, which turns the direction; the norm is that of all of them together.")
    for piece, expected in zip(got, _gradients(0.2), strict=True):
        expect_equal(piece, expected, "gradients (30, 0) and (40), max_norm 1", "Their common norm is 50.")


def _small_enough(answer: Callable) -> None:
    for piece, expected in zip(answer(_gradients(0.1), 1.0), _gradients(0.1), strict=True):
        expect_equal(piece, expected, "gradients of norm 0.5, max_norm 1", "What is small enough stays as it is.")


def _all_zero(answer: Callable) -> None:
    for piece, expected in zip(answer(_gradients(0.0), 1.0), _gradients(0.0), strict=True):
        expect_equal(piece, expected, "gradients of zero", "Do you divide by their norm?")
