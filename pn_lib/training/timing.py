"""How everything here is measured: contenders taking turns, memory in processes of its own, the machine's own peak."""

import ctypes
import multiprocessing
import resource
import signal
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pn_lib.hardware import autocast
from pn_lib.progress import progress
from pn_lib.training.optimizer import Optimizers

FEWEST = 3  # rounds that even the slowest contender takes part in
# What processes for memory have imported when they start; torch._dynamo is what PyTorch's optimizers import when used.
PRELOAD = ["numba", "torch._dynamo", "pn_lib.benchmark.training_table", "pn_lib.benchmark.decoding_table"]


@dataclass(frozen=True)
class Contender:
    """Somebody in a race: a name, one turn, and how many tokens (or else) a turn works off.

    A turn returns None and is timed from outside, or returns the seconds that it measured itself.
    """

    name: str
    turn: Callable[[], float | None]
    units: int = 1


class TrainingStep:
    """A turn of training: a model with its optimizer and one batch; a call is one whole update, as the loop does it.

    Args:
        ids, targets: (B, T).
        precision: "float32" or "bfloat16".
    """

    def __init__(self, model: nn.Module, optimizer: Optimizers, ids: Tensor, targets: Tensor, precision: str):
        self.model, self.optimizer, self.precision = model.train(), optimizer, precision
        self.ids, self.targets = ids, targets

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        with autocast(self.ids.device, self.precision):
            loss = self.model(self.ids, self.targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


@dataclass(frozen=True)
class Timing:
    """Seconds of a contender's turns; the first, which warms up, apart."""

    first: float
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def milliseconds(self) -> dict[str, float]:
        """Columns: median and range, in ms."""
        return {"ms": 1e3 * self.median, "ms_least": 1e3 * min(self.seconds), "ms_most": 1e3 * max(self.seconds)}

    def rates(self, units: int) -> dict[str, float]:
        """Columns: units (tokens) a second, median and range, and the number of rounds."""
        slowest, fastest = units / max(self.seconds), units / min(self.seconds)
        return {
            "tokens_per_second": units / self.median,
            "slowest": slowest,
            "fastest": fastest,
            "rounds": len(self.seconds),
        }


def alternate(
    contenders: Sequence[Contender], rounds: int, limit: float = float("inf"), description: str = ""
) -> dict[str, Timing]:
    """Let each contender warm up once, then run ``rounds`` rounds in which everybody has one turn.

    A round goes through them forwards, the next backwards, so that whatever slows the machine down for a while, or
    for good, does so to all of them. Whoever has used up ``limit`` seconds sits out, after ``FEWEST`` rounds at least.

    Returns:
        A timing for each name.
    """
    timings: dict[str, Timing] = {}
    with progress(description=description, total=len(contenders) * (rounds + 1), unit="turn") as bar:
        for contender in contenders:
            bar.set_postfix_str(contender.name)
            timings[contender.name] = Timing(_seconds(contender), [])
            bar.update()
        for number in range(rounds):
            for contender in reversed(contenders) if number % 2 else contenders:
                seconds = timings[contender.name].seconds
                if len(seconds) < FEWEST or sum(seconds) < limit:
                    bar.set_postfix_str(contender.name)
                    seconds.append(_seconds(contender))
                bar.update()
    return timings


def _seconds(contender: Contender) -> float:
    start = time.perf_counter()
    measured = contender.turn()
    return time.perf_counter() - start if measured is None else measured


def fresh_peak_mb(work: Callable[..., Any], case: tuple, tiny: tuple) -> float:
    """The memory that ``work(*case)`` takes at its height, in MB of 10^6 bytes, in a process that does nothing else.

    It is how far the resident peak (Linux: VmHWM) rises above the level before. Before that the process has called
    ``work(*tiny)``, the same with a tiny model, so that libraries and kernels loaded at their first use do not count.
    ``work`` is a function of a module, as its process has to find it. NaN, with a warning, if the process dies.
    """
    receiver, sender = _context().Pipe(duplex=False)
    process = _context().Process(target=_measure_peak, args=(sender, work, case, tiny), daemon=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is not for new processes, which inherit this,
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # but for this one, which then ends them
    sender.close()
    try:
        peak = receiver.recv()
    except EOFError:
        peak = float("nan")
    except BaseException:  # Ctrl-C above all
        process.kill()
        raise
    finally:
        process.join()
    if process.exitcode:
        which = ", ".join(str(value) for value in case if isinstance(value, str | int))
        warnings.warn(
            f"the memory of {work.__name__} ({which}) is unknown: its process ended with code "
            f"{process.exitcode} (-9 is how the system ends what takes too much memory)",
            stacklevel=2,
        )
    return peak


def _context() -> Any:
    """New processes come, on Linux, from a server that has imported what they need and done nothing else."""
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(PRELOAD)
    return context


def _measure_peak(sender: Connection, work: Callable[..., Any], case: tuple, tiny: tuple) -> None:
    work(*tiny)
    forget_peak()
    before = _resident_bytes("VmRSS")
    work(*case)
    sender.send((_resident_bytes("VmHWM") - before) / 1e6)


def forget_peak() -> None:
    """Let the resident peak of this process begin anew at what is in use now. Only Linux can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed; now the system has it back
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident_bytes(field: str) -> int:
    """VmRSS, the resident memory, or VmHWM, its peak so far. Elsewhere than on Linux the peak stands for both.

    Not Linux's ru_maxrss: that of a process begins with the peak of the one that started it.
    """
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))


def matrix_peak(dtype: torch.dtype, device: str = "cpu", size: int = 1024, repeats: int = 9) -> float:
    """GFLOP/s (10^9 a second) of the product of two square matrices, the best of several: the machine's peak to us."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))

    def product() -> float:
        start = time.perf_counter()
        a @ b
        if a.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    product()  # the first call prepares the kernel
    return 2 * size**3 / min(product() for _ in range(repeats)) / 1e9
