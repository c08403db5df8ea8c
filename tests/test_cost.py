"""The formulas give what the models have and what PyTorch counts as they run."""

import itertools

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pn_lib.models.cost import flops_by_part, forward_flops, parameter_count, training_flops_per_token
from pn_lib.models.mamba import Mamba, MambaConfig
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
        ("swiglu", "gelu", "relu"),
        (True, False),
        (True, False),
        ({}, {"attention": "linear", "d_ff": 24}),
    )
] + [TransformerConfig(**SIZES, position=position, window=4) for position in ("sinusoidal", "none")]
MAMBAS = [
    MambaConfig(37, 10, 16, 3, d_state=n, expand=expand, d_conv=k, dt_rank=rank, tied_embeddings=tied)
    for n, expand, k, rank, tied in itertools.product((4, 5), (1, 2), (3, 4), (None, 3), (True, False))
]


def make(config) -> Transformer | Mamba:
    with torch.device("meta"):  # shapes only
        return (Mamba if isinstance(config, MambaConfig) else Transformer)(config)


@pytest.mark.parametrize("configs", [TRANSFORMERS, MAMBAS], ids=["transformer", "mamba"])
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
    for config in (*TRANSFORMERS[::17], *TRANSFORMERS[-2:]):
        assert forward_flops(config, length) == counted(Transformer(config), length), config


def test_mamba_flops_are_what_pytorch_counts():
    """Its scan is no matrix product, and the torch scan has some of its own: compared without, on the loop."""
    for config in MAMBAS[::5]:
        model = Mamba(config)
        for block in model.blocks:
            block.scan = lambda x, state: (x, state)
        parts = flops_by_part(config, 10)
        assert parts.pop("scan") == 7 * 3 * 10 * config.d_inner * config.d_state
        parts.pop("selection")
        # the convolution runs on K - 1 further inputs, and gives only the T that are wanted
        assert sum(parts.values()) == counted(model, 10), config
    block = Mamba(MAMBAS[0]).blocks[0]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        block.x_proj(torch.zeros(10, MAMBAS[0].d_inner))
        block.dt_proj(torch.zeros(10, MAMBAS[0].rank))
    assert 3 * counter.get_total_flops() == flops_by_part(MAMBAS[0], 10)["selection"]


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
