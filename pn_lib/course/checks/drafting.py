"""Check of exercise 5.5: a small model's draft, kept or replaced so that the large model's distribution comes out."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pn_lib.course.checks import expect, hints, number, run_check

STEPS = 20  # of each random number, where the check goes through all of them


@hints(
    "Where q is larger than p, the draft brings a token too often: what share of it may stay? Where p is larger, it "
    "brings a token too rarely: how much is missing there?",
    "Keep the draft if keep_u is below p/q at its token. Otherwise draw from what is missing: p − q, cut off at zero. "
    "That does not sum to one, so walk along its running sum until it passes draw_u times the whole sum.",
)
def keep_or_replace(answer: Callable) -> bool:
    """Exercise 5.5: ``answer(p, q, drafted, keep_u, draw_u) -> token`` distributed as p, if ``drafted`` is as q."""
    return run_check("5.5", answer, _kept, _thrown_away, _from_the_excess, _distribution)


def _token(answer: Callable, p: Tensor, q: Tensor, *rest: float) -> int:
    mine = p.clone(), q.clone()
    got = number(answer(*mine, *rest), "Your answer")
    expect(torch.equal(mine[0], p) and torch.equal(mine[1], q), "Your function changed p or q. Make new tensors.")
    expect(got in range(len(p)), f"{got:g} is not a token: {len(p)} tokens go from 0 to {len(p) - 1}.")
    return int(got)


def _kept(answer: Callable) -> None:
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    for token, why in ((0, "p is larger than q"), (1, "p equals q")):
        for keep_u in (0.1, 0.6, 0.95):
            got = _token(answer, p, q, token, keep_u, 0.3)
            expect(
                got == token,
                f"At token {token} {why}, so the draft always stays; not yours at keep_u {keep_u}.",
            )


def _thrown_away(answer: Callable) -> None:
    p, q = torch.tensor([0.2, 0.8]), torch.tensor([0.6, 0.4])
    case = "p = (0.2, 0.8), q = (0.6, 0.4), token 0 was drafted"
    expect(
        _token(answer, p, q, 0, 0.3, 0.9) == 0,
        f"{case}, keep_u is 0.3: it stays, as 0.3 is below 0.2/0.6, the *ratio* of the two.",
    )
    expect(
        _token(answer, p, q, 0, 0.5, 0.9) == 1,
        f"{case}, keep_u is 0.5: a third of such drafts may stay, and this one may not. Token 1 has too little.",
    )


def _from_the_excess(answer: Callable) -> None:
    p, q = torch.tensor([0.1, 0.5, 0.4]), torch.tensor([0.6, 0.2, 0.2])
    case = "p = (0.1, 0.5, 0.4), q = (0.6, 0.2, 0.2), the draft 0 is thrown away"
    draw = partial(_token, answer, p, q, 0, 0.9)
    expect(draw(0.05) != 0, f"{case}, and comes back: draw from what p has *more* than q, not from p.")
    expect(draw(0.95) != 0, f"{case}, and comes back: a token of which q already has too much must not come.")
    for draw_u, token in ((0.05, 1), (0.55, 1), (0.65, 2), (0.95, 2)):
        got = draw(draw_u)
        expect(
            got == token,
            f"{case}: with draw_u {draw_u} expected {token}, got {got}. What is missing is (0, 0.3, 0.2), so the "
            "shares are 0, 0.6, and 0.4.",
        )


def _distribution(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(5)
    p, q = torch.rand(2, 5, generator=generator).square().add(0.02)
    p[3], q[3] = 0.0, 0.5  # the large model never says it, and the small one often
    p, q, grid = p / p.sum(), q / q.sum(), (torch.arange(STEPS) + 0.5) / STEPS
    shares = torch.zeros(5)
    for drafted in range(5):
        for keep_u in grid.tolist():
            for draw_u in grid.tolist():
                shares[_token(answer, p, q, drafted, keep_u, draw_u)] += q[drafted] / STEPS**2
    far = (shares - p).abs()
    worst = int(far.argmax())
    expect(
        float(far[worst]) < 0.03,
        f"Over all drafts and random numbers, token {worst} comes in {shares[worst]:.0%} of the cases, and should in "
        f"{p[worst]:.0%}, its p.",
    )
