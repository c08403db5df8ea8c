"""Nothing computes in a type, or on so many threads, because another machine likes it."""

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from training_example import CONFIG, make_model, scorer

from pn_lib import hardware, process
from pn_lib.benchmark.contenders import QUICK
from pn_lib.benchmark.training_table import measure_training
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.run.dry_run import two_steps
from pn_lib.run.stages import REPOSITORY
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import train
from pn_lib.training.muon import orthogonalise

CPU = torch.device("cpu")
PRODUCTS = re.compile(r"mm|bmm|baddbmm|addmm|linear|matmul|attention|conv")


@pytest.fixture
def without_units(monkeypatch):
    """This processor, its instructions for bfloat16 taken away."""
    found = torch.cpu.get_capabilities()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found | {"avx512_bf16": False, "amx_bf16": False})


@pytest.fixture
def with_units(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


@pytest.mark.parametrize(
    ("capabilities", "sets", "expected"),
    [
        ({"avx512_bf16": True}, "AVX512", "bfloat16"),
        ({"amx_bf16": True}, "AVX512", "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False}, "AVX512", "float32"),
        ({"avx512_bf16": True}, "AVX2", "float32"),
        ({"neon": True}, "DEFAULT", "float32"),
    ],
)
def test_auto_precision_is_a_rule_about_the_machine(capabilities, sets, expected, monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: sets)
    assert hardware.resolve_precision("auto", CPU) == expected
    assert hardware.matrix_dtype(CPU) == hardware.PRECISIONS[expected]
    assert hardware.instructions() == sets + ("-BF16" if expected == "bfloat16" else "")
    assert hardware.resolve_precision("float32", CPU) == "float32"
    assert hardware.resolve_precision("bfloat16", CPU) == "bfloat16"  # who asks for it gets it


def test_a_library_held_back_counts_as_a_lesser_processor(with_units, monkeypatch):
    assert hardware.resolve_precision("auto", CPU) == "bfloat16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert hardware.resolve_precision("auto", CPU) == "float32"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert hardware.resolve_precision("auto", CPU) == "bfloat16"


def test_a_gpu_that_only_emulates_bfloat16_trains_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert hardware.resolve_precision("auto", torch.device("cuda")) == "float32"


class Products(TorchDispatchMode):
    """Remembers the types in which products are made."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if PRODUCTS.search(func.__name__):
            self.dtypes |= {x.dtype for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()}
        return func(*args, **kwargs or {})


def everything(tokens):
    """All that makes matrix products on its own account: training both models, Muon, the dry run and the benchmark."""
    config = replace(CONFIG, precision="auto", optimizer="muon")
    train(make_model(), tokens, config, validate=scorer(tokens))
    mamba = Mamba(MambaConfig(make_model().config.vocab_size, config.context, d_model=16, n_layers=1))
    train(mamba, tokens, config, validate=scorer(tokens))
    two_steps(make_model().config, TrainingConfig(batch_size=2, context=16), CPU)
    measure_training(replace(QUICK, compiled=False), peers=False)


def test_no_product_is_made_in_bfloat16_where_there_are_no_instructions_for_it(tokens, without_units, monkeypatch):
    monkeypatch.setattr("pn_lib.benchmark.training_table.fresh_peak_mb", lambda *_: 0.0)  # processes of their own
    with Products() as products:
        everything(tokens)
    assert products.dtypes == {torch.float32}


def test_where_there_are_products_are_made_in_it(tokens, with_units):
    with Products() as products:
        orthogonalise(torch.randn(4, 8))
        train(
            make_model(), tokens, replace(CONFIG, precision="auto", tokens=CONFIG.tokens // 2), validate=scorer(tokens)
        )
    assert torch.bfloat16 in products.dtypes


# --- threads ------------------------------------------------------------------------------------------------------


def in_a_process(*imports: str, cores: int | None = None, **environment: str) -> list[str]:
    """Threads of PyTorch, and the variables of spinning, in a new process that imports these."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", *process.SPIN}
    }
    code = f"import {', '.join(imports)}, os, torch; print(torch.get_num_threads(), os.environ.get('GOMP_SPINCOUNT'))"
    first = (lambda: os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:cores])) if cores else None
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=first,
        cwd=REPOSITORY,
    )
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_threads_are_as_many_as_the_processors_that_may_be_used():
    assert in_a_process("pn_lib", cores=1)[0] == "1"
    assert in_a_process("pn_lib", cores=1, OMP_NUM_THREADS="8")[0] == "1"
    assert in_a_process("torch", "pn_lib", cores=1, OMP_NUM_THREADS="8")[0] == "1"
    assert in_a_process("pn_lib", LOKY_MAX_CPU_COUNT="1")[0] == "1"  # as a container's quota
    assert in_a_process("pn_lib")[0] == str(process.usable_cores())


def test_spinning_is_bounded_unless_the_user_says_how_to_wait():
    assert in_a_process("pn_lib")[1] == process.SPIN["GOMP_SPINCOUNT"]
    assert in_a_process("pn_lib", GOMP_SPINCOUNT="7")[1] == "7"
    assert in_a_process("pn_lib", OMP_WAIT_POLICY="active")[1] == "None"


def test_make_starts_jupyterlab_and_tests_so_too():
    """Their kernels import PyTorch before pn_lib, and so need the variables from outside."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert dict(re.findall(r"^export (\w+) \?= (\d+)$", makefile, re.MULTILINE)) == process.SPIN
