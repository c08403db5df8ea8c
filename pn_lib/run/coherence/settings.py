"""The section [coherence] of a profile: which experiments there are."""

from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from pn_lib.config import config_class
from pn_lib.titles import Architecture


@config_class
class CoherentArchitecture:
    """An architecture of the study of coherence: its options, the peak rates of AdamW and of Muon (``matrix_rate``)
    that suit it, and whether it reads ``within_stories`` (see ``TrainingConfig``)."""

    model: dict[str, Any]
    rate: PositiveFloat
    matrix_rate: PositiveFloat
    within_stories: bool = False


@config_class
class DialectSettings:
    """A language of the study of coherence, ``pocket.dialect``, and the budgets of tokens tried in it."""

    tokens: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    plots: PositiveInt | None = None
    words: PositiveInt | None = None


@config_class
class CoherenceSettings:
    """The study of coherence: each architecture (named as in MODELS) at each size, after each number of tokens, with
    each seed; trained on Pocket stories, whatever the corpus, or on a smaller language made of them.

    ``sizes`` are parameters, tables included; the shape is the middle one of those that spend them (see ``shapes``).
    Each model tells ``told`` stories at each of the ``temperatures``, 1 being the first. A run of the notebook makes
    the next experiments, for ``run_tokens``; ``python -m pn_lib coherence`` makes them all.
    """

    architectures: Annotated[dict[Architecture, CoherentArchitecture], Field(min_length=1)]
    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    dialects: Annotated[tuple[DialectSettings, ...], Field(min_length=1)]
    seeds: PositiveInt
    vocab_size: Annotated[int, Field(ge=258)]
    batch_size: PositiveInt
    context: PositiveInt
    told: PositiveInt
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    run_tokens: PositiveInt
