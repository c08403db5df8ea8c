"""python -m pn_lib train: alone and by torchrun, and what a dry run says."""

import os
import subprocess
import sys

import pytest
import torch

from pn_lib.cli import main
from pn_lib.files import read_json
from pn_lib.models.flops import training_flops_per_token
from pn_lib.models.loading import load_model
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.dry_run import DEVICES, UTILISATION, memory_gb
from pn_lib.run.profile import load_profile
from pn_lib.run.run import open_run
from pn_lib.training.checkpoint import load_checkpoint
from pn_lib.training.config import TrainingConfig
from pn_lib.training.profiling import saved_bytes

SMALL = """
[data]
train_stories = 120
validation_stories = 8
[tokenizer]
vocab_size = 300
sweep = [300]
[transformer]
d_model = 16
n_layers = 1
n_heads = 2
[training]
tokens = 4_096
batch_size = 4
context = 32
precision = "float32"
evals = 3
[sizes]
wide = { d_model = 32 }
"""


@pytest.fixture
def profile(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_torchrun_trains_from_nothing_and_one_process_finds_it_done(profile, tmp_path, capsys):
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    train = ["-m", "pn_lib", "train", "--profile", str(profile), "--size", "wide"]
    done = subprocess.run(
        [sys.executable, *torchrun, *train], env=os.environ | {"CI": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "results" / "small-pocket" / "sizes" / "wide"
    assert done.stdout.count("[1/11] 01_data_exploration: running") == 1  # the other process waited
    assert read_json(folder / "training.json")["processes"] == 2
    weights = load_model(folder).state_dict()
    assert main(["train", "--profile", str(profile), "--size", "wide"]) == 0
    assert "4,096 tokens" in capsys.readouterr().out
    assert all(torch.equal(weights[name], value) for name, value in load_model(folder).state_dict().items())
    # the profile's own model: trained where notebook 04 looks, and still there when it has opened the run
    assert main(["train", "--profile", str(profile)]) == 0
    run = open_run(str(profile), "pocket", "04_transformer_training")
    assert load_checkpoint(run.work / "transformer")["step"] == run.profile.training.steps


def test_a_size_the_profile_has_not(profile, capsys):
    assert main(["train", "--profile", str(profile), "--size", "huge"]) == 2
    assert "profile small has no size 'huge'; it has wide" in capsys.readouterr().err
    assert main(["train", "--profile", str(profile), "--device", "h100"]) == 2
    assert "--device goes with --dry-run" in capsys.readouterr().err


def test_dry_run_tells_each_size(profile, capsys):
    assert main(["train", "--profile", str(profile), "--dry-run", "--device", "a100"]) == 0
    told = capsys.readouterr().out
    settings = load_profile(str(profile))
    assert settings.sizes["wide"] == settings.transformer | {"d_model": 32}
    assert "32 updates of 4 x 32 tokens, 4,096 in all" in told
    for options in (settings.transformer, settings.sizes["wide"]):
        config = TransformerConfig(300, 32, **options)
        model = Transformer(config)
        flops = training_flops_per_token(config, 32) * 4096
        assert f"{model.n_parameters():,}" in told and f"{flops:.2g}" in told
    assert f"at {UTILISATION:.0%} of the {DEVICES['a100']} TFLOP/s" in told and "hours on a100" in told
    assert main(["train", "--profile", str(profile), "--dry-run", "--device", "abacus"]) == 2
    assert "unknown device 'abacus'; known are t4, l4" in capsys.readouterr().err


def test_memory_counts_what_training_holds():
    config = TransformerConfig(300, context=32, d_model=16, n_layers=1, n_heads=2)
    model = Transformer(config)
    kept = saved_bytes(model, torch.zeros(1, 32, dtype=torch.long), "float32")
    adamw = TrainingConfig(batch_size=4, context=32, optimizer="adamw", precision="float32")
    assert memory_gb(config, adamw) == pytest.approx((16 * model.n_parameters() + 4 * kept) / 1e9)
    muon = TrainingConfig(batch_size=4, context=32, micro_batch=2, precision="float32", ema_decay=0.9)
    matrices = sum(p.numel() for p in model.blocks.parameters() if p.ndim == 2)
    assert memory_gb(config, muon) == pytest.approx((20 * model.n_parameters() - 4 * matrices + 2 * kept) / 1e9)


def test_saved_bytes_grow_with_the_batch():
    model = Transformer(TransformerConfig(64, context=64, d_model=16, n_layers=2, n_heads=2))
    one, two = (saved_bytes(model, torch.zeros(shape, dtype=torch.long), "float32") for shape in ((1, 64), (2, 64)))
    assert 1.9 < two / one < 2.1
