"""Several processes train one model: the same batches, the same curve, one checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from pn_lib.errors import InputError
from pn_lib.models.transformer import TransformerConfig
from pn_lib.training.checkpoint import checkpoints, load_checkpoint
from pn_lib.training.config import TrainingConfig
from pn_lib.training.distributed import best_device
from pn_lib.training.processes import Job, train_in_processes


def test_processes_that_outnumber_the_gpus_work_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert best_device() == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert best_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert best_device() == torch.device("cuda", 1)


HERE = Path(__file__).parent
# AdamW: Muon works in bfloat16, whose rounding the weights show (the losses, tested below, do not)
PLAN = {"micro_batch": 1, "dropout": 0.2, "optimizer": "adamw"}
PROGRAM = """
import json, sys
from dataclasses import replace
import torch
from pn_lib.data.tokens import TokenFile
from pn_lib.errors import InputError
from pn_lib.training import distributed
from pn_lib.training.loop import train
from training_example import CONFIG, make_model, scorer

prefix, folder, changes, stop_at = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
tokens = TokenFile(prefix)
with distributed.joined():
    model = make_model(dropout=changes.pop("dropout", 0.0))
    calls = [0]

    def stop(module, _):
        calls[0] += module.training
        if calls[0] == stop_at and distributed.rank() == distributed.size() - 1:
            import signal
            signal.raise_signal(signal.SIGINT)

    model.register_forward_pre_hook(stop)
    try:
        training = train(model, tokens, replace(CONFIG, **changes), validate=scorer(tokens), folder=folder + "/work")
    except KeyboardInterrupt:
        said = "stopped"
    except InputError as error:
        said = f"refused: {error}"
    else:
        said = "trained"
        torch.save(model.state_dict(), f"{folder}/weights-{distributed.rank()}.pt")
        training.history.to_csv(f"{folder}/history-{distributed.rank()}.csv", index=False)
    with open(f"{folder}/said-{distributed.rank()}", "w") as file:  # what processes print may be interleaved
        file.write(said)
"""


def launch(n: int, prefix, folder: Path, stop_at: int = -1, **changes) -> list[str]:
    """Run the program above in ``n`` processes; what each of them said at its end."""
    folder.mkdir(exist_ok=True)
    script = folder / "program.py"
    script.write_text(PROGRAM)
    launcher = [] if n == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    environment = os.environ | {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}", "OMP_NUM_THREADS": "1", "CI": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(prefix), str(folder), json.dumps(changes), str(stop_at)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(folder / f"said-{rank}").read_text() for rank in range(n)]


@pytest.fixture(scope="module")
def alone(prefix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "one"
    launch(1, prefix, folder, **PLAN)
    return folder


def assert_close(folder: Path, other: Path, ranks: int) -> None:
    expected = torch.load(other / "weights-0.pt", weights_only=True)
    curve = pd.read_csv(other / "history-0.csv")
    for rank in range(ranks):
        pd.testing.assert_frame_equal(pd.read_csv(folder / f"history-{rank}.csv"), curve, rtol=1e-5)
        for name, value in torch.load(folder / f"weights-{rank}.pt", weights_only=True).items():
            assert (value - expected[name]).norm() < 1e-3 * expected[name].norm(), name


@pytest.mark.parametrize("n", [2, 4])
def test_the_curve_is_the_same_with_any_number(n, prefix, alone, tmp_path):
    launch(n, prefix, tmp_path / "several", **PLAN)
    assert_close(tmp_path / "several", alone, ranks=n)
    first, *others = (torch.load(tmp_path / f"several/weights-{r}.pt", weights_only=True) for r in range(n))
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)  # no drift between them


def test_stopped_by_one_and_resumed_by_another_number(prefix, alone, tmp_path):
    folder = tmp_path / "several"
    said = launch(2, prefix, folder, stop_at=9, **PLAN)
    assert said == ["stopped", "stopped"]
    assert 0 < load_checkpoint(folder / "work")["step"] < 20 and 1 <= len(checkpoints(folder / "work")) <= 2
    launch(1, prefix, folder, **PLAN)
    assert_close(folder, alone, ranks=1)


def test_a_batch_that_cannot_be_shared_is_refused(prefix, tmp_path):
    said = launch(2, prefix, tmp_path / "refused", micro_batch=4)
    assert len(said) == 2
    assert all(words.startswith("refused: 2 processes cannot share a batch of 4 in parts of 4") for words in said)


def test_measured_in_one_and_two_processes(prefix):
    job = Job(
        TransformerConfig(300, context=16, d_model=16, n_layers=1, n_heads=2),
        TrainingConfig(tokens=20 * 64, batch_size=4, context=16, precision="float32", evals=5),
        str(prefix),
    )
    one, two = (train_in_processes(job, n) for n in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["tokens_per_second"] > 0 and two["tokens_per_second"] > 0
    assert len(one["losses"]) == 5 and two["losses"] == pytest.approx(one["losses"], rel=1e-3)
    with pytest.raises(InputError, match=r"in 3 processes failed: .*InputError: 3 processes cannot share a batch of"):
        train_in_processes(job, 3)  # a batch of four has no three equal shares
