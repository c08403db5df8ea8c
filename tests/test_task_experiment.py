"""Tasks of memory taught to any architecture: what recall asks, cached experiments, intervals over seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pn_lib.data.tasks import AssociativeRecall, InductionHeads, SelectiveCopying
from pn_lib.data.tokens import IGNORED
from pn_lib.errors import DivergenceError, InputError
from pn_lib.evaluation.intervals import Interval
from pn_lib.evaluation.memory_tasks import accuracy_rows, beside_parents, parents, standing
from pn_lib.models.delta import DeltaNetConfig
from pn_lib.models.hybrid import HybridConfig
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.mamba2 import Mamba2Config
from pn_lib.models.transformer import TransformerConfig
from pn_lib.training import task_experiment as module
from pn_lib.training.study import Here, run_study
from pn_lib.training.task_experiment import TaskExperiment, run_task_experiment

TASK = AssociativeRecall(letters=4, keys=6, tokens_per_pair=4)
SIZE = {"vocab_size": TASK.vocab_size, "context": 16, "d_model": 16, "n_layers": 2}
CONFIGS = {
    "transformer": TransformerConfig(**SIZE, n_heads=2),
    "mamba": MambaConfig(**SIZE, d_state=4, scan="torch"),
    "mamba2": Mamba2Config(**SIZE, d_state=4, head_dim=8),
    "deltanet": DeltaNetConfig(**SIZE, n_heads=2, head_dim=8),
    "hybrid": HybridConfig(**SIZE, pattern="MA", n_heads=2, d_state=4, head_dim=8),
}


def experiment(name, seed=0):
    return TaskExperiment(
        name=f"{name}, seed {seed}",
        model=CONFIGS[name],
        task=TASK,
        steps=20,
        lengths=(4, 8),
        batch_size=16,
        learning_rate=1e-2,
        matrix_learning_rate=0.02,
        seed=seed,
        tested=(8, 16),
        sequences=20,
    )


def test_recall_asks_for_more_where_there_is_more_to_read():
    for length, pairs in ((4, 1), (15, 3), (24, 6)):
        _, targets = TASK.batch(10, length, seed=0, step=0)
        assert ((targets != IGNORED).sum(1) == pairs).all()
    with pytest.raises(InputError, match="at least 4 and at most 27, not 28"):
        TASK.batch(4, 28, seed=0, step=0)
    with pytest.raises(InputError, match="tokens_per_pair must be a whole number of at least 3"):
        AssociativeRecall(tokens_per_pair=2)


def test_recall_cannot_be_learned_by_heart():
    """Every key comes with every letter, and at the end of training there are sequences that were never seen."""
    ids, _ = TASK.batch(4000, 8, seed=0, step=0)
    seen = torch.zeros(TASK.keys, TASK.letters)
    seen[ids[:, 0] - TASK.letters, ids[:, 1]] = 1
    assert seen.all()
    task = AssociativeRecall()
    trained = {tuple(row) for step in range(20) for row in task.batch(32, 32, seed=0, step=step)[0].tolist()}
    asked = {tuple(row) for row in task.batch(256, 32, seed=1 << 32, step=0)[0].tolist()}
    assert len(asked) == 256 and not trained & asked


@pytest.mark.parametrize("name", CONFIGS)
def test_every_architecture_is_taught_and_found_again(tmp_path, monkeypatch, name):
    both = [experiment(name, seed) for seed in range(2)]
    first = run_study(both, tmp_path, "tasks", Here(), run_task_experiment)
    assert [result["seed"] for result in first] == [0, 1]
    assert first[0]["nats"] != first[1]["nats"] and first[0]["parameters"] == first[1]["parameters"]
    for result in first:
        assert len(result["accuracy"]) == 2 and all(0 <= share <= 1 for share in result["accuracy"])
    monkeypatch.setattr(module, "train_on_task", None)  # would fail if it were called
    assert run_study(both, tmp_path, "tasks", Here(), run_task_experiment) == first


def test_a_key_holds_all_that_decides_a_result():
    first = experiment("mamba2")
    changes = [{"steps": 21}, {"lengths": (8,)}, {"seed": 1}, {"tested": (8,)}, {"task": replace(TASK, keys=7)}]
    changes += [
        {"model": CONFIGS["mamba"]},
        {"learning_rate": 1e-3},
        {"matrix_learning_rate": 0.03},
        {"task": SelectiveCopying(4)},
    ]
    changes += [{"task": InductionHeads(4)}]
    keys = {replace(first, **change).key() for change in changes} | {first.key()}
    assert len(keys) == len(changes) + 1 and first.key() == experiment("mamba2").key()


def test_a_taught_model_answers_what_it_could_not_before(tmp_path):
    learned = replace(experiment("deltanet"), steps=150, lengths=(4,), batch_size=32, tested=(4,), sequences=100)
    assert run_task_experiment(learned, tmp_path)["accuracy"][0] > 0.9
    unlearned = replace(learned, name="unlearned", steps=1)
    assert run_task_experiment(unlearned, tmp_path)["accuracy"][0] < 0.6


def test_an_experiment_that_diverges_is_named(tmp_path, monkeypatch):
    def diverges(*_, **__):
        raise DivergenceError("the loss of step 3 is nan")

    monkeypatch.setattr(module, "train_on_task", diverges)
    with pytest.raises(DivergenceError, match="experiment mamba, seed 0: the loss of step 3"):
        run_task_experiment(experiment("mamba"), tmp_path)


def test_intervals_over_seeds_stay_within_shares_and_one_seed_has_none():
    shares = {("recall", "mamba"): np.array([[1.0, 0.5], [0.9, 0.5], [1.0, 0.5]]), ("recall", "hybrid"): [[1.0, 0.2]]}
    table = {(row["architecture"], row["length"]): row for row in accuracy_rows(shares, (8, 16))}
    short, long, alone = (table[where] for where in (("mamba", 8), ("mamba", 16), ("hybrid", 16)))
    assert short["mean"] == pytest.approx(2.9 / 3) and short["high"] == 1 and 0 < short["low"] < short["mean"]
    assert long["low"] == long["mean"] == long["high"] == 0.5 and long["seeds"] == 3
    assert alone["mean"] == 0.2 and alone["low"] is None and alone["high"] is None and alone["seeds"] == 1


def test_the_hybrid_is_set_beside_each_parent_and_several_intervals_are_wider():
    assert parents(CONFIGS["hybrid"]) == ["transformer", "mamba2"]
    assert parents(HybridConfig(9, n_layers=2, pattern="SDFA")) == ["mamba", "deltanet"]  # no third layer, no A
    rng = np.random.default_rng(0)
    hybrid, parent = rng.random((4, 2)), rng.random((4, 2))
    one = beside_parents({("a", "hybrid"): hybrid, ("a", "mamba2"): parent}, ["mamba2"])["a", "mamba2"]
    assert one.value == pytest.approx((hybrid - parent)[:, 1].mean())
    shares = {(task, name): x for task in "ab" for name, x in (("hybrid", hybrid), ("mamba2", parent))}
    two = beside_parents(shares, ["mamba2"])["a", "mamba2"]
    assert two.value == one.value and two.high - two.low > one.high - one.low
    assert (
        beside_parents({("a", "hybrid"): hybrid[:1], ("a", "mamba2"): parent[:1]}, ["mamba2"])["a", "mamba2"].low
        is None
    )


def test_a_hybrid_is_ahead_or_behind_only_where_the_interval_says_so():
    ends = ((0.1, 0.3), (-0.3, -0.1), (-0.1, 0.1), (0.0, 0.0), (None, None))
    said = ["ahead", "behind", "not told apart", "not told apart", "one seed"]
    assert [standing(Interval(0.0, *pair)) for pair in ends] == said
