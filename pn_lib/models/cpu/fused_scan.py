"""The fused scan and convolution as PyTorch operations with gradients; the arithmetic is in ``scan_kernels``."""

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.cpu import scan_kernels
from pn_lib.models.cpu.calling import arrays, blocked_channels, run_kernel, unblocked_channels
from pn_lib.models.cpu.simd import WIDTH


@torch.compiler.disable  # it cannot look into Numba's code, and need not
def fused_scan(x, dt, A, B, C, D, initial_state, z=None, dt_bias=None) -> tuple[Tensor, Tensor]:
    """``scan.selective_scan`` of inputs that have passed its checks.

    Raises:
        InputError: NaN or infinite dt.
    """
    missing = -x.shape[2] % WIDTH
    if missing:  # idle channels fill the last register
        last, first = (0, missing), (0, 0, 0, missing)
        x, dt, D, z, dt_bias = (None if v is None else F.pad(v, last) for v in (x, dt, D, z, dt_bias))
        A, initial_state = F.pad(A, first), F.pad(initial_state, first)
    y, state = _FusedScan.apply(
        x, dt, A, B.to(A.dtype), C.to(A.dtype), D, initial_state, z, dt_bias, torch.is_grad_enabled()
    )
    channels = x.shape[2] - missing
    return (y[..., :channels], state[:, :channels]) if missing else (y, state)


class _FusedScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dt, A, B, C, D, initial_state, z, dt_bias, keep):
        blocked = blocked_channels(A) * math.log2(math.e)
        gate, bias = x.new_empty(0, 0, 0) if z is None else z, D.new_empty(0) if dt_bias is None else dt_bias
        saved = [v.contiguous() for v in (x, dt, blocked, B, C, D, gate, bias)]
        (batch, length, channels), n = x.shape, A.shape[1]
        chunks = -(-length // scan_kernels.CHUNK) if keep else 0
        borders = A.new_empty(batch, chunks, *blocked.shape)
        y, finite = torch.empty_like(saved[0]), A.new_empty(batch, len(blocked))
        h = blocked_channels(initial_state.clone())  # the kernel turns the first state into the last
        steps = batch * length * channels * n
        run_kernel(scan_kernels.scan_forward, steps, _inputs(saved), *arrays(h, borders, y, finite))
        if not finite.isfinite().all():
            raise InputError("the scan's dt holds NaN or infinity: the model has diverged; lower the learning rate")
        ctx.save_for_backward(*saved, borders)
        ctx.gated, ctx.biased = z is not None, dt_bias is not None
        return y, unblocked_channels(h)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y, grad_state):
        *saved, borders = ctx.saved_tensors
        x, dt, A, B, C, D, gate, _ = saved
        batch, _, channels = x.shape
        groups = -(-len(A) // scan_kernels.GROUP)
        g = scan_kernels.Gradients(
            *arrays(
                *(
                    grads := [
                        torch.empty_like(x),
                        torch.empty_like(dt),
                        A.new_zeros(batch, *A.shape),
                        B.new_empty(groups, *B.shape),
                        C.new_empty(groups, *C.shape),
                        D.new_zeros(batch, channels),
                        torch.empty_like(gate),
                        D.new_zeros(batch, channels),
                        blocked_channels(grad_state.clone()),
                    ]
                )
            )
        )
        run_kernel(
            scan_kernels.scan_backward, x.numel() * A.shape[1], _inputs(saved), *arrays(borders, grad_y.contiguous()), g
        )
        grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_h = grads
        grad_A, grad_B, grad_C, grad_D, grad_bias = (v.sum(0) for v in (grad_A, grad_B, grad_C, grad_D, grad_bias))
        return (
            grad_x,
            grad_dt,
            unblocked_channels(grad_A),
            grad_B,
            grad_C,
            grad_D,
            unblocked_channels(grad_h),
            grad_z if ctx.gated else None,
            grad_bias if ctx.biased else None,
            None,
        )


@torch.compiler.disable
def fused_convolution(x: Tensor, history: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """silu of the causal convolution: x (B, T, E), the K - 1 inputs before it (B, K-1, E), weight (E, K), bias (E,)."""
    missing = -x.shape[2] % WIDTH
    if missing:
        x, history, bias = (F.pad(v, (0, missing)) for v in (x, history, bias))
        weight = F.pad(weight, (0, 0, 0, missing))
    y = _FusedConvolution.apply(x, history, weight, bias)
    return y[..., : x.shape[2] - missing] if missing else y


class _FusedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, history, weight, bias):
        saved = [v.contiguous() for v in (x, history, weight.mT, bias)]
        y = torch.empty_like(saved[0])
        run_kernel(scan_kernels.convolution_forward, x.numel() * weight.shape[1], *arrays(*saved, y))
        ctx.save_for_backward(*saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y):
        x, history, weight, bias = ctx.saved_tensors
        grads = [
            torch.empty_like(x),
            torch.empty_like(history),
            weight.new_empty(len(x), *weight.shape),
            bias.new_empty(len(x), *bias.shape),
        ]
        run_kernel(
            scan_kernels.convolution_backward,
            x.numel() * len(weight),
            *arrays(x, history, weight, bias, grad_y.contiguous(), *grads),
        )
        grad_x, grad_history, grad_weight, grad_bias = grads
        return grad_x, grad_history, grad_weight.sum(0).mT, grad_bias.sum(0)


def _inputs(tensors: list[Tensor]) -> scan_kernels.Inputs:
    return scan_kernels.Inputs(*arrays(*tensors))
