"""``make fuzz SECONDS=3600``: spoiled files for every reader of ``fuzzing.py``, which share the time. atheris changes
files as accidents and attackers do, keeps those that make a reader run new code, and changes these again.

Each reader has a process of its own. Another then reads all files that were kept and counts the lines of pn_lib that
they run, beside those that whole files run. What a reader should not have done goes to build/fuzz, and ends its turn.
The outcomes go to results/published/trust/fuzz.json.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzzing import READERS

from pn_lib.run.results.trust_results import FuzzResult, FuzzRow
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published" / "trust"
FOUND = REPOSITORY / "build" / "fuzz"
PARTS = Path(__file__).with_name("fuzz_parts.py")
FOLDERS = ("home", "whole", "copy", "kept", "slow", "found")


def run_part(part: str, name: str, room: Path, *options: str) -> subprocess.CompletedProcess:
    """A part of the work in its own process, which reads in a home that is empty before, and has to be so after."""
    command = [sys.executable, str(PARTS), part, name, str(room), *options]
    done = subprocess.run(command, env=os.environ | {"CI": "1"}, capture_output=True, text=True)
    for folder in ("whole", "copy"):
        shutil.rmtree(room / folder)
        (room / folder).mkdir()
    return done


def fuzz(name: str, seconds: float) -> FuzzRow:
    """Everything about one reader."""
    with tempfile.TemporaryDirectory(prefix="pn-fuzz-") as folder:
        room = Path(folder)
        for each in FOLDERS:
            (room / each).mkdir()
        started = time.monotonic()
        done = run_part("search", name, room, f"{max(1, seconds):.0f}")
        took = time.monotonic() - started
        tried = re.findall(r"^#(\d+)", done.stderr, re.MULTILINE)
        counted = run_part("count", name, room)
        whole, lines = map(int, counted.stdout.split()[-2:])
        return FuzzRow(
            reader=name,
            files=int(tried[-1]) if tried else 0,
            seconds=round(took),
            whole_lines=whole,
            lines=lines,
            failed=_found(name, room, done) or _found(name, room, counted),
        )


def _found(name: str, room: Path, done: subprocess.CompletedProcess) -> str | None:
    """What went wrong in a part of the work; the file that did it is kept."""
    if litter := sorted(path.name for path in (room / "home").rglob("*")):
        return f"wrote {litter[0]} where nothing belongs"
    if done.returncode == 0:
        return None
    target = FOUND / name.replace(" ", "-")
    shutil.copytree(room / "found", target, dirs_exist_ok=True)
    (target / "said").write_text(done.stderr)
    raised = [line for line in done.stderr.splitlines() if re.match(r"[\w.]+(Error|Exception|Hang|Exit)\b", line)]
    return raised[-1][:200] if raised else f"ended with {done.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", type=int)
    parser.add_argument("--readers", nargs="*", help="some of them alone")
    given = parser.parse_args()
    names = given.readers or list(READERS)
    known = FuzzResult.read(PUBLISHED).rows if given.readers and (PUBLISHED / FuzzResult.FILE).exists() else []
    rows = {row.reader: row for row in known}
    for name in names:
        rows[name] = fuzz(name, given.seconds / len(names))
        print(rows[name].model_dump_json(), flush=True)
        FuzzResult(rows=[rows[each] for each in READERS if each in rows]).write(PUBLISHED / FuzzResult.FILE)
    return int(any(row.failed for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
