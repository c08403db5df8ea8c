"""The table of speeds in the guides, made from the published benchmarks, one column for each kind of processor."""

from pathlib import Path

import pandas as pd

from pn_lib.files import read_json
from pn_lib.run.stages import REPOSITORY
from pn_lib.run.times import SHOWN

BENCHMARKS = REPOSITORY / "results" / "published" / "benchmark"
MAMBA, LLAMA = "Mamba, 7 layers", "transformers Llama"
GREEDY = {"ours": "Transformer", "theirs": LLAMA, "sampling": "greedy"}
# What each row says, the table of ratios that it is of, and the row there; training is in the kind's own precision
ROWS = [
    (
        "Transformer, training: against `transformers`' Llama",
        "training",
        {"ours": "Transformer", "theirs": LLAMA, "length": 256},
    ),
    (
        "Mamba, training: against `mambapy`'s parallel scan",
        "training",
        {"ours": "Mamba, 4 layers", "theirs": "mambapy Mamba, 4 layers", "length": 256},
    ),
    (
        "Mamba, training: against our Transformer of equal parameters, T = 256",
        "training",
        {"ours": MAMBA, "theirs": "Transformer", "length": 256},
    ),
    ("the same, T = 2,048", "training", {"ours": MAMBA, "theirs": "Transformer", "length": 2048}),
    (
        "Mamba-2, training: against our Transformer, T = 256",
        "training",
        {"ours": "Mamba-2, 7 layers", "theirs": "Transformer", "length": 256},
    ),
    ("the same, T = 2,048", "training", {"ours": "Mamba-2, 7 layers", "theirs": "Transformer", "length": 2048}),
    ("Transformer, decoding: against `transformers`' generate, batch 1", "generation", GREEDY | {"batch": 1}),
    ("the same, batch 32", "generation", GREEDY | {"batch": 32}),
    (
        "int8 weights, decoding 30 million parameters: against float32",
        "quantized",
        {"ours": "Transformer, width 512, int8", "theirs": "Transformer, width 512, float32"},
    ),
]


def speeds_table(folder: Path = BENCHMARKS) -> str:
    """Ratios of tokens a second as Markdown; above 1 the first named is the faster."""
    machines = [read_json(folder / kind / "machine.json") for kind in SHOWN]
    precisions = [_precision(folder / kind) for kind in SHOWN]
    heads = [f"{kind}, {precision}" for kind, precision in zip(SHOWN, precisions, strict=True)]
    lines = [
        f"| two cores, {' | '.join(['speed of the first named ÷ that of the second', *heads])} |",
        "|---|" + "---|" * len(SHOWN),
    ]
    rates = [
        _select(folder / kind / "training.csv", model="Transformer", precision=precision, length=256)[
            "tokens_per_second"
        ]
        for kind, precision in zip(SHOWN, precisions, strict=True)
    ]
    lines.append(f"| Transformer, training: tokens a second | {' | '.join(f'{rate:,.0f}' for rate in rates)} |")
    for words, table, row in ROWS:
        ratios = [
            _ratio(folder / kind / f"{table}_ratios.csv", row | _of(table, precision))
            for kind, precision in zip(SHOWN, precisions, strict=True)
        ]
        lines.append(f"| {words} | {' | '.join(ratios)} |")
    made = [
        f"{kind}: {machine['cpu']}, commit {machine['commit']}" for kind, machine in zip(SHOWN, machines, strict=True)
    ]
    return "\n".join([*lines, "", f"Measured on {'; '.join(made)}."])


def _of(table: str, precision: str) -> dict[str, str]:
    return {"precision": precision} if table == "training" else {}


def _precision(folder: Path) -> str:
    """The last one that a benchmark measured training in: the fastest of its processor."""
    return str(pd.read_csv(folder / "training.csv")["precision"].iloc[-1])


def _ratio(path: Path, wanted: dict[str, str | int]) -> str:
    """Of a table that an older benchmark may lack, or have without this row."""
    try:
        return f"{_select(path, **wanted)['speed_ratio']:.2f}"
    except (FileNotFoundError, ValueError):
        return "not measured"


def _select(path: Path, **wanted: str | int) -> pd.Series:
    """The one row of a table that has these values."""
    found = pd.read_csv(path)
    for column, value in wanted.items():
        found = found[found[column] == value]
    [(_, row)] = found.iterrows()
    return row
