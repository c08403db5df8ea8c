"""The kernels of a Transformer's blocks as PyTorch operations with gradients, in float32 on a CPU.

What they compute is what ``nn.RMSNorm``, ``F.scaled_dot_product_attention`` and their like compute, in one pass each;
``availability.can_fuse`` says where they may stand in for those.
"""

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pn_lib.models.cpu import attention_kernels, block_kernels
from pn_lib.models.cpu.block_kernels import ROWS
from pn_lib.models.cpu.calling import arrays, run_kernel
from pn_lib.models.cpu.simd import WIDTH


def can_split(width: int) -> bool:
    """Whether rows of so many numbers are whole registers, as ``rms_norm`` and ``swiglu`` want them."""
    return width % WIDTH == 0


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """x (..., D) divided by its root mean square (Zhang & Sennrich, 2019), times gain (D,)."""
    return _RMSNorm.apply(x, gain, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, eps):
        x = x.contiguous()
        rows, y = x.flatten(0, -2), torch.empty_like(x)
        scale = x.new_empty(len(rows))
        run_kernel(
            block_kernels.rms_norm_forward,
            x.numel(),
            *arrays(rows, gain),
            np.float32(eps),
            *arrays(y.view_as(rows), scale),
        )
        ctx.save_for_backward(x, gain, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y):
        x, gain, scale = ctx.saved_tensors
        rows, grad_x = x.flatten(0, -2), torch.empty_like(x)
        grad_gain = gain.new_zeros(_tasks(len(rows)), len(gain))
        run_kernel(
            block_kernels.rms_norm_backward,
            x.numel(),
            *arrays(rows, gain, scale, grad_y.contiguous().view_as(rows), grad_x.view_as(rows), grad_gain),
        )
        return grad_x, grad_gain.sum(0), None


def swiglu(x: Tensor) -> Tensor:
    """x (..., 2 F), the gate and then the values -> silu(gate) times the values, (..., F)."""
    return _SwiGLU.apply(x)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], x.shape[-1] // 2)
        run_kernel(block_kernels.swiglu_forward, x.numel(), *arrays(x.flatten(0, -2), y.flatten(0, -2)))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y):
        [x] = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        run_kernel(
            block_kernels.swiglu_backward,
            x.numel(),
            *arrays(*(v.flatten(0, -2) for v in (x, grad_y.contiguous(), grad_x))),
        )
        return grad_x


def attention(
    qkv: Tensor,
    heads: int,
    key_heads: int,
    scale: float,
    first: Tensor,
    gains: Tensor | None = None,
    eps: float = 0.0,
    rotation: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Causal attention: projections to H query, K key and K value heads, qkv (B, T, (H + 2 K) d) -> y (B, T, H d).

    Args:
        scale: of the scores.
        first: int64 (B, T), the first key that each query sees; along a row it never falls.
        gains: (2, d), of the norms of queries and of keys; None: they are not normed.
        eps: of the norms.
        rotation: cosines and signed sines (T, 1, d), as ``attention.rotary_table`` makes them.
    """
    d = qkv.shape[2] // (heads + 2 * key_heads)
    if rotation is None:
        cos, sin = qkv.new_ones(qkv.shape[1], d), qkv.new_zeros(qkv.shape[1], d)
    else:
        cos, sin = (table[:, 0] for table in rotation)
    gains = qkv.new_empty(0, d) if gains is None else gains
    return _Attention.apply(qkv, gains, cos, sin, first, (heads, key_heads, d), scale, eps)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, qkv, gains, cos, sin, first, shape, scale, eps):
        (heads, key_heads, d), (batch, length, _), qkv = shape, qkv.shape, qkv.contiguous()
        gains, cos, sin, back = (_padded(table) for table in (gains, cos, sin, sin.roll(d // 2, -1)))
        q, k, v = (_with_zeros(qkv, batch, n, length, d) for n in (heads, key_heads, key_heads))
        y, logsum = qkv.new_empty(batch, length, heads * d), qkv.new_empty(batch, heads, length)
        run_kernel(
            block_kernels.split_heads,
            qkv.numel(),
            *arrays(qkv, gains),
            np.float32(eps),
            *arrays(cos, sin),
            d,
            *arrays(q, k, v),
        )
        run_kernel(
            attention_kernels.attention_forward,
            q.numel() * length,
            *arrays(q, k, v, first),
            np.float32(scale),
            *arrays(y, logsum),
        )
        ctx.save_for_backward(qkv, gains, cos, back, first, q, k, v, y, logsum)
        ctx.d, ctx.scale, ctx.eps = d, scale, eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y):
        qkv, gains, cos, back, first, q, k, v, y, logsum = ctx.saved_tensors
        grads = [torch.zeros_like(x) for x in (q, k, v)]
        run_kernel(
            attention_kernels.attention_backward,
            q.numel() * y.shape[1],
            *arrays(q, k, v, first),
            np.float32(ctx.scale),
            *arrays(y, logsum, grad_y.contiguous(), *grads),
        )
        grad_qkv = torch.empty_like(qkv)
        grad_gains = gains.new_zeros(_tasks(qkv.shape[0] * qkv.shape[1]), *gains.shape)
        run_kernel(
            block_kernels.join_heads,
            qkv.numel(),
            *arrays(qkv, gains),
            np.float32(ctx.eps),
            *arrays(cos, back),
            ctx.d,
            *arrays(*grads, grad_qkv, grad_gains),
        )
        return grad_qkv, grad_gains.sum(0)[:, : ctx.d], *[None] * 6


def token_nats(logits: Tensor, targets: Tensor, gradients: bool) -> Tensor:
    """-log softmax(logits)[target] (N,) of logits (N, V), which are given up: with ``gradients`` they become those of
    the sum, softmax minus one at the target.

    Raises:
        IndexError: a target outside the vocabulary, as PyTorch has it.
    """
    if len(targets) and not (int(targets.min()) >= 0 and int(targets.max()) < logits.shape[1]):
        raise IndexError(f"a target is out of bounds: they must lie in 0..{logits.shape[1] - 1}")
    nats = logits.new_empty(len(logits))
    run_kernel(block_kernels.cross_entropy, logits.numel(), *arrays(logits, targets, nats), gradients)
    return nats


def _tasks(rows: int) -> int:
    return -(-rows // ROWS)


def _padded(table: Tensor) -> Tensor:
    """(n, d) -> (n, d'), d padded with zeros to whole registers."""
    return F.pad(table, (0, -table.shape[1] % WIDTH)).contiguous()


def _with_zeros(like: Tensor, batch: int, heads: int, length: int, d: int) -> Tensor:
    """Room for heads, (B, H, T', d'), zero beyond ``length``."""
    x = like.new_empty(batch, heads, length + -length % WIDTH, d + -d % WIDTH)
    x[:, :, length:] = 0
    return x
