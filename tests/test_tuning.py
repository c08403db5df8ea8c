"""Each architecture at its best: rates inside their grid, shapes, and seeds on stories that chose nothing."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pn_lib.data.tokens import TokenFile, token_paths
from pn_lib.models.loading import load_model
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig
from pn_lib.training import race, tuning
from pn_lib.training.config import TrainingConfig
from pn_lib.training.tuning import TUNING_SEED, Arena, Entry, tune

RECIPE = TrainingConfig(tokens=64, batch_size=2, context=16, precision="float32", evals=2)
MAMBA = MambaConfig(vocab_size=300, context=16, d_model=16, n_layers=2)
TRANSFORMER = TransformerConfig(vocab_size=300, context=16, d_model=16, n_layers=2, n_heads=2)
SHAPES = {
    "mamba": [replace(MAMBA, d_model=24, n_layers=1), MAMBA, replace(MAMBA, d_model=8, n_layers=4)],
    "transformer": [TRANSFORMER],
}
BEST = {"mamba": 0.16, "transformer": 0.02}  # rates


@pytest.fixture
def arena(prefix, tmp_path):
    return Arena(RECIPE, str(prefix), str(prefix), str(prefix), tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """Experiments are not run: a loss is least at an architecture's best rate, and for the deepest shape."""
    seen = []

    def run_study(experiments, folder, description):
        seen.extend(experiments)
        return [{"bits_per_byte": loss(e.model, e.training.learning_rate)} for e in experiments]

    def loss(config, rate):
        name = "mamba" if isinstance(config, MambaConfig) else "transformer"
        return 2 + abs(math.log(rate / BEST[name])) - 0.01 * config.n_layers

    monkeypatch.setattr(tuning, "run_study", run_study)
    return seen


def test_the_grid_grows_until_the_best_rate_is_inside(arena, asked):
    found = tune(arena, SHAPES, (0.01, 0.02, 0.04), 64, extensions=4)
    assert [trial.entry.rate for trial in found["mamba"].rates] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]
    assert [trial.entry.rate for trial in found["transformer"].rates] == [0.01, 0.02, 0.04]
    assert found["mamba"].inside and found["transformer"].inside
    assert found["mamba"].best == Entry("mamba", SHAPES["mamba"][2], 0.16, 64)  # the deepest, at the best rate
    assert [trial.entry.config for trial in found["mamba"].shapes] == SHAPES["mamba"]
    assert {e.training.seed for e in asked} == {TUNING_SEED}
    assert all(e.training.matrix_learning_rate == e.training.learning_rate and e.test is None for e in asked)


def test_a_best_rate_at_the_edge_is_told_when_the_extensions_are_used_up(arena, asked):
    found = tune(arena, SHAPES, (0.01, 0.02, 0.04), 64, extensions=1)
    assert [trial.entry.rate for trial in found["mamba"].rates][-1] == 0.08
    assert not found["mamba"].inside and found["transformer"].inside


def test_the_grid_grows_downwards_too(arena, asked):
    found = tune(arena, {"transformer": [TRANSFORMER]}, (0.04, 0.08), 64, extensions=2)
    assert [trial.entry.rate for trial in found["transformer"].rates] == [0.01, 0.02, 0.04, 0.08]
    assert found["transformer"].best.rate == 0.02


def test_seeds_are_judged_on_the_test_half_and_equal_entries_run_once(prefix, tmp_path, monkeypatch):
    other = tmp_path / "test"
    for path, copy in zip(token_paths(prefix), token_paths(other), strict=True):
        copy.write_bytes(path.read_bytes())
    arena = Arena(RECIPE, str(prefix), str(prefix), str(other), tmp_path / "runs")
    entry = Entry("mamba", MAMBA, 0.02, 64)
    entries = {"parameters": entry, "bytes": replace(entry), "longer": replace(entry, tokens=96)}
    found = arena.judge(entries, 2, "seeds", keep=True)
    assert found["parameters"] == found["bytes"] != found["longer"]
    assert [result["seed"] for result in found["parameters"]] == [0, 1]
    assert len(found["longer"][0]["story_nats"]) == len(TokenFile(other))
    assert len(list((tmp_path / "runs").iterdir())) == 4
    assert load_model(arena.model_folder(entry)).config == MAMBA
    assert not (tmp_path / "runs" / found["parameters"][1]["name"] / "config.json").exists()
    monkeypatch.setattr("pn_lib.training.experiment.train", None)  # would fail if it were called
    assert arena.judge(entries, 2, "again", keep=True) == found


def test_speeds_are_measured_once(tmp_path, monkeypatch):
    path, configs = tmp_path / "speeds.json", {"mamba": MAMBA, "transformer": TRANSFORMER}
    found = race.training_speeds(configs, RECIPE, path, rounds=3)
    assert found.keys() == configs.keys() and all(speed > 0 for speed in found.values())
    monkeypatch.setattr(race, "alternate", lambda *_, **__: {name: SimpleNamespace(median=32.0) for name in configs})
    assert race.training_speeds(configs, RECIPE, path, rounds=3) == found
    again = race.training_speeds(configs | {"mamba": replace(MAMBA, d_model=8)}, RECIPE, path, rounds=3)
    assert again == {"mamba": 1.0, "transformer": 1.0}
