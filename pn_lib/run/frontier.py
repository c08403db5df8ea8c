"""Models of the frontier, bytes of a file against bits per byte: trained, rounded, written to the file, and judged by
what the file says.

All is kept in ``folder/<name>/`` with the key of what decides it: a finished model is read, not trained again, and a
killed run goes on from its checkpoint.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import torch

from pn_lib.data.halves import halves
from pn_lib.data.stories import read_stories
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.data.tokens import TokenFile, token_paths, write_tokens
from pn_lib.evaluation.intervals import bits_per_byte_interval
from pn_lib.key import code, digest, keep, kept, make_key
from pn_lib.models.base import LanguageModel
from pn_lib.models.generation import generate
from pn_lib.models.grid import Grid
from pn_lib.models.likelihood import Likelihood, likelihood
from pn_lib.models.loading import load_model
from pn_lib.models.packed import load_packed, save_packed
from pn_lib.models.packed_tokenizer import pack_tokenizer
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.profile import FrontierModel
from pn_lib.run.results.frontier_results import PackedModel, PackedTiming
from pn_lib.training.checkpoint import checkpoints
from pn_lib.training.distillation import Teacher
from pn_lib.training.experiment import GLANCE
from pn_lib.training.loop import Training, train

RESULT = "result.json"
WRITINGS = 3  # of a story, the fastest of which tells how fast a model decodes


@dataclass(frozen=True)
class Trained:
    """A finished model: its file, what it reached, and what that cost."""

    path: Path
    model: PackedModel
    timing: PackedTiming


@dataclass(frozen=True)
class Encoded:
    """``stories/{train,validation}.parquet`` in the tokens of a tokenizer that ``make`` gives: the training stories,
    and the two halves of the validation stories. Each token file is written to ``folder`` when it is first asked for.
    Of the training stories there are the first that come to ``text`` bytes, or all.
    """

    make: Callable[[], Tokenizer]
    stories: Path
    folder: Path
    text: float = math.inf

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return self.make()

    def tokens(self, part: Literal["train", "choice", "test"]) -> TokenFile:
        if not token_paths(self.folder / part)[1].exists():  # written last
            write_tokens(self.folder / part, self._texts(part), self.tokenizer)
        return TokenFile(self.folder / part)

    def _texts(self, part: str) -> Iterable[str]:
        if part == "train":
            return _first(read_stories(self.stories / "train.parquet"), self.text)
        validation = list(read_stories(self.stories / "validation.parquet"))
        return compress(validation, halves(validation)._asdict()[part])

    def score(self, model: LanguageModel, part: Literal["choice", "test"], stories: int | None = None) -> Likelihood:
        """Of the first so many stories of that half, all by default."""
        return likelihood(model, self.tokens(part), model.config.context, stories=stories)


def _first(texts: Iterable[str], size: float) -> Iterator[str]:
    """The first texts that come to ``size`` bytes."""
    for text in texts:
        if size <= 0:
            return
        yield text
        size -= len(text.encode())


Judge = Callable[[FrontierModel, LanguageModel, Training, Path, Encoded], dict[str, Any]]


def train_packed(settings: FrontierModel, stories: Path, folder: Path) -> Trained:
    """Train a tokenizer and a model on ``stories/train.parquet``, write ``folder/<name>/<name>.safetensors``, and judge
    that file on the test half of ``stories/validation.parquet``; or read what was found before. Beside the file are the
    weights in float32, by which the model can teach another.

    Raises:
        InputError: options that no Transformer has; stories that are missing, or all in one half; a teacher that was
            not trained in this folder before, or that has other tokens.
        DivergenceError: training diverged.
    """
    home = folder / settings.name

    def make() -> Tokenizer:
        return train_tokenizer(read_stories(stories / "train.parquet"), settings.vocab_size)

    # A killed run may have left tokens of other stories
    tokens = home / "tokens" / make_key([settings.vocab_size, _digests(stories)])[:12]
    path, known = packed_once(settings, Encoded(make, stories, tokens), folder, _judge)
    shutil.rmtree(home / "tokens", ignore_errors=True)  # a packed model is small; its tokens are not
    return Trained(path, PackedModel(**known["model"]), PackedTiming(**known["timing"]))


def packed_once(
    settings: FrontierModel, encoded: Encoded, folder: Path, judge: Judge, **also: str
) -> tuple[Path, dict[str, Any]]:
    """The file of a trained model, ``folder/<name>/<name>.safetensors``, and what ``judge`` says of it (JSON values);
    or what was kept before with the same key, which ``also`` is a part of. A killed training goes on.

    Validations on the way look at a few stories of the choice half, so that nobody is tempted to choose anything by the
    test half. Errors are those of ``train_packed``.
    """
    home, teacher = folder / settings.name, Teacher(load_model(folder / settings.teacher)) if settings.teacher else None
    parts = {"settings": asdict(settings), "stories": _digests(encoded.stories), "text": str(encoded.text)}
    parts |= {"code": code({__name__, judge.__module__}), "teacher": None if teacher is None else teacher.key()}
    key, path = make_key(parts | also), home / f"{settings.name}.safetensors"
    known = kept(home / RESULT, key)
    if known is None or not path.exists() or digest(path) != known["packed"]:
        model, training = _train(settings, encoded, home, teacher)
        grid = Grid(settings.training.quantize, settings.training.quantize_group)
        save_packed(quantize(model, grid), encoded.tokenizer, path)
        known = {"packed": digest(path), **judge(settings, model, training, path, encoded)}
        keep(home / RESULT, key, known)
        for checkpoint in checkpoints(home):
            checkpoint.unlink(missing_ok=True)
    return path, known


def _digests(stories: Path) -> dict[str, str]:
    return {part: digest(stories / f"{part}.parquet") for part in ("train", "validation")}


def _train(
    settings: FrontierModel, encoded: Encoded, home: Path, teacher: Teacher | None
) -> tuple[LanguageModel, Training]:
    config = settings.training
    torch.manual_seed(config.seed)
    model = Transformer(TransformerConfig(encoded.tokenizer.vocab_size, config.context, **settings.transformer))
    return model, train(
        model,
        encoded.tokens("train"),
        config,
        validate=lambda model: encoded.score(model, "choice", GLANCE),
        folder=home,
        name=settings.name,
        teacher=teacher,
    )


def _judge(
    settings: FrontierModel, model: LanguageModel, training: Training, path: Path, encoded: Encoded
) -> dict[str, Any]:
    """Of the file at ``path``, whose weights are the rounded ones of ``model``."""
    model.save(path.parent)
    packed, tokenizer = load_packed(path)
    found = PackedModel(
        **described(settings, path, encoded.score(packed, "test")),
        teacher=settings.teacher,
        choice_bits_per_byte=encoded.score(packed, "choice").bits_per_byte,
        float32_bits_per_byte=encoded.score(model, "test").bits_per_byte,
    )
    timing = PackedTiming(
        name=settings.name,
        seconds=training.seconds,
        decoding=decoding_speed(packed, tokenizer.separator_id),
        float32_decoding=decoding_speed(model, tokenizer.separator_id),
    )
    return {"model": found.model_dump(), "timing": timing.model_dump()}


def described(settings: FrontierModel, path: Path, test: Likelihood) -> dict[str, Any]:
    """The fields of a ``PackedFile``, ``test`` being what the file at ``path`` says of the test half."""
    model, tokenizer = load_packed(path)
    return {
        "name": settings.name,
        "file_bytes": path.stat().st_size,
        "tokenizer_bytes": len(pack_tokenizer(tokenizer)[1]),
        "parameters": model.n_parameters(),
        "embedding_parameters": model.embedding.weight.numel() * (1 if model.config.tied_embeddings else 2),
        "integers": settings.training.quantize,
        "config": asdict(model.config),
        "tokens": settings.training.planned_tokens,
        "bits_per_byte": bits_per_byte_interval(test.story_nats, test.story_bytes),
    }


def decoding_speed(model: LanguageModel, separator_id: int) -> float:
    """Tokens a second of one sequence, written from nothing until the context is full; the fastest of ``WRITINGS``."""
    seconds = []
    for _ in range(WRITINGS):
        start = time.perf_counter()
        written = generate(model, [[separator_id]], model.config.context)
        seconds.append(time.perf_counter() - start)
    return len(written[0].ids) / min(seconds)
