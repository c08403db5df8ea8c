"""Neurons: the activations are those the model computes, and the tables are right on activations made by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation.neurons import activations, neuron_table, read_neurons, top_contexts
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

NONLINEARITY = {
    "relu": F.relu,
    "relu2": lambda x: F.relu(x) ** 2,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "swiglu": lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1],
}


def make(**options):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocab_size=300, context=32, d_model=16, n_layers=2, n_heads=2, **options))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.4)
    return model.eval()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", NONLINEARITY)
def test_activations_are_what_the_mlp_computes(activation, bias):
    model, ids = make(activation=activation, bias=bias, norm="layernorm"), torch.arange(24).view(2, 12)
    with torch.no_grad():
        x = model.embedding(ids)
        first, block = model.blocks[0], model.blocks[1]
        x = first(x, model._rotation(slice(12)))
        x = x + block.attention(block.attention_norm(x), model._rotation(slice(12)))
        expected = NONLINEARITY[activation](block.mlp.up(block.mlp_norm(x)))
    found = activations(model, ids, 1)
    assert found.shape == (2, 12, model.config.ff_width)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_mambas_neurons_are_what_its_last_projection_reads():
    torch.manual_seed(0)
    model, ids = Mamba(MambaConfig(vocab_size=300, d_model=16, n_layers=1)).train(), torch.arange(12).view(1, 12)
    before = model(ids).detach()
    with torch.no_grad():
        x = model.embedding(ids) + activations(model, ids, 0) @ model.blocks[0].out_proj.weight.T
        torch.testing.assert_close(model._logits(model.norm(x)), before, atol=1e-5, rtol=1e-4)
    assert model.training and not model.blocks[0].out_proj._forward_pre_hooks
    assert torch.equal(model(ids), before)


def test_signs_are_turned_and_sequences_joined():
    model, sequences = make(), [list(range(10)), list(range(50, 56))]
    neurons = read_neurons(model, sequences, 0)
    assert neurons.shape == (model.config.ff_width, 16)
    plain = activations(model, torch.tensor([sequences[1]]), 0)[0].T
    torch.testing.assert_close(neurons[:, 10:].abs(), plain.abs())
    assert (neurons.amax(1) >= -neurons.amin(1)).all()
    flipped = (neurons[:, 10:] * plain).sum(1) < 0
    assert flipped.any() and not flipped.all()


LABELS = [["the", "cat", "the"], ["dog", "the", "cat"]]
NEURONS = torch.tensor(
    [
        [0.1, 5.0, 0.2, 4.0, 0.3, 6.0],  # strongest: cat, cat, dog
        [3.0, 0.0, 2.0, 0.0, 1.0, 0.0],  # the, the, the
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)  # fires once only


def test_selectivity_by_hand():
    table = neuron_table(NEURONS, LABELS, top=3)
    assert table["label"].tolist()[:2] == ["cat", "the"]
    assert table["share"].tolist()[:2] == pytest.approx([2 / 3, 1.0]) and np.isnan(table["share"][2])
    assert table["base"].tolist()[:2] == pytest.approx([1 / 3, 1 / 2])
    assert table["different"].tolist()[:2] == [2, 1]
    assert table["activation"].tolist() == pytest.approx([5.0, 2.0, 1 / 3])


def test_the_shuffled_control_knows_no_words():
    labels = [["a"] * 500, ["b"] * 500]
    neurons = torch.rand(40, 1000, generator=torch.Generator().manual_seed(0))
    neurons[:, :500] += 1  # all of them fire at a
    assert (neuron_table(neurons, labels)["share"] == 1).all()
    control = neuron_table(neurons, labels, shuffled=3)
    assert 0.5 <= control["share"].mean() < 0.7
    assert control.equals(neuron_table(neurons, labels, shuffled=3))
    assert not control.equals(neuron_table(neurons, labels, shuffled=4))


def test_contexts_by_hand():
    tokenizer = train_tokenizer(["a b"], 257)
    sequences = [tokenizer.encode("xyz"), tokenizer.encode("uvw")]
    table = top_contexts(NEURONS, tokenizer, sequences, [1, 0], k=2, width=1)
    assert table[["neuron", "activation", "left", "token", "right"]].values.tolist() == [
        [1, 3.0, "", "x", "y"],
        [1, 2.0, "y", "z", ""],
        [0, 6.0, "v", "w", ""],
        [0, 5.0, "x", "y", "z"],
    ]


def test_what_does_not_fit_is_refused():
    tokenizer, model = train_tokenizer(["a b"], 257), make()
    with pytest.raises(InputError, match="6 tokens, but there are 3 labels"):
        neuron_table(NEURONS, LABELS[:1])
    with pytest.raises(InputError, match="strongest 7"):
        neuron_table(NEURONS, LABELS, top=7)
    with pytest.raises(InputError, match="not on these 2"):
        top_contexts(NEURONS, tokenizer, [[1, 2]], [0])
    with pytest.raises(InputError, match="neurons 0 to 2"):
        top_contexts(NEURONS, tokenizer, [[1, 2, 3, 4, 5, 6]], [3])
    with pytest.raises(InputError, match="no layer 2"):
        read_neurons(model, [[1, 2]], 2)
    with pytest.raises(InputError, match="no neurons"):
        read_neurons(NGram(NGramConfig(vocab_size=20)), [[1, 2]], 0)
    with pytest.raises(InputError, match="no sequence"):
        read_neurons(model, [], 0)
