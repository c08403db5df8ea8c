"""Results of notebook 06: what is inside a trained model."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result


class Head(Part):
    layer: int = Field(description="layer, from 1")
    head: int = Field(description="head of it, from 1")
    explained: float = Field(description="share of its attention's deviation that distance explains")
    loss: float = Field(description="rise of the loss without it, nats per token")
    low: float = Field(description="lower end of its 95 % interval over stories")
    high: float = Field(description="upper end")

    @property
    def rise(self) -> Estimate:
        return Estimate(value=self.loss, low=self.low, high=self.high)


class Induction(Part):
    first: float = Field(description="nats per token on random tokens")
    again: float = Field(description="nats per token when they come again")
    gain: Estimate = Field(description="the first less the second; interval over sequences")


class Memory(Part):
    reach: int | None = Field(description="tokens until an exchanged one hardly matters; null: beyond those measured")


class InsideResult(Result):
    """Heads of a shipped model, and what it does with repetition and with its past, beside other models."""

    FILE: ClassVar = "inside.json"
    model: str = Field(description="the model that was opened, as the commands name it")
    parameters: int = Field(description="its parameters")
    heads: list[Head] = Field(description="its heads")
    induction: dict[str, Induction] = Field(description="by model, what repeating random tokens does")
    memory: dict[str, Memory] = Field(description="by model, how far back anything matters")
