"""Whether the Numba kernels can run on this machine; where they cannot, PyTorch's own operations do, and it is said."""

import warnings
from functools import cache
from importlib import import_module

import torch


@cache
def why_no_kernels() -> str:
    """Why the kernels cannot run here; empty where they can. Where they cannot, the first call warns."""
    try:
        import_module("pn_lib.models.cpu.fused_blocks")
    except Exception as error:  # no Numba, or none for this processor or NumPy: whatever it says is told
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(
            f"the fused kernels cannot run here ({reason}): Mamba takes the torch scan, and decoding runs "
            "one operation at a time, both many times slower; pip install numba",
            stacklevel=2,
        )
        return reason
    return ""


def can_fuse(x: torch.Tensor) -> bool:
    """Whether operations on x, with or without gradients, can be kernels: in float32 on a CPU, not while compiling."""
    plain = x.is_cpu and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and not torch.compiler.is_compiling() and not why_no_kernels()


def can_step_fused(weight: torch.Tensor) -> bool:
    """Whether a model with such weights can decode by a whole-model kernel: for float32 on a CPU, without gradients."""
    return can_fuse(weight) and not torch.is_grad_enabled()
