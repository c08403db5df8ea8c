"""Results of notebooks 03 and 04: the Transformer, its training and what that cost, and the recipe."""

from itertools import pairwise
from typing import ClassVar

from pydantic import Field

from pn_lib.evaluation.intervals import Judgment, judge_variants
from pn_lib.run.results.result import Estimate, Part, Result, Row, Settings


class Construction(Part):
    config: Settings = Field(description="the Transformer's configuration")
    parameters: int = Field(description="parameters")
    non_embedding_parameters: int = Field(description="parameters outside the input embedding")
    flops_per_token: float = Field(description="floating-point operations to train on a token, forward and backward")


class ConstructionResult(Result):
    """The Transformer of the run as it was built, and what was shown to be equal."""

    FILE: ClassVar = "construction.json"
    transformer: Construction = Field(description="the model")
    checks: dict[str, float] = Field(description="what was shown to be equal, with the absolute tolerance")


class TrainedModel(Part):
    parameters: int = Field(description="parameters")
    non_embedding_parameters: int = Field(description="parameters outside the input embedding")
    config: Settings = Field(description="its configuration")


class NgramLoss(Part):
    order: int = Field(description="tokens of a context and the next, together")
    bits_per_byte: float = Field(description="loss on the validation stories")
    nats_per_token: float = Field(description="the same loss a token")


class UniformLoss(Part):
    bits_per_byte: float = Field(description="loss of guessing evenly over the vocabulary")


class TransformerLoss(Part):
    bits_per_byte: float = Field(description="loss on the validation stories")
    nats_per_token: float = Field(description="the same loss a token")
    low: float = Field(description="lower end of its 95 % bootstrap interval over stories, bits per byte")
    high: float = Field(description="upper end")
    tokens: int = Field(description="tokens read in training")
    steps: int = Field(description="updates")
    flops: float = Field(description="floating-point operations of the whole training")

    @property
    def loss(self) -> Estimate:
        return Estimate(value=self.bits_per_byte, low=self.low, high=self.high)


class Sample(Part):
    tokens: int = Field(description="tokens read until then")
    text: str = Field(description="what the model wrote")


class TrainingResult(Result):
    """The main Transformer as trained, beside the n-gram and guessing."""

    FILE: ClassVar = "training.json"
    model: TrainedModel = Field(description="the Transformer")
    training: Settings = Field(description="the training's settings, with the precision that was taken")
    ngram: NgramLoss = Field(description="the Kneser–Ney n-gram")
    uniform: UniformLoss = Field(description="guessing")
    transformer: TransformerLoss = Field(description="the Transformer")
    samples: list[Sample] = Field(description="stories sampled during training")


class CurvePoint(Row):
    """Validation and training loss of the main Transformer as training goes on."""

    FILE: ClassVar = "training_curve.csv"
    step: int = Field(description="updates made")
    tokens: int = Field(description="tokens read")
    learning_rate: float = Field(description="of AdamW")
    train_loss: float = Field(description="nats per token on the batch")
    nats_per_token: float = Field(description="on validation stories")
    bits_per_byte: float = Field(description="on validation stories")


class Phases(Part):
    data: float = Field(description="seconds of drawing batches")
    forward: float = Field(description="seconds of the forward pass")
    backward: float = Field(description="seconds of the backward pass")
    optimizer: float = Field(description="seconds of the optimizer")
    bookkeeping: float = Field(description="seconds of all else in the loop")
    validation: float = Field(description="seconds of validation, on top of training")
    checkpoint: float = Field(description="seconds of writing checkpoints, on top of training")


class PeakGflops(Part):
    float32: float | None = Field(description="in 32-bit")
    bfloat16: float | None = Field(description="in bfloat16; null without instructions for it")


