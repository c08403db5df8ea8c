"""Studies: the same results wherever they run, each experiment computed once."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from training_example import STORIES

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.errors import DivergenceError, InputError
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig
from pn_lib.training import experiment as module
from pn_lib.training.config import TrainingConfig
from pn_lib.training.experiment import RESULT, Experiment
from pn_lib.training.study import Here, make_executor, run_study

HERE = Path(__file__).parent
TRAINING = TrainingConfig(
    tokens=12 * 4 * 16, batch_size=4, context=16, precision="float32", evals=3, checkpoint_every=2
)
SAME = ("name", "seed", "parameters", "tokens", "steps", "bits_per_byte", "nats_per_token", "told", "curve")


@pytest.fixture
def experiments(prefix):
    model = TransformerConfig(vocab_size=300, context=16, d_model=16, n_layers=1, n_heads=2)
    mamba = MambaConfig(vocab_size=300, context=16, d_model=16, n_layers=1, d_state=4)
    both = [
        Experiment(f"{name}-{seed}", config, replace(TRAINING, seed=seed), str(prefix), str(prefix), stories=6, told=2)
        for name, config in (("transformer", model), ("mamba", mamba))
        for seed in (0, 1)
    ]
    return both


def deterministic(results):
    return [{key: result[key] for key in SAME} for result in results]


@pytest.fixture
def expected(experiments, tmp_path):
    return run_study(experiments, tmp_path / "expected", "here", Here())


def test_results_and_a_second_run(experiments, expected, tmp_path, monkeypatch):
    assert [r["name"] for r in expected] == [e.name for e in experiments]
    assert len({r["bits_per_byte"] for r in expected}) == 4
    for result in expected:
        assert result["tokens"] == 768 and len(result["curve"]) == len(result["curve_seconds"]) == 3
        assert len(result["told"]) == 2 and all(0 < len(ids) <= 16 and max(ids) < 300 for ids in result["told"])
        assert result["seconds"] > 0 and result["phases"]["forward"] > 0
        assert result["bits_per_byte"] < result["curve"][0]["bits_per_byte"]
    assert [p.name for p in (tmp_path / "expected" / "mamba-1").iterdir()] == [RESULT]  # no checkpoint stays
    monkeypatch.setattr(module, "train", None)  # would fail if it were called
    assert run_study(experiments, tmp_path / "expected", "again", Here()) == expected


def test_finished_experiments_are_taken_up_on_another_machine(experiments, expected, tmp_path, monkeypatch):
    """Which has their result files, and has encoded the same stories itself, in another folder."""
    there = tmp_path / "there"
    for experiment in experiments:
        (there / experiment.name).mkdir(parents=True)
        (there / experiment.name / RESULT).write_bytes((tmp_path / "expected" / experiment.name / RESULT).read_bytes())
    write_tokens(there / "train", STORIES, train_tokenizer(STORIES, 280))
    moved = [replace(e, train=str(there / "train"), validation=str(there / "train")) for e in experiments]
    monkeypatch.setattr(module, "train", None)  # would fail if it were called
    assert run_study(moved, there, "again", Here()) == expected


def test_a_damaged_result_is_found_anew_and_never_read(experiments, expected, tmp_path, caplog):
    path = tmp_path / "expected" / experiments[0].name / RESULT
    whole = path.read_text()
    loss = str(expected[0]["bits_per_byte"])
    other = loss[:4] + str((int(loss[4]) + 1) % 10) + loss[5:]
    for damaged in (whole.replace(loss, other), whole[: len(whole) // 2]):
        path.write_text(damaged)
        again = run_study(experiments[:1], tmp_path / "expected", "again", Here())[0]
        assert f"{path} is damaged" in caplog.text and again["bits_per_byte"] == expected[0]["bits_per_byte"]
    path.write_text((tmp_path / "expected" / experiments[1].name / RESULT).read_text())  # of another experiment
    assert run_study(experiments[:1], tmp_path / "expected", "again", Here())[0]["name"] == experiments[0].name


def test_the_curve_is_of_the_validation_stories_and_the_judgement_of_the_test_stories(experiments, expected, tmp_path):
    tokenizer = train_tokenizer(STORIES, 280)
    write_tokens(tmp_path / "test", reversed(STORIES[-4:]), tokenizer)
    judged = replace(experiments[0], test=str(tmp_path / "test"))
    found = run_study([judged], tmp_path / "judged", "judged", Here())[0]
    assert found["curve"] == expected[0]["curve"]
    assert len(found["story_nats"]) == 4 and len(expected[0]["story_nats"]) == 6
    story_bytes = TokenFile(tmp_path / "test").story_bytes
    assert found["bits_per_byte"] == pytest.approx(sum(found["story_nats"]) / math.log(2) / story_bytes.sum())
    assert replace(judged, test=judged.validation).key() == experiments[0].key() != judged.key()


@pytest.mark.parametrize("change", ["model", "training", "stories", "data"])  # of code: test_key.py
def test_whatever_decides_a_result_is_noticed(experiments, prefix, tmp_path, change):
    first = experiments[0]
    before = first.key()
    if change == "data":
        for end in ("bin", "npz"):
            (tmp_path / f"other.{end}").write_bytes(Path(f"{prefix}.{end}").read_bytes())
        same = replace(first, train=str(tmp_path / "other"), validation=str(tmp_path / "other"))
        assert same.key() == before  # where the files lie does not matter
        (tmp_path / "other.bin").write_bytes(Path(f"{prefix}.bin").read_bytes()[:-2])
        assert same.key() != before
        return
    changed = {
        "model": {"model": replace(first.model, d_model=32)},
        "training": {"training": replace(first.training, tokens=1)},
        "stories": {"stories": 2},
    }[change]
    assert replace(first, **changed).key() != before


@pytest.mark.parametrize("where", ["processes:2", "local:timeout_min=2"])
def test_elsewhere_the_results_are_the_same(experiments, expected, tmp_path, where, monkeypatch):
    if where.startswith("local"):
        pytest.importorskip("submitit")
    monkeypatch.setenv("PN_EXECUTOR", where)
    found = run_study(experiments, tmp_path / "elsewhere", where)
    for ours, theirs in zip(deterministic(found), deterministic(expected), strict=True):
        for key in ("name", "seed", "parameters", "tokens", "steps"):
            assert ours[key] == theirs[key]
        assert ours["bits_per_byte"] == pytest.approx(theirs["bits_per_byte"], rel=1e-4)


KILLED = """
import sys, time
from pathlib import Path
from test_study import *
from pn_lib.models.transformer import Transformer
plain = Transformer.forward
def slow(self, *args, **kwargs):
    time.sleep(0.02)
    return plain(self, *args, **kwargs)
