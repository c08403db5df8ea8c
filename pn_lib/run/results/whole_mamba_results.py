"""Results of notebook 10 on a whole Mamba, beside the main Transformer."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Result
from pn_lib.run.results.stories_results import Measures, ProbeScore
from pn_lib.run.results.study_results import ScalingPoint
from pn_lib.run.results.zoo_results import ZooModel


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
