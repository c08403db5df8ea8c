"""Tables: ratios of ours to theirs, how they are printed, how they are kept."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pn_lib.files import write_text

MEASURES = {"tokens_per_second": "speed_ratio", "peak_memory_mb": "memory_ratio", "kept_mb": "kept_ratio"}

SETTINGS = ("precision", "length", "batch", "context", "direction", "sampling")  # columns, where a table has them


@dataclass(frozen=True)
class Pair:
    """Two models (or methods) of a table; their rows are compared where they agree in ``keys``."""

    ours: str
    theirs: str
    keys: tuple[str, ...]


def ratios(table: pd.DataFrame, pairs: list[Pair]) -> pd.DataFrame:
    """Ours divided by theirs: of tokens/s (above 1: ours is faster), and of memory (below 1: ours takes less).

    A row for each pair and each setting in which both were measured; the first column names who.
    """
    who, found = table.columns[0], []
    measures = [name for name in MEASURES if name in table]
    for pair in pairs:
        mine, other = table[table[who] == pair.ours], table[table[who] == pair.theirs]
        both = mine.merge(other, on=list(pair.keys), suffixes=("", "_theirs"))
        settings = {key: both[key] for key in SETTINGS if key in both}
        row = pd.DataFrame({"ours": pair.ours, "theirs": pair.theirs, **settings})
        for name in measures:
            row[MEASURES[name]] = both[name].astype(float) / both[f"{name}_theirs"].astype(float)
        found.append(row)
    found = [row for row in found if len(row)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def as_text(table: pd.DataFrame) -> str:
    """The table as it is printed: numbers in three or more digits, nothing where there is none."""
    return table.to_string(index=False, float_format=_number, na_rep="")


def save_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all."""
    write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
