"""What a run was made on: processor, memory, versions, commit."""

import os
import platform
from importlib.metadata import version

import torch

from pn_lib import __version__, hardware
from pn_lib.process import usable_cores
from pn_lib.run.run import commit, commit_date

PACKAGES = ("torch", "numpy", "datasets", "tokenizers", "pandas", "matplotlib", "papermill", "typst", "pypandoc_binary")


def describe_machine() -> dict:
    """Processor, instructions, the precision that training takes, usable cores, threads, memory in GB, system, versions
    of what the run used, the commit with its day, and the version."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": hardware.cpu(),
        "instructions": hardware.instructions(),
        "precision": hardware.native_precisions(torch.device("cpu"))[-1],
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
        "commit_date": commit_date(),
        "version": __version__,
    }
