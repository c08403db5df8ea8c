"""Is Muon's gain only a badly chosen rate of AdamW's? ``python -m pn_lib.run.optimizer_study RUN FOLDER``.

Both optimizers train the last rung of notebook 04's ladder. Each tries six rates for the matrices inside the blocks,
each with four rates for all else, which AdamW moves on both sides, and more where the best is at an end. What was
chosen on the choice half with one seed is judged on the test half with others.
"""

import sys
from dataclasses import replace
from itertools import compress, product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pn_lib.data.halves import halves
from pn_lib.data.stories import read_stories
from pn_lib.data.tokenizer import Tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.evaluation.intervals import compare_models
from pn_lib.hardware import instructions, processor, resolve_precision
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run.profile import load_profile
from pn_lib.run.results.optimizers_results import OptimizersResult, Side, Trial
from pn_lib.run.run import commit
from pn_lib.training import loop, optimizer
from pn_lib.training.config import TrainingConfig
from pn_lib.training.experiment import Experiment, run_experiment
from pn_lib.training.tuning import FACTOR, TUNING_SEED

FIRST = {"adamw": 0.00125, "muon": 0.0025}  # the lowest of six rates of the matrices
OTHER = (0.01, 0.02, 0.04, 0.08)  # rates of all else
STEPS, SEEDS = 6, range(5)


def by_two_rates(model: nn.Module, config: TrainingConfig) -> optimizer.Optimizers:
    """As ``optimizer_for``, but AdamW has a rate of its own for the matrices, too."""
    if config.optimizer == "muon":
        return optimizer.optimizer_for(model, config)
    groups = optimizer.parameter_groups(model)
    options = [
        {"params": groups["matrices"], "lr": config.matrix_learning_rate, "weight_decay": config.weight_decay},
        {"params": groups["spared"], "lr": config.learning_rate, "weight_decay": 0.0},
    ]
    return optimizer.Optimizers([torch.optim.AdamW(options, betas=config.betas, fused=True)])


class Study:
    """Experiments on the stories of ``run``, kept in ``folder``."""

    def __init__(self, run: Path, folder: Path):
        self.folder, self.train = folder, str(run / "tokens" / "train")
        tokenizer, recipe = Tokenizer.load(run / "tokenizer"), load_profile("laptop").recipe
        texts = list(read_stories(run / "stories" / "validation.parquet"))
        for name, mask in halves(texts)._asdict().items():
            write_tokens(folder / name, compress(texts, mask), tokenizer)
        self.model = TransformerConfig(tokenizer.vocab_size, recipe.context, **recipe.transformer)
        self.training = TrainingConfig(
            tokens=recipe.tokens, batch_size=recipe.batch_size, context=recipe.context, evals=2
        )

    def trained(self, name: str, matrix_rate: float, rate: float, seed: int) -> dict:
        """Judged on the choice half where the seed is the one that chooses."""
        training = replace(
            self.training, optimizer=name, matrix_learning_rate=matrix_rate, learning_rate=rate, seed=seed
        )
        title = f"{name}, {matrix_rate:g}, {rate:g}, seed {seed}"
        choice, test = str(self.folder / "choice"), str(self.folder / "test")
        judged = None if seed == TUNING_SEED else test
        found = run_experiment(Experiment(title, self.model, training, self.train, choice, judged), self.folder)
        print(f"{title}: {found['bits_per_byte']:.4f}", flush=True)
        return found

    def side(self, name: str) -> tuple[Side, list[dict]]:
        """At its best rates, and its runs there."""
        matrix_rates, rates, tried = [FIRST[name] * FACTOR**step for step in range(STEPS)], list(OTHER), {}
        wider = True
        while wider:
            for pair in product(matrix_rates, rates):
                if pair not in tried:
                    tried[pair] = self.trained(name, *pair, TUNING_SEED)["bits_per_byte"]
            best = min(tried, key=tried.__getitem__)
            wider = [widened(*both) for both in zip((matrix_rates, rates), best, strict=True)].count(True) > 0
        runs = [self.trained(name, *best, seed) for seed in SEEDS]
        trials = [Trial(matrix_rate=m, rate=r, bits_per_byte=loss) for (m, r), loss in sorted(tried.items())]
        mean = float(np.mean([run["bits_per_byte"] for run in runs]))
        return Side(optimizer=name, trials=trials, matrix_rate=best[0], rate=best[1], bits_per_byte=mean), runs


def widened(rates: list[float], best: float) -> bool:
    """Whether the best rate was at an end, so that there is one more beyond it now."""
    if best == rates[0]:
        rates.insert(0, rates[0] / FACTOR)
    elif best == rates[-1]:
        rates.append(rates[-1] * FACTOR)
    else:
        return False
    return True


def main() -> None:
    """RUN is a run's folder of results, with notebooks 01 and 02 done; FOLDER gets optimizers.json."""
    run, folder = (Path(argument) for argument in sys.argv[1:])
    torch.set_num_threads(1)
    loop.optimizer_for = by_two_rates
    study = Study(run, folder)
    sides = {name: study.side(name) for name in FIRST}
    nats = {name: np.array([one["story_nats"] for one in sides[name][1]]) for name in ("muon", "adamw")}
    test = TokenFile(folder / "test")
    one = sides["muon"][1][0]
    OptimizersResult(
        commit=commit(),
        machine=f"{processor()} ({instructions()}), one thread",
        precision=resolve_precision(study.training.precision, torch.device("cpu")),
        parameters=one["parameters"],
        tokens=one["tokens"],
        updates=one["steps"],
        stories=len(test),
        seeds=len(SEEDS),
        **{name: side for name, (side, _) in sides.items()},
        difference=compare_models(nats, np.asarray(test.story_bytes))[0].difference,
    ).write(folder / OptimizersResult.FILE)


if __name__ == "__main__":
    main()
