"""How a process computes, settled before PyTorch's libraries are loaded: on how many threads, how these wait for one
another, what becomes of memory that is free again, and where libraries keep files.

Between two operations OpenMP's threads spin, that is, they look again and again whether there is work, so as not to
lose the time that waking takes. GNU's library, which PyTorch's builds for Linux bring along, spins so long that two
threads beside one other busy process hold each other up: a training step then takes four times as long. So they spin
briefly and then sleep. LLVM's library (macOS) and Intel's count in milliseconds, 200 by default, and have another
variable for it. What the user has set stays.
"""

import atexit
import ctypes
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from loky import cpu_count

# Turns of GNU's loop. On two idle cores (AVX2, float32) a training step takes 0 to 15 % longer than with the library's
# own spinning; beside a process that keeps one of them busy, 1.8 to 2.0 times its idle time instead of 3.5 to 4.
SPIN = {"GOMP_SPINCOUNT": "2000", "KMP_BLOCKTIME": "1"}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's numbers for them
KEPT = {M_TRIM_THRESHOLD: 1 << 28, M_MMAP_THRESHOLD: 1 << 25}  # bytes

# What moves the folders that libraries want at home: Jupyter's for settings and running kernels, IPython's for its
# history, matplotlib's for its list of fonts, and the Hub's for what was fetched.
AT_HOME = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR", "HF_HOME")


def usable_cores() -> int:
    """Processors that this process may use: of the machine's, those of its affinity mask and its container's quota."""
    return cpu_count()


def settle() -> None:
    """Bound the number of threads and their spinning, keep freed memory, do without a home directory: what ``import
    pn_lib`` does.

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
    _settle_home()
    # A step frees tensors of megabytes, and the next one takes as many. glibc would hand them to the system and fetch
    # them again, page by page, in some kernels a tenth of the time. Other C libraries have no mallopt.
    with suppress(OSError, AttributeError):
        for parameter, value in KEPT.items():
            ctypes.CDLL(None).mallopt(parameter, value)


def _settle_home() -> None:
    """Where no home directory can be written, give libraries a temporary folder, and say so once."""
    home = os.path.expanduser("~")
    if os.access(home, os.W_OK):
        return
    cache, wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path(home, ".cache")), {*AT_HOME}
    if os.access(cache, os.W_OK) or cache.joinpath("huggingface").exists():  # what is there can at least be read
        wanted.remove("HF_HOME")
    if not os.access(cache, os.W_OK) and not os.access(Path(__file__).parent, os.W_OK):  # Numba's places for kernels
        wanted.add("NUMBA_CACHE_DIR")
    missing = wanted - os.environ.keys()
    if not missing:
        return
    folder = tempfile.mkdtemp(prefix="pocketnarrator-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update({name: os.path.join(folder, name.lower()) for name in missing})
    said = f"the home directory {home} cannot be written; what libraries keep there goes into a temporary folder"
    if "NUMBA_CACHE_DIR" in missing:
        said += ", and the CPU kernels are compiled anew each time (to keep them, let HOME name a folder of yours)"
    print(said, file=sys.stderr)
