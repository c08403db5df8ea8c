"""Results of notebook 05 on the models that tell stories."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result, Settings


class ZooModel(Part):
    label: str = Field(description="its name for readers")
    parameters: int = Field(description="parameters; of an n-gram its counts")
    bits_per_byte: Estimate = Field(description="loss on the validation stories; interval over stories")
    difference: Estimate | None = Field(
        description="bits per byte more than the main Transformer, story by story; null of itself"
    )
    published: bool = Field(description="others trained it")
    config: Settings = Field(description="its configuration")


class ZooResult(Result):
    """Models of several sizes and kinds."""

    FILE: ClassVar = "zoo.json"
    tokens: int = Field(description="tokens that each of our networks read")
    models: dict[str, ZooModel] = Field(description="by model")
