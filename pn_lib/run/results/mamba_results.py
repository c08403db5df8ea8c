"""Results of notebooks 09 and 10: Mamba as it was built, and a whole one beside the main Transformer."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Result
from pn_lib.run.results.stories_results import Measures, ProbeScore
from pn_lib.run.results.study_results import ScalingPoint
from pn_lib.run.results.zoo_results import ZooModel


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


class MambaResult(Result):
    """A whole Mamba beside the main Transformer, of one run each, and Mambas of several sizes."""

    FILE: ClassVar = "mamba.json"
    model: ZooModel = Field(description="the Mamba, trained as the main Transformer was")
    measures: Measures = Field(description="its endings of the beginnings in completions.json")
    ahead: Measures = Field(description="the main Transformer minus it, by beginning")
    probes: dict[str, ProbeScore] = Field(description="by kind of probe")
    excess: Estimate | None = Field(description="bits per byte above the source's own; null if that is unknown")
    valid: Estimate | None = Field(description="share of its stories that the source could have told; null likewise")
    reach: int | None = Field(description="tokens until an exchanged one hardly matters; null: beyond those measured")
    ending: str = Field(description="its first ending of the first beginning")
    rates: dict[str, float] = Field(description="bits per byte of the smallest Mamba by optimizer and rate")
    points: list[ScalingPoint] = Field(description="runs of several sizes; those of Transformers are in scaling.json")
