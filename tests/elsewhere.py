"""Do other threads, or a processor with other instructions, give other numbers? ``make numbers`` repeats a part of a
run under each setting of ``elsewhere_part.py`` and compares every number with those of one thread.

The outcomes go to results/published/trust/numbers.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elsewhere_part import SETTINGS

from pn_lib.hardware import instructions, processor
from pn_lib.run.results.trust_results import NumbersResult, NumbersRow
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published" / "trust"
PART = Path(__file__).with_name("elsewhere_part.py")
FIRST = next(iter(SETTINGS))


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of a result file, by the keys that lead to it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, f"{at}.{key}".lstrip("."))
    else:
        yield at, value


def compare(setting: str, file: str, ours: Any, theirs: Any) -> NumbersRow:
    """How far the numbers of a result file moved, ``theirs`` being those of one thread."""
    mine, known = dict(leaves(ours)), dict(leaves(theirs))
    if mine.keys() != known.keys():
        raise ValueError(f"{setting}, {file}: other keys")
    numbers = {key: value for key, value in known.items() if not isinstance(value, str)}
    moved = {key: abs(mine[key] - value) / max(abs(value), 1e-12) for key, value in numbers.items()}
    most = max(moved, key=moved.get, default=None)
    bits = [abs(mine[key] - value) for key, value in numbers.items() if "bits_per_byte" in key]
    texts = [key for key in known if key not in numbers]
    return NumbersRow(
        setting=setting,
        file=file,
        numbers=len(numbers),
        moved=moved[most] if most else 0.0,
        where=most if most and moved[most] else None,
        bits_per_byte=max(bits, default=None),
        texts=len(texts),
        other_texts=sum(mine[key] != known[key] for key in texts),
    )


def results_of(setting: str, python: str = sys.executable) -> dict[str, Any]:
    """The result files that the part leaves under a setting, by their names."""
    with tempfile.TemporaryDirectory(prefix="pn-numbers-") as folder:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"CI": "1"}
        command = [python, str(PART), setting, folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{setting}: {done.stderr[-1000:]}")
        return {path.name: json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))}


def _versions(python: str) -> str:
    """What an interpreter is, such as Python 3.13.0, torch 2.14.1."""
    say = "import platform, torch; print('Python', platform.python_version() + ', torch', torch.__version__)"
    return subprocess.run([python, "-c", say], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="*", help="interpreters of other environments, which have what a run needs")
    ways = {name: (name, sys.executable) for name in SETTINGS if name != FIRST}
    ways |= {_versions(python): (FIRST, python) for python in parser.parse_args().pythons}
    known, rows = results_of(FIRST), []
    for setting, way in ways.items():
        found = results_of(*way)
        for file, content in known.items():
            row = compare(setting, file, found[file], content)
            print(row.model_dump_json(), flush=True)
            rows.append(row)
    NumbersResult(cpu=processor(), instructions=instructions(), rows=rows).write(PUBLISHED / NumbersResult.FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