class TrainingTimings(Result):
    """What the main Transformer's training cost on this machine."""

    FILE: ClassVar = "timings/training.json"
    seconds: float = Field(description="seconds of training, without validation and checkpoints")
    tokens_per_second: float = Field(description="tokens a second")
    peak_memory_mb: float = Field(description="most memory of the process, 10^6 bytes")
    peak_gflops: PeakGflops = Field(description="10^9 operations a second in a plain matrix product")
    utilisation: float = Field(description="share of that peak which training used")
    joules: float | None = Field(description="energy of the processor; null where it is not reported")
    overhead: float = Field(description="share of the seconds outside forward, backward and optimizer")
    phases: Phases = Field(description="where the seconds went")


class Rung(Part):
    change: str = Field(description="what was changed")
    bits_per_byte: float = Field(description="loss at equal tokens, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")

    @property
    def loss(self) -> Estimate:
        return Estimate(value=self.bits_per_byte, low=self.low, high=self.high)


class Sprint(Part):
    parameters: int = Field(description="parameters")
    tokens: int = Field(description="tokens read")
    bits_per_byte: float = Field(description="loss on the validation stories")


class Branch(Part):
    change: str = Field(description="what was changed, from the top of the ladder")
    difference: float = Field(description="bits per byte more than the top of the ladder, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")

    @property
    def gap(self) -> Estimate:
        return Estimate(value=self.difference, low=self.low, high=self.high)


class FewCurve(Part):
    dropout: float = Field(description="rate of dropout")
    nats_per_token: list[float] = Field(description="validation loss, at even distances from beginning to end")
    train_loss: list[float] = Field(description="training loss at the same places, nats per token")

    @property
    def lowest(self) -> float:
        return min(self.nats_per_token)

    @property
    def lowest_at(self) -> float:
        """Where the validation loss was lowest: 0 at the beginning, 1 at the end."""
        losses = list(self.nats_per_token)
        return losses.index(min(losses)) / (len(losses) - 1)

    @property
    def rise(self) -> float:
        """How far the validation loss rose again to the end."""
        return self.nats_per_token[-1] - self.lowest


class FewStories(Part):
    stories: int = Field(description="stories")
    tokens: int = Field(description="their tokens")
    epochs: int = Field(description="times they were read")
    updates: int = Field(description="updates of each run")
    curves: list[FewCurve] = Field(description="a curve for each rate of dropout")


class RecipeResult(Result):
    """The recipe, one change at a time; what else was tried; few stories; and what smaller budgets buy."""

    FILE: ClassVar = "recipe.json"
    tokens: int = Field(description="tokens of each training")
    updates: int = Field(description="updates of each rung")
    seeds: int = Field(description="runs of each rung and branch")
    stories: int = Field(description="validation stories that judged")
    ngram: float = Field(description="bits per byte of the n-gram on the same stories")
    ladder: list[Rung] = Field(description="the rungs, each with one change more than the one before")
    sprints: list[Sprint] = Field(description="budgets, the main model's last")
    branches: list[Branch] = Field(description="single changes to the recipe")
    few: FewStories = Field(description="few stories, read again and again")

    @property
    def gains(self) -> dict[str, float]:
        """By rung, bits per byte less than the one before; the first has none."""
        return {after.change: before.bits_per_byte - after.bits_per_byte for before, after in pairwise(self.ladder)}

    @property
    def judgments(self) -> dict[str, Judgment]:
        """What can be said of each branch, beside the top of the ladder and after correction for all branches."""
        gaps, seeds = [row.gap for row in self.branches], [self.seeds] * len(self.branches)
        return dict(zip([row.change for row in self.branches], judge_variants(gaps, seeds, self.updates), strict=True))


class RungTime(Part):
    change: str = Field(description="the rung")
    equal_seconds: float = Field(
        description="bits per byte that it reaches while the fastest rung reads all its tokens"
    )
    tokens_per_second: float = Field(description="tokens a second")


class BranchTime(Part):
    change: str = Field(description="the branch")
    equal_seconds: float = Field(description="bits per byte more than the recipe in equal seconds, one measurement")


class RecipeTimings(Result):
    """The recipe in equal seconds."""

    FILE: ClassVar = "timings/recipe.json"
    sprints: list[float] = Field(description="seconds of each sprint")
    ladder: list[RungTime] = Field(description="the rungs")
    branches: list[BranchTime] = Field(description="the branches")
