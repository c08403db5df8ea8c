"""How fast architectures train beside one another, in one process and in turns; measured once and then remembered."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from pn_lib.hardware import resolve_precision
from pn_lib.key import code, keep, kept, make_key
from pn_lib.models.architectures import build_model
from pn_lib.models.flops import NeuralConfig
from pn_lib.training.config import TrainingConfig
from pn_lib.training.optimizer import optimizer_for
from pn_lib.training.timing import Contender, TrainingStep, alternate


def training_speeds(
    configs: Mapping[str, NeuralConfig], training: TrainingConfig, path: Path, rounds: int = 25
) -> dict[str, float]:
    """Tokens of training a second, of each on random batches of ``training``'s shape.

    ``path`` keeps what was measured, so that whatever follows from a speed (how many tokens another reads in the same
    time) is the same when a killed run goes on.
    """
    models = {name: asdict(config) for name, config in configs.items()}
    key = make_key([asdict(training), models, rounds, code({__name__})])
    if (known := kept(path, key)) is not None:
        return known["tokens_per_second"]
    racers = [_racer(name, config, training) for name, config in configs.items()]
    times = alternate(racers, rounds, description="speeds")
    speeds = {racer.name: racer.units / times[racer.name].median for racer in racers}
    keep(path, key, {"tokens_per_second": speeds})
    return speeds


def _racer(name: str, config: NeuralConfig, training: TrainingConfig) -> Contender:
    torch.manual_seed(training.seed)
    model = build_model(config)
    ids = torch.randint(config.vocab_size, (training.batch_size, training.context + 1))  # (B, T + 1)
    precision = resolve_precision(training.precision, model.device)
    step = TrainingStep(model, optimizer_for(model, training), ids[:, :-1], ids[:, 1:], precision)
    return Contender(name, step, ids[:, 1:].numel())
