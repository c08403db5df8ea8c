"""A model of the frontier that was taught, beside the same model trained on the text alone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path

from pn_lib.data.halves import halves
from pn_lib.data.stories import read_stories
from pn_lib.evaluation.intervals import bits_per_byte_interval
from pn_lib.models.flops import forward_flops, training_flops_per_token
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.packed import load_packed
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run.frontier import Trained, train_packed
from pn_lib.run.profile import FrontierModel
from pn_lib.run.results.frontier_results import TaughtModel, TaughtTiming


def taught_or_alone(
    models: Sequence[FrontierModel], stories: Path, folder: Path
) -> list[tuple[TaughtModel, TaughtTiming]]:
    """Those of ``models`` that have a teacher, each beside two trained alone: on the same text, and on as much more as
    costs what the teacher's forward passes cost. All are trained, or read, as ``train_packed`` does, whose errors these
    are; what training the teacher cost is counted to neither side.
    """
    settings = {model.name: model for model in models}
    validation = list(read_stories(stories / "validation.parquet"))
    texts, found = list(compress(validation, halves(validation).test)), []
    for name, model in settings.items():
        if model.teacher is None:
            continue
        teacher, taught = (train_packed(settings[each], stories, folder) for each in (model.teacher, name))
        alone = replace(model, name=f"{name}-alone", teacher=None)
        tokens = round(model.training.tokens * cost_of_teaching(taught, teacher))
        longer = replace(alone, name=f"{name}-longer", training=replace(model.training, tokens=tokens))
        found.append(_compare(taught, *(train_packed(each, stories, folder) for each in (alone, longer)), texts))
    return found


def cost_of_teaching(student: Trained, teacher: Trained) -> float:
    """Operations of a taught student's training, as a multiple of those alone: each token costs the teacher a forward
    pass."""
    small, large = (TransformerConfig(**each.model.config) for each in (student, teacher))
    return 1 + forward_flops(large, small.context) / small.context / training_flops_per_token(small)


def _compare(
    taught: Trained, alone: Trained, longer: Trained, texts: Sequence[str]
) -> tuple[TaughtModel, TaughtTiming]:
    own, *others = (text_likelihood(*load_packed(each.path), texts) for each in (taught, alone, longer))
    difference, longer_difference = (
        bits_per_byte_interval(own.story_nats - other.story_nats, own.story_bytes) for other in others
    )
    found = TaughtModel(
        name=taught.model.name,
        teacher=taught.model.teacher,
        tokens=taught.model.tokens,
        longer_tokens=longer.model.tokens,
        bits_per_byte=taught.model.bits_per_byte,
        alone=alone.model.bits_per_byte,
        longer=longer.model.bits_per_byte,
        difference=difference,
        longer_difference=longer_difference,
    )
    timing = TaughtTiming(
        name=taught.model.name,
        seconds=taught.timing.seconds,
        alone_seconds=alone.timing.seconds,
        longer_seconds=longer.timing.seconds,
    )
    return found, timing
