"""What helps once the stories are used up, and only computing is left: measured once, beside the reference files."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Estimate, Part, Result


class Trained(Part):
    """Models that differ by their seed alone, the lowest seed first."""

    epochs: int = Field(description="times that training read the stories")
    dropout: float = Field(description="share of activations left out in training")
    weight_decay: float = Field(description="decay of the weight matrices, per update and unit of rate")
    parameters: int = Field(description="parameters of the model")
    choice_bits_per_byte: list[float] = Field(description="by seed, on the choice half")
    bits_per_byte: list[float] = Field(description="by seed, on the test half")
    train_loss: list[float] = Field(
        description="by seed, mean loss of the last updates, in nats per token, with dropout"
    )


class Change(Part):
    """Two of the models that differ in one thing, paired by seed."""

    first: int = Field(description="place of one among the models")
    second: int = Field(description="place of the other")
    difference: Estimate = Field(description="the first's loss minus the second's, bits per byte, interval over seeds")
    p: float = Field(description="p-value of the difference")
    p_holm: float = Field(description="after Holm's correction for all changes")
    verdict: str = Field(description="what the first does to the loss, at 5 % after correction")


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
    """Epochs, dropout, weight decay, size, ensembles and distillation on a sixteenth of the stories."""

    FILE: ClassVar = "fixed_data.json"
    commit: str = Field(description="commit of the repository that holds the script, pn_lib/run/fixed_data_study.py")
    machine: str = Field(description="processor and instructions, one thread")
    precision: str = Field(description="precision of the matrix products")
    text_bytes: int = Field(description="bytes of the training stories")
    tokens: int = Field(description="tokens of the training stories")
    stories: int = Field(description="stories of the test half, which judged")
    seeds: int = Field(description="seeds of each model, from 0 on")
    models: list[Trained] = Field(description="by epochs, dropout, and weight decay")
    changes: list[Change] = Field(description="in dropout at each number of epochs, and in weight decay at the most")
    epochs: int = Field(description="epochs of an ensemble's members, the best of the choice half")
    dropout: float = Field(description="dropout of an ensemble's members, the best of the choice half")
    ensembles: list[Ensemble] = Field(description="by size")
    students: list[Student] = Field(description="by size")
