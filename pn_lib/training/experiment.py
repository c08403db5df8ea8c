"""One experiment of a study: a model, a way to train it, the stories; out comes a judged learning curve, once.

An experiment is plain values, so that it can travel to another process or another machine, and so that a finished one
is recognised: its result is a small file, and a second run of the study reads that instead of training.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from pn_lib.data.tokens import TokenFile, token_paths
from pn_lib.errors import DivergenceError
from pn_lib.key import code, digest, keep, kept, make_key
from pn_lib.models.architectures import build_model
from pn_lib.models.base import LanguageModel
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.generation import generate
from pn_lib.models.likelihood import Likelihood, likelihood
from pn_lib.training.checkpoint import checkpoints
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import Training, train
from pn_lib.training.profiling import PHASES

RESULT = "result.json"
GLANCE = 16  # stories that a validation on the way looks at


class Keyed(Protocol):
    """What a study needs to know of an experiment."""

    @property
    def name(self) -> str: ...

    def key(self) -> str: ...


@dataclass(frozen=True)
class Experiment:
    """All that decides a result. The model begins from the seed of ``training``, and so do its batches.

    ``train``, ``validation`` and ``test`` are prefixes of token files. The trained model is judged by the first
    ``stories`` stories (None: all) of ``test`` or, without it, of ``validation``; the points of the learning curve on
    the way always by validation stories, ``GLANCE`` of them or, with ``curve``, as many as at the end. So a study that
    chooses is given the choice half as ``validation`` (see ``pn_lib.data.halves``), and one that judges what was chosen
    the test half as ``test``. The model then tells ``told`` stories from nothing, at temperature 1, and is saved beside
    the result with ``keep``. ``name`` is the folder of the result and must be the experiment's own within a study.
    """

    name: str
    model: NeuralConfig
    training: TrainingConfig
    train: str
    validation: str
    test: str | None = None
    stories: int | None = None
    curve: bool = False
    told: int = 0
    keep: bool = False

    def key(self) -> str:
        """Changes with every setting, with the stories, and with the code that trains and judges."""
        prefixes = {"train": self.train, "validation": self.validation, "test": self.judging}
        settings = asdict(self) | {
            "kind": type(self.model).__name__,
            **{name: [digest(path) for path in token_paths(prefix)] for name, prefix in prefixes.items()},
            "code": code({__name__}),
        }
        return make_key(settings)

    @property
    def judging(self) -> str:
        """The prefix of the stories that judge the trained model."""
        return self.test or self.validation


def run_experiment(experiment: Experiment, folder: Path | str) -> dict[str, Any]:
    """Train and judge, or read what was found before; killed, it goes on from its checkpoint.

    Returns (and keeps in ``folder/<name>/result.json``): parameters, seed, tokens, steps, bits_per_byte and
    nats_per_token of the trained model, the ``story_nats`` of each judging story, the stories it ``told`` (token ids
    without separators), the ``curve`` (rows of the training's history) and, of the clock, ``seconds``,
    tokens_per_second, peak_memory_mb, the ``phases``' seconds, and ``curve_seconds``, those of the curve's points.

    Raises:
        DivergenceError: training diverged; the message names the experiment.
    """
    home, key = Path(folder) / experiment.name, experiment.key()
    known = finished(experiment, folder, key)
    if known is not None:
        return known
    config = experiment.training
    torch.manual_seed(config.seed)
    model = build_model(experiment.model)
    glance = experiment.stories if experiment.curve else GLANCE
    try:
        training = train(
            model,
            TokenFile(experiment.train),
            config,
            folder=home,
            name=experiment.name,
            validate=lambda model: _judge(experiment, model, experiment.validation, glance),
        )
    except DivergenceError as error:
        raise DivergenceError(f"experiment {experiment.name}: {error}") from None
    result = _result(model, experiment, training)
    if experiment.keep:
        model.save(home)
    keep(home / RESULT, key, result)
    for path in checkpoints(home):  # a result is small, a checkpoint is not
        path.unlink(missing_ok=True)
    return result


def finished(experiment: Keyed, folder: Path | str, key: str | None = None) -> dict[str, Any] | None:
    """The result of this very experiment, if ``folder`` has it."""
    return kept(Path(folder) / experiment.name / RESULT, key or experiment.key())


def _judge(experiment: Experiment, model: LanguageModel, prefix: str, stories: int | None) -> Likelihood:
    return likelihood(model, TokenFile(prefix), experiment.training.context, stories=stories)


def _result(model: LanguageModel, experiment: Experiment, training: Training) -> dict[str, Any]:
    score = _judge(experiment, model, experiment.judging, experiment.stories)
    last = training.timings.iloc[-1]
    return {
        "name": experiment.name,
        "seed": experiment.training.seed,
        "parameters": model.n_parameters(),
        "tokens": int(training.history["tokens"].iloc[-1]),
        "steps": training.steps,
        "bits_per_byte": score.bits_per_byte,
        "nats_per_token": score.nats_per_token,
        "story_nats": score.story_nats.tolist(),
        "told": _tell(experiment, model),
        "seconds": training.seconds,
        "tokens_per_second": training.tokens_per_second,
        "peak_memory_mb": float(last["peak_memory_mb"]),
        "phases": {name: float(last[name]) for name in PHASES},
        "curve": training.history.to_dict("records"),
        "curve_seconds": [0.0, *training.timings["seconds"].tolist()],
    }


def _tell(experiment: Experiment, model: LanguageModel) -> list[list[int]]:
    separator = TokenFile(experiment.validation).separator_id
    stories = generate(
        model,
        [[separator]] * experiment.told,
        experiment.model.context,
        stop_id=separator,
        seed=experiment.training.seed,
    )
    return [story.ids for story in stories]