Transformer.forward = slow
experiments = experiments.__wrapped__({prefix!r})
run_study(experiments, {folder!r}, "killed", Here())
"""


def test_killed_study_goes_on(experiments, expected, prefix, tmp_path, monkeypatch):
    folder = tmp_path / "killed"
    script = KILLED.format(prefix=str(prefix), folder=str(folder))
    child = subprocess.Popen([sys.executable, "-c", script], cwd=HERE, env=os.environ | {"CI": "1"})
    deadline = time.monotonic() + 60
    while not list(folder.glob("transformer-1/checkpoint*")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    child.kill()
    assert child.wait() == -signal.SIGKILL, "the child ended before it was killed"
    assert (folder / "transformer-0" / RESULT).exists() and not (folder / "transformer-1" / RESULT).exists()
    began = (folder / "transformer-0" / RESULT).stat().st_mtime_ns
    assert deterministic(run_study(experiments, folder, "on", Here())) == deterministic(expected)
    assert (folder / "transformer-0" / RESULT).stat().st_mtime_ns == began


@pytest.mark.parametrize("where", ["here", "processes:2"])
def test_an_experiment_that_fails_is_named_and_spares_the_others(experiments, tmp_path, where):
    bad = replace(
        experiments[0],
        name="too fast",
        training=replace(TRAINING, learning_rate=1e9, grad_clip=1e9, matrix_learning_rate=1e9, warmup_fraction=0.0),
    )
    with pytest.raises(DivergenceError, match="experiment too fast: training diverged"):
        run_study([bad, *experiments[:2]], tmp_path, "study", make_executor(where))
    assert all((tmp_path / e.name / RESULT).exists() for e in experiments[:2])


def test_what_cannot_be_is_said(experiments, tmp_path):
    with pytest.raises(InputError, match="the same name"):
        run_study([experiments[0]] * 2, tmp_path, "study")
    for description in ("somewhere", "processes:0", "processes", "here:2"):
        with pytest.raises(InputError, match="it must be here, processes:<number>"):
            make_executor(description)
    pytest.importorskip("submitit")
    with pytest.raises(InputError, match="submitit does not take 'no_such_option=1'"):
        make_executor("local:no_such_option=1", tmp_path)
