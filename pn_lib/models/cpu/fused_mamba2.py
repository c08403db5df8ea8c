"""A Mamba-2 layer between its projections as one PyTorch operation with gradients; ``mamba2_kernels`` computes it."""

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pn_lib.errors import InputError
from pn_lib.models.cpu import mamba2_kernels
from pn_lib.models.cpu.calling import arrays, run_kernel
from pn_lib.models.cpu.simd import WIDTH
from pn_lib.models.cpu.ssd_kernels import CHUNK


def can_mix(head_dim: int, d_state: int, d_conv: int) -> bool:
    """Whether ``mamba2_mixer`` takes heads, states, and convolutions of these sizes; the first two in registers."""
    return head_dim % WIDTH == 0 and d_state % WIDTH == 0 and d_conv <= CHUNK


def mamba2_mixer(
    projected: Tensor,
    history: Tensor,
    weight: Tensor,
    bias: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    gain: Tensor,
    eps: float,
    h: Tensor,
) -> tuple[Tensor, Tensor]:
    """Convolution and silu, softplus of dt, state-space duality, gate and RMSNorm (``mamba2.Mamba2Block``).

    Args:
        projected: (B, T, 2 E + 2 N + H), side by side: the gate z (E); x (E), B and C (N each), which the convolution
            goes over; and dt (H), before its bias and softplus.
        history: the inputs of the convolution before the first step, (B, K-1, E + 2 N).
        weight, bias: of the convolution, (E + 2 N, K) and (E + 2 N,).
        dt_bias, A, D: (H,), as of ``ssd.chunked_ssd``.
        gain, eps: of the norm, (E,).
        h: the state before the first step, (B, H, P, N).

    Returns:
        y (B, T, E), and the state after the last step.

    Raises:
        InputError: dt is NaN or infinite: the model has diverged.
    """
    return _Mamba2Mixer.apply(projected, history, weight, bias, dt_bias, A, D, gain, h, eps, torch.is_grad_enabled())


class _Mamba2Mixer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, projected, history, weight, bias, dt_bias, A, D, gain, h, eps, keep):
        saved = [v.contiguous() for v in (projected, history, weight.mT, bias, dt_bias, A, D, gain)]
        batch, length, _ = projected.shape
        chunks = -(-length // CHUNK)
        h = h.mT  # (B, H, N, P)
        states = h.new_empty(batch, chunks + 1 if keep else 2, *h.shape[1:])
        states[:, 0] = h
        y, out = (gain.new_empty(batch, length, len(gain)) for _ in range(2))
        finite = gain.new_empty(batch)
        run_kernel(
            mamba2_kernels.mamba2_forward, y.numel() * h.shape[2], _inputs(saved, eps), *arrays(states, y, out, finite)
        )
        if not finite.isfinite().all():
            raise InputError("dt holds NaN or infinity: the model has diverged; lower the learning rate")
        ctx.save_for_backward(*saved, states, y)
        ctx.eps = eps
        return out, states[:, chunks % states.shape[1]].mT.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_out, grad_h):
        *saved, states, y = ctx.saved_tensors
        projected, history, *shared = saved
        parts = [v.new_zeros(len(projected), *v.shape) for v in shared]
        grads = [torch.empty_like(projected), torch.empty_like(history), *parts, grad_h.mT.contiguous()]
        run_kernel(
            mamba2_kernels.mamba2_backward,
            y.numel() * states.shape[3],
            _inputs(saved, ctx.eps),
            *arrays(states, y, grad_out.contiguous()),
            mamba2_kernels.Gradients(*arrays(*grads)),
        )
        grad_projected, grad_history, *_, grad_h = grads
        grad_weight, *rest = (v.sum(0) for v in parts)
        return grad_projected, grad_history, grad_weight.mT, *rest, grad_h.mT, None, None


def _inputs(tensors: list[Tensor], eps: float) -> mamba2_kernels.Inputs:
    return mamba2_kernels.Inputs(*arrays(*tensors), np.float32(eps))
