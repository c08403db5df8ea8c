"""Notebook 06: answers that students give, and a piece of the message that each must get."""

from functools import partial

import torch

from pn_lib.course.checks import looking_inside as checks


def earlier(weights, ids):
    return ((ids[:, None] == ids) & (torch.arange(len(ids))[:, None] > torch.arange(len(ids)))).float()


def shares(weights, ids):
    return (weights * earlier(weights, ids)).sum(-1)


def with_itself(weights, ids):
    twins = (ids[:, None] == ids).float().tril()
    rows = twins.sum(-1) > 1
    return (weights * twins).sum(-1)[rows].mean()


def latest_only(weights, ids, best=max):
    found = []
    for t in range(len(ids)):
        before = [s for s in range(t) if ids[s] == ids[t]]
        if before:
            found.append(float(weights[t, best(before)]))
    return sum(found) / max(1, len(found))


def copied(weights, shift=1, places=None):
    n = len(weights) // 2
    return torch.stack([weights[t, t - n + shift] for t in (places or range(n, 2 * n))])


def traced(blocks, clean, swapped, score, *, at="after", lasting=False, of="swapped", sign=1, plain=True):
    """The right answer, unless an option spoils it."""

    def run(states, layer=None, place=None, put=None):
        seen = []
        for i, block in enumerate(blocks):
            if at == "before" and i == layer:
                states = repaired(states, place, put[i])
            seen.append(states)
            states = block(states)
            if at == "after" and i == layer:
                states = repaired(states, place, put[i + 1])
        return states, [*seen, states]

    def repaired(states, place, source):
        states = states.clone()
        end = None if lasting else place + 1
        states[place:end] = source[place:end]
        return states

    (_, good), (_, bad) = run(clean), run(swapped)
    start, put = (swapped, good) if of == "swapped" else (clean, bad)
    base = score(run(start)[0]) if plain else 0.0
    rows = [[sign * (score(run(start, i, t, put)[0]) - base) for t in range(len(clean))] for i in range(len(blocks))]
    return torch.tensor(rows)


def in_place(blocks, clean, swapped, score):
    found = traced(blocks, clean, swapped, score)
    swapped[0] = clean[0]
    return found


MISTAKES = [
    (checks.previous_share, lambda w: w.diagonal()[1:].mean() + w[0, 0] * 0 + 0.1166667, "weight on the token itself"),
    (checks.previous_share, lambda w: w.diagonal(-1).sum() / len(w), "divided by all three rows"),
    (checks.previous_share, lambda w: w.diagonal(-1).sum(), "you returned the sum"),
    (checks.previous_share, lambda w: w.diagonal(1).mean() + 0.3 * (len(w) == 3), "the other way around"),
    (checks.previous_share, lambda w: w.diagonal(-1), "expected one number"),
    (checks.earlier_share, with_itself, "count the token itself"),
    (checks.earlier_share, lambda weights, ids: shares(weights, ids).mean(), "two of them never came before"),
    (
        checks.earlier_share,
        lambda weights, ids: shares(weights.T, ids)[earlier(weights, ids).any(-1)].mean(),
        "Row t is what token t looks at",
    ),
    (checks.earlier_share, latest_only, "latest earlier occurrence alone"),
    (checks.earlier_share, partial(latest_only, best=min), "first occurrence alone"),
    (checks.earlier_share, lambda weights, ids: shares(weights, ids).sum(), "take their mean"),
    (checks.earlier_share, lambda weights, ids: weights[earlier(weights, ids) > 0].mean(), "over all occurrences"),
    (checks.earlier_share, lambda weights, ids: shares(weights, ids)[earlier(weights, ids).any(-1)].mean(), "nan"),
    (checks.copying_share, lambda w: copied(w, 0).mean(), "the earlier token itself"),
    (checks.copying_share, lambda w: copied(w, places=range(len(w) // 2, len(w) - 1)).mean(), "the last token counts"),
    (checks.copying_share, lambda w: copied(w).sum(), "you returned the sum"),
    (checks.copying_share, lambda w: copied(w).sum() / len(w), "only the second half can copy"),
    (checks.copying_share, lambda w: copied(w), "expected one number"),
    (checks.trace, partial(traced, plain=False), "subtract the score of the swapped run"),
    (checks.trace, partial(traced, sign=-1), "the other way around"),
    (checks.trace, partial(traced, of="clean"), "broke the clean run"),
    (checks.trace, partial(traced, lasting=True), "put back one place alone"),
    (checks.trace, partial(traced, at="before"), "right after it"),
    (checks.trace, in_place, "clone them"),
    (checks.trace, lambda *a: traced(*a).T, "Expected shape"),
]
