"""Checks for the exercises of notebook 06: one function per exercise, with the learner's function's name."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pn_lib.course.checks import expect, expect_equal, hints, number, run_check


@hints(
    "Where in the table is what token t gives to token t − 1? Mark the places in a table of four tokens: which "
    "line do they make?",
    "They make the diagonal just below the main one; `diagonal` takes an offset, and below is negative. It has T "
    "− 1 numbers, none for the first token. Return their mean as a float.",
)
def previous_share(answer: Callable) -> bool:
    """Exercise 6.1: the mean weight on the token just before the one being read."""
    return run_check("6.1", answer, _three_rows, _always_before, _longer_rows)


def _three_rows(answer: Callable) -> None:
    case = "rows [1, 0, 0], [0.4, 0.6, 0], [0.1, 0.2, 0.7]"
    got = number(answer(torch.tensor([[1.0, 0, 0], [0.4, 0.6, 0], [0.1, 0.2, 0.7]])), "Your answer")
    expect(abs(got - 2.3 / 3) > 1e-4, f"{case}: that is the weight on the token itself; one place to the left of it.")
    expect(abs(got - 0.2) > 1e-4, f"{case}: you divided by all three rows; the first has no token before it.")
    expect(abs(got - 0.6) > 1e-4, f"{case}: you returned the sum; take the mean.")
    expect(abs(got - 1.6 / 3) > 1e-4, f"{case}: the first row counts here, but it has no token before it.")
    expect_equal(got, 0.3, case, "The mean of 0.4 and 0.2.")


def _always_before(answer: Callable) -> None:
    weights = torch.eye(5).roll(1, 0)
    weights[0] = torch.eye(5)[0]
    got = number(answer(weights.clone()), "Your answer")
    expect(got != 0.0, "A head that always looks one back gave 0. Row t, column t - 1: is it the other way around?")
    expect_equal(got, 1.0, "a head that always looks one back", "All of its weight.")


def _longer_rows(answer: Callable) -> None:
    weights = torch.ones(4, 4).tril() / torch.arange(1, 5)[:, None]
    expect_equal(
        number(answer(weights), "Your answer"),
        (1 / 2 + 1 / 3 + 1 / 4) / 3,
        "four rows, each uniform",
        "1/2, 1/3 and 1/4 for the last three tokens.",
    )


@hints(
    "Make a table of True and False with the shape of the weights: does column s hold the same token as row t, "
    "*and* earlier?",
    "Compare the ids as a column with the ids as a row, and keep what lies below the diagonal. Rows that hold a "
    "True belong to tokens that occurred before: in them, sum the weights where the table is True, and average "
    "over these rows alone. Without such a row the answer is 0.",
)
def earlier_share(answer: Callable) -> bool:
    """Exercise 6.2: the weight on earlier occurrences of the token being read."""
    return run_check("6.2", answer, _one_repeat, _several_repeats, _uniform_rows, _no_repeat)


def _one_repeat(answer: Callable) -> None:
    case = "ids [5, 7, 5], last row [0.2, 0.3, 0.5]"
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.4, 0.6, 0.0], [0.2, 0.3, 0.5]])
    got = number(answer(weights, torch.tensor([5, 7, 5])), "Your answer")
    expect(
        abs(got - 0.7) > 1e-4 and abs(got - (1 + 0.6 + 0.7) / 3) > 1e-4,
        f"{case}: you count the token itself among its earlier occurrences.",
    )
    expect(abs(got - 0.2 / 3) > 1e-4, f"{case}: you average over all three tokens; two of them never came before.")
    expect(got != 0.0, f"{case}: you found no weight. Row t is what token t looks at, column s how much token s gets.")
    expect_equal(got, 0.2, case, "Only the last token came before, at the first place.")


def _several_repeats(answer: Callable) -> None:
    case = "ids [5, 5, 7, 5], rows 2 and 4 [0.8, 0.2, 0, 0] and [0.1, 0.3, 0.2, 0.4]"
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.8, 0.2, 0.0, 0.0], [0.3, 0.3, 0.4, 0.0], [0.1, 0.3, 0.2, 0.4]])
    got = number(answer(weights, torch.tensor([5, 5, 7, 5])), "Your answer")
    expect(abs(got - 0.55) > 1e-4, f"{case}: you look at the latest earlier occurrence alone; all of them count.")
    expect(abs(got - 0.45) > 1e-4, f"{case}: you look at the first occurrence alone; all earlier ones count.")
    expect(abs(got - 1.2) > 1e-4, f"{case}: that is the sum over both tokens; take their mean.")
    expect(
        abs(got - 0.4) > 1e-4,
        f"{case}: you average over all occurrences; sum them for each token, then average "
        "over the tokens that came before.",
    )
    expect_equal(got, 0.6, case, "0.8 for the second token, 0.1 + 0.3 for the last.")


def _uniform_rows(answer: Callable) -> None:
    weights = torch.ones(5, 5).tril() / torch.arange(1, 6)[:, None]
    got = number(answer(weights, torch.tensor([1, 2, 1, 2, 1])), "Your answer")
    expect_equal(
        got,
        (1 / 3 + 1 / 4 + 2 / 5) / 3,
        "ids [1, 2, 1, 2, 1], each row uniform",
        "1/3, 1/4 and 2/5 for the last three tokens.",
    )


def _no_repeat(answer: Callable) -> None:
    got = number(answer(torch.eye(3), torch.tensor([1, 2, 3])), "Your answer")
    expect(not math.isnan(got), "ids [1, 2, 3]: nan. No token came before, so the answer is 0.")
    expect_equal(got, 0.0, "ids [1, 2, 3], each looking at itself", "No token came before.")


@hints(
    "Token t of the second half stood at t − n before, so the head should look at t − n + 1. Mark these places "
    "for n = 3. Which line do they make, and where does it begin?",
    "The line is a diagonal, n − 1 below the main one. Its first number belongs to the row n − 1, which is still "
    "in the first half, so leave it out; n numbers remain. With n = 1 the line is the main diagonal itself.",
)
def copying_share(answer: Callable) -> bool:
    """Exercise 6.3: the mean weight on what followed each token of a repeated sequence."""
    return run_check("6.3", answer, _twice_two, _perfect_copier, _one_token)


def _twice_two(answer: Callable) -> None:
    case = "A B A B, last rows [0, 0.9, 0.1, 0] and [0.2, 0.2, 0.5, 0.1]"
    rows = [[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.0, 0.9, 0.1, 0.0], [0.2, 0.2, 0.5, 0.1]]
    got = number(answer(torch.tensor(rows)), "Your answer")
    expect(abs(got - 0.1) > 1e-4, f"{case}: you looked at the earlier token itself; a copier needs the one after it.")
    expect(abs(got - 0.9) > 1e-4, f"{case}: the last token counts too: it was followed by the second half's first.")
    expect(abs(got - 1.4) > 1e-4, f"{case}: you returned the sum; take the mean.")
    expect(abs(got - 0.35) > 1e-4, f"{case}: you divided by all four rows; only the second half can copy.")
    expect_equal(got, 0.7, case, "Row 2 at place 1, row 3 at place 2.")


def _perfect_copier(answer: Callable) -> None:
    for n in (1, 3, 6):
        weights = torch.eye(2 * n)
        for t in range(n, 2 * n):
            weights[t] = torch.eye(2 * n)[t - n + 1]
        got = number(answer(weights), "Your answer")
        expect_equal(got, 1.0, f"a perfect copier of {n} tokens", "All of its weight, at place t - n + 1.")


def _one_token(answer: Callable) -> None:
    got = number(answer(torch.tensor([[1.0, 0.0], [0.3, 0.7]])), "Your answer")
    expect(abs(got - 0.3) > 1e-4, "one token, twice: what followed the first is the second itself, so row 1, place 1.")
    expect_equal(got, 0.7, "one token, twice", "Row 1, place 1.")


@hints(
    "You need two runs side by side, layer by layer: the clean states and the swapped ones. What is left to "
    "compute once one state has been put back after block l?",
    "Write a helper that sends states through all blocks from a given one on, and scores them; from block 0 on, "
    "it gives the plain score of the swapped run. Then go through the blocks and take both runs one block "
    "further. For each place, copy the swapped states (clone), put the clean state in at that place, let the "
    "helper do the rest, and subtract the plain score.",
)
def trace(answer: Callable) -> bool:
    """Exercise 6.4: what each single repair of a swapped run's state adds to a score."""
    return run_check("6.4", answer, _nothing_done, _passed_on, _as_by_hand, _kept)


