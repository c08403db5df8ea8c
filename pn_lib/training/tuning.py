"""Each side of a comparison at its best: its own learning rate, its own shape, then several seeds on other stories.

What was chosen was chosen on the choice half of the validation stories, with a seed of its own; what is reported is
judged on the test half, of which no choice knows anything (see ``pn_lib.data.halves``). All runs are experiments of a
study: each is kept when it ends, and a second call reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pn_lib.key import make_key
from pn_lib.models.flops import NeuralConfig
from pn_lib.training.config import TrainingConfig
from pn_lib.training.experiment import Experiment
from pn_lib.training.study import run_study

FACTOR = 2.0  # between the rates that are tried
TUNING_SEED = 1_000_000  # chooses, and judges nothing


@dataclass(frozen=True)
class Entry:
    """Somebody who competes: an architecture in one shape, its peak learning rate (AdamW's and Muon's), its budget."""

    name: str
    config: NeuralConfig
    rate: float
    tokens: int


@dataclass(frozen=True)
class Trial:
    """An entry, and its loss on the choice half."""

    entry: Entry
    bits_per_byte: float


@dataclass(frozen=True)
class Tuned:
    """What was tried for an architecture: ``rates`` at one shape, from low to high; then ``shapes`` at the best."""

    rates: list[Trial]
    shapes: list[Trial]

    @property
    def best(self) -> Entry:
        return min(self.shapes, key=_loss).entry

    @property
    def inside(self) -> bool:
        """Whether the best rate has worse ones on both sides."""
        return min(self.rates, key=_loss) not in (self.rates[0], self.rates[-1])


@dataclass(frozen=True)
class Arena:
    """What all runs of a comparison share: the recipe, the stories (prefixes of token files), where results are kept.

    ``training`` gives everything but tokens, rates and seed.
    """

    training: TrainingConfig
    train: str
    choice: str
    test: str
    folder: Path

    def try_out(self, entries: Sequence[Entry], description: str) -> list[Trial]:
        """One run of each, judged on the choice half."""
        experiments = [self._experiment(entry, TUNING_SEED, test=None) for entry in entries]
        results = run_study(experiments, self.folder, description)
        return [Trial(entry, result["bits_per_byte"]) for entry, result in zip(entries, results, strict=True)]

    def judge(
        self, entries: Mapping[str, Entry], seeds: int, description: str, keep: bool = False
    ) -> dict[str, list[dict[str, Any]]]:
        """The results of ``seeds`` runs of each, judged on the test half (see ``run_experiment``).

        With ``keep`` the model of seed 0 is kept, in ``model_folder``. Two entries that are equal run once.
        """
        runs = {
            (who, seed): self._experiment(entry, seed, self.test, keep and seed == 0)
            for seed in range(seeds)  # all entries with a seed, then the next: a killed study has whole pairs
            for who, entry in entries.items()
        }
        unlike = {run.name: run for run in runs.values()}
        results = dict(zip(unlike, run_study(list(unlike.values()), self.folder, description), strict=True))
        return {who: [results[runs[who, seed].name] for seed in range(seeds)] for who in entries}

    def model_folder(self, entry: Entry) -> Path:
        """Where the model of seed 0 was kept."""
        return self.folder / self._experiment(entry, 0, self.test).name

    def _experiment(self, entry: Entry, seed: int, test: str | None, keep: bool = False) -> Experiment:
        plan = replace(
            self.training,
            tokens=entry.tokens,
            learning_rate=entry.rate,
            matrix_learning_rate=entry.rate,
            seed=seed,
        )
        c, which = entry.config, make_key([asdict(entry.config), asdict(plan), bool(test)])[:12]
        name = f"{entry.name}, {c.n_layers} layers of {c.d_model}, rate {entry.rate:g}, seed {seed}, {which}"
        return Experiment(name, c, plan, self.train, self.choice, test, keep=keep)


def tune(
    arena: Arena,
    candidates: Mapping[str, Sequence[NeuralConfig]],
    rates: Sequence[float],
    tokens: int,
    extensions: int,
) -> dict[str, Tuned]:
    """For each architecture the rate that suits it, then the shape.

    All ``rates`` are tried at the middle one of its ``candidates``. While the best lies at an edge of those tried, the
    next one beyond, ``FACTOR`` times as large or small, is tried too, ``extensions`` times at most. The other shapes
    are then tried at the best rate.
    """
    middle = {name: configs[len(configs) // 2] for name, configs in candidates.items()}
    tried: dict[str, list[Trial]] = {name: [] for name in candidates}
    waiting = [Entry(name, config, rate, tokens) for name, config in middle.items() for rate in rates]
    for _ in range(1 + extensions):
        for trial in arena.try_out(waiting, "learning rates"):
            tried[trial.entry.name].append(trial)
        tried = {name: sorted(trials, key=lambda trial: trial.entry.rate) for name, trials in tried.items()}
        waiting = [entry for trials in tried.values() if (entry := beyond_edge(trials))]
    best = {name: min(trials, key=_loss) for name, trials in tried.items()}
    others = [
        replace(best[name].entry, config=config)
        for name, configs in candidates.items()
        for config in configs
        if config != middle[name]
    ]
    shaped = [*best.values(), *arena.try_out(others, "shapes")]
    return {
        name: Tuned(tried[name], _in_order([t for t in shaped if t.entry.name == name], configs))
        for name, configs in candidates.items()
    }


def beyond_edge(trials: Sequence[Trial]) -> Entry | None:
    """What to try next where the best of ``trials``, sorted by rate, is the first or the last; None if it is inside."""
    best = min(trials, key=_loss)
    if best == trials[-1]:
        return replace(best.entry, rate=best.entry.rate * FACTOR)
    return replace(best.entry, rate=best.entry.rate / FACTOR) if best == trials[0] else None


def _loss(trial: Trial) -> float:
    return trial.bits_per_byte


def _in_order(trials: list[Trial], configs: Sequence[NeuralConfig]) -> list[Trial]:
    return sorted(trials, key=lambda trial: list(configs).index(trial.entry.config))
