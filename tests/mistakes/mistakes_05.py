"""Notebook 05: answers that students give, and a piece of the message that each must get."""

import math
from functools import partial

import numpy as np
import torch

from pn_lib.course.checks import story_evaluation as checks


def entropy(p):
    return torch.special.entr(p).sum()


def keep(p, chosen):
    return torch.zeros_like(p).index_copy(0, chosen, p[chosen]) / p[chosen].sum()


def typical(p, mass, first=lambda p: (-p.log() - entropy(p)).abs().argsort()):
    order = first(p)
    return keep(p, order[p[order].cumsum(0) - p[order] < mass])


def stops_short(p, mass):
    order = (-p.log() - entropy(p)).abs().argsort()
    within = order[p[order].cumsum(0) <= mass]
    return keep(p, within if len(within) else order[:1])


def sorted_out(p, mass):
    order = (-p.log() - entropy(p)).abs().argsort()
    q = p[order]
    return torch.where(q.cumsum(0) - q < mass, q, 0.0) / q[q.cumsum(0) - q < mass].sum()


def in_place(p, mass):
    right = typical(p, mass)
    p[:] = right
    return p


def runs(text, n):
    words = text.split()
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def novel(text, training, n):
    known = {run for story in training for run in runs(story, n)}
    return sum(run not in known for run in runs(text, n)) / max(1, len(runs(text, n)))


def of_different_runs(text, training, n):
    known, own = {run for story in training for run in runs(story, n)}, set(runs(text, n))
    return sum(run not in known for run in own) / max(1, len(own))


def other_type(text, training, n):
    known = {run for story in training for run in runs(story, n)}
    return sum(str(list(run)) not in known for run in runs(text, n)) / max(1, len(runs(text, n)))


def letters(text, training, n):
    own = runs(text, n)
    return sum(not any(" ".join(run) in story for story in training) for run in own) / max(1, len(own))


def misses_the_last(text, training, n):
    known = {run for story in training for run in runs(story, n)}
    own = runs(text, n) if n == 1 else runs(text, n)[:-1]
    return sum(run not in known for run in own) / max(1, len(own))


def resampled(ours, theirs, resamples=2000, seed=0, *, paired=True, replace=True, size=None, ends=(0.025, 0.975)):
    rng, n = np.random.default_rng(seed), len(ours)
    means = []
    for _ in range(resamples):
        one = rng.choice(n, size or n, replace=replace)
        other = one if paired else rng.choice(n, size or n, replace=replace)
        means.append(ours[one].mean() - theirs[other].mean())
    return tuple(np.quantile(means, ends))


def without_means(ours, theirs, resamples=2000, seed=0):
    return tuple(np.quantile(ours - theirs, [0.025, 0.975]))


def unseeded(ours, theirs, resamples=2000, seed=0):
    return resampled(ours, theirs, resamples, None)


def fixed_seed(ours, theirs, resamples=2000, seed=0):
    return resampled(ours, theirs, resamples, 0)


def subtracts_in_place(ours, theirs, resamples=2000, seed=0):
    ours -= theirs
    return resampled(ours, np.zeros(len(ours)), resamples, seed)


def search(
    next_logits,
    prompt,
    stop,
    beams,
    max_new_tokens,
    *,
    axis=-1,
    score=torch.log_softmax,
    value=None,
    drop_finished=False,
    first_finished=False,
    with_prompt=False,
    each_by_itself=False,
    on_and_on=False,
):
    """Beam search with one thing wrong, by choice."""
    kept, done = [(0.0, list(prompt))], []
    for _ in range(max_new_tokens):
        open_ = [one for one in kept if on_and_on or one[1][-1] != stop or len(one[1]) == len(prompt)]
        if not open_:
            break
        scores = score(next_logits([ids for _, ids in open_]), axis)
        found = [one for one in kept if one not in open_ and not drop_finished]
        for (total, ids), row in zip(open_, scores.tolist(), strict=True):
            extended = [(total + one, [*ids, token]) for token, one in enumerate(row)]
            found += [max(extended)] if each_by_itself and len(ids) > len(prompt) else extended
        kept = sorted(found, key=lambda one: -one[0])[:beams]
        done += [one for one in kept if one[1][-1] == stop]
        if first_finished and done:
            kept = done
            break
    best = max(kept)[1]
    return best if with_prompt else best[len(prompt) :]


def without_stop(*arguments):
    return [token for token in search(*arguments) if token != 0]


def greedy(next_logits, prompt, stop, beams, max_new_tokens):
    return search(next_logits, prompt, stop, 1, max_new_tokens)


def one_too_many(next_logits, prompt, stop, beams, max_new_tokens):
    return search(next_logits, prompt, stop, beams, max_new_tokens + 1)


def drafted_by(kept=lambda p, q: p / q, left=lambda p, q: (p - q).clamp(min=0), whole=True):
    """Keep a draft below ``kept``, and replace it by what ``left`` has, with the sum of that or without."""

    def answer(p, q, drafted, keep_u, draw_u):
        if keep_u < kept(p[drafted], q[drafted]):
            return drafted
        rest = left(p, q)
        return int((rest.cumsum(0) <= draw_u * (rest.sum() if whole else 1)).sum())

    return answer


