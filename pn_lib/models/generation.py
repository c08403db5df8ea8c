"""Writing with a language model: token by token, many prompts at once, each row as if it were alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel, check_ids


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Applied in this order: temperature, top_k, top_p, min_p.

    Raises:
        InputError: an impossible value; the sentence names the option.
    """

    temperature: float = 1.0  # logits are divided by it; 0: always the most probable token
    top_k: int | None = None  # keep the k most probable tokens
    top_p: float | None = None  # of these, the fewest whose probabilities reach p (Holtzman et al., 2020)
    min_p: float | None = None  # of these, the ones at least min_p times as probable as the first (Nguyen et al., 2024)

    def __post_init__(self):
        if not (_is_number(self.temperature) and 0 <= self.temperature < math.inf):
            raise InputError(f"temperature must be a number of at least 0, not {self.temperature!r}")
        if self.top_k is not None and not (isinstance(self.top_k, int) and self.top_k >= 1):
            raise InputError(f"top_k must be a whole number of at least 1, not {self.top_k!r}")
        for name in ("top_p", "min_p"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and 0 < value <= 1):
                raise InputError(f"{name} must lie in (0, 1], not {value!r}")


@dataclass(frozen=True)
class Completion:
    """What was written after a prompt: without the prompt, and without the stop token."""

    ids: list[int]
    finish_reason: str  # "stop": the stop token came; "length": max_new_tokens written, or the context is full


def next_token_probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution (B, V), float32, that the next token is drawn from, given logits (B, V)."""
    logits = logits.float()
    if sampling.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    probabilities = (logits / sampling.temperature).softmax(-1)
    if sampling.top_k is None and sampling.top_p is None and sampling.min_p is None:
        return probabilities
    # stable, so that among equals the smaller id comes first on every machine
    ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k is not None:
        ranked[:, sampling.top_k :] = 0
    if sampling.top_p is not None:
        ranked = ranked / ranked.sum(-1, keepdim=True)
        before = ranked.cumsum(-1) - ranked  # what more probable tokens hold; the first token always stays
        ranked = ranked.masked_fill(before >= sampling.top_p, 0)
    if sampling.min_p is not None:
        ranked = ranked.masked_fill(ranked < sampling.min_p * ranked[:, :1], 0)
    ranked = ranked / ranked.sum(-1, keepdim=True)
    return torch.zeros_like(ranked).scatter(-1, order, ranked)


def draw(probabilities: Tensor, u: Tensor) -> Tensor:
    """The tokens (B,) at which the cumulative probabilities (B, V) pass u (B,), float64, uniform in [0, 1)."""
    cumulative = probabilities.double().cumsum(-1)
    return torch.searchsorted(cumulative, u[:, None] * cumulative[:, -1:], right=True).squeeze(-1)


def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    stop_id: int | None = None,
    seed: int = 0,
    first_row: int = 0,
) -> list[Completion]:
    """Continue each prompt (token ids, at least one) until ``stop_id``, ``max_new_tokens``, or a full context.

    Prompts may differ in length. The shortest length of all is prefilled; then each step feeds every row its next
    token, of its prompt while that lasts, its own afterwards, so that no row is ever padded.

    The token number n of row r is chosen by number n of a stream of random numbers seeded with (seed, first_row + r):
    what a row becomes does not depend on the rows beside it. ``first_row`` lets a long list be written in batches.

    Args:
        temperature, top_k, top_p, min_p: see ``Sampling``.

    Raises:
        InputError: an impossible option, an empty prompt, or one longer than the model's context.
    """
    sampling = Sampling(temperature, top_k, top_p, min_p)
    if not (isinstance(max_new_tokens, int) and max_new_tokens >= 1):
        raise InputError(f"max_new_tokens must be a whole number of at least 1, not {max_new_tokens!r}")
    if not (isinstance(seed, int) and seed >= 0):
        raise InputError(f"seed must be a whole number of at least 0, not {seed!r}")
    if not prompts:
        return []
    limit = model.max_length  # None: the model goes on for ever
    rows = [
        _Row(list(map(int, prompt)), np.random.default_rng((seed, first_row + r))) for r, prompt in enumerate(prompts)
    ]
    _check_prompts(rows, limit, model.config.vocab_size)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            _write(model, rows, max_new_tokens, sampling, stop_id, limit)
    finally:
        model.train(was_training)
    return [Completion(row.tokens[row.prompt_length :], row.finish_reason) for row in rows]


class _Row:
    """A prompt and what has been written after it so far."""

    def __init__(self, prompt: list[int], random: np.random.Generator):
        self.tokens = prompt
        self.prompt_length = len(prompt)
        self.random = random
        self.finish_reason: str | None = None

    def take(self, token: int, stop_id: int | None, longest: int) -> None:
        """Write one more token, or finish; ``longest`` counts the prompt too."""
        if token == stop_id:
            self.finish_reason = "stop"
            return
        self.tokens.append(token)
        if len(self.tokens) >= longest:
            self.finish_reason = "length"


def _write(
    model: LanguageModel, rows: list[_Row], n: int, sampling: Sampling, stop_id: int | None, limit: int | None
) -> None:
    """Extend the rows in place until all are finished."""
    device = next((t.device for t in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    # the model takes `limit` tokens and so predicts one more
    room = math.inf if limit is None else limit + 1
    length = min(row.prompt_length for row in rows)
    logits, state = model.prefill(torch.tensor([row.tokens[:length] for row in rows], device=device))
    while True:
        # finished rows stay in the batch, fed with what they have, and what the model says of them is ignored
        writing = [i for i, row in enumerate(rows) if row.finish_reason is None and len(row.tokens) == length]
        for i, token in zip(writing, _choose(logits, rows, writing, sampling), strict=True):
            rows[i].take(token, stop_id, min(rows[i].prompt_length + n, room))
        if all(row.finish_reason for row in rows):
            return
        fed = [row.tokens[min(length, len(row.tokens) - 1)] for row in rows]
        logits, state = model.step(torch.tensor(fed, device=device), state)
        length += 1


def _choose(logits: Tensor, rows: list[_Row], which: list[int], sampling: Sampling) -> list[int]:
    if not which:
        return []
    logits = logits[which]
    if sampling.temperature == 0:
        return logits.argmax(-1).tolist()
    u = torch.tensor([rows[i].random.random() for i in which], dtype=torch.float64, device=logits.device)
    return draw(next_token_probabilities(logits, sampling), u).tolist()


def _check_prompts(rows: list[_Row], limit: int | None, vocab_size: int) -> None:
    for r, row in enumerate(rows):
        if not row.tokens:
            raise InputError(f"prompt {r} is empty: give it at least one token, such as the story separator")
        if limit is not None and row.prompt_length > limit:
            raise InputError(
                f"prompt {r} is {row.prompt_length} tokens, the model's context is {limit}: shorten the prompt"
            )
        check_ids(torch.tensor([row.tokens]), vocab_size)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
