"""The report of a run: what it is made of, and how its builder is started."""

import subprocess
import sys
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.key import code, digest, imports, make_key
from pn_lib.run.execution import StageError
from pn_lib.run.stages import REPOSITORY

SOURCES = REPOSITORY / "report"
ENDINGS = (".py", ".md", ".bib", ".css", ".typ")  # of the sources; their folder holds built reports too
REPORT_FILES = ("report.html", "report.pdf", "numbers.json")  # the first two to be read
NOT_REPORTED = ("stages", "work", "models", "notebooks", "experiments", "sizes")  # of results/<run>/


def report_key(results: Path, figures: Path) -> str:
    """The key of a report: its sources as they are, the code they import, and the run's small files and figures."""
    sources = sorted(path for path in SOURCES.rglob("*") if path.suffix in ENDINGS)
    tables = [path for path in results.rglob("*") if path.suffix in (".json", ".csv")]
    tables = [path for path in tables if path.relative_to(results).parts[0] not in NOT_REPORTED]
    pictures = [path for path in figures.glob("*") if path.suffix in (".svg", ".json")]
    python = [path.read_text(encoding="utf-8") for path in sources if path.suffix == ".py"]
    parts = {
        "code": code(set().union(*map(imports, python))),
        "sources": {str(path.relative_to(SOURCES)): digest(path) for path in sources},
        "results": {str(path.relative_to(results)): digest(path) for path in tables},
        "figures": {path.name: digest(path) for path in pictures},
    }
    return make_key(parts)


def build_report(run: str) -> list[str]:
    """Make the report of ``run`` in a process of its own, and return what its builder notes.

    Raises:
        InputError: something that the report is made of is missing or damaged.
        StageError: it failed otherwise.
    """
    command = [sys.executable, str(SOURCES / "build.py"), run]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = (done.stderr.strip() or done.stdout.strip()).removeprefix("error: ")
        raise InputError(message) if done.returncode == 2 else StageError(f"the report failed:\n{message}")
    return [line for line in done.stderr.splitlines() if line.startswith("note: ")]
