"""Checks for the exercises of notebook 04; those of 4.5 and of its project, 4.6, are in ``accumulating`` and
``resuming``.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pn_lib.course.checks import expect, expect_equal, hints, number, run_check
from pn_lib.course.checks.accumulating import accumulate_gradients
from pn_lib.course.checks.resuming import train_resumably

__all__ = [
    "accumulate_gradients", "clip_gradients", "next_token_loss", "train_resumably", "training_hours",
    "warmup_stable_decay",
]  # fmt: skip


@hints(
    "How many FLOPs does one parameter cost for one token: forward, and backward?",
    "Forward takes 2 and backward 4, so 6 for each parameter and token. The machine does `peak` times `utilisation` "
    "of them in a second. In the example that is 3.6e15 FLOPs at 5e11 a second; an hour has 3,600 seconds.",
)
def training_hours(answer: Callable) -> bool:
    """Exercise 4.1: hours of training by the rule of thumb."""
    return run_check("4.1", answer, _example_hours, _a_laptop)


def _example_hours(answer: Callable) -> None:
    case = "1e6 parameters, 6e8 tokens, peak 1e12, utilisation 0.5"
    got = number(answer(1e6, 6e8, 1e12, 0.5), case)
    for wrong, message in (
        (7200.0, "Those are seconds; an hour has 3600 of them."),
        (120.0, "Those are minutes."),
        (1.0, "You divide by the machine's peak, but training uses only the share `utilisation` of it."),
        (0.5, "The lower `utilisation` is, the longer it takes: does yours make the time shorter?"),
        (2 / 3, "Two FLOPs per parameter and token cover the forward pass alone; there is a backward pass, too."),
        (4 / 3, "Four FLOPs per parameter and token cover the backward pass alone; the forward pass has its own."),
    ):
        expect(not math.isclose(got, wrong, rel_tol=1e-6), f"{case}: expected 2.0, got {got:g}. {message}")
    expect_equal(got, 2.0, case, "Divide all FLOPs by those that the machine really does in an hour.")


def _a_laptop(answer: Callable) -> None:
    case = "7e5 parameters, 1.2e6 tokens, peak 4e11, utilisation 0.25"
    expect_equal(
        number(answer(7e5, 1.2e6, 4e11, 0.25), case),
        0.014,
        case,
        "The first example passed: is one of its numbers written into your function?",
    )


@hints(
    "Which positions have logits that predict a token in `ids`? Which tokens does some position predict? Both are "
    "slices along T.",
    "Leave out the last position of the logits and the first token of the ids; now they belong together, one to "
    "one. `F.cross_entropy` wants a row of V logits for each target, so flatten batch and time into one axis in "
    "both.",
)
def next_token_loss(answer: Callable) -> bool:
    """Exercise 4.2: cross-entropy of the next token, from logits and the tokens themselves."""
    return run_check("4.2", answer, _shifted_loss, _huge_logits, _two_tokens)


def _logits_and_ids() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, 6, 7, generator=generator), torch.randint(7, (2, 6), generator=generator)


def _mean_loss(logits: Tensor, ids: Tensor) -> float:
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten()).item()


def _scalar(got: Any) -> Tensor:
    expect(isinstance(got, Tensor), f"Return a tensor, not a {type(got).__name__}: gradients flow back through it.")
    expect(got.ndim == 0, f"Return one number, the mean; your answer has shape {tuple(got.shape)}.")
    return got


def _shifted_loss(answer: Callable) -> None:
    logits, ids = _logits_and_ids()
    right = _mean_loss(logits[:, :-1], ids[:, 1:])
    kept = ids.clone()
    given = logits.clone().requires_grad_()
    got = _scalar(answer(given, ids))
    expect(torch.equal(ids, kept), "Your function changed the ids that it was given.")
    value, count = got.item(), ids[:, 1:].numel()
    for wrong, message in _wrong_losses(logits, ids, right, count):
        expect(not math.isclose(value, wrong, rel_tol=1e-4), message)
    expect_equal(value, right, "logits (2, 6, 7), ids (2, 6)", "Logits at t, token at t + 1, mean of -ln p.", 1e-4)
    expect(got.requires_grad, "The number is right, but no gradient can flow back through it.")


def _wrong_losses(logits: Tensor, ids: Tensor, right: float, count: int) -> list[tuple[float, str]]:
    flat = logits[:, :-1].softmax(1).gather(2, ids[:, 1:, None])
    chance = logits[:, :-1].softmax(-1).gather(2, ids[:, 1:, None])
    return [
        (
            _mean_loss(logits, ids),
            "No shift: you ask the logits at t for the token at t itself, which the model has "
            "just read. The model would learn to copy.",
        ),
        (
            _mean_loss(logits[:, 1:], ids[:, :-1]),
            "Shifted the wrong way: you ask for the token *before* the one just read.",
        ),
        (_mean_loss(logits[:, :-2], ids[:, 2:]), "Shifted by two: the logits at t predict the token at t + 1."),
        (
            _mean_loss(logits, ids.roll(-1, 1)),
            "You count the last position, whose next token is not here: `roll` gives it the first one instead.",
        ),
        (
            _mean_loss(logits, ids.roll(1, 1)),
            "`roll` by +1 moves the tokens to the right, so each position gets the token before it.",
        ),
        (-right, "The sign is wrong: -ln p is never negative."),
        (right * count, f"That is the sum; the mean is over the {count} predictions."),
        (right * count / ids.numel(), "You divide by B T, but the first token of each row is not predicted."),
        (right * count / len(ids), "You sum over each sequence: take the mean over positions and batch."),
        (right / math.log(2), "That is in bits; a nat is the unit of the natural logarithm."),
        (-chance.mean().item(), "You average the probabilities; the loss is the mean of -ln p."),
        (-chance.mean().log().item(), "The logarithm of the mean is not the mean of the logarithms: log first."),
        (-flat.log().mean().item(), "Your softmax runs along the positions; it belongs along the vocabulary."),
    ]


def _huge_logits(answer: Callable) -> None:
    logits = torch.tensor([[[800.0, 0.0], [0.0, 800.0], [0.0, 0.0]]])
    got = _scalar(answer(logits, torch.tensor([[0, 0, 1]]))).item()
    expect(
        math.isfinite(got),
        "With logits of 800 the loss is not finite: exp overflows, or a softmax rounds to 0 and "
        "its logarithm is infinite. PyTorch has functions that do both at once.",
    )
    expect_equal(got, 0.0, "logits of 800 for the right tokens", "The model is certain, and right.", 1e-4)


def _two_tokens(answer: Callable) -> None:
    got = _scalar(answer(torch.zeros(3, 2, 5), torch.tensor([[1, 2], [3, 4], [0, 0]]))).item()
    expect_equal(got, math.log(5), "equal logits, T = 2, V = 5", "Guessing costs ln V; one prediction per row.", 1e-4)


@hints(
    "Draw the schedule: it is the lowest of three lines. How many steps are left at step number `step`, that step "
    "included?",
    "Three factors: 1 throughout; step + 1 over `warmup` on the way up; the steps left, `steps - step`, over "
    "`decay` on the way down. The rate is the peak times the smallest of them. Leave out a factor whose length is "
    "0.",
)
def warmup_stable_decay(answer: Callable) -> bool:
    """Exercise 4.3: warm-up, stable, decay."""
    return run_check("4.3", answer, _warmup, _plateau, _decay, _left_out)


def _rates(answer: Callable, steps: int = 20, warmup: int = 4, decay: int = 5) -> list[float]:
    return [number(answer(step, steps, 2.0, warmup, decay), f"step {step} of {steps}") for step in range(steps)]


def _warmup(answer: Callable) -> None:
    rates = _rates(answer)
    expect(rates[0] != 0, "Step 0 has rate 0 and is wasted: the first of 4 warm-up steps should get peak / 4.")
    expect(max(rates) <= 2.0 + 1e-9, f"The rate reaches {max(rates):g}, above its peak of 2.")
    expect(max(rates) > 1.0 + 1e-9, "The rate never gets above 1, with a peak of 2: is the peak left out?")
    expect_equal(rates[:4], [0.5, 1.0, 1.5, 2.0], "first four steps (peak 2, warmup 4)", "Equal steps, up to the peak.")


def _plateau(answer: Callable) -> None:
    between = _rates(answer)[4:15]
    falls = between[-1] < 2.0 - 1e-9
    linear = falls and all(a > b for a, b in pairwise(between))
    expect(
        not linear,
        "The rate falls right after the warm-up: that is the schedule `linear`. Stay at the peak "
        "until the last `decay` steps.",
    )
    expect(not falls, "The decay begins too early: with 20 steps and decay 5, step 14 still has the peak rate.")
    expect_equal(between, [2.0] * 11, "steps 4 to 14 of 20 (warmup 4, decay 5)", "In between, nothing changes.")


def _decay(answer: Callable) -> None:
    rates = _rates(answer)
    expect(rates[-1] != 0, "The last step has rate 0 and is wasted: it should get peak / decay.")
    expect(min(rates) > 0, f"A rate is negative ({min(rates):g}): the model would climb.")
    expect(rates[-1] < 2.0, "The rate does not fall at the end.")
    expect_equal(
        [round(rate, 6) for rate in rates[15:]],
        [2.0, 1.6, 1.2, 0.8, 0.4],
        "last five of 20 steps",
        "Equal steps down, so that the last step gets peak / decay.",
    )


def _left_out(answer: Callable) -> None:
    for warmup, decay, expected, name in (
        (0, 2, [2.0, 2.0, 2.0, 1.0], "warmup"),
        (2, 0, [1.0, 2.0, 2.0, 2.0], "decay"),
    ):
        try:
            rates = _rates(answer, 4, warmup, decay)
        except ZeroDivisionError:
            expect(False, f"With {name} 0 your function divides by zero: leave that part out.")
        expect_equal(rates, expected, f"4 steps, peak 2, warmup {warmup}, decay {decay}", f"There is no {name} here.")


@hints(
    "There is one norm, of all tensors together, and so one factor for all of them.",
    "Add up the squares of all numbers in all tensors and take the root. The factor is max_norm over that norm, "
    "but only if the norm is larger; so compare before you divide, since the norm may be 0. Multiply each tensor "
    "by it: that makes a new one.",
)
def clip_gradients(answer: Callable) -> bool:
    """Exercise 4.4: clipping by the norm of all gradients together."""
    return run_check("4.4", answer, _too_large, _small_enough, _all_zero, _no_gradients)


def _gradients(scale: float) -> list[Tensor]:
    return [scale * torch.tensor([3.0, 0.0]), scale * torch.tensor([[-4.0]])]


def _clipped(answer: Callable, given: list[Tensor], max_norm: float) -> list[Tensor]:
    got = answer(given, max_norm)
    expect(isinstance(got, list | tuple), f"Return a list of tensors, not a {type(got).__name__}.")
    expect(len(got) == len(given), f"{len(given)} gradients came in, {len(got)} came back.")
    expect(all(isinstance(g, Tensor) for g in got), "Each entry of the list must be a tensor.")
    for piece, original in zip(got, given, strict=True):
        expect(
            piece.shape == original.shape,
            f"A gradient of shape {tuple(original.shape)} came back with shape {tuple(piece.shape)}.",
        )
    return list(got)


def _too_large(answer: Callable) -> None:
    given = _gradients(10.0)
    got = _clipped(answer, given, 1.0)
    unchanged = torch.equal(given[0], _gradients(10.0)[0])
    expect(unchanged, "Your function changed the tensors that it was given; return new ones.")
    norms = [g.norm().item() for g in got]
    for wrong, message in (
        ((30.0, 40.0), "Nothing was clipped, with a norm of 50 and a max_norm of 1."),
        ((3 / 7, 4 / 7), "Your norm is 70, a sum without squares; take the root of the sum of the squares, here 50."),
        ((30 / 2500, 40 / 2500), "You forgot the root: 2500 is the square of the norm."),
        ((0.75, 1.0), "Your norm is the largest of the norms, or of the numbers; sum the squares of all of them."),
    ):
        expect(not all(math.isclose(n, w, rel_tol=1e-4) for n, w in zip(norms, wrong, strict=True)), message)
    alone = all(math.isclose(n, 1.0, rel_tol=1e-4) for n in norms)
    expect(
        not alone,
        "Each tensor (or each number) is clipped by itself, which changes the direction; use the norm "
        "of all of them together.",
    )
    for piece, expected in zip(got, _gradients(0.2), strict=True):
        expect_equal(piece, expected, "gradients (30, 0) and (-40), max_norm 1", "Their common norm is 50.")
    for piece, expected in zip(_clipped(answer, given, 10.0), _gradients(2.0), strict=True):
        expect_equal(piece, expected, "the same with max_norm 10", "The new norm is max_norm, not always 1.")


def _small_enough(answer: Callable) -> None:
    for piece, expected in zip(_clipped(answer, _gradients(0.1), 1.0), _gradients(0.1), strict=True):
        expect_equal(piece, expected, "gradients of norm 0.5, max_norm 1", "Small enough gradients stay as they are.")


def _all_zero(answer: Callable) -> None:
    try:
        got = _clipped(answer, _gradients(0.0), 1.0)
    except ZeroDivisionError:
        expect(False, "With gradients of zero your function divides by their norm, which is zero.")
    for piece, expected in zip(got, _gradients(0.0), strict=True):
        expect_equal(piece, expected, "gradients of zero", "Do you divide by their norm?")


def _no_gradients(answer: Callable) -> None:
    try:
        got = _clipped(answer, [], 1.0)
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError) as error:
        expect(False, f"An empty list raised {type(error).__name__}: {error}. There is nothing to clip: return [].")
    expect_equal(got, [], "an empty list", "There is nothing to clip.")
