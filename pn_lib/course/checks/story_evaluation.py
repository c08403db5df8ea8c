"""Checks for the exercises of notebook 05; those of 5.5 and of its project, 5.6, are in ``drafting`` and
``beam_search``.
"""

import math
from collections.abc import Callable

import numpy as np
import torch

from pn_lib.course.checks import expect, expect_equal, hints, number, run_check
from pn_lib.course.checks.beam_search import beam_search
from pn_lib.course.checks.drafting import keep_or_replace
from pn_lib.evaluation.intervals import bootstrap_interval

__all__ = ["beam_search", "effective_choices", "keep_or_replace", "novel_share", "paired_interval", "typical"]


@hints(
    "0 · ln 0 counts as 0 here, but what does torch make of it? Take the impossible tokens out first.",
    "Keep the entries above 0, sum p ln p over them, and flip the sign: that is the entropy. e to that "
    "power is the answer, as a float and not as a tensor.",
)
def effective_choices(answer: Callable) -> bool:
    """Exercise 5.1: the exponential of the entropy."""
    return run_check("5.1", answer, _equal_choices, _unequal_choices, _impossible_choices)


def _equal_choices(answer: Callable) -> None:
    got = number(answer(torch.full((4,), 0.25)), "Your answer")
    expect(abs(got - math.log(4)) > 1e-4, "Four equal tokens: that is the entropy in nats; the exponential is missing.")
    expect(abs(got - 2.0) > 1e-4, "Four equal tokens: that is the entropy in bits; take nats, and the exponential.")
    expect(abs(got - math.exp(2)) > 1e-4, "Four equal tokens gave 7.389, e to the power of 2. Use one base for both.")
    expect(abs(got - 0.25) > 1e-4, "Four equal tokens gave a quarter. Is the sign of the entropy right?")
    expect_equal(got, 4.0, "four equally likely tokens", "exp of the entropy in nats.", 1e-4)


def _unequal_choices(answer: Callable) -> None:
    case = "probabilities 1/2, 1/4, 1/4"
    got = number(answer(torch.tensor([0.5, 0.25, 0.25])), "Your answer")
    expect(
        abs(got - math.exp(math.log(32) / 3)) > 1e-3,
        f"{case}: that is a plain mean of the surprises; weight each by p.",
    )
    expect(
        abs(got - 3.0) > 1e-4,
        f"{case}: you counted the possible tokens. Three that are not equally likely are fewer than three choices.",
    )
    expect_equal(got, 2.828427, case, "Weight each -ln p by its own p.", 1e-4)


def _impossible_choices(answer: Callable) -> None:
    got = number(answer(torch.tensor([0.5, 0.0, 0.5])), "Your answer")
    expect(math.isfinite(got), "A token of probability 0 made the answer nan or infinite: 0 ln 0 counts as 0 here.")
    expect_equal(got, 2.0, "probabilities 1/2, 0, 1/2", "A token that cannot be chosen is not a choice.", 1e-4)


@hints(
    "This is top-p in another order: not by probability, but by how far each surprise is from the average "
    "surprise, the entropy.",
    "Compute the entropy so that zeros do no harm (torch.special.entr). Sort the tokens by the distance of their "
    "surprise from it. In that order, a token stays if the probabilities *before* it sum to less than the mass, "
    "so the first always stays. Put those that stay into a tensor of zeros at their own places, and divide by "
    "their sum.",
)
def typical(answer: Callable) -> bool:
    """Exercise 5.2: locally typical sampling."""
    return run_check("5.2", answer, _not_the_best_first, _enough_mass, _in_any_order, _at_least_one, _all_of_it)


def _distribution(got: object, n: int, case: str) -> torch.Tensor:
    expect(isinstance(got, torch.Tensor), f"{case}: expected a tensor of probabilities, got {type(got).__name__}.")
    expect(
        tuple(got.shape) == (n,),
        f"{case}: expected shape {(n,)}, got {tuple(got.shape)}. Dropped tokens keep their place, with probability 0.",
    )
    expect(bool(torch.isfinite(got).all()), f"{case}: the answer has values that are nan or infinite.")
    expect(
        abs(float(got.sum()) - 1) < 1e-4,
        f"{case}: the kept probabilities sum to {float(got.sum()):.3f}, not 1. Divide by what is left.",
    )
    return got


