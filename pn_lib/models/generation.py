"""Writing with a language model: token by token, many prompts at once, each row as if it were alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from pn_lib.config import config_class
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel, check_ids

CHECK_EVERY = 8  # steps between two looks at whether rows have ended: on a GPU each look waits for the device


Share = Annotated[float, Field(gt=0, le=1)]


@config_class
class Sampling:
    """How the next token is chosen. Applied in this order: temperature, top_k, top_p, min_p.

    Raises:
        InputError: an impossible value; the sentence names the option.
    """

    temperature: NonNegativeFloat = 1.0  # logits are divided by it; 0: always the most probable token
    top_k: PositiveInt | None = None  # keep the k most probable tokens
    top_p: Share | None = None  # of these, the fewest whose probabilities reach p (Holtzman et al., 2020)
    min_p: Share | None = None  # of these, the ones at least min_p times as probable as the first (Nguyen et al., 2024)


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
    rows: Sequence[int] | None = None,
) -> list[Completion]:
    """Continue each prompt (token ids, at least one) until ``stop_id``, ``max_new_tokens``, or a full context.

    Prompts may differ in length. The shortest length of all is prefilled; then each step feeds every row its next
    token, of its prompt while that lasts, its own afterwards, so that no row is ever padded. Sampling stays on the
    model's device; rows that have ended leave the batch once half of it has.

    The token number n of row r is chosen by number n of a stream of random numbers seeded with (seed, rows[r]), by
    default (seed, r): what a row becomes does not depend on the rows beside it. ``rows`` lets a long list be written in
    batches.

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
    prompts = [list(map(int, prompt)) for prompt in prompts]
    _check_prompts(prompts, model.max_length, model.config.vocab_size)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            written = _Rows(model, prompts, max_new_tokens, seed, range(len(prompts)) if rows is None else rows)
            _write(model, written, sampling, stop_id)
    finally:
        model.train(was_training)
    return written.completions(stop_id)


class _Rows:
    """All prompts and what is written after them, on the model's device: one column a position."""

    def __init__(self, model: LanguageModel, prompts: list[list[int]], n: int, seed: int, streams: Sequence[int]):
        device = model.device
        # the model takes `max_length` tokens and so predicts one more
        room = math.inf if model.max_length is None else model.max_length + 1
        self.starts = [len(prompt) for prompt in prompts]
        self.ends = [min(start + n, room) for start in self.starts]
        ids = torch.zeros(len(prompts), max(self.ends), dtype=torch.int64)
        u = torch.zeros(ids.shape, dtype=torch.float64)
        each = zip(prompts, self.starts, self.ends, streams, strict=True)
        for r, (prompt, start, end, stream) in enumerate(each):
            ids[r, :start] = torch.tensor(prompt)
            u[r, start:end] = torch.from_numpy(np.random.default_rng((seed, stream)).random(end - start))
        self.ids, self.u = ids.to(device), u.to(device)  # (B, longest end)
        self.start, self.end = torch.tensor(self.starts, device=device), torch.tensor(self.ends, device=device)

    def completions(self, stop_id: int | None) -> list[Completion]:
        found = []
        for row, start, end in zip(self.ids.tolist(), self.starts, self.ends, strict=True):
            written = row[start:end]
            stopped = stop_id in written
            found.append(
                Completion(written[: written.index(stop_id)] if stopped else written, "stop" if stopped else "length")
            )
        return found


def _write(model: LanguageModel, rows: _Rows, sampling: Sampling, stop_id: int | None) -> None:
    """Fill the columns of ``rows`` one after another until every row has ended."""
    first, aligned = min(rows.starts), max(rows.starts)
    alive = torch.arange(len(rows.ids), device=rows.ids.device)  # rows still in the batch; those that ended leave it
    logits, state = model.prefill(rows.ids[:, :first])
    stopped = torch.zeros(len(alive), dtype=torch.bool, device=alive.device)
    for position in range(first, rows.ids.shape[1]):
        whole = len(alive) == len(rows.ids)
        token = _choose(logits, rows.u[:, position] if whole else rows.u[alive, position], sampling)
        if position < aligned:  # some rows still read their prompt
            token = torch.where(position < rows.start[alive], rows.ids[alive, position], token)
        rows.ids[alive, position] = token
        if stop_id is not None:
            stopped |= (token == stop_id) & (position >= rows.start[alive])
        if position + 1 == rows.ids.shape[1]:
            return
        if position % CHECK_EVERY == 0:
            going = ~(stopped | (position + 1 >= rows.end[alive]))
            count = int(going.sum())
            if count == 0:
                return
            if count <= len(alive) // 2:  # a copy of the state, so only where it pays
                kept = going.nonzero().squeeze(1)
                alive, stopped, token = alive[kept], stopped[kept], token[kept]
                state = model.select(state, kept)
        logits, state = model.step(token, state)


def _choose(logits: Tensor, u: Tensor, sampling: Sampling) -> Tensor:
    """logits (B, V) and random numbers (B,) -> the next token of each row (B,)."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    return draw(next_token_probabilities(logits, sampling), u)


def _check_prompts(prompts: list[list[int]], limit: int | None, vocab_size: int) -> None:
    for r, prompt in enumerate(prompts):
        if not prompt:
            raise InputError(f"prompt {r} is empty: give it at least one token, such as the story separator")
        if limit is not None and len(prompt) > limit:
            raise InputError(f"prompt {r} is {len(prompt)} tokens, the model's context is {limit}: shorten the prompt")
        check_ids(torch.tensor([prompt]), vocab_size)