def _grid(got: object, L: int, T: int) -> Tensor:
    expect(isinstance(got, Tensor), f"Return a tensor, not {type(got).__name__}.")
    expect(tuple(got.shape) == (L, T), f"Expected shape (L, T) = {(L, T)}, got {tuple(got.shape)}.")
    return got.float()


def _nothing_done(answer: Callable) -> None:
    clean, swapped = torch.tensor([[1.0], [5.0]]), torch.tensor([[1.0], [2.0]])
    case = "one block that does nothing, score: the sum"
    got = _grid(answer([lambda x: x], clean.clone(), swapped.clone(), lambda x: float(x.sum())), 1, 2)
    expect(not torch.equal(got, torch.tensor([[3.0, 6.0]])), f"{case}: subtract the score of the swapped run.")
    expect(
        not torch.equal(got, torch.tensor([[0.0, -3.0]])),
        f"{case}: you subtracted the other way around, or broke the clean run instead of repairing the swapped one.",
    )
    expect(not torch.equal(got, torch.tensor([[3.0, 3.0]])), f"{case}: put back one place alone, not all after it.")
    expect_equal(got, torch.tensor([[0.0, 3.0]]), case, "Only place 1 differs, by 3.")


def _running_sum(x: Tensor) -> Tensor:
    return x.cumsum(0)


