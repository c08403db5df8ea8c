"""``python -m pn_lib compare``: models of any origin on the same held-out stories and probes, beside a general one.

A TOML file names the corpus and the models (``Comparison``). What is scored are whole stories of the test half, every
token given all before it, and their real endings given the beginnings. A model that learned our stories also learned
where they end, and a general one did not, so the end is scored for none. Asked to, the small models also write endings,
which ``python -m pn_lib listen`` then lets the general one hear.
"""

import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import PositiveFloat, PositiveInt

from pn_lib.config import config_class, parse_config
from pn_lib.data.cleaning import clean
from pn_lib.data.corpora import load_corpus
from pn_lib.data.halves import halves
from pn_lib.data.stories import iterate
from pn_lib.data.tokenizer import Coder, train_tokenizer
from pn_lib.evaluation.completions import complete, cut_beginning
from pn_lib.evaluation.ear import ear_path, open_ear
from pn_lib.evaluation.intervals import bits_per_byte_interval
from pn_lib.evaluation.probes import KINDS, accuracy, load_probes, score_probes
from pn_lib.files import read_toml
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import context_of, sequence_nats
from pn_lib.models.loading import open_model
from pn_lib.models.lossless import check_lossless
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.packed_tokenizer import pack_tokenizer
from pn_lib.run.commands.listen_command import MAX_BYTES, REAL
from pn_lib.run.results.listening_results import ComparedModel, GeneralResult
from pn_lib.run.results.result import Estimate
from pn_lib.run.results.stories_results import CompletionsResult
from pn_lib.run.saved_models import PACKED, model_source


@config_class
class Compared:
    """A model of the file: its name for readers, what it was trained on, and where it is, as for ``evaluate``. Without
    a ``source`` it is the general model, SmolLM2-135M-Instruct; ``ngram`` instead counts the corpus's own training
    stories, in that many tokens of its own vocabulary."""

    name: str
    trained_on: str
    source: str | None = None
    general: bool = False
    ngram: int | None = None


@config_class
class Endings:
    """For how many test stories, the first of those scored, each model but the general one writes an ending, and how
    boldly."""

    beginnings: PositiveInt
    temperature: PositiveFloat


@config_class
class Comparison:
    """The corpus, the number of test stories (None: all), and the models, one of them general; the endings to write
    (None: none)."""

    corpus: str
    models: tuple[Compared, ...]
    stories: PositiveInt | None = None
    endings: Endings | None = None

    def __post_init__(self) -> None:
        if sum(model.general for model in self.models) != 1 or len(self.models) < 2:
            raise ValueError("name two models or more, one of them with general = true")
        if twice := [name for name, n in Counter(model.name for model in self.models).items() if n > 1]:
            raise ValueError(f"two models have the name {twice[0]!r}; give each its own")


def compare(file: str, root: Path) -> str:
    """The table as text; its numbers go to ``results/<name of the file>/general.json`` below ``root``, and endings to
    ``completions.json`` there.

    Raises:
        InputError: the file is missing or wrong, a model cannot be opened, or its tokenizer changes a story.
    """
    settings = parse_config(Comparison, read_toml(Path(file), "the comparison"), file)
    corpus = load_corpus(os.path.expandvars(settings.corpus), None, None, 0, root)
    training, validation = (list(iterate(clean(part)[0])) for part in (corpus.train, corpus.validation))
    stories = [story for story, test in zip(validation, halves(validation).test, strict=True) if test]
    stories = stories[: settings.stories]
    results, scored, tellers = root / "results" / Path(file).stem, {}, {}
    for model in settings.models:
        opened = _open(model, training)
        scored[model.name] = _score(*opened, stories)
        if settings.endings and not model.general:
            tellers[model.name] = _endings(*opened[:2], stories, settings.endings)
    if settings.endings:
        _completions(tellers, stories, settings.endings).write(results / CompletionsResult.FILE)
    general = next(model.name for model in settings.models if model.general)
    result = GeneralResult(
        corpus=corpus.card.title,
        stories=len(stories),
        general=general,
        models=[_compared(model, scored[model.name], scored[general], stories) for model in settings.models],
    )
    result.write(results / GeneralResult.FILE)
    return _text(result)


def _endings(model: LanguageModel, tokenizer: Coder, stories: Sequence[str], wanted: Endings) -> list[list[dict]]:
    beginnings = [cut_beginning(story)[0] for story in stories[: wanted.beginnings]]
    endings = complete(model, tokenizer, beginnings, max_bytes=MAX_BYTES, temperature=wanted.temperature)
    return [[ending._asdict() for ending in each] for each in endings]


