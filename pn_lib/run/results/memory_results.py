"""Results of the tasks of memory: right answers by task, architecture and length."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Mean, Part, Result, Settings


class MemoryTask(Part):
    trained: int = Field(description="longest trained length, tokens")
    steps: int = Field(description="updates of each model")
    guessing: float = Field(description="share of right answers by guessing")


class TaughtModel(Part):
    parameters: int = Field(description="parameters, in the task with the largest vocabulary")
    learning_rate: float = Field(description="of AdamW, at its peak")
    matrix_learning_rate: float | None = Field(description="of Muon, likewise; null where AdamW moved the matrices too")
    config: Settings = Field(description="its configuration there")


class MemoryRow(Part):
    task: str = Field(description="which task")
    architecture: str = Field(description="which architecture")
    length: int = Field(description="tokens of a sequence")
    mean: float = Field(description="share of right answers, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")
    seeds: int = Field(description="runs")

    @property
    def value(self) -> float:
        return self.mean


class BesideParent(Part):
    task: str = Field(description="which task")
    parent: str = Field(description="an architecture that the hybrid mixes")
    difference: Mean = Field(
        description="hybrid minus parent at the longest length, paired by seed; all intervals together hold at 95 %"
    )


class MemoryResult(Result):
    """Tasks that ask for memory alone, in and beyond the trained length."""

    FILE: ClassVar = "memory.json"
    tasks: dict[str, MemoryTask] = Field(description="by task, how it was taught")
    models: dict[str, TaughtModel] = Field(description="by architecture, what was taught")
    rows: list[MemoryRow] = Field(description="right answers by task, architecture and length")
    hybrid: list[BesideParent] = Field(description="the hybrid beside the architectures that it mixes")
