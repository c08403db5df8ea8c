"""What shared weights, and a teacher, do for a file of about 100 kB: measured once, beside the reference files."""

from typing import ClassVar, Literal

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result


class Way(Part):
    """A way to make the file, beside the first one of its study."""

    name: str = Field(description="the way")
    change: str = Field(description="what it changes, in words")
    parameters: int = Field(description="parameters, a shared one counted once")
    file_bytes: int = Field(description="bytes of the file, tokenizer included")
    rate: float = Field(description="its best learning rates in short runs, as a multiple of the recipe's")
    screening: float | None = Field(
        description="bits per byte of its best short run on the choice half; null if its rates are another way's"
    )
    tokens: int = Field(description="tokens read in training, each seed")
    seconds: float = Field(description="processor seconds of training, mean over seeds")
    bits_per_byte: float = Field(description="of the file, on the test half, mean over seeds")
    difference: Estimate | None = Field(
        description="its loss minus the first way's, over seeds and stories; null of the first"
    )
    p_holm: float | None = Field(description="p of the difference, after Holm's correction; null with the difference")
    verdict: Literal["ahead", "behind", "not told apart", "one seed"] | None = Field(
        description="of this way, at 5 % of corrected p; null of the first"
    )


class SharingResult(Result):
    """Two studies of files of about 100 kB."""

    FILE: ClassVar = "sharing.json"
    commit: str = Field(description="commit of the repository that holds the script, pn_lib/run/sharing.py")
    machine: str = Field(description="processor and instructions, one thread")
    stories: int = Field(description="stories of the test half, which judged")
    seeds: int = Field(description="seeds of each way")
    screening_tokens: int = Field(description="tokens of each short run")
    sharing: list[Way] = Field(description="weights used more than once, at equal bytes and equal text")
    teaching: list[Way] = Field(description="one model alone or with a teacher, at equal text and at equal seconds")
