"""Two halves of the validation stories: on one we choose, on the other we judge what was chosen."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pn_lib.errors import InputError


class Halves(NamedTuple):
    """Masks over the validation stories, bool (stories,) each; every story is in exactly one half."""

    choice: np.ndarray
    test: np.ndarray


def halves(stories: Iterable[str]) -> Halves:
    """The half that each story is in, by one bit of the SHA-256 of its text.

    Nothing else decides: a story is in the same half in any order, corpus and run. A learning rate, a shape, or the
    moment to stop is chosen on the choice half; reported figures come from the test half. A Likelihood's arrays can be
    indexed by a mask. A model that should see only one half gets token files of its own::

        choice, test = halves(texts)
        write_tokens(folder / "choice", compress(texts, choice), tokenizer)  # itertools.compress

    Near copies of each other may fall into different halves. No model has read either: ``remove_leakage`` takes
    training stories out that are near *any* validation story, and cleaning drops copies that differ in whitespace only.
    So the test half can still flatter the choice alone, by as much as its near copies share with the choice half, and
    picking one of a few rates and shapes fits little to single stories.

    Raises:
        InputError: a half is empty.
    """
    choice = np.array([hashlib.sha256(text.encode()).digest()[0] % 2 == 0 for text in stories], bool)
    if not 0 < choice.sum() < len(choice):
        raise InputError(
            f"all of {len(choice):,} validation stories fall into one half, and none is left for the other; "
            "give more of them ([data] validation_stories in a profile)"
        )
    return Halves(choice, ~choice)
