"""Results of notebooks 07 and 08: Mamba as it was built, and the Transformer and Mamba beside one another."""

from typing import ClassVar, Literal

from pydantic import Field

from pn_lib.run.results.result import Estimate, Mean, Part, Result, Row, Settings

Kind = Literal["transformer", "mamba"]


class MambaConstruction(Result):
    """The parts of a Mamba as they were built."""

    FILE: ClassVar = "mamba_construction.json"
    equality: dict[str, float] = Field(description="what was shown to be equal, with the largest difference")


class ScanTimings(Result):
    """The ways to scan."""

    FILE: ClassVar = "timings/scan.json"
    method: str = Field(description="the way that Mamba takes on this machine")
    rows: list[dict[str, int | float]] = Field(description="milliseconds of each way by length T, shortest first")


class MatchedModel(Part):
    parameters: int = Field(description="parameters")
    non_embedding_parameters: int = Field(description="parameters outside the input embedding")
    bits_per_byte_mean: float = Field(description="loss on the validation stories, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")
    seeds: int = Field(description="runs")
    standard_deviation: float | None = Field(description="of the loss over seeds, bits per byte; null with one")
    config: Settings = Field(description="the model's configuration")

    @property
    def loss(self) -> Estimate:
        return Estimate(value=self.bits_per_byte_mean, low=self.low, high=self.high)


class FullMamba(Part):
    tokens: int = Field(description="tokens read, as many as the main Transformer")
    learning_rate: float = Field(description="its peak learning rate")
    parameters: int = Field(description="its parameters")
    transformer_parameters: int = Field(description="the main Transformer's")
    config: Settings = Field(description="its configuration")
    bits_per_byte: float = Field(description="its loss on the validation stories")
    low: float = Field(description="lower end of its 95 % bootstrap interval over stories")
    high: float = Field(description="upper end")
    difference: Mean = Field(description="Mamba minus Transformer, story by story, bits per byte")


class Stretch(Part):
    model: Kind = Field(description="which of the two")
    start: int = Field(alias="from", description="first position")
    to: int = Field(description="position after the last")
    nats_per_token: float = Field(description="mean loss at these positions")


class Beyond(Part):
    trained: int = Field(description="the trained length, tokens")
    rows: list[Stretch] = Field(description="stretches of positions, up to four times that length")


class TaskRow(Part):
    length: int = Field(description="tokens of a sequence")
    transformer: float = Field(description="share of right answers of the Transformer")
    mamba: float = Field(description="share of right answers of Mamba")


class Task(Part):
    task: str = Field(description="selective copying or induction heads")
    trained: int = Field(description="longest trained length, tokens")
    seeds: int = Field(description="runs of each model")
    plan: Settings = Field(description="models and budgets")
    rows: list[TaskRow] = Field(description="right answers by length, means over seeds")


class RateTrial(Part):
    model: Kind = Field(description="which of the two")
    learning_rate: float = Field(description="of AdamW")
    matrix_learning_rate: float = Field(description="of Muon")
    bits_per_byte: float = Field(description="loss, one seed")


class Rates(Part):
    learning_rate: float = Field(description="of AdamW")
    matrix_learning_rate: float = Field(description="of Muon")


class RateSearch(Part):
    tried: list[RateTrial] = Field(description="pairs of rates; none where the profile's were taken")
    taken: dict[Kind, Rates] = Field(description="what each model was trained with")


class MambaResult(Result):
    """The matched pair at equal tokens; with the whole budget; beyond the trained length; at tasks of memory."""

    FILE: ClassVar = "mamba.json"
    models: dict[Kind, MatchedModel] = Field(description="the matched pair")
    difference: Mean = Field(description="Mamba minus Transformer, paired by seed, bits per byte")
    tokens: int = Field(description="tokens of each training")
    full: FullMamba = Field(description="the Mamba that had the whole budget")
    beyond: Beyond = Field(description="loss by position")
    tasks: list[Task] = Field(description="tasks of memory")
    rates: RateSearch = Field(description="learning rates of the pair")


class ModelCost(Part):
    tokens_per_second: float = Field(description="tokens of training a second, both in turns")
    peak_memory_mb: float = Field(description="weights, gradients, optimizer and what backward keeps, 10^6 bytes")


class EqualSeconds(Part):
    tokens: int = Field(description="tokens that Mamba reads in the Transformer's time")
    difference: Mean = Field(description="that Mamba minus the Transformer, paired by seed, bits per byte")
    mean: float = Field(description="its loss, bits per byte, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")


class MambaTimings(Result):
    """Speeds of the pair, and what Mamba learns in the Transformer's time."""

    FILE: ClassVar = "timings/mamba.json"
    models: dict[Kind, ModelCost] = Field(description="cost of training")
    equal_seconds: EqualSeconds = Field(description="at equal seconds")


class DecodingStep(Row):
    """A decoding step by context."""

    FILE: ClassVar = "timings/decoding.csv"
    model: Kind = Field(description="which of the two")
    context: int = Field(description="tokens read before")
    ms_per_token: float = Field(description="milliseconds of a step, batch 1")
    state_bytes: int = Field(description="bytes to carry from one step to the next")
