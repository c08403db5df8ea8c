"""Mamba's published format gives the model that transformers' format gives."""

import pytest
import torch
from safetensors.torch import save_file
from training_example import STORIES

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.models.huggingface import to_transformers
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.mamba import Mamba, MambaConfig

CONFIG = {"d_model": 16, "n_layer": 2, "vocab_size": 300, "ssm_cfg": {}, "rms_norm": True, "pad_vocab_size_multiple": 8}


@pytest.fixture(scope="module")
def saved():
    """Weights under the package's names, tokenizer, and bits per byte."""
    tokenizer = train_tokenizer(STORIES, 300)
    torch.manual_seed(0)
    model = Mamba(MambaConfig(300, d_model=16, n_layers=2, d_state=4, dt_rank=3)).eval()
    state = to_transformers(model)[1]
    table = state.pop("backbone.embeddings.weight")
    state["backbone.embedding.weight"] = torch.cat([table, torch.randn(4, 16)])  # 304 rows: padded
    state["lm_head.weight"] = state["backbone.embedding.weight"].clone()
    return state, tokenizer, text_likelihood(model, tokenizer, STORIES).bits_per_byte


def _write(folder, config, state, tokenizer, pickled=False):
    write_json(folder / "config.json", config)
    tokenizer.save(folder)
    if pickled:
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_file(state, folder / "model.safetensors")


def _untied(state):
    return state | {"lm_head.weight": state["lm_head.weight"].roll(1, 0)}


WAYS = {
    "as published": ({}, lambda s: s, True),
    "safetensors, without the shared head": (
        {},
        lambda s: {k: v for k, v in s.items() if k != "lm_head.weight"},
        False,
    ),
    "sizes said": ({"ssm_cfg": {"d_state": 4, "d_conv": 4, "expand": 2, "dt_rank": 3, "layer": "Mamba1"}}, dict, False),
    "no settings said": ({"ssm_cfg": None}, dict, False),
    "wrapped": ({}, lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()}, True),
    "as newer versions say it": ({"attn_layer_idx": [], "attn_cfg": {}, "d_intermediate": 0}, dict, False),
}


@pytest.mark.parametrize(("more", "change", "pickled"), WAYS.values(), ids=WAYS)
def test_the_same_figures(saved, tmp_path, more, change, pickled):
    state, tokenizer, known = saved
    _write(tmp_path, CONFIG | more, change(state), tokenizer, pickled)
    model, coder = open_model(tmp_path)
    assert model.config.vocab_size == coder.vocab_size == 300 and model.config.tied_embeddings
    assert text_likelihood(model, coder, STORIES).bits_per_byte == pytest.approx(known, abs=1e-6)


def test_a_head_of_its_own(saved, tmp_path):
    _write(tmp_path, CONFIG, _untied(saved[0]), saved[1])
    model, coder = open_model(tmp_path)
    assert not model.config.tied_embeddings
    assert text_likelihood(model, coder, STORIES).bits_per_byte > saved[2] + 0.01


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"ssm_cfg": {"layer": "Mamba2"}}, "layer Mamba2.*only a plain Mamba"),
        ({"attn_layer_idx": [1]}, "attention layers"),
        ({"rms_norm": False}, "LayerNorm"),
        ({"ssm_cfg": {"d_state": 16}}, "says d_state=16, its weights have 4"),
        ({"d_model": 0}, "says d_model=0"),
        ({"n_layer": "2"}, "says n_layer=.2."),
        ({"n_layer": 3}, "lacks backbone.layers.2"),
        ({"n_layer": 1}, "no place for the weight layers.1"),
    ],
)
def test_others_are_one_sentence(saved, tmp_path, more, sentence):
    _write(tmp_path, CONFIG | more, *saved[:2])
    with pytest.raises(InputError, match=sentence):
        open_model(tmp_path)


def test_weights_of_something_else(saved, tmp_path):
    _write(tmp_path, CONFIG, {"weight": torch.ones(2)}, saved[1])
    with pytest.raises(InputError, match="no weights of a Mamba"):
        open_model(tmp_path)
