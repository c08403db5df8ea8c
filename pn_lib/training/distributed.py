"""The processes that train one model together: one, unless torchrun started several (``torch.distributed``).

Each holds the whole model and works on its share of every batch; DistributedDataParallel averages their gradients. The
calls here do nothing in a single process, so that the loop is written once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@contextmanager
def joined() -> Iterator[torch.device]:
    """Join the processes that torchrun started, if it did, and yield the device for this one: its GPU, or the CPU.

    Between GPUs the processes talk through nccl, between CPUs through gloo.
    """
    device = best_device()
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def first_to_be() -> bool:
    """Whether this process is the first, or will be once they have joined."""
    return os.environ.get("RANK", "0") == "0"


def best_device() -> torch.device:
    """The first GPU that there is (CUDA, then Apple's), or else the CPU, which is the reference."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def together(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with its gradients averaged over all processes, as they are computed."""
    if size() == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def without_exchange(model: nn.Module, is_last: bool) -> Any:
    """Around all but the last backward pass of an update: gradients are exchanged once."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not is_last else nullcontext()


def mean(values: Tensor) -> Tensor:
    """The mean over all processes, the same bits in each."""
    if size() > 1:
        dist.all_reduce(values)
        values /= size()
    return values


def from_first(value: Any) -> Any:
    """The first process's value, in every process."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def wait() -> None:
    """Until every process is here."""
    if size() > 1:
        dist.barrier()
