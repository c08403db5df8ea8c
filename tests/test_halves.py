"""The halves of the validation stories: by the text of a story and nothing else."""

import hashlib

import numpy as np
import pytest

from pn_lib.data.halves import halves
from pn_lib.errors import InputError

STORIES = [f"Once upon a time there was a cat with {i} kittens." for i in range(2000)]


def test_about_half_of_the_stories_are_in_each_half_and_every_story_in_one():
    choice, test = halves(STORIES)
    assert np.array_equal(test, ~choice)
    assert 900 < choice.sum() < 1100  # 4.5 standard deviations of a fair coin, sqrt(2000) / 2 = 22.4


def test_a_story_stays_in_its_half_in_any_order_and_company():
    choice = dict(zip(STORIES, halves(STORIES).choice, strict=True))
    order = np.random.default_rng(0).permutation(2000)[:500]
    some = [STORIES[i] for i in order]
    assert halves(some).choice.tolist() == [choice[story] for story in some]


def test_the_halves_are_the_same_on_every_machine():
    # of "0" and "1" the SHA-256 begins with 5f and 6b, odd; of "2" with d4, even
    assert [hashlib.sha256(text.encode()).hexdigest()[:2] for text in "012"] == ["5f", "6b", "d4"]
    assert halves(iter("012")).choice.tolist() == [False, False, True]


@pytest.mark.parametrize("stories", [[], STORIES[:1]])
def test_an_empty_half_is_an_error(stories):
    with pytest.raises(InputError, match="fall into one half"):
        halves(stories)
