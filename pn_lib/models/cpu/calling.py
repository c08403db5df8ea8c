"""How PyTorch calls kernels: on how many threads, with which memory, in which order."""

import time
from collections.abc import Callable

import numba
import numpy as np
import torch
from numba.np.ufunc.parallel import NUM_THREADS  # that Numba was loaded with, and allows
from torch import Tensor

from pn_lib.models.cpu.simd import WIDTH
from pn_lib.progress import notice

COMPILED = 1.0  # seconds: a kernel's first call that takes longer has compiled, and says so
SMALL = 1 << 16  # steps of state elements that one thread does sooner than two would have started


def use_threads(most: int) -> None:
    """Let kernels run on ``most`` threads, or fewer where Numba has fewer, and PyTorch on as many as before.

    At its first use in a process Numba starts its threads and, with them, gives all of OpenMP its own number, one for
    each core: PyTorch's products, told to take one thread, would take them all.
    """
    pytorch = torch.get_num_threads()
    numba.set_num_threads(min(most, numba.config.NUMBA_NUM_THREADS, NUM_THREADS))
    if torch.get_num_threads() != pytorch:
        torch.set_num_threads(pytorch)


def run_kernel(kernel: Callable, work: int, *arguments) -> None:
    """Call a kernel on as many threads as PyTorch uses; say so where that had to compile it first."""
    use_threads(1 if work < SMALL else torch.get_num_threads())
    known, start = len(kernel.overloads), time.perf_counter()
    kernel(*arguments)
    seconds = time.perf_counter() - start
    if len(kernel.overloads) > known and seconds > COMPILED:
        notice(f"compiled {kernel.__name__} in {seconds:.1f} s")


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """The tensors' memory as NumPy sees it, which knows bfloat16 by its bits only."""
    return [(v.view(torch.uint16) if v.dtype == torch.bfloat16 else v).detach().numpy() for v in tensors]


def blocked_channels(v: Tensor) -> Tensor:
    """(..., E, N) -> (..., E / W, N, W): what belongs to a register of W channels lies together."""
    return v.unflatten(-2, (-1, WIDTH)).mT.contiguous()


def unblocked_channels(v: Tensor) -> Tensor:
    return v.mT.flatten(-3, -2)
