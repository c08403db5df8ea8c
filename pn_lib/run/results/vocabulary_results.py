"""Which vocabulary suits how many bytes, with more text than a lesson has time for: measured once, on TinyStories."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.frontier_results import VocabularyStudy, VocabularyTiming
from pn_lib.run.results.result import Result


class VocabularyResult(Result):
    """The study of vocabularies of a profile, or as many of its models as are finished."""

    FILE: ClassVar = "vocabulary.json"
    commit: str = Field(description="commit of the repository that trained the models")
    machine: str = Field(description="processor and instructions, one thread")
    profile: str = Field(description="the profile whose [frontier.vocabulary] it is")
    planned: int = Field(description="models that the profile asks for; the study has those that are finished")
    stories: int = Field(description="stories of the test half, which judged")
    study: VocabularyStudy = Field(description="the finished models, and the lower envelope of their first seeds")
    seconds: list[VocabularyTiming] = Field(description="seconds of the processor, not of the clock, by model")
