"""Keeping a trained model: our own files, and beside them a folder that ``transformers`` opens, with a model card."""

from pathlib import Path

from pn_lib.data.corpus_paths import TINYSTORIES
from pn_lib.data.tokenizer import Tokenizer
from pn_lib.evaluation.intervals import Interval
from pn_lib.models.base import LanguageModel
from pn_lib.models.export import ModelCard, export_transformers
from pn_lib.models.likelihood import Likelihood
from pn_lib.run.results.data_results import DataResult
from pn_lib.run.run import Run
from pn_lib.run.stages import NAMED_CORPORA
from pn_lib.training.config import TrainingConfig


def keep_model(
    run: Run,
    name: str,
    model: LanguageModel,
    tokenizer: Tokenizer,
    training: TrainingConfig,
    score: Likelihood,
    interval: Interval | None = None,
) -> Path:
    """Write ``models/<name>`` and ``models/<name>/hf`` of the run; returns the latter.

    Args:
        training: what it was trained with.
        score: what it reached on the validation stories, ``interval`` its 95 % interval in bits per byte.

    Raises:
        InputError: transformers has no class for this architecture.
    """
    corpus = run.read(DataResult).corpus
    folder = run.path(f"models/{name}")
    model.save(folder)
    card = ModelCard(
        name=f"PocketNarrator {name} ({run.name})",
        licence="mit" if run.corpus in NAMED_CORPORA else "other",
        corpus=corpus.title,
        corpus_source=corpus.source,
        corpus_licence=corpus.licence,
        corpus_fingerprint=corpus.fingerprint,
        tokens=training.planned_tokens,
        steps=training.steps,
        batch_size=training.batch_size,
        context=training.context,
        bits_per_byte=score.bits_per_byte,
        measured_on=f"{score.stories} validation stories",
        interval=None if interval is None else (interval.low, interval.high),
        dataset=TINYSTORIES if run.corpus == "tinystories" else None,
        language="en" if run.corpus in NAMED_CORPORA else None,
    )
    export_transformers(model, tokenizer, folder / "hf", card)
    return folder / "hf"
