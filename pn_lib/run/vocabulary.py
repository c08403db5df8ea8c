"""Which vocabulary for how many bytes? Vocabulary x tying x size, each model trained on as much text.

A small vocabulary has small tables, and a short tokenizer in the file; but its texts have more tokens, and each costs a
pass through the layers. So all models read the same number of bytes of stories, and what that cost stands beside.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pn_lib.data.stories import read_stories
from pn_lib.data.tokenizer import SMALLEST_VOCABULARY, Tokenizer, tokenizer_of
from pn_lib.evaluation.enough import too_small
from pn_lib.evaluation.intervals import Interval, bits_per_byte_interval
from pn_lib.key import make_key
from pn_lib.models.base import LanguageModel
from pn_lib.models.flops import training_flops
from pn_lib.models.packed import load_packed
from pn_lib.models.packed_tokenizer import merges_of
from pn_lib.run.frontier import Encoded, described, packed_once
from pn_lib.run.profile import FrontierModel, VocabularySettings
from pn_lib.run.results.frontier_results import Stretch, VocabularyModel, VocabularyStudy, VocabularyTiming
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import Training

SAMPLE = 1000  # training stories that tell how many tokens a byte has
NORMAL = 1.96  # standard deviations on either side in a 95 % interval


@dataclass(frozen=True)
class Judged:
    """A model of the study with the nats and the bytes of each test story, and the seconds of its training."""

    model: VocabularyModel
    story_nats: np.ndarray
    story_bytes: np.ndarray
    seconds: float


def no_larger(vocab_sizes: Sequence[int], largest: int) -> list[int]:
    """Those of ``vocab_sizes`` that are no larger than ``largest``, or it alone."""
    return [size for size in vocab_sizes if size <= largest] or [largest]


def vocabulary_study(
    settings: VocabularySettings, tokenizer: Tokenizer, stories: Path, folder: Path, scratch: Path
) -> tuple[VocabularyStudy, list[VocabularyTiming]]:
    """Train and judge every model, or read what ``folder`` keeps of it (see ``packed_once``).

    The vocabularies are cut from ``tokenizer``, which was trained on ``stories/train.parquet``; those larger than it
    are left out. The token files of each lie in ``scratch``. Errors are those of ``train_packed``.
    """
    judged = []
    for vocab_size in no_larger(settings.vocab_sizes, tokenizer.vocab_size):
        cut = first_merges(tokenizer, vocab_size)
        place, text = scratch / f"vocabulary-{vocab_size}", settings.training.planned_tokens
        encoded = Encoded(lambda cut=cut: cut, stories, place, text)
        merges = make_key(merges_of(cut))
        for model in _models(settings, vocab_size, tokens_per_byte(cut, stories)):
            _, known = packed_once(model, encoded, folder, _judge, tokenizer=merges)
            arrays = (np.array(known[name]) for name in ("story_nats", "story_bytes"))
            judged.append(Judged(VocabularyModel(**known["model"]), *arrays, known["seconds"]))
    spread = seed_spread([each.model for each in judged])
    study = VocabularyStudy(
        text_bytes=settings.training.planned_tokens,
        seed_spread=spread,
        models=[each.model for each in judged],
        envelope=envelope(judged, spread),
    )
    return study, [VocabularyTiming(name=each.model.name, seconds=each.seconds) for each in judged]


def first_merges(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """The tokenizer that the same texts give with a smaller vocabulary: merges are learned one after another, so it is
    the beginning of ``tokenizer``. With 257 entries it has none, and its tokens are bytes."""
    return tokenizer_of(merges_of(tokenizer)[: vocab_size - SMALLEST_VOCABULARY])


def tokens_per_byte(tokenizer: Tokenizer, stories: Path) -> float:
    """Over some of ``stories/train.parquet``, the separators included."""
    texts = list(islice(read_stories(stories / "train.parquet"), SAMPLE))
    tokens = sum(len(ids) + 1 for ids in tokenizer.encode_batch(texts))
    return tokens / sum(len(text.encode()) for text in texts)


def at_equal_text(training: TrainingConfig, tokens_per_byte: float) -> TrainingConfig:
    """``training``, written for bytes, for another vocabulary: as much text in each window, and as many updates."""
    context = max(1, round(training.context * tokens_per_byte))
    return replace(training, context=context, tokens=training.steps * training.batch_size * context)


def _models(settings: VocabularySettings, vocab_size: int, tokens_per_byte: float) -> Iterator[FrontierModel]:
    training = at_equal_text(settings.training, tokens_per_byte)
    for tied in (True, False):
        for number, size in enumerate(settings.sizes):
            for seed in range(training.seed, training.seed + (1 if number else settings.seeds)):
                yield FrontierModel(
                    name=f"{vocab_size}-{'tied' if tied else 'untied'}-{number}-{seed}",
                    vocab_size=vocab_size,
                    transformer=size | {"tied_embeddings": tied},
                    training=replace(training, seed=seed),
                )


def _judge(
    settings: FrontierModel, model: LanguageModel, training: Training, path: Path, encoded: Encoded
) -> dict[str, Any]:
    test = encoded.score(load_packed(path)[0], "test")
    found = VocabularyModel(
        **described(settings, path, test),
        seed=settings.training.seed,
        flops=training_flops(model.config, settings.training.planned_tokens),
    )
    nats, sizes = test.story_nats.tolist(), test.story_bytes.tolist()
    return {"model": found.model_dump(), "story_nats": nats, "story_bytes": sizes, "seconds": training.seconds}


def seed_spread(models: Sequence[VocabularyModel]) -> float | None:
    """The standard deviation over seeds, pooled over all models that have several; None if there is none."""
    losses = [[m.bits_per_byte.value for m in same] for _, same in groupby(models, lambda m: m.name.rpartition("-")[0])]
    variances = [np.var(values, ddof=1) for values in losses if len(values) > 1]
    return math.sqrt(np.mean(variances)) if variances else None


def envelope(judged: Sequence[Judged], spread: float | None) -> list[Stretch]:
    """Of the first seeds, the files than which no other is both smaller and better, one vocabulary after another."""
    first = min(each.model.seed for each in judged)
    files = sorted((each for each in judged if each.model.seed == first), key=lambda each: each.model.file_bytes)
    edge = [each for number, each in enumerate(files) if all(_loss(each) < _loss(other) for other in files[:number])]
    return [_stretch(list(same), files, spread) for _, same in groupby(edge, _vocab_size)]


def _stretch(same: list[Judged], files: list[Judged], spread: float | None) -> Stretch:
    best = same[-1]
    rivals = [each for each in files[: files.index(best)] if _vocab_size(each) != _vocab_size(best)]
    rival = min(rivals, key=_loss, default=None)
    gap = rival and bits_per_byte_interval(best.story_nats - rival.story_nats, best.story_bytes)
    return Stretch(
        from_bytes=same[0].model.file_bytes,
        vocab_size=_vocab_size(best),
        name=best.model.name,
        file_bytes=best.model.file_bytes,
        rival=rival and rival.model.name,
        rival_vocab_size=rival and _vocab_size(rival),
        difference=gap,
        verdict=_verdict(gap, spread, len(best.story_nats)),
    )


def _vocab_size(judged: Judged) -> int:
    return judged.model.config["vocab_size"]


def _loss(judged: Judged) -> float:
    return judged.model.bits_per_byte.value


def _verdict(gap: Interval | None, spread: float | None, stories: int) -> Literal["ahead", "not told apart"] | None:
    """Nothing is ranked on too few stories (``too_small``), or where it is unknown what another seed would change: each
    of two single runs varies by ``spread``, besides what the stories leave open."""
    if gap is None or gap.high is None or spread is None or too_small(stories=stories):
        return None
    high = gap.value + math.hypot(gap.high - gap.value, NORMAL * math.sqrt(2) * spread)
    return "ahead" if high < 0 else "not told apart"


def in_words(study: VocabularyStudy) -> str:
    """The envelope as a list: from how many kilobytes on which vocabulary, and where its lead is none."""
    words = []
    for part in study.envelope:
        beside = f" (not told apart from {part.rival_vocab_size:,})" if part.verdict == "not told apart" else ""
        words.append(f"{part.vocab_size:,} from {part.from_bytes / 1000:.0f} kB on{beside}")
    return "; ".join(words)
