"""Likelihood of whole stories against a plain computation, one token at a time."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import write_tokens
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import likelihood, sequence_nats
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

STORIES = [
    "Tim had a red ball. " * repeat + ending
    for repeat, ending in [
        (1, "He was happy."),
        (7, "The end."),
        (0, "Lost — ähm."),
        (3, ""),
        (5, "Good night, red ball."),
    ]
]


@dataclass(frozen=True)
class UniformConfig:
    vocab_size: int


class Uniform(LanguageModel):
    """Finds every token as likely as any other."""

    name = "uniform"

    def forward(self, ids):
        return torch.zeros(*ids.shape, self.config.vocab_size)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_tokens(tmp_path_factory.mktemp("tokens") / "validation", STORIES, train_tokenizer(STORIES, 270))


@pytest.fixture(scope="module", params=["transformer", "mamba", "ngram"])
def model(request, tokens):
    torch.manual_seed(0)
    if request.param == "ngram":
        return NGram(NGramConfig(vocab_size=270, order=3)).fit(np.asarray(tokens.tokens[:60]))
    if request.param == "mamba":
        return Mamba(MambaConfig(vocab_size=270, context=16, d_model=16, n_layers=2, d_state=4)).train()
    return Transformer(TransformerConfig(vocab_size=270, context=16, d_model=16, n_layers=2, n_heads=2, dropout=0.2))


@torch.no_grad()
def plain(model, story, context, start=1):
    """Each token by itself: its window begins at the last multiple of context // 2 that lets it be read whole."""
    model.eval()
    total, stride = 0.0, max(1, context // 2)
    for position in range(start, len(story)):
        begin = 0
        while position - begin > context:
            begin += stride
        read = torch.tensor(story[begin:position].astype(np.int64))[None]
        assert read.shape[1] >= min(position, context / 2)  # the promised context
        total -= torch.log_softmax(model(read)[0, -1].double(), -1)[int(story[position])].item()
    return total


@pytest.mark.parametrize("context", [16, 7, 2, 1])
def test_equals_one_token_at_a_time(model, tokens, context):
    lengths = [len(tokens.story(i)) for i in range(5)]
    assert min(lengths) <= 16 and max(lengths) > 3 * 16
    result = likelihood(model, tokens, context)
    expected = [plain(model, tokens.story(i), context) for i in range(5)]
    np.testing.assert_allclose(result.story_nats, expected, rtol=1e-5)
    assert result.tokens == sum(lengths) - 5  # each once, closing separator too


def test_batching_changes_rounding_only(model, tokens):
    results = [likelihood(model, tokens, 16, batch_tokens=n) for n in (1, 40, 100, 100_000)]
    for result in results[1:]:
        np.testing.assert_allclose(result.story_nats, results[0].story_nats, rtol=1e-6)
    repeated = likelihood(model, tokens, 16, batch_tokens=100)
    assert np.array_equal(repeated.story_nats, results[2].story_nats)


def test_uniform_model_by_hand(tokens):
    result = likelihood(Uniform(UniformConfig(270)), tokens, 8)
    n_bytes = sum(len(story.encode()) for story in STORIES)
    n_tokens = len(tokens.tokens) - 1
    assert (result.stories, result.bytes, result.tokens) == (5, n_bytes, n_tokens)
    assert result.bits_per_byte == pytest.approx(math.log2(270) * n_tokens / n_bytes, rel=1e-6)
    assert result.nats_per_token == pytest.approx(math.log(270), rel=1e-6)


def test_first_stories_only(model, tokens):
    some = likelihood(model, tokens, 16, stories=2)
    np.testing.assert_allclose(some.story_nats, likelihood(model, tokens, 16).story_nats[:2], rtol=1e-6)
    assert some.bytes == len((STORIES[0] + STORIES[1]).encode())
    assert likelihood(model, tokens, 16, stories=99).stories == 5
    with pytest.raises(InputError, match="no story to score"):
        likelihood(model, tokens, 16, stories=0)
    with pytest.raises(InputError, match="context must be at least 1"):
        likelihood(model, tokens, 0)


def test_only_from_the_start_given(model, tokens):
    sequences = [tokens.story(i) for i in range(5)]
    starts = [3, len(sequences[1]) - 2, 1, len(sequences[3]) - 1, 20]
    nats = sequence_nats(model, sequences, 16, starts=starts)
    for i, sequence in enumerate(sequences):
        # The window of a token depends on where scoring begins only through windows that would score nothing.
        assert nats[i] == pytest.approx(plain(model, sequence, 16, starts[i]), rel=1e-5)


def test_mode_is_given_back(model, tokens):
    model.train()
    first = likelihood(model, tokens, 16)
    assert model.training  # and yet no dropout in the scores
    assert np.array_equal(first.story_nats, likelihood(model, tokens, 16).story_nats)
    model.eval()
    likelihood(model, tokens, 16)
    assert not model.training
