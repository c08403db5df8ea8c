"""``python -m pn_lib benchmark``: all tables, printed and saved one after another."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pn_lib.benchmark.contenders import FULL, QUICK, Scale
from pn_lib.benchmark.copies_table import measure_copies
from pn_lib.benchmark.decoding_table import against_context, decoding_pairs, measure_decoding
from pn_lib.benchmark.generation_table import generation_pairs, measure_generation
from pn_lib.benchmark.quantized_table import measure_quantized, quantized_pairs
from pn_lib.benchmark.scan_table import measure_scan, scan_pairs
from pn_lib.benchmark.tables import Pair, as_text, ratios, save_table
from pn_lib.benchmark.training_table import measure_training, training_pairs
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.models.scan import choose_method
from pn_lib.run.machine_card import describe_machine
from pn_lib.run.publish import BENCHMARK
from pn_lib.run.stages import output_root

Table = tuple[str, Callable[[], pd.DataFrame], list[Pair]]


def benchmark(peers: bool, quick: bool, copies: int | None = None, say: Callable[[str], None] = print) -> Path:
    """Measure everything, print each table with its ratios, and save it as soon as it is complete.

    Args:
        peers: measure transformers and mambapy too.
        quick: tiny sizes, to see that it works; they say nothing about speed, and are kept apart.
        copies: measure the index of training stories too, with so many pocket stories.

    Returns:
        The folder, ``results/benchmark/`` or ``results/benchmark-quick/``.

    Raises:
        InputError: the peers are asked for and not installed, or copies are to be found in no story.
    """
    if copies is not None and copies < 1:
        raise InputError(f"--copies takes a number of stories from 1 on, not {copies}")
    if peers:
        import_module("pn_lib.benchmark.peers")  # refuses at once where one is missing
    scale = QUICK if quick else FULL
    folder = output_root() / "results" / (f"{BENCHMARK}-quick" if quick else BENCHMARK)
    for old in folder.glob("*.*"):  # a table of an earlier run must not stand beside the machine of this one
        old.unlink()
    machine = machine_record(peers)
    write_json(folder / "machine.json", machine)
    for name, measure, pairs in _tables(scale, peers, copies):
        table = measure()
        save_table(table, folder / f"{name}.csv")
        say(f"\n{name}: {caption(machine)}\n{as_text(table)}")
        compared = ratios(table, pairs)
        if len(compared):
            save_table(compared, folder / f"{name}_ratios.csv")
            say(f"\n{name}, ours / theirs\n{as_text(compared)}")
        if name == "decoding":
            changes = against_context(table)
            save_table(changes, folder / "decoding_contexts.csv")
            say(f"\ndecoding against context\n{as_text(changes)}")
    return folder


def machine_record(peers: bool) -> dict[str, Any]:
    """What it was measured on and with."""
    machine = describe_machine()
    names = ["numba", *(("transformers", "mambapy") if peers else ())]
    return machine | {
        "device": "cpu",
        "scan": choose_method(torch.device("cpu")),
        "versions": machine["versions"] | {name: version(name) for name in names},
    }


def caption(machine: dict[str, Any]) -> str:
    """What every table states: device, threads, versions, commit. (Precision is a column.)"""
    versions = (
        f"{name} {machine['versions'][name]}"
        for name in ("torch", "numba", "transformers", "mambapy")
        if name in machine["versions"]
    )
    return (
        f"{machine['cpu']}, device {machine['device']}, {machine['threads']} threads, scan {machine['scan']}; "
        f"{', '.join(versions)}; commit {machine['commit']}; medians, alternating"
    )


def _tables(scale: Scale, peers: bool, copies: int | None) -> list[Table]:
    tables: list[Table] = [
        ("training", lambda: measure_training(scale, peers), training_pairs(scale)),
        ("scan", lambda: measure_scan(scale, peers), scan_pairs()),
        ("decoding", lambda: measure_decoding(scale), decoding_pairs(scale)),
        ("quantized", lambda: measure_quantized(scale), quantized_pairs(scale)),
        ("generation", lambda: measure_generation(scale, peers), generation_pairs(scale)),
    ]
    return tables if copies is None else [*tables, ("copies", lambda: measure_copies(copies), [])]
