"""Wrong answers to the exercises of notebook 11 that students give, and a piece of what the check must tell them."""

import torch

from pn_lib.course.checks import making_it_small as checks


def row(w, bits, *, n=None, to_integers=torch.round, peak=lambda w: w.abs().max(), times=True):
    """The right answer but for a row of zeros, or wrong in one place."""
    n = 2 ** (bits - 1) - 1 if n is None else n(bits)
    scale = peak(w) / n
    return to_integers(w / scale) * (scale if times else 1)


def errors(W, n, *, axis=1, relative=True):
    scale = (W.abs().max() if axis is None else W.abs().amax(axis, keepdim=True)) / n
    found = ((W / scale).round() * scale - W).norm(dim=1)
    return found / W.norm(dim=1) if relative else found


def outliers(w, n, k, *, size=torch.abs, fits_all=False, kept_as=None):
    kept = torch.zeros_like(w, dtype=torch.bool)
    kept[size(w).topk(k).indices] = True
    scale = (w if fits_all else w[~kept]).abs().max() / n
    others = (w / scale).round()
    if kept_as == "clamped":
        return others.clamp(-n, n) * scale
    return torch.where(kept, torch.zeros_like(w) if kept_as == "lost" else w, others * scale)


def through(w, scale, n, *, values=None, passed=None):
    """The right answer, or another value, or another gradient."""
    inside = w.clamp(-n * scale, n * scale)
    value = ((w / scale).round().clamp(-n, n) * scale) if values is None else values(w, scale, n)
    passed = inside if passed is None else passed(w, scale, n)
    return passed + (value - passed).detach()


def smallest(parts, budget):
    return [min(part, key=lambda name: part[name][0]) for part in parts]


def greedy(parts, budget):
    """From the largest to smaller ones, the least rise a byte saved first."""
    chosen = [max(part, key=lambda name: part[name][0]) for part in parts]

    def size():
        return sum(part[name][0] for part, name in zip(parts, chosen, strict=True))

    while size() > budget:
        moves = [
            ((rise - part[chosen[i]][1]) / (part[chosen[i]][0] - less), i, name)
            for i, part in enumerate(parts)
            for name, (less, rise) in part.items()
            if less < part[chosen[i]][0]
        ]
        if not moves:
            raise ValueError("nothing fits")
        _, i, name = min(moves)
        chosen[i] = name
    return chosen


MISTAKES = [
    (checks.round_row, lambda w, bits: row(w, bits, times=False), "These are the integers"),
    (checks.round_row, lambda w, bits: row(w, bits, n=lambda b: 2 ** (b - 1)), "You use n = 4"),
    (checks.round_row, lambda w, bits: row(w, bits, to_integers=torch.floor), "let round decide"),
    (checks.round_row, lambda w, bits: row(w, bits, to_integers=torch.ceil), "not always up"),
    (checks.round_row, lambda w, bits: row(w, bits, peak=torch.max), "not max w"),
    (checks.round_row, row, "A row of zeros gives NaN"),
    (checks.row_errors, lambda W, n: errors(W, n, axis=0), "the inputs' columns"),
    (checks.row_errors, lambda W, n: errors(W, n, axis=None), "one scale for the whole matrix"),
    (checks.row_errors, lambda W, n: errors(W, n, relative=False), "These errors are absolute"),
    (checks.keep_outliers, lambda w, n, k: outliers(w, n, k, fits_all=True), "still sets the scale"),
    (checks.keep_outliers, lambda w, n, k: outliers(w, n, k, kept_as="clamped"), "was clamped"),
    (checks.keep_outliers, lambda w, n, k: outliers(w, n, k, kept_as="lost"), "is lost"),
    (checks.keep_outliers, lambda w, n, k: outliers(w, n, k, size=lambda w: w), "by its absolute value"),
    (checks.fake_round, lambda w, s, n: through(w, s, n, values=lambda w, s, n: w), "come back unrounded"),
    (checks.fake_round, lambda w, s, n: through(w, s, n, values=lambda w, s, n: (w / s).round() * s), "clamp it to n"),
    (
        checks.fake_round,
        lambda w, s, n: through(w, s, n, values=lambda w, s, n: (w / s).round().clamp(-n, n)),
        "these are integers",
    ),
    (checks.fake_round, lambda w, s, n: (w / s).round().clamp(-n, n) * s, "as round's own are"),
    (checks.fake_round, lambda w, s, n: through(w, s, n, passed=lambda w, s, n: w), "beyond the grid, so its gradient"),
    (
        checks.fake_round,
        lambda w, s, n: through(w, s, n, passed=lambda w, s, n: (w / s).clamp(-n, n)),
        "a factor of 1 / scale too many",
    ),
    (checks.fake_round, lambda w, s, n: through(w, s, n).detach(), "detach only the rounding"),
    (checks.allocate, lambda parts, budget: "int8", "a list with one precision for each"),
    (checks.allocate, lambda parts, budget: ["float32" for _ in parts], "has no such precision"),
    (checks.allocate, lambda parts, budget: ["int8" for _ in parts], "over the budget"),
    (checks.allocate, smallest, "is possible"),
    (checks.allocate, greedy, "is what a greedy choice reaches"),
]
