"""The short causal convolution in front of a recurrence, each channel on its own, and what it keeps of the past."""

import torch
from torch import Tensor
from torch.nn import functional as F

from pn_lib.models.cpu.availability import why_no_kernels


def causal_convolution(x: Tensor, history: Tensor, weight: Tensor, bias: Tensor, fused: bool | None = None) -> Tensor:
    """silu of the convolution of x (B, T, E) with the K - 1 inputs before it, ``history`` (B, K-1, E), none after.

    Args:
        weight, bias: (E, 1, K), as nn.Conv1d keeps them, and (E,).
        fused: by one kernel, on a CPU in float32 or less; None: where that can run.

    Returns:
        (B, T, E).
    """
    if fused is None:
        fused = x.is_cpu and weight.dtype == torch.float32 and not why_no_kernels()
    if fused:
        from pn_lib.models.cpu.fused_scan import fused_convolution  # needs Numba, which need not be there

        return fused_convolution(x, history, weight.squeeze(1), bias)
    return F.silu(F.conv1d(torch.cat([history, x], 1).mT, weight, bias, groups=len(weight))).mT


def convolution_step(x: Tensor, history: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """``causal_convolution`` of one token of each row, x (B, E) -> (B, E), and the history of the next."""
    window = torch.cat([history, x.unsqueeze(1)], 1)  # (B, K, E)
    return F.silu((window * weight.squeeze(1).mT).sum(1) + bias), window[:, 1:]


def last_inputs(x: Tensor, history: Tensor) -> Tensor:
    """The history after x (B, T, E), with ``history`` (B, K-1, E) before it: the last K - 1 inputs of both."""
    length, keep = x.shape[1], history.shape[1]
    return (x[:, length - keep :] if length >= keep else torch.cat([history, x], 1)[:, length:]).clone()
