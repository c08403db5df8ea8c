"""Two tasks that ask for memory and nothing else: selective copying and induction heads.

Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), section 4.1. Both can be asked at
any length, so that a model trained on short sequences can be tested on long ones. A task is its settings (what the
tokens mean); a batch is a pure function of the task, the size, a seed and a step, as in ``tokens.batch``. Where
nothing is asked, the target is ``IGNORED``, which ``F.cross_entropy`` and our models leave out of the loss.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pn_lib.data.tokens import IGNORED
from pn_lib.errors import InputError


@dataclass(frozen=True)
class SelectiveCopying:
    """Letters strewn among blanks, then as many question marks: give the letters, in their order.

    The gaps between the letters are random, so no fixed delay copies them: the model must look at each token to know
    whether to remember it. (Arjovsky et al. 2016 fix the gaps; Jing et al. 2019 make them random, which Gu & Dao take.)

    Ours differs in one point: each sequence begins with a start token. To give the third letter at the third question
    mark one must count, and attention, whose weights sum to one, can count tokens only against one that is there once.

    Tokens: letters 0 .. letters - 1, then the blank, the question mark, the start.
    """

    letters: int = 8  # different ones
    remember: int = 4  # in each sequence; the paper has 16

    def __post_init__(self) -> None:
        _at_least_one(letters=self.letters, remember=self.remember)

    @property
    def blank(self) -> int:
        return self.letters

    @property
    def question(self) -> int:
        return self.letters + 1

    @property
    def start(self) -> int:
        return self.letters + 2

    @property
    def vocab_size(self) -> int:
        return self.letters + 3

    def batch(self, batch_size: int, length: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """ids and targets, each int64 (B, T), T = length, start and question marks included.

        Raises:
            InputError: the length has no room for the letters and the question marks.
        """
        n, body = self.remember, length - self.remember  # where the question marks begin
        if body < 1 + n:
            raise InputError(
                f"a start, {n} letters and {n} question marks need a length of at least {2 * n + 1}, not {length}"
            )
        random = np.random.default_rng((seed, step))
        letters = random.integers(self.letters, size=(batch_size, n))
        # The n smallest of random numbers stand at n random places, all sets of places alike.
        places = np.argpartition(random.random((batch_size, body - 1)), n - 1, axis=1)[:, :n]
        ids = np.full((batch_size, length), self.blank)
        ids[:, 0], ids[:, body:] = self.start, self.question
        np.put_along_axis(ids, 1 + np.sort(places, axis=1), letters, axis=1)
        targets = np.full((batch_size, length), IGNORED)
        targets[:, body:] = letters
        return torch.from_numpy(ids), torch.from_numpy(targets)


@dataclass(frozen=True)
class InductionHeads:
    """Random letters with a mark somewhere among them; when the mark comes again, at the end: what followed it?

    Olsson et al., "In-context learning and induction heads" (2022), found attention heads that do this in language
    models: look for the last time the present token came, and copy what came after it.

    Tokens: letters 0 .. letters - 1, then the mark.
    """

    letters: int = 15  # with the mark the paper's vocabulary of 16

    def __post_init__(self) -> None:
        _at_least_one(letters=self.letters)

    @property
    def mark(self) -> int:
        return self.letters

    @property
    def vocab_size(self) -> int:
        return self.letters + 1

    def batch(self, batch_size: int, length: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """ids and targets, each int64 (B, T), T = length; only the last position of a row is asked.

        Raises:
            InputError: the length has no room for a mark, a letter and the mark again.
        """
        if length < 3:
            raise InputError(f"a mark, a letter and the mark again need a length of at least 3, not {length}")
        random = np.random.default_rng((seed, step))
        ids = random.integers(self.letters, size=(batch_size, length))
        rows, places = np.arange(batch_size), random.integers(length - 2, size=batch_size)
        ids[rows, places] = ids[:, -1] = self.mark
        targets = np.full((batch_size, length), IGNORED)
        targets[:, -1] = ids[rows, places + 1]
        return torch.from_numpy(ids), torch.from_numpy(targets)


def _at_least_one(**values: int) -> None:
    for name, value in values.items():
        if not (isinstance(value, int) and value >= 1):
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
