"""What ``python -m pn_lib listen`` and ``compare`` leave: endings heard by a general language model, and that model
beside small ones on the same stories."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result
from pn_lib.run.results.stories_results import KnownGroups, ProbeScore


class HeardTeller(Part):
    surprise: Estimate = Field(description="bits per byte of its endings behind their beginnings, for the listener")
    worth: Estimate = Field(description="bits per byte that an ending costs the listener less behind its beginning")
    names_kept: Estimate | None = Field(
        None, description="share of a beginning's names that come again in the ending; null without names, or if older"
    )


class ListeningResult(Result):
    """The endings of a run, and real endings damaged on purpose, as a stranger hears them."""

    FILE: ClassVar = "listening.json"
    listener: str = Field(description="the general model, by the name of its file or folder")
    parameters: int = Field(description="its parameters")
    completions: str = Field(description="SHA-256 of the completions that it heard")
    temperature: float | None = Field(None, description="temperature at which the endings were written; null if older")
    beginnings: int = Field(description="beginnings whose first endings were heard")
    max_bytes: int = Field(description="bytes of an ending that were heard at most")
    tellers: dict[str, HeardTeller] = Field(description="by model, with the real endings")
    known_groups: KnownGroups = Field(description="how well the listener tells endings of known faults from real ones")


class ComparedModel(Part):
    name: str = Field(description="the model")
    trained_on: str = Field(description="the text that it was trained on")
    parameters: int = Field(description="parameters; for an n-gram, its counts")
    file_bytes: int = Field(description="bytes of its file or files, tokenizer included")
    bits_per_byte: Estimate = Field(description="of whole stories, their end not scored; interval over stories")
    difference: Estimate | None = Field(description="minus the general model's, story by story; null of itself")
    ending: Estimate = Field(description="bits per byte of the real endings, given their beginnings")
    first_word: float = Field(description="mean bits of a story's first word, which are in its bits per byte")
    probes: dict[str, ProbeScore] = Field(description="by kind of probe")


class GeneralResult(Result):
    """Small models beside a general one, on the same stories and probes."""

    FILE: ClassVar = "general.json"
    corpus: str = Field(description="the corpus")
    stories: int = Field(description="stories of the test half of its validation stories")
    general: str = Field(description="the general model")
    models: list[ComparedModel] = Field(description="all of them, in the order asked for")
