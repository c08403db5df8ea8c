"""Check of exercise 4.5: the gradient of a batch that is read in pieces."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.course.checks import close, expect, expect_equal, hints, number, run_check

PADDING = -100  # what F.cross_entropy leaves out, too


@hints(
    "The loss of the whole batch is a mean over all its targets. What does each piece add to it? Not its own mean: "
    "one piece may hold more targets than another.",
    "Clear the gradients once. Count the targets of the whole batch that are not −100. For each piece, take the *sum* "
    "of its losses, divide by that count, and call backward at once: gradients add up by themselves, and the piece "
    "frees its memory. The sum of these shares is the loss to return.",
)
def accumulate_gradients(answer: Callable) -> bool:
    """Exercise 4.5: ``answer(model, ids, targets, piece)`` leaves a whole batch's gradient, and returns its loss."""
    return run_check("4.5", answer, _unequal_pieces, _one_at_a_time, _padded, _begins_anew)


class _Reader(nn.Module):
    """A table of logits that notes how many rows it reads at a time, and whether it has a gradient by then."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(7, 7, generator=torch.Generator().manual_seed(6)))
        self.rows: list[int] = []
        self.gradients: list[bool] = []

    def forward(self, ids: Tensor) -> Tensor:
        self.rows.append(len(ids))
        self.gradients.append(self.table.grad is not None and bool(self.table.grad.any()))
        return self.table[ids]  # (B, T, V)


def _batch() -> tuple[Tensor, Tensor]:
    return tuple(torch.randint(7, (2, 5, 4), generator=torch.Generator().manual_seed(3)))


def _gradient(ids: Tensor, targets: Tensor, reduction: str = "mean") -> tuple[Tensor, float]:
    """What one backward pass through all rows leaves, and the loss."""
    model = _Reader()
    loss = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), reduction=reduction)
    loss.backward()
    return model.table.grad, loss.item()


def _mean_of_means(ids: Tensor, targets: Tensor, piece: int) -> Tensor:
    pieces = zip(ids.split(piece), targets.split(piece), strict=True)
    return torch.stack([_gradient(*each)[0] for each in pieces]).mean(0)


def _accumulated(
    answer: Callable, targets: Tensor, piece: int, case: str, before: Tensor | None = None
) -> tuple[Tensor, float, _Reader]:
    ids, model = _batch()[0], _Reader()
    model.table.grad = before
    loss = number(answer(model, ids, targets.clone(), piece), f"{case}, the loss returned")
    most = max(model.rows, default=0)
    expect(most <= piece, f"{case}: you read {most} rows at once, but only {piece} fit into memory.")
    expect(sum(model.rows) == len(ids), f"{case}: of {len(ids)} rows you read {sum(model.rows)}. Read each row once.")
    expect(model.table.grad is not None, f"{case}: no gradient has arrived. Call backward, and leave .grad as it is.")
    return model.table.grad, loss, model


def _unequal_pieces(answer: Callable) -> None:
    ids, targets = _batch()
    case = "5 rows, 2 at a time"
    got, loss, model = _accumulated(answer, targets, 2, case)
    right, mean = _gradient(ids, targets)
    last = _gradient(ids[4:], targets[4:], "sum")[0] / ids.numel()
    for wrong, message in (
        (_mean_of_means(ids, targets, 2), "you average the means of the pieces, but the last one holds fewer rows."),
        (3 * _mean_of_means(ids, targets, 2), "you add the means of the pieces; each target then counts too much."),
        (ids.numel() * right, "you add the losses of all targets and never divide by their number."),
        (
            last,
            "only the last piece is left: clear the gradients once, at the start.",
        ),
    ):
        expect(not close(got, wrong), f"{case}: {message}")
    expect_equal(got, right, f"{case}: the gradient", "It should be that of the mean loss of all rows together.")
    expect(
        all(model.gradients[1:]),
        f"{case}: when the second piece is read, the first has left no gradient yet. Call backward after each piece; "
        "otherwise all of them stay in memory.",
    )
    expect_equal(loss, mean, f"{case}: the loss returned", "Return the mean over all targets, in nats.", 1e-4)


def _one_at_a_time(answer: Callable) -> None:
    ids, targets = _batch()
    for piece in (1, 5, 9):
        case = f"5 rows, {piece} at a time"
        got, _, _ = _accumulated(answer, targets, piece, case)
        expect_equal(got, _gradient(ids, targets)[0], f"{case}: the gradient", "It must not depend on the pieces.")


def _padded(answer: Callable) -> None:
    ids, targets = _batch()
    targets[0, 1:], targets[4] = PADDING, PADDING
    case = "5 rows, 2 at a time, the first nearly and the last entirely padding"
    got, loss, _ = _accumulated(answer, targets, 2, case)
    expect(
        not (math.isnan(loss) or got.isnan().any()),
        f"{case}: the last piece has no target, and a mean over none is 0/0, NaN. Take sums of pieces, not means.",
    )
    right, mean = _gradient(ids, targets)
    expect(not close(got, _gradient(ids, targets, "sum")[0] / ids.numel()),
           f"{case}: you divide by all targets, but those of {PADDING} are padding and do not count.")  # fmt: skip
    expect_equal(got, right, f"{case}: the gradient", "Each target that counts has the same weight.")
    expect_equal(loss, mean, f"{case}: the loss returned", "The mean over the targets that count.", 1e-4)


def _begins_anew(answer: Callable) -> None:
    ids, targets = _batch()
    got, _, _ = _accumulated(answer, targets, 2, "a model with an old gradient", torch.ones(7, 7))
    right = _gradient(ids, targets)[0]
    expect(not close(got, right + 1), "The gradient of an earlier batch is still in the sum: clear it first.")
    expect_equal(got, right, "a model with an old gradient", "Only this batch should be left.")
