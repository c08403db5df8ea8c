"""The memory that something takes at its height, measured in a process of its own."""

import ctypes
import multiprocessing
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What the new processes have imported when they start; torch._dynamo is what PyTorch's optimizers import when used.
PRELOAD = ["numba", "torch._dynamo", "pn_lib.benchmark.contenders"]


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
