"""What training takes: seconds by phase, memory, and energy where the machine tells."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from pn_lib.hardware import autocast

T = TypeVar("T")
PHASES = ("data", "forward", "backward", "optimizer", "bookkeeping", "validation", "checkpoint")
NOT_TRAINING = ("validation", "checkpoint")
RAPL = Path("/sys/class/powercap")


class PhaseClock:
    """Seconds by phase: data, forward, backward, optimizer, bookkeeping (clipping, exchange between processes, watching
    the loss), validation, and checkpoint. On a GPU, which works behind the program's back, a phase has what the program
    waited in it; only the sum means something.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began

    def unheard(self, function: Callable[[], T]) -> T:
        """Call ``function`` and forget what it took."""
        before = dict(self.seconds)
        try:
            return function()
        finally:
            self.seconds.update(before)

    @property
    def training_seconds(self) -> float:
        return sum(seconds for phase, seconds in self.seconds.items() if phase not in NOT_TRAINING)


def saved_bytes(model: nn.Module, ids: Tensor, precision: str) -> int:
    """Bytes that a forward pass over ids (B, T) keeps for the backward pass, the weights themselves not counted.

    PyTorch lets us watch each tensor that it sets aside. Two views of one memory count once.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def watch(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(watch, lambda tensor: tensor), autocast(ids.device, precision):
        loss = model(ids, ids)
    assert loss.requires_grad  # the graph, and so all that it keeps, has lived until here
    return sum(size for pointer, size in kept.items() if pointer not in weights)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory so far, in MB of 10^6 bytes: of this process (CPU), or of tensors on the device (CUDA)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class EnergyMeter:
    """Joules that the processor packages have taken since it was made, where Linux tells (RAPL); otherwise None.

    The counters are of the whole machine, whatever else it does, and most systems let only root read them.
    """

    def __init__(self, root: Path = RAPL):
        self.counters = [zone / "energy_uj" for zone in sorted(root.glob("intel-rapl:?"))]
        self.begin = self._read()

    def joules(self) -> float | None:
        end = self._read()
        if self.begin is None or end is None:
            return None
        limits = [int((path.parent / "max_energy_range_uj").read_text()) for path in self.counters]
        return sum((after - before) % limit for before, after, limit in zip(self.begin, end, limits, strict=True)) / 1e6

    def _read(self) -> list[int] | None:
        try:
            return [int(path.read_text()) for path in self.counters] or None
        except OSError:  # no permission
            return None
