"""Results of notebook 09: small files that tell stories, by their bytes."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result, Settings


class PackedModel(Part):
    name: str = Field(description="the model; its file is models/<name>.safetensors")
    file_bytes: int = Field(description="bytes of the file, tokenizer included")
    tokenizer_bytes: int = Field(description="bytes of the tokenizer in it")
    parameters: int = Field(description="parameters")
    embedding_parameters: int = Field(description="those of the tables whose rows are tokens, input and output")
    integers: str = Field(description="what a weight is stored as: int8, int4 or ternary")
    config: Settings = Field(description="the model's configuration")
    tokens: int = Field(description="tokens read in training")
    bits_per_byte: Estimate = Field(description="of the file, on the test half of the validation stories")
    choice_bits_per_byte: float = Field(description="of the file, on the choice half")
    float32_bits_per_byte: float = Field(description="of the weights before they were rounded, on the test half")


class FrontierResult(Result):
    """The frontier: bytes of a file against bits per byte."""

    FILE: ClassVar = "frontier.json"
    stories: int = Field(description="stories of the test half, which judged")
    models: list[PackedModel] = Field(description="the models, as the profile lists them")


class PackedTiming(Part):
    name: str = Field(description="the model")
    seconds: float = Field(description="seconds of training, without validation and checkpoints")
    decoding: float = Field(description="tokens a second of one story, written straight from the file's integers")
    float32_decoding: float = Field(description="the same by the weights in float32")


class FrontierTimings(Result):
    """What the models of the frontier cost on this machine."""

    FILE: ClassVar = "timings/frontier.json"
    models: list[PackedTiming] = Field(description="the models")
