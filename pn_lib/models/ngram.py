"""The n-gram model with interpolated, modified Kneser-Ney smoothing: the floor that every neural model must clear.

Kneser & Ney, "Improved backing-off for m-gram language modeling" (1995); Chen & Goodman, "An empirical study of
smoothing techniques for language modeling" (1999), section 3. With h' the context h without its first token,

    P(w | h) = max(a(hw) - D(a(hw)), 0) / a(h.)  +  gamma(h) P(w | h')

where a(hw) is a count at the highest order, and at lower orders the number of *different* tokens seen before hw: "York"
is frequent, but as it only follows "New", little should be expected of it anywhere else. D takes a little from every
n-gram seen, gamma(h) is all that was taken, and the recursion ends in the uniform distribution 1/V.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from pn_lib.config import config_class
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel, check_ids

# Discounts of counts 1, 2, and 3 or more where too few n-grams exist to estimate them; KenLM falls back on the same.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


@config_class
class NGramConfig:
    """order: tokens of an n-gram, context and prediction; separator_id: the token that stands between stories.

    Raises:
        InputError (a ValueError): values that no n-gram model can have; the sentence names the field.
    """

    vocab_size: PositiveInt
    order: PositiveInt = 4
    separator_id: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.separator_id >= self.vocab_size:
            raise ValueError(f"separator_id must lie in 0..{self.vocab_size - 1}, not {self.separator_id}")
        if self.vocab_size**self.order >= 2**63:
            raise ValueError(
                f"order {self.order} with a vocabulary of {self.vocab_size} does not fit 64-bit keys: lower the order"
            )


class NGram(LanguageModel):
    """Tables of discounted probabilities; before ``fit`` they are empty, and the model is the uniform distribution.

    An n-gram is one int64 key: its tokens as the digits of a number in base V. For each order k = 2..n the buffers hold
    the k-grams' sorted ``keys_k`` with their ``probs_k``, and the sorted ``contexts_k`` with the ``gammas_k`` and with
    ``starts_k``: the k-grams of context c are those from starts_k[c] up to starts_k[c + 1].
    """

    name = "ngram"
    Config = NGramConfig

    def __init__(self, config: NGramConfig):
        super().__init__(config)
        self.register_buffer("unigram", torch.full((config.vocab_size,), 1 / config.vocab_size))
        for k in range(2, config.order + 1):
            self._set_table(k, np.empty(0, np.int64), np.empty(0, np.int64))

    def fit(self, tokens: np.ndarray) -> "NGram":
        """Count a flat stream of token ids, ``SEP story SEP story ... SEP``; anything learnt before is forgotten.

        An n-gram never reaches across a separator into the story before. One that begins with the separator begins
        a story: as nothing can stand before it, it has its plain count at every order.

        Raises:
            InputError: fewer than two tokens, ids outside the vocabulary, or a stream that begins without separator.
        """
        tokens = np.asarray(tokens).astype(np.int64)
        if tokens.ndim != 1 or len(tokens) < 2 or tokens[0] != self.config.separator_id:
            raise InputError(f"an n-gram model is fitted on a stream that begins with token {self.config.separator_id}")
        if tokens.min() < 0 or tokens.max() >= self.config.vocab_size:
            raise InputError(f"token ids must lie in 0..{self.config.vocab_size - 1}, but range to {tokens.max()}")
        keys = counts = None
        for k in range(self.config.order, 0, -1):
            keys, counts = self._adjusted_counts(tokens, k, keys)
            self._set_table(k, keys, counts)
        return self

    def _adjusted_counts(self, tokens: np.ndarray, k: int, longer: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Sorted keys of the k-grams, and a(.) of each; ``longer`` are the (k+1)-grams' keys, None at the top."""
        V, separator = self.config.vocab_size, self.config.separator_id
        if k == 1:  # the first token is never predicted
            return np.unique(tokens[1:] if longer is None else longer % V, return_counts=True)
        starts = np.arange(len(tokens) - k + 1)
        if longer is not None:
            starts = starts[tokens[starts] == separator]
        windows = np.zeros(len(starts), np.int64)
        whole = np.ones(len(starts), bool)
        for i in range(k):
            token = tokens[starts + i]
            windows = windows * V + token
            if 0 < i < k - 1:  # first it begins a story, last it ends one, between it would join two
                whole &= token != separator
        keys, counts = np.unique(windows[whole], return_counts=True)
        if longer is None:
            return keys, counts
        suffixes, preceding = np.unique(longer % V**k, return_counts=True)
        keys, counts = np.concatenate([keys, suffixes]), np.concatenate([counts, preceding])
        order = np.argsort(keys, kind="stable")
        return keys[order], counts[order]

    def _set_table(self, k: int, keys: np.ndarray, counts: np.ndarray) -> None:
        """Turn the adjusted counts of order k into discounted probabilities and interpolation weights."""
        V = self.config.vocab_size
        contexts, starts = np.unique(keys // V, return_index=True)
        taken = _discounts(counts)[np.minimum(counts, 3)]
        lengths = np.diff(np.append(starts, len(keys)))
        totals = np.add.reduceat(counts, starts) if len(starts) else np.ones(0)
        probs = (counts - taken) / np.repeat(totals, lengths)
        gammas = np.add.reduceat(taken, starts) / totals if len(starts) else np.ones(0)
        if k == 1:
            unigram = np.full(V, gammas[0] / V)
            unigram[keys] += probs
            self.unigram = torch.from_numpy(unigram).float().to(self.unigram.device)
            return
        table = {
            "keys": keys,
            "probs": probs.astype(np.float32),
            "contexts": contexts,
            "starts": np.append(starts, len(keys)),
            "gammas": gammas.astype(np.float32),
        }
        for name, values in table.items():
            self.register_buffer(f"{name}_{k}", torch.from_numpy(values).to(self.unigram.device))

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        """The tables are as long as there were n-grams: give the buffers the lengths of what is loaded into them."""
        for name, buffer in self._buffers.items():
            if name != "unigram" and prefix + name in state_dict:
                self._buffers[name] = buffer.new_empty(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def n_parameters(self, embedding: bool = True) -> int:
        """Numbers that were estimated: the probabilities and the weights of the interpolation."""
        return sum(b.numel() for b in self.buffers() if b.is_floating_point())

    @torch.no_grad()
    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) int64 -> log-probabilities of the next token (B, T, V): logits of the same distribution."""
        check_ids(ids, self.config.vocab_size)
        contexts = self._contexts(ids)
        return self._log_probs(contexts.flatten(0, 1)).view(*ids.shape, -1)

    @torch.no_grad()
    def prefill(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B, T), T >= 1 -> log-probabilities (B, V), and the last n - 1 tokens, -1 where there are none."""
        check_ids(ids, self.config.vocab_size)
        state = self._contexts(ids)[:, -1]
        return self._log_probs(state), state

    @torch.no_grad()
    def step(self, ids: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """ids (B,) -> log-probabilities (B, V), and the next state."""
        check_ids(ids, self.config.vocab_size)
        state = torch.cat([state, ids[:, None]], dim=1)[:, 1:]
        return self._log_probs(state), state

    def select(self, state: Tensor, rows: Tensor) -> Tensor:
        """The state with these rows of the batch only."""
        return state[rows]

    def _contexts(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> the n - 1 tokens up to and with each position (B, T, n-1), -1 before the beginning."""
        width = self.config.order - 1
        padded = torch.nn.functional.pad(ids.long(), (width, 0), value=-1)
        return padded[:, 1:].unfold(1, width, 1) if width else ids.new_empty(*ids.shape, 0)

    def _orders(self, contexts: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """contexts (M, n-1) -> for k = 2..n: k, the contexts' rows in the table (M,), -1 if unseen, and gamma (M,).

        An unseen context says nothing: its gamma is 1, and the order below decides. Contexts that reach across a
        separator, or before the beginning, are unseen by construction.
        """
        key = torch.zeros(len(contexts), dtype=torch.int64, device=contexts.device)
        for k in range(2, self.config.order + 1):
            token = contexts[:, -(k - 1)]
            key = torch.where(token < 0, -1, token * self.config.vocab_size ** (k - 2) + key)
            row, seen = _find(self._buffers[f"contexts_{k}"], key)
            gamma = torch.ones_like(key, dtype=torch.float32)
            gamma[seen] = self._buffers[f"gammas_{k}"][row[seen]]
            yield k, torch.where(seen, row, -1), gamma

    def _log_probs(self, contexts: Tensor) -> Tensor:
        """contexts (M, n-1) -> log-probabilities of every token after each (M, V)."""
        V = self.config.vocab_size
        p = self.unigram.repeat(len(contexts), 1)
        for k, row, gamma in self._orders(contexts):
            p *= gamma[:, None]
            m = (row >= 0).nonzero().squeeze(1)
            starts = self._buffers[f"starts_{k}"]
            first, lengths = starts[row[m]], starts[row[m] + 1] - starts[row[m]]
            # all k-grams of all seen contexts, one after another: number j of the list is entry first + (j - before)
            before = lengths.cumsum(0) - lengths
            entries = torch.arange(int(lengths.sum()), device=m.device) + (first - before).repeat_interleave(lengths)
            words = self._buffers[f"keys_{k}"][entries] % V
            p.view(-1).index_add_(0, (m * V).repeat_interleave(lengths) + words, self._buffers[f"probs_{k}"][entries])
        return p.log_()


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D(0), D(1), D(2), D(3 or more) (Chen & Goodman 1999, eq. 26) from how many n-grams have each count."""
    n1, n2, n3, n4 = ((counts == c).sum() for c in (1, 2, 3, 4))
    estimates = FALLBACK_DISCOUNTS
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        estimates = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    if not all(0 < d <= c for c, d in enumerate(estimates, start=1)):
        estimates = FALLBACK_DISCOUNTS
    return np.array([0, *estimates])


def _find(table: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Where each key stands in the sorted table, and whether it does."""
    position = torch.searchsorted(table, keys)
    if not len(table):
        return position, torch.zeros_like(position, dtype=torch.bool)
    position = position.clamp(max=len(table) - 1)
    return position, table[position] == keys
