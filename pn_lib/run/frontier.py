"""Models of the frontier, bytes of a file against bits per byte: trained, rounded, written to the file, and judged by
what the file says.

All is kept in ``folder/<name>/`` with the key of what decides it: a finished model is read, not trained again, and a
killed run goes on from its checkpoint.
"""

import shutil
import time
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path

import torch

from pn_lib.data.halves import halves
from pn_lib.data.stories import read_stories
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.evaluation.intervals import bits_per_byte_interval
from pn_lib.files import read_json, write_json
from pn_lib.key import code, digest, make_key
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
from pn_lib.training.loop import Training, train

RESULT = "result.json"
ENOUGH = 30  # stories of the test half, below which no sentence ranks anything
WRITINGS = 3  # of a story, the fastest of which tells how fast a model decodes


@dataclass(frozen=True)
class Trained:
    """A finished model: its file, what it reached, and what that cost."""

    path: Path
    model: PackedModel
    timing: PackedTiming


def train_packed(settings: FrontierModel, stories: Path, folder: Path) -> Trained:
    """Train a tokenizer and a model on ``stories/train.parquet``, write ``folder/<name>/<name>.safetensors``, and judge
    that file on the test half of ``stories/validation.parquet``; or read what was found before.

    The learning curve is of the choice half, so that nobody is tempted to choose anything by the test half. Beside the
    file are the weights in float32, by which the model can teach another.

    Raises:
        InputError: options that no Transformer has; stories that are missing, or all in one half; a teacher that was
            not trained in this folder before, or that has other tokens.
        DivergenceError: training diverged.
    """
    home, teacher = folder / settings.name, Teacher(load_model(folder / settings.teacher)) if settings.teacher else None
    key = _key(settings, stories, teacher)
    path = home / f"{settings.name}.safetensors"
    known = read_json(home / RESULT) if (home / RESULT).exists() and path.exists() else {}
    if known.get("key") != key:
        tokenizer = _prepare(settings, stories, home)
        model, training = _train(settings, tokenizer, home, teacher)
        model.save(home)
        grid = Grid(settings.training.quantize, settings.training.quantize_group)
        save_packed(quantize(model, grid), tokenizer, path)
        found, timing = _judge(settings, model, training, path)
        known = {"key": key, "model": found.model_dump(), "timing": timing.model_dump()}
        write_json(home / RESULT, known)
        _tidy(home)
    return Trained(path, PackedModel(**known["model"]), PackedTiming(**known["timing"]))


def _key(settings: FrontierModel, stories: Path, teacher: Teacher | None) -> str:
    parts = ("train", "validation")
    read = {part: digest(stories / f"{part}.parquet") for part in parts}
    taught = None if teacher is None else teacher.key()
    return make_key({"settings": asdict(settings), "stories": read, "teacher": taught, "code": code({__name__})})


def _prepare(settings: FrontierModel, stories: Path, home: Path) -> Tokenizer:
    """The tokenizer, and the token files ``home/tokens/{train,choice,test}`` in its tokens."""
    texts = stories / "train.parquet"
    tokenizer = train_tokenizer(read_stories(texts), settings.vocab_size)
    write_tokens(home / "tokens" / "train", read_stories(texts), tokenizer)
    validation = list(read_stories(stories / "validation.parquet"))
    for half, mask in halves(validation)._asdict().items():
        write_tokens(home / "tokens" / half, compress(validation, mask), tokenizer)
    return tokenizer


def _train(
    settings: FrontierModel, tokenizer: Tokenizer, home: Path, teacher: Teacher | None
) -> tuple[LanguageModel, Training]:
    config = settings.training
    torch.manual_seed(config.seed)
    model = Transformer(TransformerConfig(tokenizer.vocab_size, config.context, **settings.transformer))
    tokens, validate = TokenFile(home / "tokens" / "train"), lambda model: _score(model, home, "choice")
    return model, train(model, tokens, config, validate=validate, folder=home, name=settings.name, teacher=teacher)


def _score(model: LanguageModel, home: Path, half: str) -> Likelihood:
    return likelihood(model, TokenFile(home / "tokens" / half), model.config.context)


def _judge(
    settings: FrontierModel, model: LanguageModel, training: Training, path: Path
) -> tuple[PackedModel, PackedTiming]:
    """Of the file at ``path``, whose weights are the rounded ones of ``model``."""
    packed, tokenizer = load_packed(path)
    test = _score(packed, path.parent, "test")
    tables = model.embedding.weight.numel() * (1 if model.config.tied_embeddings else 2)
    found = PackedModel(
        name=settings.name,
        file_bytes=path.stat().st_size,
        tokenizer_bytes=len(pack_tokenizer(tokenizer)[1]),
        parameters=model.n_parameters(),
        embedding_parameters=tables,
        integers=settings.training.quantize,
        teacher=settings.teacher,
        config=asdict(model.config),
        tokens=settings.training.planned_tokens,
        bits_per_byte=bits_per_byte_interval(test.story_nats, test.story_bytes),
        choice_bits_per_byte=_score(packed, path.parent, "choice").bits_per_byte,
        float32_bits_per_byte=_score(model, path.parent, "test").bits_per_byte,
    )
    timing = PackedTiming(
        name=settings.name,
        seconds=training.seconds,
        decoding=decoding_speed(packed, tokenizer.separator_id),
        float32_decoding=decoding_speed(model, tokenizer.separator_id),
    )
    return found, timing


def decoding_speed(model: LanguageModel, separator_id: int) -> float:
    """Tokens a second of one sequence, written from nothing until the context is full; the fastest of ``WRITINGS``."""
    seconds = []
    for _ in range(WRITINGS):
        start = time.perf_counter()
        written = generate(model, [[separator_id]], model.config.context)
        seconds.append(time.perf_counter() - start)
    return len(written[0].ids) / min(seconds)


def _tidy(home: Path) -> None:
    """A packed model is small; its checkpoints and tokens are not."""
    for path in checkpoints(home):
        path.unlink()
    shutil.rmtree(home / "tokens")
