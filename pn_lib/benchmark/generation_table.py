"""The table of generation: whole texts from one token, ours beside transformers' and llama2.c's."""

import os
import subprocess
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from pn_lib.benchmark.contenders import LLAMA, Scale, build_ours, mamba_name, others, ours
from pn_lib.benchmark.tables import Pair
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.generation import generate
from pn_lib.models.llama2c import load_llama2c
from pn_lib.progress import progress
from pn_lib.training.timing import Contender, alternate

TEMPERATURES = {"greedy": 0.0, "temperature 1": 1.0}
STORIES, LLAMA2C = "stories260K, ours", "stories260K, llama2.c"
STORIES_TOKENS = 256
START = 1  # the token that every prompt consists of


def measure_generation(scale: Scale, peers: bool) -> pd.DataFrame:
    """A row for each model, batch and sampling: new tokens/s of all rows together, in float32."""
    settings = [(batch, sampling) for batch in scale.batches for sampling in TEMPERATURES]
    rows = []
    for batch, sampling in progress(settings, "generation", unit="setting"):
        contenders = _contenders(scale, batch, TEMPERATURES[sampling], peers)
        if sampling == "greedy":
            contenders += stories_contenders(batch)
        timings = alternate(contenders, scale.rounds, scale.limit / 2, f"generation, batch {batch}, {sampling}")
        for contender in contenders:
            rows.append(
                {
                    "model": contender.name,
                    "precision": "float32",
                    "batch": batch,
                    "sampling": sampling,
                    "threads": 1 if contender.name == LLAMA2C else torch.get_num_threads(),
                    "new_tokens": contender.units // batch,
                    **timings[contender.name].rates(contender.units),
                }
            )
    return pd.DataFrame(rows)


def generation_pairs(scale: Scale) -> list[Pair]:
    """Which rows of the table are set beside which. The C program has no batches: one row of it for all of ours."""
    names = ["Transformer", mamba_name(scale.equal_layers), mamba_name(scale.layers)]
    return [*(Pair(name, LLAMA, ("batch", "sampling")) for name in names), Pair(STORIES, LLAMA2C, ("sampling",))]


def _contenders(scale: Scale, batch: int, temperature: float, peers: bool) -> list[Contender]:
    new_tokens, found = scale.new_tokens, []
    for name in ours(scale):
        model = build_ours(name, scale, new_tokens + 1)
        found.append(Contender(name, partial(_write, model, batch, new_tokens, temperature), batch * new_tokens))
    if peers:
        theirs = others(scale)[LLAMA].model(new_tokens + 1).eval()
        prompt = torch.full((batch, 1), START)
        turn = partial(_discard, theirs.generate, prompt, new_tokens, temperature)
        found.append(Contender(LLAMA, turn, batch * new_tokens))
    return found


def stories_contenders(batch: int) -> list[Contender]:
    """stories260K where PN_STORIES260K names its folder: ours, and at batch 1 the program that PN_LLAMA2C names."""
    folder = os.environ.get("PN_STORIES260K")
    if not folder:
        return []
    model = load_llama2c(Path(folder) / "stories260K.bin")
    found = [Contender(STORIES, partial(_write, model, batch, STORIES_TOKENS, 0.0), batch * STORIES_TOKENS)]
    if batch == 1 and os.environ.get("PN_LLAMA2C"):
        found.append(Contender(LLAMA2C, partial(_write_in_c, Path(folder)), STORIES_TOKENS))
    return found


def _write(model: LanguageModel, batch: int, new_tokens: int, temperature: float) -> None:
    generate(model, [[START]] * batch, new_tokens, temperature=temperature)


def _discard(function, *arguments) -> None:
    function(*arguments)


def _write_in_c(folder: Path) -> float:
    """Seconds that llama2.c takes for ``STORIES_TOKENS`` tokens on one core, without starting and loading."""
    return _run_c(folder, STORIES_TOKENS + 1) - _run_c(folder, 1)


def _run_c(folder: Path, new_tokens: int) -> float:
    program = os.environ["PN_LLAMA2C"]
    command = [program, folder / "stories260K.bin", "-z", folder / "tok512.bin", "-t", "0", "-n", str(new_tokens)]
    start = time.perf_counter()
    try:
        subprocess.run(command, capture_output=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"PN_LLAMA2C names {program}, which does not run as llama2.c's program: {error}") from None
    return time.perf_counter() - start