def halves_p(p, q, *rest):
    token = drafted_by()(p, q, *rest)
    p.mul_(0.5)
    return token


MISTAKES = [
    (checks.effective_choices, entropy, "exponential is missing"),
    (checks.effective_choices, lambda p: entropy(p) / math.log(2), "entropy in bits"),
    (checks.effective_choices, lambda p: (entropy(p) / math.log(2)).exp(), "one base for both"),
    (checks.effective_choices, lambda p: (p * p.log()).sum().exp(), "sign of the entropy"),
    (checks.effective_choices, lambda p: (-p.log()).mean().exp(), "plain mean of the surprises"),
    (checks.effective_choices, lambda p: int((p > 0).sum()), "counted the possible tokens"),
    (checks.effective_choices, lambda p: (-(p * p.log()).sum()).exp(), "0 ln 0 counts as 0"),
    (checks.effective_choices, lambda p: (-(p * p.log())).exp(), "expected one number"),
    (checks.effective_choices, lambda p: None, "returned None"),
    (checks.typical, partial(typical, first=lambda p: p.argsort(descending=True)), "as top-p does"),
    (
        checks.typical,
        partial(typical, first=lambda p: (-p.log() - entropy(p)).abs().argsort(descending=True)),
        "least typical token",
    ),
    (checks.typical, stops_short, "stays too"),
    (checks.typical, lambda p, mass: torch.where(typical(p, mass) > 0, p, 0), "Divide by what is left"),
    (checks.typical, lambda p, mass: typical(p, mass)[typical(p, mass) > 0], "keep their place"),
    (checks.typical, sorted_out, "likeliest token"),
    (checks.typical, in_place, "It changed"),
    (checks.typical, lambda p, mass: None, "returned None"),
    (checks.novel_share, lambda text, training, n: 1 - novel(text, training, n), "share that is known"),
    (checks.novel_share, lambda text, training, n: novel(text, [" ".join(training)], n), "no story has both"),
    (checks.novel_share, of_different_runs, "count each time"),
    (checks.novel_share, other_type, "a tuple with tuples"),
    (checks.novel_share, letters, "not letters"),
    (checks.novel_share, misses_the_last, "Is the last run"),
    (
        checks.novel_share,
        lambda text, training, n: novel(text, training, n) / len(runs(text, n)) * len(runs(text, n)),
        "return 0",
    ),
    (checks.paired_interval, partial(resampled, paired=False), "drawn with the same stories"),
    (checks.paired_interval, partial(resampled, replace=False), "Draw *with* replacement"),
    (checks.paired_interval, lambda ours, theirs, *rest: resampled(theirs, ours, *rest), "sign is the wrong way"),
    (checks.paired_interval, partial(resampled, ends=(0.05, 0.95)), "as if it held 90 %"),
    (checks.paired_interval, partial(resampled, size=50), "as large as the set of stories"),
    (checks.paired_interval, without_means, "single differences"),
    (checks.paired_interval, unseeded, "same seed gave two different"),
    (checks.paired_interval, fixed_seed, "use the seed that you are given"),
    (checks.paired_interval, subtracts_in_place, "have changed"),
    (checks.paired_interval, lambda *arguments: resampled(*arguments)[::-1], "above the high end"),
    (checks.paired_interval, lambda *arguments: float(np.mean(resampled(*arguments))), "return the two ends"),
    (checks.paired_interval, lambda *arguments: None, "returned None"),
    (checks.beam_search, greedy, "begins as greedy does"),
    (checks.beam_search, partial(search, axis=0), "Over which axis"),
    (checks.beam_search, partial(search, score=lambda x, axis: x), "not logits"),
    (checks.beam_search, partial(search, score=torch.softmax), "you summed probabilities"),
    (checks.beam_search, partial(search, drop_finished=True), "goes on competing"),
    (checks.beam_search, partial(search, on_and_on=True), "a story that has ended"),
    (checks.beam_search, partial(search, first_finished=True), "at the first finished story"),
    (checks.beam_search, partial(search, each_by_itself=True), "extensions of all stories together"),
    (checks.beam_search, partial(search, with_prompt=True), "with the prompt"),
    (checks.beam_search, without_stop, "return it too"),
    (checks.beam_search, one_too_many, "no more than max_new_tokens"),
    (checks.keep_or_replace, drafted_by(kept=lambda p, q: p), "the draft always stays"),
    (checks.keep_or_replace, drafted_by(kept=lambda p, q: 1.0 if p >= q else 0.2), "the *ratio* of the two"),
    (checks.keep_or_replace, lambda p, q, drafted, keep_u, draw_u: drafted, "this one may not"),
    (checks.keep_or_replace, drafted_by(left=lambda p, q: p), "draw from what p has *more* than q"),
    (checks.keep_or_replace, drafted_by(whole=False), "is not a token"),
    (checks.keep_or_replace, drafted_by(left=lambda p, q: (p > q).float()), "the shares are"),
    (checks.keep_or_replace, drafted_by(kept=lambda p, q: p / q if p > 0 else 1.0), "its p"),
    (checks.keep_or_replace, halves_p, "changed p or q"),
]
