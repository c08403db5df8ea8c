"""How likely a model finds whole stories: bits per byte, the same whatever the tokenizer, on every token of each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pn_lib.data.tokenizer import Coder
from pn_lib.data.tokens import IGNORED, TokenFile
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.hooks import reading
from pn_lib.models.lossless import check_lossless

ANY_CONTEXT = 512  # tokens read at once by a model without a window of its own, such as the n-gram


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihoods of stories, each array of shape (stories,) and in the order of the token file.

    ``story_nats`` sums over the tokens of a story and the separator that closes it, given the one before it;
    ``story_tokens`` counts those tokens, and ``story_bytes`` the UTF-8 bytes of the story's text alone.
    """

    story_nats: np.ndarray
    story_tokens: np.ndarray
    story_bytes: np.ndarray

    @property
    def stories(self) -> int:
        return len(self.story_nats)

    @property
    def tokens(self) -> int:
        return int(self.story_tokens.sum())

    @property
    def bytes(self) -> int:
        return int(self.story_bytes.sum())

    @property
    def nats_per_token(self) -> float:
        return float(self.story_nats.sum()) / self.tokens

    @property
    def bits_per_byte(self) -> float:
        return float(self.story_nats.sum()) / math.log(2) / self.bytes


def likelihood(
    model: LanguageModel, token_file: TokenFile, context: int, stories: int | None = None, batch_tokens: int = 4096
) -> Likelihood:
    """Score the first ``stories`` stories of ``token_file`` (all by default), whole, every token once.

    A story of more than ``context`` tokens is read in windows (see ``sequence_nats``). ``batch_tokens`` bounds memory
    and changes the result by rounding only.

    Raises:
        InputError: there is no story to score.
    """
    count = len(token_file) if stories is None else min(stories, len(token_file))
    if count < 1:
        raise InputError(f"no story to score: {len(token_file)} in the token file, {stories} asked for")
    return _likelihood(
        model, [token_file.story(i) for i in range(count)], token_file.story_bytes[:count], context, batch_tokens
    )


def text_likelihood(model: LanguageModel, tokenizer: Coder, stories: Sequence[str]) -> Likelihood:
    """``likelihood`` of stories as text, for any model with its own tokenizer, in windows of the model's context.

    Raises:
        InputError: there is no story to score, or the tokenizer changes one, so that the model would be asked about
            another text than the one whose bytes are counted.
    """
    if not stories:
        raise InputError("no story to score: there is none")
    check_lossless(tokenizer, stories)
    ends = [tokenizer.separator_id]
    return _likelihood(
        model,
        [[*ends, *tokenizer.encode(story), *ends] for story in stories],
        [len(story.encode()) for story in stories],
        context_of(model),
        4096,
    )


def context_of(model: LanguageModel) -> int:
    """The longest sequence in tokens that the model takes or, where there is no limit, that it was trained on."""
    return model.max_length or getattr(model.config, "context", ANY_CONTEXT)


def _likelihood(
    model: LanguageModel,
    sequences: Sequence[Sequence[int] | np.ndarray],
    sizes: Sequence[int],
    context: int,
    batch_tokens: int,
) -> Likelihood:
    return Likelihood(
        sequence_nats(model, sequences, context, batch_tokens=batch_tokens),
        np.array([len(s) - 1 for s in sequences]),
        np.asarray(sizes, np.int64),
    )


def sequence_nats(
    model: LanguageModel,
    sequences: Sequence[Sequence[int] | np.ndarray],
    context: int,
    starts: Sequence[int] | None = None,
    batch_tokens: int = 4096,
) -> np.ndarray:
    """-log p(tokens[start:] | tokens[:start]) of each sequence, in nats: float64 (len(sequences),).

    ``starts`` are 1 by default: all but the first token is scored. Sequences of up to context + 1 tokens are read at
    once. A longer one is read in windows of ``context`` tokens that move on by half of that; each token is scored in
    the first window that reaches it, so all but the first window's tokens are given at least context / 2 tokens.
    The model is in evaluation mode meanwhile and the arithmetic is float32, its sums float64.
    """
    if context < 1:
        raise InputError(f"the context must be at least 1 token, not {context}")
    starts = [1] * len(sequences) if starts is None else starts
    windows = [
        (i, *window)
        for i, (sequence, start) in enumerate(zip(sequences, starts, strict=True))
        for window in _windows(len(sequence), start, context)
    ]
    nats = np.zeros(len(sequences))
    with reading(model):
        for group in _batches(windows, batch_tokens):
            T = max(end - begin - 1 for _, begin, end, _ in group)
            ids, targets = np.zeros((len(group), T), np.int64), np.full((len(group), T), IGNORED)
            for row, (i, begin, end, scored) in enumerate(group):
                piece = np.asarray(sequences[i][begin:end], np.int64)
                ids[row, : len(piece) - 1] = piece[:-1]  # padding on the right: causal models cannot see it
                targets[row, scored - begin - 1 : len(piece) - 1] = piece[scored - begin :]
            losses = model.nats(*(torch.from_numpy(v).to(model.device) for v in (ids, targets)))  # (B, T)
            sums = losses.cpu().double().sum(1).numpy()
            np.add.at(nats, [i for i, *_ in group], sums)
    return nats


def _windows(length: int, start: int, context: int) -> Iterator[tuple[int, int, int]]:
    """(begin, end, scored): read tokens[begin:end - 1], score tokens[scored:end], which tile tokens[start:length]."""
    stride = max(1, context // 2)
    begin, scored = 0, max(1, start)
    while scored < length:
        end = min(begin + context + 1, length)
        if scored < end:
            yield begin, end, scored
            scored = end
        begin += stride


def _batches(windows: list[tuple[int, int, int, int]], batch_tokens: int) -> Iterator[list[tuple[int, int, int, int]]]:
    """Windows of similar length together, in an order that depends on nothing else, at most ``batch_tokens`` padded."""
    group: list[tuple[int, int, int, int]] = []
    for window in sorted(windows, key=lambda w: (w[2] - w[1], w)):  # ascending: the newest window sets the width
        if group and (len(group) + 1) * (window[2] - window[1] - 1) > batch_tokens:
            yield group
            group = []
        group.append(window)
    if group:
        yield group