def _not_the_best_first(answer: Callable) -> None:
    case = "probabilities 0.5, 0.25, 0.1, 0.1, 0.05 and mass 0.2"
    got = _distribution(answer(torch.tensor([0.5, 0.25, 0.1, 0.1, 0.05]), 0.2), 5, case)
    expect(
        float(got[0]) == 0.0,
        f"{case}: you kept the likeliest token, as top-p does; sort by the distance between "
        "a token's surprise and the entropy.",
    )
    expect(float(got[4]) == 0.0, f"{case}: you kept the least typical token. The smallest distance comes first.")
    expect_equal(got, torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]), case, "The surprise closest to the entropy comes first.")


def _enough_mass(answer: Callable) -> None:
    case = "the same probabilities and mass 0.3"
    got = _distribution(answer(torch.tensor([0.5, 0.25, 0.1, 0.1, 0.05]), 0.3), 5, case)
    expect(float(got[0]) > 0, f"{case}: the tokens you kept hold less than 0.3; the one that reaches it stays too.")
    expect_equal(got, torch.tensor([2 / 3, 1 / 3, 0.0, 0.0, 0.0]), case, "The fewest tokens that reach it.")


def _in_any_order(answer: Callable) -> None:
    case = "the same probabilities in another order (0.05, 0.25, 0.1, 0.5, 0.1) and mass 0.3"
    got = _distribution(answer(torch.tensor([0.05, 0.25, 0.1, 0.5, 0.1]), 0.3), 5, case)
    expect_equal(got, torch.tensor([0.0, 1 / 3, 0.0, 2 / 3, 0.0]), case, "Each token keeps its own place.")


def _at_least_one(answer: Callable) -> None:
    case = "a certain token (probabilities 0, 1, 0) and mass 0.1"
    got = _distribution(answer(torch.tensor([0.0, 1.0, 0.0]), 0.1), 3, case)
    expect_equal(got, torch.tensor([0.0, 1.0, 0.0]), case, "One token always stays.")


def _all_of_it(answer: Callable) -> None:
    p = torch.tensor([0.4, 0.3, 0.2, 0.1])
    expect_equal(
        _distribution(answer(p, 1.0), 4, "mass 1"),
        torch.tensor([0.4, 0.3, 0.2, 0.1]),
        "mass 1",
        "Then nothing is dropped.",
    )
    answer(p, 0.5)
    expect_equal(p, torch.tensor([0.4, 0.3, 0.2, 0.1]), "the tensor given to you", "It changed; work on a new one.")


@hints(
    "You need the runs of n words of one text twice: for the training stories and for the text. In which kind of "
    "collection is it quick to look one up?",
    "Write a helper that splits a text and returns a tuple of n words for each place where n words are left. Put "
    "the runs of every training story, story by story, into one set. Then count how many of the text's own runs "
    "are not in the set, and divide by how many there are, if any.",
)
def novel_share(answer: Callable) -> bool:
    """Exercise 5.3: the share of a text's n-word runs that occur in no training story."""
    return run_check("5.3", answer, _some_new_words, _runs_of_two, _across_stories, _repeated_runs, _too_short)


def _some_new_words(answer: Callable) -> None:
    got = number(answer("the cat sat down", ["the dog sat", "a cat ran"], 1), "Your answer")
    expect(abs(got - 0.75) > 1e-4, "'the cat sat down': that is the share that is known; return the new share.")
    expect(
        abs(got - 1) > 1e-4,
        "'the cat sat down': only one of the four words is in no story. Do you compare like "
        "with like, a tuple with tuples?",
    )
    expect_equal(got, 0.25, "'the cat sat down' after 'the dog sat' and 'a cat ran', n = 1", "Only 'down' is new.")


def _runs_of_two(answer: Callable) -> None:
    case = "'sat on the mat' after 'he sat on a mat' and 'on the sea', n = 2"
    got = number(answer("sat on the mat", ["he sat on a mat", "on the sea"], 2), "Your answer")
    expect(got != 0.0, f"{case}: you found nothing new. Is the last run, 'the mat', among those you look at?")
    expect_equal(got, 1 / 3, case, "New: 'the mat'.")
    got = number(answer("car pet shop", ["carpet shopping"], 2), "Your answer")
    expect_equal(got, 1.0, "'car pet shop' after 'carpet shopping', n = 2", "Compare whole words, not letters.")


def _across_stories(answer: Callable) -> None:
    got = number(answer("ran home", ["the dog ran", "home was far"], 2), "Your answer")
    expect(got != 0.0, "'ran home': one story ends in 'ran', the next begins with 'home', but no story has both.")
    expect_equal(got, 1.0, "'ran home' after 'the dog ran' and 'home was far', n = 2", "Take each story by itself.")


