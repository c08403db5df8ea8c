"""Whether a notebook runs where it should: with its own repository's pn_lib, and with enough memory."""

import os
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.progress import notice
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published"


def check_own_package(folder: Path) -> None:
    """See that a notebook in ``folder`` has the pn_lib of the repository that it lies in.

    Raises:
        InputError: it has that of another one.
    """
    owner = next((place for place in (folder, *folder.parents) if (place / "pn_lib" / "__init__.py").exists()), None)
    if owner is not None and owner.resolve() != REPOSITORY:
        raise InputError(
            f"this notebook lies in {owner}, but its kernel has the pn_lib of {REPOSITORY}; close JupyterLab and start "
            f"it with make lab in {owner}, or install that one here: pip install -e {owner}"
        )


def warn_of_little_memory(profile: str) -> None:
    """Say so if less memory is free than a notebook took in a published run of the profile; if none was, nothing."""
    needed = max(
        (read_json(path)["peak_memory_mb"] for path in PUBLISHED.glob(f"{profile}-*/timings/stages.json")), default=0
    )
    free = available_memory() / 1e6
    if free < needed:
        notice(
            f"{free / 1000:.1f} GB of memory are free, and notebooks of profile {profile} took up to "
            f"{needed / 1000:.1f} GB: close other programs and the kernels of other notebooks, or choose a smaller "
            "profile"
        )


def available_memory() -> int:
    """Bytes of memory that a process may still take: what Linux says is available, elsewhere what the machine has, and
    no more than its container is allowed."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    info, container = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
    if info.exists():
        fields = dict(line.split(":") for line in info.read_text(encoding="utf-8").splitlines())
        bounds.append(1024 * int(fields["MemAvailable"].split()[0]))
    if container.exists() and (limit := container.read_text(encoding="utf-8").strip()).isdecimal():
        bounds.append(int(limit))
    return min(bounds)
