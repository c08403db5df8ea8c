"""What this machine does well, asked in one place: in which types it multiplies matrices, how wide its registers are.

Nothing else in the package decides such a thing, so that nothing computes in a type because another machine likes it.
"""

import os
import platform
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# What oneDNN may be held to (ONEDNN_MAX_CPU_ISA), up to the last set that has no bfloat16 products
WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def native_precisions(device: torch.device) -> list[str]:
    """The precisions whose products ``device`` has instructions for, the fastest last. A rule, never a timing."""
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        units = capable.get("avx512_bf16") or capable.get("amx_bf16")
        held_back = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in WITHOUT_BFLOAT16 or not _has_avx512()
        return ["float32", "bfloat16"] if units and not held_back else ["float32"]
    bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return ["float32", "bfloat16"] if bfloat16 else ["float32"]


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16" as they are; for "auto" the fastest that ``device`` has instructions for."""
    return native_precisions(device)[-1] if precision == "auto" else precision


def matrix_dtype(device: torch.device) -> torch.dtype:
    """The type in which ``device`` multiplies matrices fastest."""
    return PRECISIONS[native_precisions(device)[-1]]


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Within it PyTorch computes matrix products in ``precision``, "float32" or "bfloat16"."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def lanes() -> int:
    """Float32 numbers that kernels work on at once: sixteen with AVX-512, elsewhere eight."""
    return 16 if _has_avx512() and not os.environ.get("NUMBA_CPU_NAME") else 8


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def instructions() -> str:
    """The instructions that decide speed here: "AVX2", "AVX512", "AVX512-BF16", or what PyTorch calls others."""
    bfloat16 = "bfloat16" in native_precisions(torch.device("cpu"))
    return torch.backends.cpu.get_cpu_capability() + ("-BF16" if bfloat16 else "")


def cpu() -> str:
    """The processor and its instructions, as results name it."""
    return f"{processor()} ({instructions()})"


def summary(device: torch.device) -> str:
    """One line of what was found: processor, instructions, threads, and the precision of training."""
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return (
        f"{gpu}{cpu()}, {torch.get_num_threads()} of {os.cpu_count()} cores, "
        f"training in {native_precisions(device)[-1]}"
    )
