"""What the tests of training share: a few stories, a small model, a plan, and what it means to be the same."""

import torch

from pn_lib.models.likelihood import likelihood
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.training.config import TrainingConfig

STORIES = [
    f"Tim had a {colour} {thing}. He lost the {colour} {thing} and found it in the {place}. Tim was happy."
    for colour in ("red", "blue", "old")
    for thing in ("ball", "hat", "car")
    for place in ("park", "box")
]
CONFIG = TrainingConfig(
    tokens=20 * 4 * 16,
    batch_size=4,
    context=16,
    learning_rate=3e-3,
    evals=5,
    checkpoint_every=3,
    precision="float32",
    seed=7,
)


def make_model(dropout=0.1) -> Transformer:
    torch.manual_seed(0)
    return Transformer(
        TransformerConfig(vocab_size=300, context=16, d_model=16, n_layers=1, n_heads=2, dropout=dropout)
    )


def scorer(tokens):
    return lambda model: likelihood(model, tokens, context=16, stories=4)


def assert_same(model, history, other_model, other_history):
    assert history.equals(other_history), f"{history}\n{other_history}"
    for (name, a), b in zip(model.state_dict().items(), other_model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
