"""What helps once the stories are used up, and only computing is left: measured once, beside the reference files."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result


class Trained(Part):
    """One model, one seed."""

    epochs: int = Field(description="times that training read the stories")
    dropout: float = Field(description="share of activations left out in training")
    weight_decay: float = Field(description="decay of the weight matrices, per update and unit of rate")
    parameters: int = Field(description="parameters of the model")
    choice_bits_per_byte: float = Field(description="on the choice half")
    bits_per_byte: float = Field(description="on the test half")
    train_loss: float = Field(description="mean loss of the last updates, in nats per token, with dropout")


class Ensemble(Part):
    """Models that differ by their seed alone; their probabilities are averaged."""

    members: int = Field(description="models, those of the lowest seeds")
    bits_per_byte: float = Field(description="on the test half")
    difference: Estimate = Field(description="its loss minus that of its first member, interval over stories")


class Student(Part):
    """A model that learned from the stories and from the largest ensemble, beside one that learned from the stories."""

    parameters: int = Field(description="parameters of the student")
    epochs: int = Field(description="times that training read the stories")
    dropout: float = Field(description="share of activations left out in training")
    alone: float = Field(description="bits per byte on the test half without a teacher, same seed and settings")
    bits_per_byte: float = Field(description="on the test half, taught")
    difference: Estimate = Field(description="the taught one's loss minus the other's, interval over stories")


class FixedDataResult(Result):
    """Epochs, dropout, weight decay, size, ensembles and distillation on an eighth of the stories."""

    FILE: ClassVar = "fixed_data.json"
    commit: str = Field(description="commit of the repository that holds the script, pn_lib/run/fixed_data_study.py")
    machine: str = Field(description="processor and instructions, one thread")
    precision: str = Field(description="precision of the matrix products")
    text_bytes: int = Field(description="bytes of the training stories")
    tokens: int = Field(description="tokens of the training stories")
    stories: int = Field(description="stories of the test half, which judged")
    models: list[Trained] = Field(description="the models of seed 0")
    epochs: int = Field(description="epochs of an ensemble's members, the best of the choice half")
    dropout: float = Field(description="dropout of an ensemble's members, the best of the choice half")
    members: list[float] = Field(description="bits per byte of each member alone, on the test half")
    ensembles: list[Ensemble] = Field(description="by size")
    students: list[Student] = Field(description="by size")
