"""Decoders of which a step is one kernel: a model's weights and state, packed for ``decoding_kernels``. Of a quantized
model these weights are the integers that its own were made from.

Packing copies the weights once, at the first step of a text (a millisecond for a million parameters). From then on a
step is one call. What grows with the length are the keys and values, allocated once.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pn_lib.models.base import Decoder
from pn_lib.models.cpu import decoding_kernels as kernels
from pn_lib.models.cpu.calling import blocked_channels, use_threads
from pn_lib.models.cpu.simd import WIDTH
from pn_lib.models.grid import Grid
from pn_lib.models.quantize import matrices, quantized_of

WHOLE_ROW = 1 << 30  # more inputs than any layer has
ACTIVATIONS = {"swiglu": kernels.SWIGLU, "gelu": kernels.GELU, "relu": kernels.RELU, "relu2": kernels.RELU2}


class FusedTransformer(Decoder):
    """The step of a Transformer, and the keys and values it goes on from: (L, B, K, context / W, d, W) each."""

    def __init__(self, model, batch: int):
        c = model.config
        self.model, self.length, self.weights = model, 0, None  # packed at the first step
        self.options = kernels.TransformerOptions(
            c.n_heads,
            c.kv_heads,
            c.head_dim,
            np.float32(1 / model.blocks[0].attention.divisor),
            np.float32(c.norm_eps),
            c.norm == "layernorm",
            c.norm_position == "pre",
            c.position == "rope",
            ACTIVATIONS[c.activation],
            c.qk_norm,
        )
        tables = [model.cos, model.sin] if c.position == "rope" else [torch.zeros(c.context, 1, 0)] * 2
        self.cos, self.sin = (_array(table[:, 0, table.shape[2] // 2 :]) for table in tables)
        shape = (c.n_layers, batch, c.kv_heads, _padded(c.context) // WIDTH, c.head_dim, WIDTH)
        self.keys, self.values = _zeros(*shape), _zeros(*shape)
        # a layer without a window sees as far back as one with a window of the whole context
        self.windows = np.array([c.window_of(layer) or c.context for layer in range(c.n_layers)])

    @property
    def caches(self) -> list["_LayerCache"]:
        """For each layer what prefill can put its keys and values into."""
        return [_LayerCache(keys, values) for keys, values in zip(self.keys, self.values, strict=True)]

    def step(self, x: Tensor) -> Tensor:
        if self.weights is None:
            self.weights = _transformer_weights(self.model)
        seen = np.maximum(0, self.length + 1 - self.windows)
        logits = x.new_empty(len(x), _padded(self.model.config.vocab_size))
        _set_threads(len(x))
        kernels.transformer_step(
            _array(x),
            self.length,
            seen,
            self.cos,
            self.sin,
            self.keys.numpy(),
            self.values.numpy(),
            self.weights,
            self.options,
            logits.numpy(),
        )
        self.length += 1
        return logits[:, : self.model.config.vocab_size]

    def select(self, rows: Tensor) -> None:
        used = _padded(self.length) // WIDTH
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = _zeros(len(old), len(rows), *old.shape[2:])
            new[:, :, :, :used] = old[:, rows, :, :used]
            setattr(self, name, new)

    def n_bytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


class _LayerCache:
    """Takes the keys and values of a prefill; the place of a KVCache."""

    def __init__(self, keys: Tensor, values: Tensor):
        self.keys, self.values = keys, values  # (B, K, context / W, d, W): views

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k and v (B, K, T, d), the first ones -> the same."""
        for new, kept in ((k, self.keys), (v, self.values)):
            for start in range(0, k.shape[2], WIDTH):
                kept[:, :, start // WIDTH, :, : k.shape[2] - start] = new[:, :, start : start + WIDTH].mT
        return k, v


class FusedMamba(Decoder):
    """The step of a Mamba from where ``layers`` (one LayerState a layer, made by prefill) stand."""

    def __init__(self, model, layers):
        c = model.config
        self.rank, self.eps, self.vocab_size = c.rank, np.float32(c.norm_eps), c.vocab_size
        self.model, self.weights = model, None  # packed at the first step
        self.conv = torch.stack([layer.conv for layer in layers]).contiguous()  # (L, B, K-1, E)
        self.h = torch.stack([blocked_channels(layer.ssm) for layer in layers])  # (L, B, E / W, N, W)

    def step(self, x: Tensor) -> Tensor:
        if self.weights is None:
            self.weights = _mamba_weights(self.model)
        logits = x.new_empty(len(x), _padded(self.vocab_size))
        _set_threads(len(x))
        kernels.mamba_step(
            _array(x), self.conv.numpy(), self.h.numpy(), self.weights, self.rank, self.eps, logits.numpy()
        )
        return logits[:, : self.vocab_size]

    def select(self, rows: Tensor) -> None:
        self.conv, self.h = self.conv[:, rows], self.h[:, rows]

    def n_bytes(self) -> int:
        return self.conv.nbytes + self.h.nbytes


def _set_threads(rows: int) -> None:
    groups = -(-rows // kernels.ROWS)
    use_threads(min(groups, torch.get_num_threads()))


def _transformer_weights(model) -> kernels.TransformerWeights:
    blocks, c, grid = list(model.blocks), model.config, _grid(model)
    halves = 2 if c.activation == "swiglu" else 1
    inner = _padded(c.ff_width)

    def up(weight: Tensor) -> Tensor:  # gate and value, each padded to whole registers
        return torch.cat([_pad_rows(part, inner) for part in weight.chunk(halves)])

    return kernels.TransformerWeights(
        attention_norm=_stack(_gain(b.attention_norm) for b in blocks),
        **_matrices("qkv", grid, [b.attention.qkv.weight for b in blocks]),
        qkv_bias=_stack(_bias(b.attention.qkv) for b in blocks),
        qk_norm=_stack(_head_gains(b.attention) for b in blocks),
        **_matrices("out", grid, [b.attention.out.weight for b in blocks]),
        out_bias=_stack(_bias(b.attention.out) for b in blocks),
        mlp_norm=_stack(_gain(b.mlp_norm) for b in blocks),
        **_matrices("up", grid, [b.mlp.up.weight for b in blocks], up),
        up_bias=_stack(up(_bias(b.mlp.up, padded=False)) for b in blocks),
        **_matrices("down", grid, [b.mlp.down.weight for b in blocks]),
        down_bias=_stack(_bias(b.mlp.down) for b in blocks),
        norm=_array(_gain(model.norm if c.norm_position == "pre" else model.blocks[0].mlp_norm)),
        **_matrices("head", grid, [model.output_weight()]),
        head_bias=np.zeros(_padded(c.vocab_size), np.float32),
        group=_group(grid),
    )


def _mamba_weights(model) -> kernels.MambaWeights:
    blocks, c, grid = list(model.blocks), model.config, _grid(model)
    return kernels.MambaWeights(
        norms=_stack(_gain(norm) for norm in model.norms),
        **_matrices("in_proj", grid, [b.in_proj.weight for b in blocks]),
        conv=_stack(b.conv.weight.squeeze(1).mT for b in blocks),
        conv_bias=_stack(b.conv.bias for b in blocks),
        **_matrices("x_proj", grid, [b.x_proj.weight for b in blocks]),
        **_matrices("dt_proj", grid, [b.dt_proj.weight for b in blocks]),
        dt_bias=_stack(b.dt_proj.bias for b in blocks),
        A=_stack(blocked_channels(-torch.exp(b.A_log) * math.log2(math.e)) for b in blocks),
        D=_stack(b.D for b in blocks),
        **_matrices("out_proj", grid, [b.out_proj.weight for b in blocks]),
        norm=_array(_gain(model.norm)),
        **_matrices("head", grid, [model.output_weight()]),
        zeros=np.zeros(max(2 * c.d_inner, _padded(c.vocab_size), _padded(c.rank + 2 * c.d_state)), np.float32),
        group=_group(grid),
    )


def _grid(model) -> Grid | None:
    """What all matrices of the model were rounded to; None if it is not quantized, or has been changed since."""
    found = [quantized_of(weight) for weight in matrices(model).values()]
    return None if None in found else found[0].grid


def _group(grid: Grid | None) -> int:
    return WHOLE_ROW if grid is None or grid.group is None else grid.group


def _matrices(
    name: str, grid: Grid | None, weights: list[Tensor], arrange: Callable[[Tensor], Tensor] = lambda rows: rows
) -> dict[str, np.ndarray]:
    """The weight (out, in) of each layer, its rows arranged, blocked; and scales, which mean nothing for float32."""
    if grid is None:
        blocked, scales = _stack(_blocked(arrange(weight)) for weight in weights), np.zeros((1,) * 4, np.float32)
    else:
        quantized = [quantized_of(weight) for weight in weights]
        integers = [arrange(matrix.integers) for matrix in quantized]
        if grid.largest <= 7 and _group(grid) % 2 == 0:  # two to a byte, where no group ends within one
            integers = [_pairs(each) for each in integers]
        blocked = _stack(_blocked(each) for each in integers)
        scales = _stack(_blocked(arrange(matrix.scales.float())) for matrix in quantized)
    return {name: blocked, f"{name}_scales": scales}


def _pairs(integers: Tensor) -> Tensor:
    """(out, in) int8 of -8..7 -> (out, in / 2, rounded up) uint8: two neighbors each, the first in the low half."""
    padded = F.pad(integers, (0, integers.shape[1] % 2))
    return (padded[:, 1::2] * 16 + (padded[:, ::2] & 15)).view(torch.uint8)


def _padded(size: int) -> int:
    return -(-size // WIDTH) * WIDTH


def _pad_rows(v: Tensor, rows: int) -> Tensor:
    """(n, ...) -> (rows, ...), zeros at the end."""
    return torch.cat([v, v.new_zeros(rows - len(v), *v.shape[1:])])


def _blocked(weight: Tensor) -> Tensor:
    """A linear layer's weight (out, in) -> (out / W, in, W), out padded with zeros."""
    return _pad_rows(weight, _padded(len(weight))).unflatten(0, (-1, WIDTH)).mT


def _bias(linear, padded: bool = True) -> Tensor:
    bias = linear.weight.new_zeros(len(linear.weight)) if linear.bias is None else linear.bias
    return _pad_rows(bias, _padded(len(bias))) if padded else bias


def _gain(norm) -> Tensor:
    """Weight and bias of a norm, (2, D)."""
    bias = getattr(norm, "bias", None)
    return torch.stack([norm.weight, torch.zeros_like(norm.weight) if bias is None else bias])


def _head_gains(attention) -> Tensor:
    """The gains of the norms of query and of key heads, (2, d); nothing is read where there are none."""
    norms = (attention.q_norm, attention.k_norm)
    return torch.ones(2, attention.head_dim) if None in norms else torch.stack([norm.weight for norm in norms])


def _zeros(*shape: int) -> Tensor:
    """Zeros that take no memory until they are written to, which PyTorch's would."""
    return torch.from_numpy(np.zeros(shape, np.float32))


def _stack(tensors) -> np.ndarray:
    return _array(torch.stack(list(tensors)))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
