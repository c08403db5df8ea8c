"""What ``python -m pn_lib judge`` leaves: grades of the endings by large language models."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result


class Protocol(Part):
    criteria: list[str] = Field(description="what is graded")
    scale: tuple[int, int] = Field(description="the worst and the best grade")
    grades_rubric: str = Field(description="fingerprint of the instructions for grades")
    pairs_rubric: str = Field(description="fingerprint of the instructions for pairs")


class Grades(Part):
    grammar: Estimate = Field(description="mean grade for grammar; interval over beginnings")
    creativity: Estimate = Field(description="for creativity")
    consistency: Estimate = Field(description="for consistency with the beginning")
    plot: Estimate = Field(description="for the plot")


class GradedTeller(Part):
    gradings: int = Field(description="valid gradings")
    grades: Grades = Field(description="mean grades")
    age_groups: dict[str, int] = Field(description="how often each age group of the writer was guessed")


class Agreement(Part):
    pairs: int = Field(description="stories that both graded")
    spearman: float | None = Field(description="rank correlation of their grades; null where undefined")
    mean_absolute_difference: float | None = Field(description="points between their grades; null without pairs")


class Agreements(Part):
    grammar: Agreement = Field(description="on grammar")
    creativity: Agreement = Field(description="on creativity")
    consistency: Agreement = Field(description="on consistency")
    plot: Agreement = Field(description="on plot")


class JudgePair(Part):
    judges: tuple[str, str] = Field(description="the two judges")
    grammar: Agreement = Field(description="on grammar")
    creativity: Agreement = Field(description="on creativity")
    consistency: Agreement = Field(description="on consistency")
    plot: Agreement = Field(description="on plot")


class Leaning(Part):
    correlation: float | None = Field(description="of grade and length within models; null where undefined")
    points_per_word: Estimate | None = Field(description="slope of the same; null where all lengths are equal")


class LengthBias(Part):
    grammar: Leaning = Field(description="of grades for grammar")
    creativity: Leaning = Field(description="for creativity")
    consistency: Leaning = Field(description="for consistency")
    plot: Leaning = Field(description="for the plot")


class TellerPair(Part):
    tellers: tuple[str, str] = Field(description="the two models")
    pairs: int = Field(description="beginnings compared in both orders")
    flips: Estimate = Field(description="share of pairs whose verdict changed with the order")
    first_wins: float = Field(description="share of verdicts for whichever stood first")
    win_rate: Estimate = Field(description="share won by the first-named, a flipped pair counted half")


class JudgeGrades(Part):
    model: str = Field(description="the model that was asked for")
    host: str = Field(description="where it was asked")
    fingerprint: str = Field(description="fingerprint of the judge's settings")
    temperature: float = Field(description="temperature of its sampling")
    structured: str = Field(description="how it was held to the form of an answer")
    repeats: int = Field(description="gradings of each ending")
    model_served: list[str] = Field(description="names of the models that answered")
    requested: int = Field(description="questions")
    judged: int = Field(description="questions with a valid answer")
    refused: int = Field(description="questions that it refused")
    invalid: int = Field(description="questions without a valid answer in the end")
    replies: int = Field(description="all replies")
    replies_counted_by_server: int = Field(description="replies whose tokens the server counted")
    tokens_in: int = Field(description="tokens read")
    tokens_out: int = Field(description="tokens written")
    cost: float | None = Field(description="in the currency of its prices; null without prices")
    tellers: dict[str, GradedTeller] = Field(description="by model")
    between_repeats: Agreements | None = Field(description="agreement of the judge with itself; null with one repeat")
    length_bias: LengthBias = Field(description="how grades go with length")
    pairs: list[TellerPair] = Field(description="models compared in pairs")


class JudgeResult(Result):
    """Grades by judges; runs have it only where one was asked."""

    FILE: ClassVar = "judge.json"
    completions: str | None = Field(description="SHA-256 of the endings that were judged; null if they are gone")
    protocol: Protocol = Field(description="how it was graded")
    stories: dict[str, int] = Field(description="by model, endings judged")
    judges: dict[str, JudgeGrades] = Field(description="by judge")
    between_judges: list[JudgePair] = Field(description="agreement of every two judges")
