"""The published outcomes of ``make faults``, ``fuzz``, ``numbers``, and ``large``: added up, and as the tables of the
guide to trust."""

from collections.abc import Sequence
from pathlib import Path

from pn_lib.run.results.trust_results import (
    FaultOutcomes,
    FaultRow,
    FuzzResult,
    LargeResult,
    NumbersResult,
    NumbersRow,
)
from pn_lib.run.stages import REPOSITORY

TRUST = REPOSITORY / "results" / "published" / "trust"


def fault_counts(rows: Sequence[FaultRow]) -> list[tuple[str, int, int, int]]:
    """By kind of fault, and for all: how often nothing was said, one sentence was, or anything else came of it."""
    kinds = {name: [row for row in rows if row.fault == name] for name in sorted({row.fault for row in rows})}
    return [
        (name, *(sum(getattr(row, key) for row in those) for key in ("same", "told", "failed")))
        for name, those in [*kinds.items(), ("all", rows)]
    ]


def faults_table(folder: Path = TRUST) -> str:
    """Outcomes by kind of fault, all parts of a run together, as Markdown."""
    heads = "fault", "times", "recovered silently", "recovered after one message", "anything else"
    counts = fault_counts(FaultOutcomes.read(folder).rows)
    return _table(heads, ["---", *["--:"] * 4], [(name, sum(found), *found) for name, *found in counts])


def fuzz_table(folder: Path = TRUST) -> str:
    """What the fuzzer tried and found, by reader, as Markdown."""
    heads = "reader of", "spoiled files", "lines of code run by intact files", "by spoiled files", "what went wrong"
    rows = [
        (f"`{row.reader}`", f"{row.files:,}", row.whole_lines, row.lines, row.failed or "nothing")
        for row in FuzzResult.read(folder).rows
    ]
    return _table(heads, ["---", "--:", "--:", "--:", "---"], rows)


def numbers_table(folder: Path = TRUST) -> str:
    """The largest relative movement of a number, by setting and result file, and that of a loss, as Markdown."""
    found = NumbersResult.read(folder)
    rows = {(row.setting, row.file): row for row in found.rows}
    settings, files = (list(dict.fromkeys(keys)) for keys in zip(*rows, strict=True))
    beside = f"changes against one thread, {found.cpu} ({found.instructions})"
    heads = [beside, *(f"`{file}`" for file in files), "a loss, bits per byte"]
    table = []
    for setting in settings:
        here = [rows[setting, file] for file in files]
        loss = max(row.bits_per_byte or 0.0 for row in here)
        table.append([setting, *map(_moved, here), _short(loss)])
    return _table(heads, ["---", *["--:"] * (len(heads) - 1)], table)


def _moved(row: NumbersRow) -> str:
    """Of numbers the largest relative movement, of a file of texts how many are others."""
    if not row.numbers:
        return f"{row.other_texts} of {row.texts}"
    return _short(row.moved)


def _short(movement: float) -> str:
    return f"{movement:.2g}" if movement else "0"


def large_table(folder: Path = TRUST) -> str:
    """What is long or large, as Markdown."""
    heads = "what", "how much", "seconds, beside other work", "most memory, MB", "what went wrong"
    rows = [
        (row.part, row.amount, f"{row.seconds:,.0f}", f"{row.peak_megabytes:,.0f}", row.failed or "nothing")
        for row in LargeResult.read(folder).rows
    ]
    return _table(heads, ["---", "---", "--:", "--:", "---"], rows)


def _table(heads: Sequence[str], sides: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown; ``sides`` are the marks of left and right."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(sides)}|", *lines[1:]])
