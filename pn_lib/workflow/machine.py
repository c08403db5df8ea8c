"""What a run was made on: processor, memory, versions, commit."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from pn_lib.workflow.run import commit

PACKAGES = ("torch", "numpy", "datasets", "tokenizers", "pandas", "matplotlib", "papermill", "typst", "pypandoc_binary")


def describe_machine() -> dict:
    """Processor, cores, memory in GB, operating system, versions of what the run used, and the commit."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()} ({torch.backends.cpu.get_cpu_capability()})"
    return f"{platform.processor() or platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
