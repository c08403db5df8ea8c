"""Wrong answers to the exercises of notebook 10 that students give, and a piece of what the check must tell them."""

import math

import torch

from pn_lib.course.checks import mixer_comparison as checks


def rate(losses, *, best=min):
    """The right answer, or the rate of the highest loss."""
    known = {r: loss for r, loss in losses.items() if math.isfinite(loss)}
    found = best(known, key=known.get)
    return found, min(losses) < found < max(losses)


def in_the_given_order(losses):
    rates = list(losses)
    found, _ = rate(losses)
    return found, 0 < rates.index(found) < len(rates) - 1


def nan_is_the_lowest(losses):
    found = sorted(losses, key=lambda r: losses[r] if not math.isnan(losses[r]) else -1)[0]
    return found, min(losses) < found < max(losses)


def among_the_finite_alone(losses):
    known = {r: loss for r, loss in losses.items() if math.isfinite(loss)}
    found = min(known, key=known.get)
    return found, min(known) < found < max(known)


def back(ids, *, which="amax", offset=1, diagonal=-1):
    """The right answer, or wrong in one place."""
    same = (ids[:, None] == ids).tril(diagonal)
    places = torch.arange(len(ids))
    if which == "amax":
        found = torch.where(same, places, -1).amax(1)
    else:
        found = torch.where(same, places, len(ids)).amin(1)
        found = torch.where(found < len(ids), found, -1)
    return torch.where(found >= 0, ids[(found + offset).clamp(max=len(ids) - 1)], -1)


def back_by_a_loop(ids):
    answers = torch.full_like(ids, -1)
    for t in range(1, len(ids)):
        earlier = (ids[:t] == ids[t]).nonzero()
        if len(earlier):
            answers[t] = ids[earlier[-1] + 1]
    return answers


def zero_is_nothing(ids):
    found = back(ids)
    return torch.where(found == 0, -1, found)


def delta(q, k, v, beta, *, lower=-1, read=0):
    """The right answer, or wrong in one place."""
    known = (beta[:, None] * (k @ k.T)).tril(lower)
    u = torch.linalg.solve(torch.eye(len(beta)) + known, beta[:, None] * v)
    return (q @ k.T).tril(read) @ u


def corrections(q, k, v, beta):
    known = (beta[:, None] * (k @ k.T)).tril(-1)
    return torch.linalg.solve(torch.eye(len(beta)) + known, beta[:, None] * v)


def delta_by_a_loop(q, k, v, beta):
    S, ys = v.new_zeros(v.shape[1], k.shape[1]), []
    for q_t, k_t, v_t, beta_t in zip(q, k, v, beta, strict=True):
        S = S + beta_t * torch.outer(v_t - S @ k_t, k_t)
        ys.append(S @ q_t)
    return torch.stack(ys)


MISTAKES = [
    (checks.break_even, lambda e, n, k, s: e * (n + k - 1) / s, "a key and a value"),
    (checks.break_even, lambda e, n, k, s: e * n / (2 * s), "last K - 1 inputs"),
    (checks.break_even, lambda e, n, k, s: e * (n + k) / (2 * s), "not K"),
    (checks.break_even, lambda e, n, k, s: (n + k - 1) / (2 * s), "not D"),
    (checks.break_even, lambda e, n, k, s: e * (n + k - 1) / 2 * s, "*more* tokens"),
    (checks.best_rate, lambda losses: rate(losses)[0], "Return two things"),
    (checks.best_rate, lambda losses: (min(losses.values()), True), "return its rate"),
    (checks.best_rate, lambda losses: rate(losses, best=max), "lower is better"),
    (checks.best_rate, in_the_given_order, "in any order"),
    (checks.best_rate, lambda losses: (rate(losses)[0], True), "a rate beyond it may be better"),
    (checks.best_rate, nan_is_the_lowest, "cannot be the best"),
    (checks.best_rate, among_the_finite_alone, "is too large"),
    (checks.look_back, lambda ids: back(ids, offset=0), "the one that followed it"),
    (checks.look_back, lambda ids: back(ids, which="amin"), "take the last"),
    (checks.look_back, lambda ids: back(ids, diagonal=0), "at its own place"),
    (checks.look_back, lambda ids: back(ids).clamp(min=0), "for the first time"),
    (checks.look_back, zero_is_nothing, "The token 0 counts"),
    (checks.look_back, back_by_a_loop, "loops over the tokens"),
    (checks.delta_rule, lambda q, k, v, beta: (q @ k.T).tril() @ (beta[:, None] * v), "nothing is corrected"),
    (checks.delta_rule, lambda *inputs: delta(*inputs, read=-1), "one token late"),
    (checks.delta_rule, corrections, "You return the corrections"),
    (checks.delta_rule, lambda *inputs: delta(*inputs, lower=0), "replace the value before"),
    (checks.delta_rule, lambda q, k, v, beta: delta(q, k, v, torch.ones_like(beta)), "beta is missing"),
    (checks.delta_rule, lambda *inputs: delta(*inputs).detach(), "No gradient flows"),
    (checks.delta_rule, delta_by_a_loop, "loops over the tokens"),
]
