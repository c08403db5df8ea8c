"""What Muon gains over AdamW where each has its own best rates: measured once, beside the reference files."""

from typing import ClassVar, Literal

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result


class Trial(Part):
    """A pair of peak rates, and what it came to on the choice half."""

    matrix_rate: float = Field(description="peak rate of the weight matrices inside the blocks")
    rate: float = Field(description="peak rate of all else, which AdamW moves on both sides")
    bits_per_byte: float = Field(description="on the choice half, one seed")


class Side(Part):
    """An optimizer of the matrices, at the best of the rates that were tried."""

    optimizer: Literal["adamw", "muon"] = Field(description="what moves the weight matrices inside the blocks")
    trials: list[Trial] = Field(description="the rates that were tried")
    matrix_rate: float = Field(description="the best peak rate of the matrices; no end of those tried")
    rate: float = Field(description="the best peak rate of all else; no end of those tried, either")
    bits_per_byte: float = Field(description="at these rates, on the test half, mean over seeds")


class OptimizersResult(Result):
    """Muon beside AdamW, each at its own best rates."""

    FILE: ClassVar = "optimizers.json"
    commit: str = Field(description="commit of the repository that holds the script, pn_lib/run/optimizer_study.py")
    machine: str = Field(description="processor and instructions, one thread")
    precision: str = Field(description="precision of the matrix products")
    parameters: int = Field(description="parameters of the model, the last rung of notebook 04's ladder")
    tokens: int = Field(description="tokens read in training, each seed and each trial")
    updates: int = Field(description="updates of the weights")
    stories: int = Field(description="stories of the test half, which judged")
    seeds: int = Field(description="seeds of each optimizer")
    adamw: Side = Field(description="AdamW for all weights")
    muon: Side = Field(description="Muon for the matrices, AdamW for all else")
    difference: Estimate = Field(description="Muon's loss minus AdamW's, over seeds and stories")
