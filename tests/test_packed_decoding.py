"""A quantized model decodes from its integers what the plain model of its dequantized weights says."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from pn_lib.models.cpu.fused_decoding import FusedMamba, FusedTransformer
from pn_lib.models.cpu.simd import WIDTH
from pn_lib.models.generation import generate
from pn_lib.models.grid import Grid
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.quantize import quantize, quantized_of
from pn_lib.models.transformer import Transformer, TransformerConfig

V = 45  # no multiple of a register
PROMPTS = [[1], [2, 3, 4, 5, 6], [7, 8], [9, 10, 11], [12, 13]]


def make(kind: str) -> Transformer | Mamba:
    """With weights so large that no two tokens are likely to tie; a rank and a hidden width that fill no register."""
    torch.manual_seed(0)
    if kind == "mamba":
        made = Mamba(MambaConfig(V, d_model=32, n_layers=2, d_state=4, dt_rank=3))
    else:
        options = {"norm": "layernorm", "bias": True, "activation": "gelu", "d_ff": 40} if kind == "gelu" else {}
        made = Transformer(TransformerConfig(V, context=24, d_model=32, n_layers=2, n_heads=2, **options))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return made.eval()


@pytest.mark.parametrize(
    ("grid", "layout"),
    [
        (Grid("int8", None), np.int8),
        (Grid("int8", 12), np.int8),
        (Grid("int4", None), np.uint8),
        (Grid("int4", 8), np.uint8),
        (Grid("int4", 7), np.int8),  # a group would end within a byte
        (Grid("ternary", 32), np.uint8),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["transformer", "gelu", "mamba"])
def test_logits_and_tokens_are_those_of_the_dequantized_model(kind, grid, layout):
    model = quantize(make(kind), grid)
    plain = deepcopy(model)  # a copy has the weights and not the integers
    assert all(quantized_of(weight) is None for weight in plain.parameters())
    ids = torch.tensor(PROMPTS[1:2] * 5)  # five rows: four at once and one alone
    with torch.inference_mode():
        _, state = model.prefill(ids)
        _, plain_state = plain.prefill(ids)
        for _ in range(3):
            found, state = model.step(ids[:, -1], state)
            expected, plain_state = plain.step(ids[:, -1], plain_state)
            assert torch.allclose(found, expected, atol=1e-4, rtol=1e-5)
    assert isinstance(state, FusedMamba if kind == "mamba" else FusedTransformer)
    assert state.weights.head.dtype == layout and plain_state.weights.head.dtype == np.float32
    assert generate(model, PROMPTS, 12, temperature=0) == generate(plain, PROMPTS, 12, temperature=0)


def test_the_integers_are_what_is_read():
    """A matrix of int8 takes a byte a weight, one of int4 half of one."""
    sizes = {}
    for integers in ("int8", "int4"):
        model = quantize(make("transformer"), Grid(integers))
        with torch.inference_mode():
            _, state = model.prefill(torch.tensor([[1]]))
            model.step(torch.tensor([1]), state)
        sizes[integers] = state.weights.qkv.nbytes
    padded = -(-3 * 32 // WIDTH) * WIDTH
    assert sizes["int8"] == 2 * padded * 32 == 2 * sizes["int4"]
