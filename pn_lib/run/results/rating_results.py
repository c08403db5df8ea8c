"""What ``python -m pn_lib rate`` leaves: grades of the endings by people."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.judge_results import Grades
from pn_lib.run.results.result import Estimate, Part, Result


class RatedTeller(Part):
    endings: int = Field(description="its endings that somebody graded")
    ratings: int = Field(description="gradings of them, by all raters")
    grades: Grades = Field(description="mean grades")


class ByCriterion(Part):
    grammar: Estimate | None = Field(description="for grammar; interval over beginnings; null where undefined")
    creativity: Estimate | None = Field(description="for creativity")
    consistency: Estimate | None = Field(description="for consistency with the beginning")
    plot: Estimate | None = Field(description="for the plot")


class RatingResult(Result):
    """Grades by people; runs have it only where somebody graded. No rater is named."""

    FILE: ClassVar = "rating.json"
    completions: str = Field(description="SHA-256 of the endings that the sheet is made of")
    sheet: str = Field(description="the sheet that was graded")
    scale: tuple[int, int] = Field(description="the worst and the best grade")
    endings: int = Field(description="endings on the sheet")
    raters: list[int] = Field(description="endings that each rater graded, most first")
    tellers: dict[str, RatedTeller] = Field(description="by model, with the real endings")
    agreement: ByCriterion | None = Field(description="Krippendorff's alpha, ordinal; null with one rater")
    correlations: dict[str, ByCriterion] | None = Field(
        description="by automatic measure, its rank correlation with the mean grade of an ending; null with one rater"
    )
