"""Checks for the exercises of notebook 05."""

import math
from collections.abc import Callable

import torch

from pn_lib.checks import expect, expect_equal, run_check


def effective_choices(answer: Callable) -> bool:
    """Exercise 5.1: the exponential of the entropy."""
    return run_check("5.1", answer, _equal_choices, _unequal_choices, _impossible_choices)


def _number(got: object) -> float:
    expect(got is not None, "Your function returned None. Did you forget to return the number?")
    return float(got)


def _equal_choices(answer: Callable) -> None:
    got = _number(answer(torch.full((4,), 0.25)))
    expect(abs(got - math.log(4)) > 1e-4, "Four equal tokens: that is the entropy in nats; the exponential is missing.")
    expect(abs(got - 2.0) > 1e-4, "Four equal tokens: that is the entropy in bits; take nats, and the exponential.")
    expect(abs(got - 0.25) > 1e-4, "Four equal tokens gave a quarter. Is the sign of the entropy right?")
    expect_equal(got, 4.0, "four equally likely tokens", "exp of the entropy in nats.", 1e-4)


def _unequal_choices(answer: Callable) -> None:
    got = _number(answer(torch.tensor([0.5, 0.25, 0.25])))
    expect_equal(got, 2.828427, "probabilities 1/2, 1/4, 1/4", "Weigh each -ln p with its own p.", 1e-4)


def _impossible_choices(answer: Callable) -> None:
    got = _number(answer(torch.tensor([0.5, 0.0, 0.5])))
    expect(math.isfinite(got), "A token of probability 0 made the answer nan or infinite: 0 ln 0 counts as 0 here.")
    expect_equal(got, 2.0, "probabilities 1/2, 0, 1/2", "What cannot be chosen is no choice.", 1e-4)


def typical(answer: Callable) -> bool:
    """Exercise 5.2: locally typical sampling."""
    return run_check("5.2", answer, _not_the_best_first, _enough_mass, _at_least_one, _all_of_it)


def _distribution(got: object, case: str) -> torch.Tensor:
    expect(isinstance(got, torch.Tensor), f"{case}: expected a tensor of probabilities, got {type(got).__name__}.")
    expect(bool(torch.isfinite(got).all()), f"{case}: the answer has values that are nan or infinite.")
    expect(abs(float(got.sum()) - 1) < 1e-4, f"{case}: the kept probabilities sum to {float(got.sum()):.3f}, not 1. "
                                             "Divide by what is left.")
    return got


def _not_the_best_first(answer: Callable) -> None:
    # Entropy 1.19 nats, surprises 0.69, 1.39, 2.30, 2.30, 2.99: the second token is the most typical, then the first.
    case = "probabilities 0.5, 0.25, 0.1, 0.1, 0.05 and mass 0.2"
    got = _distribution(answer(torch.tensor([0.5, 0.25, 0.1, 0.1, 0.05]), 0.2), case)
    expect(float(got[0]) == 0.0, f"{case}: you kept the likeliest token, as top-p does; sort by the distance between "
                                 "a token's surprise and the entropy.")
    expect_equal(got, torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0]), case, "The surprise closest to the entropy comes first.")


def _enough_mass(answer: Callable) -> None:
    case = "the same probabilities and mass 0.3"
    got = _distribution(answer(torch.tensor([0.5, 0.25, 0.1, 0.1, 0.05]), 0.3), case)
    expect(float(got[0]) > 0, f"{case}: what you kept holds less than 0.3; the token that reaches the mass stays too.")
    expect_equal(got, torch.tensor([2 / 3, 1 / 3, 0.0, 0.0, 0.0]), case, "The fewest tokens that reach it.")


def _at_least_one(answer: Callable) -> None:
    case = "a certain token (probabilities 0, 1, 0) and mass 0.1"
    got = _distribution(answer(torch.tensor([0.0, 1.0, 0.0]), 0.1), case)
    expect_equal(got, torch.tensor([0.0, 1.0, 0.0]), case, "One token always stays.")


def _all_of_it(answer: Callable) -> None:
    p = torch.tensor([0.4, 0.3, 0.2, 0.1])
    expect_equal(_distribution(answer(p, 1.0), "mass 1"), p, "mass 1", "Nothing is dropped then.")
    expect_equal(p, torch.tensor([0.4, 0.3, 0.2, 0.1]), "the tensor given to you", "It changed; work on a new one.")


def novel_share(answer: Callable) -> bool:
    """Exercise 5.3: the share of a text's n-word runs that no training story has."""
    return run_check("5.3", answer, _some_new_words, _runs_of_two, _across_stories, _repeated_runs, _too_short)


def _some_new_words(answer: Callable) -> None:
    got = _number(answer("the cat sat down", ["the dog sat", "a cat ran"], 1))
    expect(abs(got - 0.75) > 1e-4, "'the cat sat down': that is the share that is known; the new one is asked for.")
    expect_equal(got, 0.25, "'the cat sat down' after 'the dog sat' and 'a cat ran', n = 1", "Only 'down' is new.")


def _runs_of_two(answer: Callable) -> None:
    got = _number(answer("sat on the mat", ["he sat on a mat", "on the sea"], 2))
    expect_equal(got, 1 / 3, "'sat on the mat' after 'he sat on a mat' and 'on the sea', n = 2", "New: 'the mat'.")
    got = _number(answer("car pet shop", ["carpet shopping"], 2))
    expect_equal(got, 1.0, "'car pet shop' after 'carpet shopping', n = 2", "Compare whole words, not letters.")


def _across_stories(answer: Callable) -> None:
    got = _number(answer("ran home", ["the dog ran", "home was far"], 2))
    expect(got != 0.0, "'ran home': one story ends in 'ran', the next begins with 'home', but no story has both.")
    expect_equal(got, 1.0, "'ran home' after 'the dog ran' and 'home was far', n = 2", "Take each story by itself.")


def _repeated_runs(answer: Callable) -> None:
    got = _number(answer("la la la la dog", ["the dog"], 1))
    expect(abs(got - 0.5) > 1e-4, "'la la la la dog': repeated runs count each time; you counted each once.")
    expect_equal(got, 0.8, "'la la la la dog' after 'the dog', n = 1", "Four of five words are new.")


def _too_short(answer: Callable) -> None:
    got = _number(answer("hello you", ["hello"], 3))
    expect_equal(got, 0.0, "a text of two words, n = 3", "It has no run of three words, so nothing of it is new: 0.")
