"""The formulas give what the models have and what PyTorch counts as they run."""

import itertools

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pn_lib.models.delta import DeltaNet, DeltaNetConfig
from pn_lib.models.flops import flops_by_part, forward_flops, parameter_count, training_flops_per_token
from pn_lib.models.hybrid import Hybrid, HybridConfig
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.mamba2 import Mamba2, Mamba2Config
from pn_lib.models.transformer import Transformer, TransformerConfig

SIZES = {"vocab_size": 37, "context": 10, "d_model": 16, "n_layers": 2, "n_heads": 4}
TRANSFORMERS = [
    TransformerConfig(
        **SIZES,
        n_kv_heads=kv,
        position=position,
        norm=norm,
        norm_position=place,
        activation=activation,
        tied_embeddings=tied,
        bias=bias,
        **more,
    )
    for kv, position, norm, place, activation, tied, bias, more in itertools.product(
        (None, 2),
        ("rope", "learned"),
        ("rmsnorm", "layernorm"),
        ("pre", "post"),
        ("swiglu", "gelu", "relu2"),
        (True, False),
        (True, False),
        ({}, {"attention": "linear", "d_ff": 24}),
    )
]
NEO = {"window": 4, "window_layers": "alternate", "attention_scale": False}
TRANSFORMERS += [TransformerConfig(**SIZES, bias=b, qkv_bias=q) for b, q in itertools.product((True, False), repeat=2)]
TRANSFORMERS += [TransformerConfig(**SIZES, position="learned", bias=True, qkv_bias=False, **NEO)]
TRANSFORMERS += [TransformerConfig(**SIZES, qk_norm=True, n_kv_heads=kv) for kv in (None, 2)]
TRANSFORMERS += [TransformerConfig(**SIZES, position=position, window=4) for position in ("sinusoidal", "none")]
MAMBAS = [
    MambaConfig(37, 10, 16, 3, d_state=n, expand=expand, d_conv=k, dt_rank=rank, tied_embeddings=tied)
    for n, expand, k, rank, tied in itertools.product((4, 5), (1, 2), (3, 4), (None, 3), (True, False))
]
STACKS = [
    *(
        Mamba2Config(37, 10, 16, 3, d_state=n, head_dim=p, expand=expand, d_conv=k, tied_embeddings=tied)
        for n, p, expand, k, tied in itertools.product((4, 5), (8, 16), (1, 2), (1, 4), (True, False))
    ),
    *(
        DeltaNetConfig(37, 10, 16, 3, n_heads=h, head_dim=n, expand=expand, d_conv=k, tied_embeddings=tied)
        for h, n, expand, k, tied in itertools.product((1, 3), (4, 5), (1, 2), (1, 4), (True, False))
    ),
    *(
        HybridConfig(37, 10, 16, 7, pattern, n_heads=2, n_kv_heads=kv, head_dim=8, tied_embeddings=tied)
        for pattern, kv, tied in itertools.product(("SMDAF", "MMA", "AF", "D"), (None, 1), (True, False))
    ),
]
MODELS = {
    TransformerConfig: Transformer,
    MambaConfig: Mamba,
    Mamba2Config: Mamba2,
    DeltaNetConfig: DeltaNet,
    HybridConfig: Hybrid,
}


def make(config) -> torch.nn.Module:
    with torch.device("meta"):  # shapes only
        return MODELS[type(config)](config)


@pytest.mark.parametrize("configs", [TRANSFORMERS, MAMBAS, STACKS], ids=["transformer", "mamba", "stacks"])
def test_parameters_are_the_models_own(configs):
    for config in configs:
        count, model = parameter_count(config), make(config)
        assert count.total == model.n_parameters(), config
        assert count.non_embedding == model.n_parameters(embedding=False), config
        assert sum(count.by_part.values()) == count.total and all(count.by_part.values())


def counted(model, length: int) -> int:
    """What PyTorch's counter sees; it knows not the CPU's fused attention, so that is taken apart."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.zeros(1, length, dtype=torch.int64))
    return counter.get_total_flops()


@pytest.mark.parametrize("length", [1, 7, 10])
def test_transformer_flops_are_what_pytorch_counts(length):
    for config in (*TRANSFORMERS[::17], *TRANSFORMERS[-3:]):
        assert forward_flops(config, length) == counted(Transformer(config), length), config


def test_mamba_flops_are_what_pytorch_counts():
    """The fused kernels are invisible to PyTorch's counter: it sees the products; the convolution is counted apart."""
    for config in MAMBAS[::5]:
        parts, model = flops_by_part(config, 10), Mamba(config)
        assert parts.pop("scan") == 7 * 3 * 10 * config.d_inner * config.d_state
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.blocks[0].conv(torch.zeros(1, config.d_inner, config.d_conv - 1 + 10))
        assert parts.pop("convolution") == 3 * counter.get_total_flops()
        assert sum(parts.values()) == counted(model, 10), config


@pytest.mark.parametrize("length", [1, 10, 70])
def test_flops_of_stacks_are_what_pytorch_counts(monkeypatch, length):
    """Its counter sees neither the fused scan and convolution nor triangular systems; those are left out. Whether one
    kernel does a whole Mamba-2 layer, of which it would see the projections alone, depends on the processor's lanes."""
    monkeypatch.setattr("pn_lib.models.mamba2.can_fuse", lambda x: False)
    for config in STACKS[::5]:
        parts = flops_by_part(config, length)
        unseen = [parts.pop(name, 0) for name in ("scan", "convolution", "triangular system")]
        assert sum(unseen) > 0 or set(getattr(config, "pattern", "M")) <= set("AF")
        assert sum(parts.values()) == counted(MODELS[type(config)](config), length), config


def test_training_is_three_forward_passes():
    for config in (TRANSFORMERS[0], MAMBAS[0]):
        assert training_flops_per_token(config) == 3 * forward_flops(config, 10) / 10
        assert training_flops_per_token(config, 5) == 3 * forward_flops(config, 5) / 5
    # six operations a parameter and token, the rule of thumb, plus attention
    config = TransformerConfig(1024, context=128, d_model=64, n_layers=2)
    matrices = parameter_count(config).total - parameter_count(config).by_part["norms"]
    assert training_flops_per_token(config) == 6 * matrices + 12 * 2 * 128 * 64


def test_attention_grows_with_the_square_of_the_length():
    parts = [flops_by_part(TRANSFORMERS[0], length)["attention scores and values"] for length in (100, 200)]
    assert parts[1] == 4 * parts[0]
    scans = [forward_flops(MAMBAS[0], length) for length in (100, 200)]
    assert scans[1] == 2 * scans[0]
