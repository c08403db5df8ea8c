"""The table of faults in the guide to trust, made from the published outcomes of ``make faults``."""

from pathlib import Path

from pn_lib.run.results.trust_results import FaultOutcomes, FaultRow
from pn_lib.run.stages import REPOSITORY

TRUST = REPOSITORY / "results" / "published" / "trust"


def faults_table(folder: Path = TRUST) -> str:
    """Outcomes by kind of fault, all parts of a run together, as Markdown."""
    outcomes = FaultOutcomes.read(folder)
    lines = ["| fault | times | same files, without a word | one sentence, then the same files | anything else |"]
    lines.append("|---|--:|--:|--:|--:|")
    for fault in sorted({row.fault for row in outcomes.rows}):
        lines.append(_line(fault, [row for row in outcomes.rows if row.fault == fault]))
    return "\n".join([*lines, _line("all", outcomes.rows)])


def _line(name: str, rows: list[FaultRow]) -> str:
    same, told, failed = (sum(getattr(row, key) for row in rows) for key in ("same", "told", "failed"))
    return f"| {name} | {same + told + failed} | {same} | {told} | {failed} |"