def _passed_on(answer: Callable) -> None:
    clean, swapped = torch.tensor([[2.0], [0.0], [1.0]]), torch.tensor([[0.0], [0.0], [1.0]])
    case = "two running sums, score: the last state"
    got = _grid(answer([_running_sum, _running_sum], clean, swapped, lambda x: float(x[-1])), 2, 3)
    expect(
        not torch.equal(got, torch.tensor([[6.0, 0.0, 0.0], [2.0, 2.0, 2.0]])),
        f"{case}: you put the state back before the block; the repair comes right after it.",
    )
    expect_equal(got[1], torch.tensor([0.0, 0.0, 6.0]), f"{case}, after block 1", "Only the last state is scored.")
    expect_equal(got[0], torch.tensor([2.0, 2.0, 2.0]), f"{case}, after block 0", "Each place adds its own 2.")


def _as_by_hand(answer: Callable) -> None:
    g = torch.Generator().manual_seed(0)
    mixes = [torch.randn(4, 4, generator=g).tril() for _ in range(3)]
    blocks = [lambda x, m=m: torch.tanh(m @ x) for m in mixes]
    clean, swapped = torch.randn(4, 2, generator=g), torch.randn(4, 2, generator=g)
    x, y = clean, swapped
    for block in blocks[:2]:
        x, y = block(x), block(y)
    repaired = torch.cat([y[:1], x[1:2], y[2:]])
    wanted = float(blocks[2](repaired)[-1].sum()) - float(blocks[2](y)[-1].sum())
    got = _grid(answer(blocks, clean.clone(), swapped.clone(), lambda x: float(x[-1].sum())), 3, 4)
    expect_equal(got[1, 1], wanted, "three random blocks, after block 1 at place 1", "Later blocks run as before.")
    expect_equal(got[2, 0], 0.0, "three random blocks, after the last at place 0", "The score looks at the last place.")


def _kept(answer: Callable) -> None:
    clean, swapped = torch.ones(2, 1), torch.zeros(2, 1)
    answer([lambda x: x, _running_sum], clean, swapped, lambda x: float(x.sum()))
    same = torch.equal(clean, torch.ones(2, 1)) and torch.equal(swapped, torch.zeros(2, 1))
    expect(same, "The states given to you changed; clone them before you put anything in.")
