"""One experiment with a task of memory: a model is taught, and asked at several lengths, once.

As in ``experiment``, it is plain values, and its result is a small file that a second run reads instead of training.
Such a training takes seconds, so that nothing is saved on the way.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pn_lib.errors import DivergenceError
from pn_lib.key import code, keep, make_key
from pn_lib.models.architectures import build_model
from pn_lib.models.flops import NeuralConfig
from pn_lib.training.experiment import RESULT, finished
from pn_lib.training.task_training import Task, accuracy, train_on_task


@dataclass(frozen=True)
class TaskExperiment:
    """All that decides a result. The model begins from ``seed``, and so do its batches.

    ``lengths`` are those of ``train_on_task``; afterwards ``sequences`` new ones are asked at each of the lengths
    ``tested``, the same for all models. ``name`` is the folder of the result and must be the experiment's own within a
    study.
    """

    name: str
    model: NeuralConfig
    task: Task
    steps: int
    lengths: tuple[int, ...]
    batch_size: int
    learning_rate: float
    matrix_learning_rate: float | None
    seed: int
    tested: tuple[int, ...]
    sequences: int

    def key(self) -> str:
        """Changes with every setting, and with the code that teaches and asks."""
        kinds = [type(self.model).__name__, type(self.task).__name__]
        return make_key(asdict(self) | {"kinds": kinds, "code": code({__name__})})


def run_task_experiment(experiment: TaskExperiment, folder: Path | str) -> dict[str, Any]:
    """Teach and ask, or read what was found before.

    Returns (and keeps in ``folder/<name>/result.json``): name, seed, ``parameters`` of the model, ``nats``, the mean
    loss of the last tenth of its updates, and ``accuracy``, the share of right answers at each length ``tested``.

    Raises:
        DivergenceError: training diverged; the message names the experiment.
    """
    key = experiment.key()
    known = finished(experiment, folder, key)
    if known is not None:
        return known
    torch.manual_seed(experiment.seed)
    model = build_model(experiment.model)
    try:
        losses = train_on_task(
            model,
            experiment.task,
            experiment.steps,
            lengths=experiment.lengths,
            batch_size=experiment.batch_size,
            peak_learning_rate=experiment.learning_rate,
            matrix_learning_rate=experiment.matrix_learning_rate,
            seed=experiment.seed,
        )
    except DivergenceError as error:
        raise DivergenceError(f"experiment {experiment.name}: {error}") from None
    last = losses[-max(1, experiment.steps // 10) :]
    result = {
        "name": experiment.name,
        "seed": experiment.seed,
        "parameters": model.n_parameters(),
        "nats": sum(last) / len(last),
        "accuracy": [
            accuracy(model, experiment.task, length, sequences=experiment.sequences) for length in experiment.tested
        ],
    }
    keep(Path(folder) / experiment.name / RESULT, key, result)
    return result
