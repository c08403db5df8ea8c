"""Results of notebook 10: architectures that remember in different ways, each at its best, beside one another."""

from typing import ClassVar, Literal

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result, Row, Settings
from pn_lib.titles import Architecture


class RateTried(Part):
    rate: float = Field(description="peak learning rate, of AdamW and of Muon")
    bits_per_byte: float = Field(description="loss on the choice half, one seed")


class ShapeTried(Part):
    d_model: int = Field(description="width")
    n_layers: int = Field(description="depth")
    bits_per_byte: float = Field(description="loss on the choice half at the best rate, one seed")


class Competitor(Part):
    """What an architecture competes with, and how it was found."""

    architecture: Architecture = Field(description="how it remembers")
    config: Settings = Field(description="the model's configuration")
    parameters: int = Field(description="all parameters")
    in_layers: int = Field(description="parameters without embedding table and output layer")
    rate: float = Field(description="peak learning rate, the best of those tried")
    inside: bool = Field(description="whether that rate lies between two that are worse")
    rates: list[RateTried] = Field(description="rates tried at one shape, from low to high")
    shapes: list[ShapeTried] = Field(description="shapes tried at the best rate, from wide to deep")
    loss: Estimate = Field(description="loss on the test half, mean over seeds, with the interval over seeds")
    standard_deviation: float | None = Field(description="of the loss over seeds, bits per byte; null with one")
    state_bytes: int = Field(description="bytes to carry from one token to the next at the trained length")


class MixerPair(Part):
    """Two competitors, paired by seed and by story."""

    first: Architecture = Field(description="one")
    second: Architecture = Field(description="the other")
    difference: Estimate = Field(description="first minus second, bits per byte, over seeds and stories together")
    p: float | None = Field(description="p-value of the difference; null with one seed")
    p_holm: float | None = Field(description="after Holm's correction for all pairs of this comparison")
    verdict: Literal["ahead", "behind", "not told apart", "one seed"] = Field(
        description="what can be said of the first, at 5 % after correction"
    )


class MixerSize(Part):
    """A comparison at equal parameters in the layers and equal tokens."""

    budget: int = Field(description="parameters in the layers, which all meet within 3 %")
    tokens: int = Field(description="tokens of each run")
    updates: int = Field(description="updates of each run")
    seeds: int = Field(description="runs of each architecture")
    sweep_tokens: int = Field(description="tokens of each run that chose a rate or a shape")
    enough: bool = Field(description="whether updates and seeds suffice to say anything of the architectures")
    models: list[Competitor] = Field(description="a row for each architecture")
    pairs: list[MixerPair] = Field(description="all pairs")


class Measured(Part):
    architecture: Architecture = Field(description="how it remembers")
    parameters: int = Field(description="all parameters")
    tokens: int = Field(description="tokens read")
    loss: Estimate = Field(description="loss on the test half, mean over seeds, with the interval over seeds")


class EqualTerms(Part):
    """The smallest size once more, with something else held equal."""

    models: list[Measured] = Field(description="a row for each architecture")
    pairs: list[MixerPair] = Field(description="all pairs")


class MixerStretch(Part):
    architecture: Architecture = Field(description="how it remembers")
    start: int = Field(alias="from", description="first position")
    to: int = Field(description="position after the last")
    nats_per_token: float = Field(description="mean loss at these positions")


class ReadingOn(Part):
    trained: int = Field(description="the trained length, tokens")
    rows: list[MixerStretch] = Field(description="stretches of positions, up to four times that length")


class MixersResult(Result):
    """Every architecture at its own best, at equal parameters and at equal bytes, and beyond the trained length."""

    FILE: ClassVar = "mixers.json"
    choice_stories: int = Field(description="validation stories on which rates and shapes were chosen")
    test_stories: int = Field(description="validation stories that judge, of which no choice knows")
    sizes: list[MixerSize] = Field(description="comparisons at equal parameters and tokens, the smallest first")
    equal_context: dict[Architecture, float | None] = Field(
        description="context at which the first one's cache holds as many bytes as each carries, tokens; null where "
        "there is none"
    )
    equal_bytes: EqualTerms = Field(description="files of equal size: embedding table and output layer count too")
    beyond: ReadingOn = Field(description="loss by position, largest size, one seed")


class TrainingSpeed(Part):
    architecture: Architecture = Field(description="how it remembers")
    tokens_per_second: float = Field(description="tokens of training a second, all in turns")
    memory_mb: float = Field(description="weights, gradients, optimizer and what backward keeps, 10^6 bytes")


class MixersTimings(Result):
    """Speeds of training at the smallest size, and what each learns in the time of the first."""

    FILE: ClassVar = "timings/mixers.json"
    training: list[TrainingSpeed] = Field(description="cost of training")
    equal_seconds: EqualTerms = Field(description="at equal seconds: tokens in proportion to the speed of training")


class DecodingStep(Row):
    """A decoding step by context."""

    FILE: ClassVar = "timings/decoding.csv"
    model: Architecture = Field(description="how it remembers")
    context: int = Field(description="tokens read before")
    ms_per_token: float = Field(description="milliseconds of a step, batch 1")
    state_bytes: int = Field(description="bytes to carry from one step to the next")
    cpu: str = Field(description="processor, with the instructions that count")