def _completions(tellers: dict[str, list], stories: Sequence[str], wanted: Endings) -> CompletionsResult:
    """The models' endings beside the real ones."""
    beginnings, real = zip(*map(cut_beginning, stories[: wanted.beginnings]), strict=True)
    tellers = {REAL: [[{"text": ending, "ended": True}] for ending in real], **tellers}
    return CompletionsResult(beginnings=list(beginnings), temperature=wanted.temperature, tellers=tellers)


def _score(model: LanguageModel, tokenizer: Coder, size: int, stories: Sequence[str]) -> dict:
    """What a model of so many bytes says of the stories: nats, in an array each, and its probes; and its sizes."""
    check_lossless(tokenizer, stories)
    cuts = [cut_beginning(story) for story in stories]
    start = [tokenizer.separator_id]
    before, after = ([tokenizer.encode(text) for text in part] for part in zip(*cuts, strict=True))
    context = context_of(model)

    def nats(texts: Iterable[list[int]]) -> np.ndarray:  # of each text, after the separator
        return sequence_nats(model, [start + ids for ids in texts], context)

    whole = nats(a + b for a, b in zip(before, after, strict=True))
    probes = score_probes(model, tokenizer, [probe for kind in KINDS for probe in load_probes(kind)], context)
    return {
        "parameters": model.n_parameters(),
        "file_bytes": size,
        "whole": whole,
        "ending": whole - nats(before),  # log p(ending | beginning)
        "first_word": nats(tokenizer.encode(story.split(maxsplit=1)[0]) for story in stories),
        "probes": accuracy(probes).to_dict("index"),
    }


def _open(settings: Compared, training: Sequence[str]) -> tuple[LanguageModel, Coder, int]:
    """The model, its tokenizer, and the bytes of both on disk."""
    if settings.general:
        path = ear_path(settings.source)
        return *open_ear(settings.source), _bytes(path)
    with tempfile.TemporaryDirectory() as folder:
        if settings.ngram is not None:
            tokenizer = train_tokenizer(training, settings.ngram)
            stream = [tokenizer.separator_id]
            for ids in tokenizer.encode_batch(list(training)):
                stream += [*ids, tokenizer.separator_id]
            model = NGram(NGramConfig(tokenizer.vocab_size, separator_id=tokenizer.separator_id)).fit(np.array(stream))
            model.save(folder)
            path = Path(folder)
        else:
            path = Path(model_source(os.path.expandvars(settings.source)))
            model, tokenizer = open_model(path)
        with_tokenizer = path.suffix == PACKED
        return model, tokenizer, _bytes(path) + (0 if with_tokenizer else len(pack_tokenizer(tokenizer)[1]))


def _bytes(path: Path) -> int:
    """Of a file, or of the weights in a folder."""
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*.bin")]
    return sum(file.stat().st_size for file in files)


def _compared(model: Compared, found: dict, general: dict, stories: Sequence[str]) -> ComparedModel:
    sizes = np.array([len(story.encode()) for story in stories])
    endings = np.array([len(cut_beginning(story)[1].encode()) for story in stories])
    return ComparedModel(
        name=model.name,
        trained_on=model.trained_on,
        parameters=found["parameters"],
        file_bytes=found["file_bytes"],
        bits_per_byte=bits_per_byte_interval(found["whole"], sizes),
        difference=None if model.general else bits_per_byte_interval(found["whole"] - general["whole"], sizes),
        ending=bits_per_byte_interval(found["ending"], endings),
        first_word=float(found["first_word"].mean()) / math.log(2),
        probes=found["probes"],
    )


def _text(result: GeneralResult) -> str:
    rows = {
        model.name: {
            "parameters": f"{model.parameters:,}",
            "kB": f"{model.file_bytes / 1000:,.0f}",
            "bits per byte": spell(model.bits_per_byte),
            f"minus {result.general}": spell(model.difference) if model.difference else "",
            "of endings": spell(model.ending),
            "first word, bits": f"{model.first_word:.1f}",
            **{kind: f"{score.value:.2f}" for kind, score in model.probes.items()},
        }
        for model in result.models
    }
    return (
        f"{result.corpus}: {result.stories:,} stories of the test half, their end not scored; 95 % intervals in "
        f"brackets\n{pd.DataFrame(rows).T.to_string()}"
    )


def spell(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"
