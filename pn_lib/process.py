"""How a process computes, settled before PyTorch's libraries are loaded: on how many threads, how these wait for one
another, and what becomes of memory that is free again.

Between two operations OpenMP's threads spin, that is, they look again and again whether there is work, so as not to
lose the time that waking takes. GNU's library, which PyTorch's builds for Linux bring along, spins so long that two
threads beside one other busy process hold each other up: a training step then takes four times as long. So they spin
briefly and then sleep. LLVM's library (macOS) and Intel's count in milliseconds, 200 by default, and have another
variable for it. What the user has set stays.
"""

import ctypes
import os
import sys
from contextlib import suppress

from loky import cpu_count

# Turns of GNU's loop. On two idle cores (AVX2, float32) a training step takes 0 to 15 % longer than with the library's
# own spinning; beside a process that keeps one of them busy, 1.8 to 2.0 times its idle time instead of 3.5 to 4.
SPIN = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's numbers for them
KEPT = {M_TRIM_THRESHOLD: 1 << 28, M_MMAP_THRESHOLD: 1 << 25}  # bytes


def usable_cores() -> int:
    """Processors that this process may use: of the machine's, those of its affinity mask and its container's quota."""
    return cpu_count()


def settle() -> None:
    """Bound the number of threads and their spinning, and keep freed memory: what ``import pn_lib`` does.

    Where PyTorch has been loaded before, its threads go on spinning as they did.
    """
    if not {"OMP_WAIT_POLICY", *SPIN} & os.environ.keys():
        os.environ.update(SPIN)
    cores, asked = usable_cores(), os.environ.get("OMP_NUM_THREADS", "")
    wanted = min(cores, int(asked)) if asked.isdecimal() and int(asked) else cores
    os.environ["OMP_NUM_THREADS"] = str(wanted)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.set_num_threads(min(wanted, torch.get_num_threads()))
    # A step frees tensors of megabytes, and the next one takes as many. glibc would hand them to the system and fetch
    # them again, page by page, in some kernels a tenth of the time. Other C libraries have no mallopt.
    with suppress(OSError, AttributeError):
        for parameter, value in KEPT.items():
            ctypes.CDLL(None).mallopt(parameter, value)
