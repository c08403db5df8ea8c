"""Results of notebook 11: small files that tell stories, by their bytes."""

from typing import ClassVar, Literal

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result, Settings
from pn_lib.run.results.sharing_results import SharingResult

Large = Literal["transformer", "mamba"]
Precision = Literal["float32", "int8", "int4", "ternary"]


class PackedFile(Part):
    name: str = Field(description="the model; those of the frontier have files, models/packed/<name>.safetensors")
    file_bytes: int = Field(description="bytes of the file, tokenizer included")
    tokenizer_bytes: int = Field(description="bytes of the tokenizer in it")
    parameters: int = Field(description="parameters")
    embedding_parameters: int = Field(description="those of the tables whose rows are tokens, input and output")
    integers: str = Field(description="what a weight is stored as: int8, int4 or ternary")
    config: Settings = Field(description="the model's configuration")
    tokens: int = Field(description="tokens read in training")
    bits_per_byte: Estimate = Field(description="of the file, on the test half of the validation stories")


class PackedModel(PackedFile):
    teacher: str | None = Field(None, description="the model that taught it; null if it was trained on the text alone")
    choice_bits_per_byte: float = Field(description="of the file, on the choice half")
    float32_bits_per_byte: float = Field(description="of the weights before they were rounded, on the test half")


class RoundedModel(Part):
    """One of the run's large models, after training, at one precision."""

    model: Large = Field(description="which")
    precision: Precision = Field(description="what its matrices are stored in")
    method: Literal["none", "rounding", "compensation"] = Field(description="how the weights came onto the grid")
    file_bytes: int = Field(description="bytes of the file, tokenizer included")
    parameters: int = Field(description="parameters")
    embedding_parameters: int = Field(description="those of the tables whose rows are tokens, input and output")
    bits_per_byte: Estimate = Field(description="loss on the test half; interval over stories")
    difference: Estimate | None = Field(description="loss minus that in float32, story by story; null of float32")
    gain: Estimate | None = Field(description="loss minus that by rounding, story by story; null unless compensated")


class TaughtModel(Part):
    """A file whose model was taught, beside those of the same model trained on the text alone. A difference is the
    taught model's loss minus the other's, story by story, on the test half."""

    name: str = Field(description="the model")
    teacher: str = Field(description="the model that taught it")
    tokens: int = Field(description="tokens read, taught or alone")
    longer_tokens: int = Field(description="tokens read alone for as many operations as teaching takes")
    bits_per_byte: Estimate = Field(description="loss of the taught one; interval over stories")
    alone: Estimate = Field(description="loss of the one alone, on equal text")
    longer: Estimate = Field(description="loss of the one alone, with equal operations")
    difference: Estimate = Field(description="at equal text")
    longer_difference: Estimate = Field(description="at equal operations")


class VocabularyModel(PackedFile):
    """A model of the study of vocabularies; the others of its size and seed differ in vocabulary and tying alone."""

    seed: int = Field(description="seed of its weights and batches")
    flops: float = Field(description="floating-point operations of training")


class Stretch(Part):
    """A stretch of the lower envelope: up to the next one, the lowest loss in so many bytes is one vocabulary's."""

    from_bytes: int = Field(description="the file's bytes from which on this vocabulary has the lowest loss")
    vocab_size: int = Field(description="entries of the vocabulary")
    name: str = Field(description="its best model in this stretch")
    file_bytes: int = Field(description="bytes of that one's file")
    rival: str | None = Field(description="the best of no more bytes with another vocabulary; null if there is none")
    rival_vocab_size: int | None = Field(description="entries of the rival's vocabulary")
    difference: Estimate | None = Field(description="loss of the best minus the rival's, story by story")
    verdict: Literal["ahead", "not told apart"] | None = Field(
        description="ahead: zero lies outside of an interval over stories and seeds; null where nothing is ranked"
    )


class VocabularyStudy(Part):
    """Vocabulary x tying x size, each model trained on as many bytes of stories in as many updates."""

    text_bytes: int = Field(description="bytes of stories that each model read in training")
    seed_spread: float | None = Field(
        description="standard deviation of bits per byte over seeds, of the smallest size; null with one seed"
    )
    models: list[VocabularyModel] = Field(description="the models, by vocabulary, tying, size and seed")
    envelope: list[Stretch] = Field(description="the lower envelope of the first seeds, from small files to large")


class CountedModel(Part):
    file_bytes: int = Field(description="bytes of its tables, and of the tokenizer")
    bits_per_byte: Estimate = Field(description="loss on the test half; interval over stories")


class SmallFiles(Result):
    """Models trained to be small: all that is published of those that were trained alone, without the rest of a run."""

    FILE: ClassVar = "frontier.json"
    stories: int = Field(description="stories of the test half, which judged")
    models: list[PackedModel] = Field(description="models trained to be small, as the profile lists them")


class FrontierResult(SmallFiles):
    """The frontier: bytes of a file against bits per byte."""

    rounded: list[RoundedModel] = Field(description="the large models by precision")
    ngram: CountedModel = Field(description="the n-gram of notebook 04")
    taught: list[TaughtModel] | None = Field(None, description="models with a teacher; null in runs older than these")
    vocabulary: VocabularyStudy | None = Field(None, description="which vocabulary; null of runs older than the study")
    sharing: SharingResult | None = Field(
        None, description="no result of this run: results/published/reference/sharing.json as it was; null before that"
    )


class PackedTiming(Part):
    name: str = Field(description="the model")
    seconds: float = Field(description="seconds of training, without validation and checkpoints")
    decoding: float = Field(description="tokens a second of one story, written straight from the file's integers")
    float32_decoding: float = Field(description="the same by the weights in float32")


class TaughtTiming(Part):
    name: str = Field(description="the taught model")
    seconds: float = Field(description="seconds of its training, in which its teacher reads along")
    alone_seconds: float = Field(description="the same of the one alone, on equal text")
    longer_seconds: float = Field(description="the same of the one alone, with equal operations")


class VocabularyTiming(Part):
    name: str = Field(description="the model")
    seconds: float = Field(description="seconds of training, without validation and checkpoints")


class RoundedTiming(Part):
    model: Large = Field(description="which")
    precision: Precision = Field(description="what its matrices are stored in")
    decoding: float = Field(description="tokens a second of one story")


class SmallFilesTimings(Result):
    """What the models trained to be small cost on the machine that trained them."""

    FILE: ClassVar = "timings/frontier.json"
    models: list[PackedTiming] = Field(description="models trained to be small")


class FrontierTimings(SmallFilesTimings):
    """What the models of the frontier cost on this machine."""

    rounded: list[RoundedTiming] = Field(description="the large models by precision, rounded")
    taught: list[TaughtTiming] | None = Field(None, description="models with a teacher; null in runs older than these")
    vocabulary: list[VocabularyTiming] | None = Field(None, description="models of the study of vocabularies")
