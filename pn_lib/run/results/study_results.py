"""Results of notebooks 07 and 08: the study of architectures, the scaling law, and models of a known language."""

from typing import ClassVar

from pydantic import Field

from pn_lib.evaluation.intervals import Judgment, judge_variants
from pn_lib.run.results.result import Estimate, Part, Result, Row

LARGE_MISFIT = 0.05  # a law that misses its own runs by more is none


class Baseline(Part):
    parameters: int = Field(description="parameters")
    mean: float = Field(description="bits per byte, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")
    seeds: int = Field(description="runs")
    tokens: int = Field(description="tokens of each")
    updates: int = Field(description="updates of each")
    stories: int = Field(description="validation stories that judged")


class Variant(Part):
    variant: str = Field(description="the variant's name")
    parameters: int = Field(description="parameters")
    mean: float = Field(description="bits per byte, mean over seeds")
    low: float | None = Field(description="lower end of its 95 % interval over seeds; null with one")
    high: float | None = Field(description="upper end")
    seeds: int = Field(description="runs")
    difference: float | None = Field(description="bits per byte more than the baseline, by seed; null of the baseline")
    difference_low: float | None = Field(description="lower end of the difference's 95 % interval")
    difference_high: float | None = Field(description="upper end")
    survives: bool = Field(
        description="it can be told from zero after Holm's correction for all variants; false where runs are too small"
    )

    @property
    def loss(self) -> Estimate:
        return Estimate(value=self.mean, low=self.low, high=self.high)

    @property
    def gap(self) -> Estimate | None:
        """The difference from the baseline, None of the baseline itself."""
        if self.difference is None:
            return None
        return Estimate(value=self.difference, low=self.difference_low, high=self.difference_high)


class Axis(Part):
    axis: str = Field(description="what is varied")
    variants: list[Variant] = Field(description="the baseline and what replaces it")


class StudyResult(Result):
    """One change of architecture at a time."""

    FILE: ClassVar = "study.json"
    baseline: Baseline = Field(description="the baseline")
    axes: list[Axis] = Field(description="the study, axis by axis")

    @property
    def differences(self) -> dict[tuple[str, str], float]:
        """Bits per byte more than the baseline, by axis and name; the baseline has none."""
        return {key: row.difference for key, row in self._changed.items()}

    @property
    def judgments(self) -> dict[tuple[str, str], Judgment]:
        """What can be said of each variant, by axis and name; the baseline has none."""
        changed = self._changed
        gaps, seeds = zip(*((row.gap, row.seeds) for row in changed.values()), strict=True)
        found = judge_variants(gaps, seeds, self.baseline.updates)
        return dict(zip(changed, found, strict=True))

    @property
    def _changed(self) -> dict[tuple[str, str], Variant]:
        return {(axis.axis, row.variant): row for axis in self.axes for row in axis.variants if row.gap is not None}


class StudyTraining(Row):
    """Every training of the study."""

    FILE: ClassVar = "study.csv"
    axis: str = Field(description="what is varied")
    variant: str = Field(description="the variant")
    seed: int = Field(description="the seed")
    parameters: int = Field(description="parameters")
    bits_per_byte: float = Field(description="loss on the judging validation stories")
    tokens: int = Field(description="tokens read")


class StudyCost(Row):
    """What each variant of the study costs."""

    FILE: ClassVar = "timings/study.csv"
    axis: str = Field(description="what is varied")
    variant: str = Field(description="the variant")
    tokens_per_second: float = Field(description="tokens of training a second, all variants in turns")
    peak_memory_mb: float = Field(description="weights, gradients, optimizer and what backward keeps, 10^6 bytes")


class BestSize(Part):
    flops: float = Field(description="the budget, floating-point operations of training")
    parameters: float = Field(description="the best size by the law")
    low: float = Field(description="lower end of its 95 % bootstrap interval over runs")
    high: float = Field(description="upper end")
    tokens: float = Field(description="tokens that the budget then pays for")
    bits_per_byte: float = Field(description="loss by the law")
    off_by_two: float = Field(description="bits per byte more at half or double the size, the worse of both")

    @property
    def size(self) -> Estimate:
        return Estimate(value=self.parameters, low=self.low, high=self.high)


class Promise(Part):
    parameters: int = Field(description="parameters of the main model")
    tokens: int = Field(description="tokens that it read")
    value: float = Field(description="bits per byte by the law")
    low: float = Field(description="lower end of its 95 % bootstrap interval")
    high: float = Field(description="upper end")
    measured: float = Field(description="bits per byte that came")


class ScalingPoint(Part):
    parameters: int = Field(description="parameters")
    tokens: int = Field(description="tokens read")
    bits_per_byte: float = Field(description="loss on the judging validation stories")


class ScalingResult(Result):
    """Loss by size and budget, and the law fitted to it: E + A / parameters^alpha + B / tokens^beta."""

    FILE: ClassVar = "scaling.json"
    law: dict[str, Estimate] = Field(description="E, A, alpha, B, beta; empty with fewer than three sizes or budgets")
    exact: float | None = Field(description="bits per byte of the judging stories by the source; null if unknown")
    misfit: float | None = Field(description="by how much the law misses a loss on average, as a share; null without")
    flops_per_parameter: float = Field(description="operations of training a token, over parameters; mean over sizes")
    best: list[BestSize] = Field(description="the size to choose for a budget")
    promise: Promise | None = Field(description="the law held to the main model; null without a law")
    stories: int = Field(description="validation stories that judged")
    points: list[ScalingPoint] = Field(description="the runs")

    @property
    def faults(self) -> list[str]:
        """What speaks against the law, in words: while there is any, no size may be advised from it."""
        if not self.law:
            return []
        c, promise, found = self.law["E"], self.promise, []
        if not c.low <= c.value <= c.high:
            found.append("its irreducible loss lies outside of its own interval, so the runs do not determine it")
        if self.exact is not None and not c.low <= self.exact <= c.high:
            found.append(f"its irreducible loss [{c.low:.3f}, {c.high:.3f}] misses the source's own {self.exact:.3f}")
        if self.misfit > LARGE_MISFIT:
            found.append(f"it misses a measured loss by {self.misfit:.0%} on average")
        if promise and not promise.low <= promise.measured <= promise.high:
            found.append(
                f"for notebook 04's model it promised {promise.value:.3f} [{promise.low:.3f}, "
                f"{promise.high:.3f}], but {promise.measured:.3f} was measured"
            )
        return found


class LanguageSize(Part):
    parameters: int = Field(description="parameters")
    excess: Estimate = Field(description="bits per byte above the source's own")
    words: Estimate = Field(description="mean number of words before the first fault")
    valid: Estimate = Field(description="share of its stories that the source could have told")


class LanguageResult(Result):
    """Models of Pocket stories, whose language is known exactly."""

    FILE: ClassVar = "language.json"
    tokens: int = Field(description="tokens of each training")
    stories: int = Field(description="training stories")
    vocab_size: int = Field(description="entries of the vocabulary")
    seeds: int = Field(description="runs of each size")
    told: int = Field(description="stories sampled from each run's model")
    source: float = Field(description="bits per byte of the source itself")
    words_of_a_story: float = Field(description="words of one of its stories, mean")
    sizes: list[LanguageSize] = Field(description="by size, smallest first")
