"""How long runs take, by kind of processor: measured, committed, and shown wherever a time is promised.

``results/published/clock/<instructions>.json`` holds, for each profile, what ``timings/stages.json`` of a run said on a
machine of that kind, its long cells, and which machine and commit that was. The run is of Pocket stories, or else of
TinyStories.
"""

import re
from functools import cache
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.files import read_json, write_json
from pn_lib.run.profile import profile_names
from pn_lib.run.stages import NAMED_CORPORA, REPOSITORY, output_root

CLOCK = REPOSITORY / "results" / "published" / "clock"
LONG = 20  # seconds: a cell that takes so long is announced at the top of its notebook
SECTION = re.compile(r"## (\d+\.\d+) ")
SHOWN = ("AVX2", "AVX512-BF16")  # the two columns of every table of times: the slowest kind, and the fastest


@cache
def load_clock() -> dict[str, dict[str, dict]]:
    """For each kind of processor, by its instructions, what a run of each measured profile took there."""
    return {path.stem: read_json(path)["profiles"] for path in sorted(CLOCK.glob("*.json"))}


def total_seconds(instructions: str, profile: str) -> float | None:
    """What all notebooks take together on such a processor; None where that was not measured."""
    run = load_clock().get(instructions, {}).get(profile)
    return None if run is None else run["total_seconds"]


def notebook_seconds(name: str) -> dict[str, dict[str, float]]:
    """What one notebook takes: for each kind shown, by profile, smallest first."""
    known = load_clock()
    return {
        kind: {
            profile: seconds
            for profile in profile_names()
            if profile in known.get(kind, {})
            for seconds in [known[kind][profile]["stages"].get(name)]
            if seconds is not None
        }
        for kind in SHOWN
    }


def long_cells(name: str, profile: str) -> dict[str, dict[str, float]]:
    """Seconds of the longest cell of each section in which a cell is long: for each kind shown, by section."""
    runs = {kind: load_clock().get(kind, {}).get(profile, {}) for kind in SHOWN}
    return {kind: run.get("long_cells", {}).get(name, {}) for kind, run in runs.items()}


def find_long_cells(executed: Path) -> dict[str, float]:
    """The same of a notebook that papermill has executed, which notes how long each cell took."""
    longest: dict[str, float] = {}
    section = ""
    for cell in read_json(executed)["cells"]:
        if cell["cell_type"] == "markdown" and (match := SECTION.match("".join(cell["source"]))):
            section = match[1]
        seconds = cell["metadata"].get("papermill", {}).get("duration") or 0
        if section and seconds >= LONG:
            longest[section] = max(round(seconds, 1), longest.get(section, 0))
    return longest


def publish_clock() -> list[Path]:
    """Keep what the runs at hand took on their machines; returns the files written.

    Raises:
        InputError: there is no such run.
    """
    folder, written = output_root() / CLOCK.relative_to(REPOSITORY), set()
    for profile in profile_names():
        runs = [output_root() / "results" / f"{profile}-{corpus}" / "timings" for corpus in NAMED_CORPORA]
        timings = next((run for run in runs if (run / "stages.json").exists()), None)
        if timings is None:
            continue
        machine, stages = read_json(timings / "machine.json"), read_json(timings / "stages.json")
        path = folder / f"{machine['instructions']}.json"
        kept = read_json(path) if path.exists() else {"profiles": {}}
        kept["profiles"][profile] = {
            "cpu": machine["cpu"],
            "cores": machine["cores"],
            "commit": machine["commit"],
            "stages": {row["notebook"]: row["seconds"] for row in stages["stages"]},
            "long_cells": {
                row["notebook"]: cells
                for row in stages["stages"]
                if (cells := find_long_cells(timings.parent / "notebooks" / f"{row['notebook']}.ipynb"))
            },
            "total_seconds": stages["total_seconds"],
        }
        write_json(path, kept)
        written.add(path)
    if not written:
        raise InputError("there is no run whose times could be kept; make one: python -m pn_lib run")
    load_clock.cache_clear()
    return sorted(written)
