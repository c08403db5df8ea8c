"""Three tasks that ask for memory and nothing else: selective copying, induction heads and associative recall.

The first two are those of Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), section
4.1; the third is that of Arora et al., "Zoology: Measuring and Improving Recall in Efficient Language Models" (2023).
All can be asked at any length, so that a model trained on short sequences can be tested on long ones. A task is its
settings (what the tokens mean); a batch is a pure function of the task, the size, a seed and a step, as in
``tokens.batch``. Every answer is one of ``letters``. Where nothing is asked, the target is ``IGNORED``, which
``F.cross_entropy`` and our models leave out of the loss.
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
        places = _chosen(random, batch_size, n, body - 1)
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


@dataclass(frozen=True)
class AssociativeRecall:
    """Keys with a letter each, then blanks among which every key comes once more: give the letter of each.

    Multi-query associative recall (Arora et al. 2023, section 3.1). As in their figure 2 a longer sequence has more
    pairs, and not only more blanks: what must be remembered grows with the length. Ours has fewer tokens, and a key
    comes again at any of the places alike, where theirs draw the gaps from a power law.

    Tokens: letters 0 .. letters - 1, keys letters .. letters + keys - 1, then the blank.
    """

    letters: int = 8
    keys: int = 16  # different ones; no key comes with two letters in one sequence
    tokens_per_pair: int = 8  # the length over the number of pairs; the paper has 16 but for its longest, with 8

    def __post_init__(self) -> None:
        _at_least_one(letters=self.letters, keys=self.keys)
        if not (isinstance(self.tokens_per_pair, int) and self.tokens_per_pair >= 3):
            raise InputError(
                f"tokens_per_pair must be a whole number of at least 3 (key, letter, key), not {self.tokens_per_pair!r}"
            )

    @property
    def blank(self) -> int:
        return self.letters + self.keys

    @property
    def vocab_size(self) -> int:
        return self.letters + self.keys + 1

    def batch(self, batch_size: int, length: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """ids and targets, each int64 (B, T), T = length; asked are the second comings of the keys.

        Raises:
            InputError: the length has no room for a pair, or for more pairs than there are keys.
        """
        n = length // self.tokens_per_pair
        if not 1 <= n <= self.keys:
            least, most = self.tokens_per_pair, self.tokens_per_pair * (self.keys + 1) - 1
            raise InputError(
                f"1 to {self.keys} pairs need a length of at least {least} and at most {most}, not {length}"
            )
        random = np.random.default_rng((seed, step))
        keys = self.letters + _chosen(random, batch_size, n, self.keys)
        letters = random.integers(self.letters, size=(batch_size, n))
        places = 2 * n + _chosen(random, batch_size, n, length - 2 * n)
        ids = np.full((batch_size, length), self.blank)
        ids[:, : 2 * n : 2], ids[:, 1 : 2 * n : 2] = keys, letters
        np.put_along_axis(ids, places, keys, axis=1)
        targets = np.full((batch_size, length), IGNORED)
        np.put_along_axis(targets, places, letters, axis=1)
        return torch.from_numpy(ids), torch.from_numpy(targets)


def _chosen(random: np.random.Generator, rows: int, n: int, among: int) -> np.ndarray:
    """For each row n different numbers below ``among``, (rows, n), every choice and every order alike."""
    return np.argsort(random.random((rows, among)), axis=1)[:, :n]


def _at_least_one(**values: int) -> None:
    for name, value in values.items():
        if not (isinstance(value, int) and value >= 1):
            raise InputError(f"{name} must be a whole number of at least 1, not {value!r}")
