"""Results of notebook 09: Mamba as it was built."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Result


class MambaConstruction(Result):
    """The parts of a Mamba as they were built."""

    FILE: ClassVar = "mamba_construction.json"
    equality: dict[str, float] = Field(description="what was shown to be equal, with the largest difference")


class ScanTimings(Result):
    """The ways to scan."""

    FILE: ClassVar = "timings/scan.json"
    method: str = Field(description="the way that Mamba takes on this machine")
    rows: list[dict[str, int | float]] = Field(
        description="milliseconds of each way to scan a length T, the shortest first"
    )