def _repeated_runs(answer: Callable) -> None:
    got = number(answer("la la la la dog", ["the dog"], 1), "Your answer")
    expect(abs(got - 0.5) > 1e-4, "'la la la la dog': repeated runs count each time; you counted each once.")
    expect_equal(got, 0.8, "'la la la la dog' after 'the dog', n = 1", "Four of five words are new.")


def _too_short(answer: Callable) -> None:
    try:
        got = number(answer("hello you", ["hello"], 3), "Your answer")
    except ZeroDivisionError:
        expect(False, "A text of two words, n = 3: you divide by zero. It has no run of three words; return 0.")
    expect_equal(got, 0.0, "a text of two words, n = 3", "It has no run of three words, so nothing in it is new: 0.")


@hints(
    "Pairs must stay together. Which single row of n numbers says everything about them?",
    "Take the differences. With a generator made from the seed, draw n of them with replacement and average them, "
    "as often as `resamples` says. The interval goes from the 2.5 % quantile of these averages to the 97.5 % "
    "quantile.",
)
def paired_interval(answer: Callable) -> bool:
    """Exercise 5.4: a paired bootstrap, checked against the library's on the differences."""
    return run_check("5.4", answer, _same_gap, _spread_gap, _seeds)


def _ends(got: object, case: str) -> tuple[float, float]:
    expect(
        isinstance(got, tuple | list | np.ndarray) and len(got) == 2,
        f"{case}: return the two ends of the interval, (low, high), not {got!r}.",
    )
    low, high = (number(end, case) for end in got)
    expect(low <= high, f"{case}: the low end {low:.3f} lies above the high end {high:.3f}.")
    return low, high


def _same_gap(answer: Callable) -> None:
    case = "ours [2, 3, 4], theirs [1, 2, 3]"
    low, high = _ends(answer(np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0])), case)
    expect(not high < 0, f"{case}: the sign is the wrong way around; take ours - theirs.")
    expect(
        high - low < 1e-9,
        f"{case}: every difference is 1, so every resample has the mean 1, but your interval is "
        f"[{low:.2f}, {high:.2f}]. Both models must be drawn with the same stories.",
    )
    expect_equal(np.array([low, high]), np.ones(2), case, "The mean of ours - theirs.")


def _stories() -> tuple[np.ndarray, np.ndarray]:
    """200 stories, hard and easy, on which the first model is now a little better, now a little worse."""
    rng = np.random.default_rng(5)
    theirs = rng.normal(10, 3, 200)
    return theirs + rng.normal(0.2, 1, 200), theirs


def _spread_gap(answer: Callable) -> None:
    ours, theirs = _stories()
    case = "200 stories whose differences have a standard deviation of 1"
    right = bootstrap_interval(ours - theirs)
    low, high = _ends(answer(ours, theirs), case)
    expect(np.array_equal(ours, _stories()[0]), "The arrays given to you have changed; work on new ones.")
    ratio = (high - low) / (right.high - right.low)
    expect(
        ratio > 0.01,
        f"{case}: all your resamples have the same mean. Draw *with* replacement: some stories twice, "
        "others not at all.",
    )
    expect(
        ratio < 8,
        f"{case}: your interval is {ratio:.0f} times too wide. It covers 95 % of the single differences; "
        "it should cover 95 % of the means of whole resamples.",
    )
    expect(
        not 0.79 < ratio < 0.88,
        f"{case}: your interval is a little too narrow, as if it held 90 %. Leave out 2.5 % at either end.",
    )
    expect(
        0.9 < ratio < 1.1,
        f"{case}: your interval is {ratio:.2f} times as wide as expected. Is each resample as "
        "large as the set of stories, and the same stories for both models?",
    )
    expect(
        abs(low - right.low) < 0.03,
        f"{case}: expected about [{right.low:.2f}, {right.high:.2f}], got [{low:.2f}, "
        f"{high:.2f}]. Take the 2.5 % and 97.5 % quantiles of the means.",
    )


def _seeds(answer: Callable) -> None:
    ours, theirs = _stories()
    one, again, other = (_ends(answer(ours, theirs, 500, seed), "500 resamples") for seed in (3, 3, 4))
    expect(
        one == again,
        "The same seed gave two different intervals: create the generator from the seed, inside your function.",
    )
    expect(one != other, "Seeds 3 and 4 gave exactly the same interval: use the seed that you are given.")
