"""The cross-entropy of an output layer, against PyTorch's on whole logits."""

import pytest
import torch
import torch.nn.functional as F

from pn_lib.data.tokens import IGNORED
from pn_lib.models import loss as loss_module
from pn_lib.models.loss import linear_cross_entropy
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

MODELS = {
    "transformer": lambda: Transformer(TransformerConfig(vocab_size=11, context=12, d_model=8, n_layers=1, n_heads=2)),
    "mamba": lambda: Mamba(MambaConfig(vocab_size=11, d_model=8, n_layers=1, d_state=4, scan="torch")),
}


def case(ignored: float = 0.0, shape=(3, 10), D=16, V=37, seed=0):
    """hidden (..., D), weight (V, D), targets (...), of which a share is ignored."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, D, generator=random, requires_grad=True)
    weight = torch.randn(V, D, generator=random, requires_grad=True)
    targets = torch.randint(V, shape, generator=random)
    targets[torch.rand(shape, generator=random) < ignored] = IGNORED
    return hidden, weight, targets


def plain(hidden, weight, targets):
    return F.cross_entropy(F.linear(hidden, weight).flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORED)


def value_and_gradients(function, hidden, weight, targets, scale=1.0):
    value = function(hidden, weight, targets)
    return value.detach(), *torch.autograd.grad(scale * value, (hidden, weight))


@pytest.mark.parametrize("ignored", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("rows", [1, 7, 1000])  # tokens at once: 7 does not divide their number
def test_value_and_gradients_are_pytorchs(ignored, rows, monkeypatch):
    monkeypatch.setattr(loss_module, "SLICE", rows * 37)
    tensors = case(ignored, seed=1)
    assert (tensors[2] != IGNORED).sum() % 7
    ours, theirs = (value_and_gradients(f, *tensors, scale=-2.5) for f in (linear_cross_entropy, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ignored", [0.0, 0.6])
def test_under_autocast_it_is_as_near_to_the_truth_as_pytorchs(ignored):
    tensors = case(ignored, shape=(4, 32))
    truth = value_and_gradients(plain, *tensors)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (value_and_gradients(f, *tensors) for f in (linear_cross_entropy, plain))
    for mine, other, true in zip(ours, theirs, truth, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - true).norm() <= 1.5 * (other - true).norm() + 1e-3 * true.norm()
        assert (mine - true).norm() <= 0.02 * true.norm()


def test_ignored_tokens_change_nothing_whatever_their_hidden_vectors_are():
    hidden, weight, targets = case(0.5)
    before = value_and_gradients(linear_cross_entropy, hidden, weight, targets)
    with torch.no_grad():
        hidden[targets == IGNORED] = torch.inf
    after = value_and_gradients(linear_cross_entropy, hidden, weight, targets)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert not after[1][targets == IGNORED].any()


def test_where_nothing_is_asked_nothing_is_lost_or_learned():
    hidden, weight, targets = case(1.1)
    assert (targets == IGNORED).all()
    value, *gradients = value_and_gradients(linear_cross_entropy, hidden, weight, targets)
    assert value == 0 and not any(gradient.any() for gradient in gradients)


def test_a_target_outside_the_vocabulary_is_an_error_and_not_ignored():
    hidden, weight, targets = case()
    for bad in (-1, 37):
        targets[0, 0] = bad
        with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
            linear_cross_entropy(hidden, weight, targets)


def test_nothing_as_large_as_the_logits_is_kept_for_the_backward_pass(monkeypatch):
    monkeypatch.setattr(loss_module, "SLICE", 1 << 9)
    hidden, weight, targets = case(shape=(8, 64), D=4, V=64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        linear_cross_entropy(hidden, weight, targets)
        ours = max(kept)
        plain(hidden, weight, targets)
    logits = targets.numel() * len(weight)
    assert ours <= max(hidden.numel(), weight.numel()) < logits <= max(kept)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("ignored", [0.0, 0.7])
def test_a_models_loss_is_that_of_its_logits_with_tied_weights(name, ignored):
    torch.manual_seed(0)
    model = MODELS[name]()
    assert model.config.tied_embeddings
    ids, targets = torch.randint(11, (2, 12)), torch.randint(11, (2, 12))
    targets[torch.rand(2, 12) < ignored] = IGNORED
    ours = model(ids, targets)
    theirs = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
    gradients = [torch.autograd.grad(loss, list(model.parameters())) for loss in (ours, theirs)]
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
