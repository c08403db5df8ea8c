"""The training table: tokens a second, memory and utilisation of whole training steps."""

import logging
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch import nn

from pn_lib.benchmark.contenders import (
    MAMBA2,
    Scale,
    find,
    mamba2_name,
    mamba_name,
    mambapy_name,
    mixer_names,
    ours,
    random_ids,
)
from pn_lib.benchmark.contenders import others as other_models
from pn_lib.benchmark.peak_memory import fresh_peak_mb
from pn_lib.benchmark.tables import Pair
from pn_lib.hardware import PRECISIONS, native_precisions
from pn_lib.models.flops import parameter_count, training_flops_per_token
from pn_lib.progress import progress
from pn_lib.training.optimizer import make_optimizer
from pn_lib.training.timing import Contender, TrainingStep, alternate, matrix_peak

COMPILED = "Transformer, compiled"
MEMORY_STEPS = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Setting:
    """Who trains beside whom: sequences of so many tokens, in this precision."""

    length: int
    precision: str
    names: list[str]


def measure_training(scale: Scale, peers: bool) -> pd.DataFrame:
    """A row for each model, precision and length: tokens/s, peak memory in MB, share of the matrix-product peak."""
    peaks = {name: matrix_peak(PRECISIONS[name], size=scale.matrix_size) for name in native_precisions(CPU)}
    rows = []
    for setting in progress(list(_settings(scale, peers)), "training", unit="setting"):
        rows += _race(scale, setting, peaks[setting.precision])
    return pd.DataFrame(rows)


def training_pairs(scale: Scale) -> list[Pair]:
    """Which rows of the table are set beside which: ours, theirs."""
    keys, mamba = ("precision", "length", "batch"), mamba_name(scale.layers)
    pairs = [
        (mamba_name(scale.equal_layers), "Transformer"),
        *((name, "Transformer") for name in mixer_names(scale)),
        (mamba, mambapy_name(scale.layers)),
        (mamba2_name(scale), MAMBA2),
        *(("Transformer", name) for name in ("transformers Llama", "transformers GPT-2")),
        (COMPILED, "Transformer"),
    ]
    return [Pair(a, b, keys) for a, b in pairs]


def batch_of(scale: Scale, length: int) -> int:
    """Sequences in a batch, so that it has the same number of tokens at every length."""
    return max(1, scale.tokens // length)


def train_briefly(scale: Scale, name: str, length: int, precision: str) -> None:
    """Build a model and train it for a few steps: what the memory of training is measured on."""
    step = _step(find(name, scale).model(length), scale, length, precision)
    for _ in range(MEMORY_STEPS):
        step()


@cache
def can_compile() -> bool:
    """Whether torch.compile works here, which needs a C++ compiler; warns, with the reason, where it does not."""
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # not each place that is left to Python
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(8))
    except Exception as error:  # whatever stops it is said
        warnings.warn(
            f"{COMPILED} is left out: torch.compile fails ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0]})",
            stacklevel=2,
        )
        return False
    return True


def _settings(scale: Scale, peers: bool) -> Iterator[_Setting]:
    for precision in native_precisions(CPU):
        for length in scale.lengths:
            names = list(ours(scale))
            if length == scale.peer_length:
                names += [COMPILED] if scale.compiled and can_compile() else []
                names += other_models(scale) if peers else []
            yield _Setting(length, precision, names)


def _race(scale: Scale, setting: _Setting, peak: float) -> list[dict[str, Any]]:
    """Time the models of a setting in turn, then measure the memory of each; rows of the table."""
    length, precision = setting.length, setting.precision
    batch = batch_of(scale, length)
    contenders = []
    for name in setting.names:
        torch.manual_seed(0)
        model = find(_plain(name), scale).model(length)
        step = _step(torch.compile(model) if name == COMPILED else model, scale, length, precision)
        contenders.append(Contender(name, step, batch * length))
    timings = alternate(contenders, scale.rounds, scale.limit, f"training, {precision}, T={length}")
    rows = []
    for contender in progress(contenders, f"memory of training, {precision}, T={length}", unit="model"):
        name, timing = contender.name, timings[contender.name]
        config = find(_plain(name), scale).config(length)
        rates = timing.rates(contender.units)
        used = training_flops_per_token(config, length) * rates["tokens_per_second"] / 1e9
        # not of the compiled one: most of that is the compiler's
        memory = (
            fresh_peak_mb(train_briefly, (scale, name, length, precision), (scale.tiny(), name, 16, precision))
            if name != COMPILED
            else math.nan
        )
        rows.append(
            {
                "model": name,
                "parameters": parameter_count(config).total,
                "precision": precision,
                "length": length,
                "batch": batch,
                **rates,
                "peak_memory_mb": memory,
                "utilisation": used / peak,
                "peak_gflops": peak,
                "compile_seconds": timing.first if name == COMPILED else math.nan,
            }
        )
    return rows


def _step(model: nn.Module, scale: Scale, length: int, precision: str) -> TrainingStep:
    ids, targets = random_ids(scale, 2, batch_of(scale, length), length)
    return TrainingStep(model, make_optimizer(model, 1e-3), ids, targets, precision)


def _plain(name: str) -> str:
    return "Transformer" if name == COMPILED else name
