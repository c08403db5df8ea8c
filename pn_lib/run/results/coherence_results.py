"""Results of the study of coherence: one file an experiment, and what all of them say together."""

from typing import ClassVar, Literal

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result, Settings


class Recalled(Part):
    back: int = Field(description="characters since the fact was last spelled out, from here to the next row's")
    repeated: int = Field(description="times that a story came back to such a fact, up to its first fault")
    broken: int = Field(description="times that the fact was another then")


class FactRecalled(Part):
    slot: str = Field(description="the fact, such as hero")
    repeated: int = Field(description="times that a story came back to it, up to its first fault")
    broken: int = Field(description="times that it was another then")

    @property
    def right(self) -> float:
        """The share of the times that it was the same."""
        return 1 - self.broken / self.repeated


class Told(Part):
    """Stories that a model told from nothing."""

    temperature: float = Field(description="temperature of sampling")
    integers: str | None = Field(description="what its weights were rounded to first; null: not rounded")
    file_bytes: int = Field(description="bytes of its file, tokenizer included; in float32 unless rounded")
    stories: int = Field(description="stories")
    valid: Estimate = Field(description="share that the source could have told, word for word; Wilson's interval")
    words: float = Field(description="words before the first fault or the end, mean")
    reasons: dict[str, int] = Field(description="first faults by what is wrong")
    slots: dict[str, int] = Field(description="first faults by the fact that they break")
    recalled: list[Recalled] = Field(description="facts that had to be kept, by how far back they were told")
    facts: list[FactRecalled] | None = Field(
        None, description="facts that had to be kept, by which; null: by a version that did not count them"
    )
    copies: int = Field(description="stories that were told in training, word for word")
    new_pairs: float | None = Field(
        description="pairs of facts that no training story has, as a share of a valid story's; null: none is valid"
    )


class CoherentModel(Part):
    """An experiment's file, in results/coherence: a model of Pocket stories, trained and judged."""

    settings: Settings = Field(description="all that was asked for")
    parameters: int = Field(description="parameters")
    config: Settings = Field(description="the model's configuration")
    tokens: int = Field(description="tokens read")
    flops: float = Field(description="floating-point operations of training")
    seconds: float = Field(description="seconds of training on that processor")
    cpu: str = Field(description="processor, with the instructions that count")
    threads: int = Field(description="threads of PyTorch")
    precision: str = Field(description="precision of training")
    commit: str = Field(description="commit of the repository; with + where files differed")
    bits_per_byte: float = Field(description="loss on held-out stories")
    excess: Estimate = Field(description="bits per byte above the source's own; interval over stories")
    story_bytes: float = Field(description="bytes of a held-out story, mean")
    story_words: float = Field(description="words of one, mean")
    source: float = Field(description="bits per byte of the source itself")
    told: list[Told] = Field(description="stories it told, at temperature 1 first")
    story: str = Field(description="the first of them")

    @property
    def excess_bits(self) -> float:
        """Of a story: its Kullback-Leibler divergence from the source."""
        return self.excess.value * self.story_bytes


class Dialect(Part):
    plots: int | None = Field(description="plots of the language; null: all")
    words: int | None = Field(description="most words of one of its lists; null: all")


class Cell(Part):
    """Models that differ by their seed alone, and the stories they told together."""

    architecture: str = Field(description="which")
    dialect: Dialect = Field(description="which language")
    parameters: int = Field(description="parameters")
    tokens: int = Field(description="tokens read")
    seeds: int = Field(description="runs")
    flops: float = Field(description="floating-point operations of training")
    excess: Estimate = Field(description="bits per byte above the source's own, over seeds")
    excess_bits: float = Field(description="bits above the source's own, a story")
    valid: Estimate = Field(description="share of valid stories at temperature 1; Wilson's interval")
    cooler: Estimate = Field(description="the same at the lowest temperature tried")
    words: float = Field(description="words before the first fault, at temperature 1, mean")
    steady: float = Field(description="the share that would be valid were each word wrong with one probability")
    slots: dict[str, int] = Field(description="first faults by the fact that they break, the commonest first")
    recalled: list[Recalled] = Field(description="facts that had to be kept, at temperature 1")


class Memory(FactRecalled):
    """What a model does with a fact that it told before, at temperature 1."""

    experiment: str = Field(description="the name of the model's file in results/published/coherence")
    architecture: str = Field(description="its architecture")
    dialect: Dialect = Field(description="which language")
    parameters: int = Field(description="its parameters")
    tokens: int = Field(description="tokens that it read")
    seed: int = Field(description="its seed")
    valid: float = Field(description="share of its stories that are valid")


class Threshold(Part):
    """How many tokens a size takes until so many of its stories are valid."""

    architecture: str = Field(description="which")
    dialect: Dialect = Field(description="which language")
    parameters: int = Field(description="parameters")
    level: float = Field(description="share of valid stories at temperature 1")
    tokens: Estimate | None = Field(
        description="tokens, interpolated, of all seeds together; interval over seeds; null: not reached"
    )
    most: int = Field(description="the most tokens tried")


class Least(Part):
    """The cheapest model that tells so many valid stories."""

    dialect: Dialect = Field(description="which language")
    level: float = Field(description="share of valid stories at temperature 1")
    cost: Literal["parameters", "tokens", "flops", "bytes", "seconds"] = Field(description="by what it is cheapest")
    value: float = Field(description="that cost, the mean over seeds")
    architecture: str = Field(description="its architecture")
    parameters: int = Field(description="its parameters")
    tokens: int = Field(description="tokens that it read")
    integers: str | None = Field(description="what its weights were rounded to; null: not rounded")
    valid: Estimate = Field(description="its share of valid stories, over all seeds; Wilson's interval")


class Leak(Part):
    """The law: -log2(share valid) = leak x excess bits of a story."""

    architecture: str = Field(description="which; all: every one")
    dialect: Dialect = Field(description="which language")
    models: int = Field(description="models it was fitted to")
    leak: Estimate = Field(description="share of the excess that is probability given to text that is not a story")
    half: float = Field(description="excess bits of a story at which half are valid, by the law")


class CoherenceResult(Result):
    """How small a model, and how few tokens, tell stories that the source could have told."""

    FILE: ClassVar = "coherence.json"
    cool: float = Field(description="the lowest temperature that stories were told at")
    cells: list[Cell] = Field(description="the experiments, seeds together")
    thresholds: list[Threshold] = Field(description="tokens to a share of valid stories")
    least: list[Least] = Field(description="the cheapest models by each cost but time")
    leaks: list[Leak] = Field(description="the relation of loss and coherence; none where no story is valid")
    memories: list[Memory] = Field(
        [], description="models and facts, where a model's stories came back to the fact often enough to say"
    )
    told: int = Field(description="stories that all models told, at any temperature")
    copies: int = Field(description="those that were told in training, word for word")
    new_pairs: float | None = Field(
        description="pairs of facts that no training story has, as a share of a valid story's, mean over models of the "
        "whole language; null: none of their stories is valid"
    )


class Maker(Part):
    """Where an experiment was made."""

    name: str = Field(description="the experiment's file in results/coherence")
    seconds: float = Field(description="seconds of training")
    cpu: str = Field(description="processor, with the instructions that count")
    commit: str = Field(description="commit that it was made from")


class CoherenceTimings(Result):
    """What the experiments took, each on the machine that made it."""

    FILE: ClassVar = "timings/coherence.json"
    least: list[Least] = Field(description="the fastest model by share of valid stories; machines may differ")
    made: list[Maker] = Field(description="the experiments")
