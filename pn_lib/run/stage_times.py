"""How long the notebooks of a run took: its ``timings/stages.json``, kept over commands that skip some of them."""

import resource
import sys
from pathlib import Path

from pn_lib.files import read_json, write_json
from pn_lib.run.machine_card import describe_machine


class StageTimes:
    """The seconds of each of a run's stages; ``folder`` is the run's ``timings``."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / "stages.json"

    def seconds(self) -> dict[str, float]:
        """What each stage took that has run."""
        return {row["notebook"]: row["seconds"] for row in read_json(self.path)["stages"]} if self.path.exists() else {}

    def note(self, name: str, seconds: float, names: list[str], finds_experiments: bool) -> None:
        """Keep what the stage ``name`` of ``names`` took, the peak memory (10^6 bytes) of any kernel, and the machine.

        A stage that finds its experiments done takes less than it would from nothing: then the longer time stays.
        """
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6
        noted = read_json(self.path) if self.path.exists() else {"stages": [], "peak_memory_mb": 0}
        known, before = {row["notebook"]: row for row in noted["stages"]}, noted["peak_memory_mb"]
        longest = max(seconds, known[name]["seconds"] if name in known else 0.0) if finds_experiments else seconds
        machine = describe_machine()
        known[name] = {
            "notebook": name,
            "seconds": round(longest, 1),
            "cpu": machine["cpu"],
            "commit": machine["commit"],
        }
        rows = [known[name] for name in names if name in known]
        times = {
            "stages": rows,
            "total_seconds": round(sum(row["seconds"] for row in rows), 1),
            "peak_memory_mb": max(round(peak), before),
        }
        write_json(self.path, times)
        write_json(self.folder / "machine.json", machine)
