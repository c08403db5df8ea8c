"""Training: the loop against a plain one, and killed in every way: what comes out is the same, bit for bit."""

import copy
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from training_example import CONFIG, assert_same, make_model, scorer

from pn_lib.config import parse_config
from pn_lib.data.tokens import batch
from pn_lib.errors import DivergenceError, InputError
from pn_lib.models.transformer import Transformer
from pn_lib.training import muon as muon_module
from pn_lib.training.checkpoint import checkpoints
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import HISTORY_COLUMNS, TIMING_COLUMNS, train
from pn_lib.training.optimizer import parameter_groups
from pn_lib.training.profiling import PHASES

# --- what is computed ---------------------------------------------------------------------------------------------


def test_equals_a_plain_loop(tokens, monkeypatch):
    monkeypatch.setattr(muon_module, "matrix_dtype", lambda device: torch.float32)  # bfloat16 would magnify rounding
    model, plain = make_model(dropout=0.0), make_model(dropout=0.0)
    config = TrainingConfig(
        tokens=5 * 64,
        batch_size=4,
        context=16,
        learning_rate=3e-3,
        weight_decay=0.3,
        grad_clip=0.5,
        warmup_fraction=0.4,
        precision="float32",
        evals=3,
    )
    history = train(model, tokens, config, validate=scorer(tokens)).history
    groups = parameter_groups(plain)
    muon = muon_module.Muon(groups["matrices"], lr=0.02, weight_decay=0.3)  # compared with PyTorch's elsewhere
    adamw = torch.optim.AdamW(groups["spared"], betas=(0.9, 0.95), weight_decay=0.0)
    losses = []
    for step in range(5):
        factor = [0.5, 1.0, 1.0, 2 / 3, 1 / 3][step]
        muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"] = 0.02 * factor, 0.003 * factor
        x, y = batch(tokens, 4, 16, 0, step)
        loss = F.cross_entropy(plain(x).transpose(1, 2), y)
        plain.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
        muon.step()
        adamw.step()
        losses.append(loss.item())
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    means = [losses[0], sum(losses[:2]) / 2, sum(losses[2:]) / 3]  # validated before, after 2 and after 5 updates
    assert history["train_loss"].tolist() == pytest.approx(means, rel=1e-6)


def test_history_and_timings(straight, tokens):
    model, history = straight
    assert list(history.columns) == HISTORY_COLUMNS
    assert history["step"].tolist() == [0, 5, 10, 15, 20]
    assert history["tokens"].tolist() == [0, 320, 640, 960, 1280]
    assert history["learning_rate"].tolist() == [CONFIG.learning_rate * CONFIG.rate_at(s) for s in (0, 4, 9, 14, 19)]
    assert history["nats_per_token"].iloc[-1] < history["nats_per_token"].iloc[0] - 0.5  # it learns
    assert history["bits_per_byte"].iloc[-1] == scorer(tokens)(model).bits_per_byte
    training = train(make_model(), tokens, CONFIG, validate=scorer(tokens))
    assert list(training.timings.columns) == TIMING_COLUMNS
    assert training.timings["step"].tolist() == [5, 10, 15, 20]
    assert training.seconds > 0 and training.timings["peak_memory_mb"].iloc[0] > 50
    assert training.tokens_per_second == pytest.approx(1280 / training.seconds)
    last = training.timings.iloc[-1]
    assert all(last[phase] > 0 for phase in PHASES if phase != "checkpoint") and last["checkpoint"] == 0
    assert last["seconds"] == pytest.approx(last[["data", "forward", "backward", "optimizer", "bookkeeping"]].sum())


def test_training_and_evaluation_modes(tokens):
    model, modes = make_model(), []
    model.register_forward_hook(lambda module, *_: modes.append(module.training))

    def validate(model):
        assert not model.training
        return SimpleNamespace(nats_per_token=1.0, bits_per_byte=1.0)

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(model, tokens, CONFIG, validate=validate)
    assert torch.equal(torch.rand(3), expected)  # the caller's random stream is not touched
    assert all(modes) and len(modes) == 21 and not model.training


def test_dropout_differs_from_step_to_step(tokens):
    one_window = SimpleNamespace(tokens=tokens.tokens[:17])  # the same batch at every step
    config = replace(CONFIG, tokens=8 * 64, learning_rate=1e-12, matrix_learning_rate=1e-12, evals=9)
    training = train(make_model(dropout=0.5), one_window, config, validate=scorer(tokens))
    assert training.history["train_loss"].iloc[1:].nunique() == 8


def test_what_on_eval_draws_changes_nothing(tokens, straight):
    model, seen = make_model(), []
    training = train(
        model,
        tokens,
        CONFIG,
        validate=scorer(tokens),
        on_eval=lambda history: seen.append((len(history), torch.rand(10))),
    )
    assert [n for n, _ in seen] == [1, 2, 3, 4, 5]
    assert_same(model, training.history, *straight)


def test_bfloat16_learns_as_float32(tokens, straight):
    config = parse_config(TrainingConfig, {**vars(CONFIG), "precision": "bfloat16"}, "test")
    training = train(make_model(), tokens, config, validate=scorer(tokens))
    assert training.precision == "bfloat16"
    history = straight[1]
    assert training.history["nats_per_token"].iloc[-1] == pytest.approx(history["nats_per_token"].iloc[-1], abs=0.05)
    assert not training.history.equals(history)


def test_compile_trains_through_the_compiled_model(tokens, monkeypatch):
    made = []

    def fake_compile(model):
        made.append(model)
        return lambda ids, targets: 2 * model(ids, targets)  # so that it shows in the loss

    monkeypatch.setattr(torch, "compile", fake_compile)
    config = replace(CONFIG, compile=True, learning_rate=1e-12, matrix_learning_rate=1e-12)
    plain, compiled = (
        train(make_model(), tokens, c, validate=scorer(tokens)) for c in (replace(config, compile=False), config)
    )
    assert len(made) == 1
    doubled = 2 * plain.history["train_loss"]
    assert compiled.history["train_loss"].tolist() == pytest.approx(doubled.tolist(), rel=1e-4)


# --- interrupted and resumed --------------------------------------------------------------------------------------


def interrupt_in(where, at):
    """(validate wrapper, on_eval, forward hook) one of which raises KeyboardInterrupt at its ``at``-th call."""
    calls = {"n": 0}

    def strike(*_):
        calls["n"] += 1
        if calls["n"] == at:
            if where == "signal":  # a real Ctrl-C in the midst of an update: it has to wait for the end of it
                signal.raise_signal(signal.SIGINT)
            else:
                raise KeyboardInterrupt

    return strike


@pytest.mark.parametrize(
    ("where", "at", "saved_step"), [("on_eval", 3, 10), ("validate", 4, 15), ("forward", 8, 6), ("signal", 8, 7)]
)
def test_interrupted_and_resumed_bit_for_bit(tokens, straight, tmp_path, where, at, saved_step):
    model, strike = make_model(), interrupt_in(where, at)
    if where in ("forward", "signal"):
        model.register_forward_pre_hook(lambda module, _: strike() if module.training else None)

    def validate(model):
        if where == "validate":
            strike()
        return scorer(tokens)(model)

    with pytest.raises(KeyboardInterrupt):
        train(model, tokens, CONFIG, validate=validate, folder=tmp_path, on_eval=strike if where == "on_eval" else None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again, curves = make_model(), []
    training = train(again, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path, on_eval=curves.append)
    assert training.resumed_from == saved_step
    assert_same(again, training.history, *straight)
    assert len(curves[0]) >= 1  # the live curve starts from what was there
    assert training.timings["step"].tolist() == [5, 10, 15, 20]


def test_cell_run_again_after_an_interrupt(tokens, straight, tmp_path):
    """In a notebook the model that was interrupted, not a new one, is given again."""
    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        train(model, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path, on_eval=interrupt_in("on_eval", 2))
    training = train(model, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path)
    assert training.resumed_from == 5
    assert_same(model, training.history, *straight)


KILLED = """
import sys, time
sys.path[:0] = {path!r}
from training_example import CONFIG, make_model, scorer
from pn_lib.data.tokens import TokenFile
from pn_lib.training import muon as muon_module
from pn_lib.training.loop import train
tokens = TokenFile({prefix!r})
model = make_model()
model.register_forward_hook(lambda *_: time.sleep(0.01))
train(model, tokens, CONFIG, validate=scorer(tokens), folder={folder!r})
"""


def test_killed_and_resumed_bit_for_bit(prefix, tokens, straight, tmp_path):
    here = os.path.dirname(__file__)
    script = KILLED.format(path=[here], prefix=str(prefix), folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not checkpoints(tmp_path) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.05)
    child.kill()
    assert child.wait() == -signal.SIGKILL, "the child ended before it was killed"
    model = make_model()
    training = train(model, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path)
    assert 0 < training.resumed_from < 20
    assert_same(model, training.history, *straight)


def test_finished_run_returns_at_once(tokens, straight, tmp_path):
    train(make_model(), tokens, CONFIG, validate=scorer(tokens), folder=tmp_path)
    written = [(path.name, path.stat().st_mtime_ns) for path in checkpoints(tmp_path)]

    def never(*_):
        raise AssertionError("a finished run computes nothing")

    model = make_model()
    model.register_forward_pre_hook(never)
    training = train(model, tokens, CONFIG, validate=never, folder=tmp_path)
    assert training.resumed_from == 20
    assert [(path.name, path.stat().st_mtime_ns) for path in checkpoints(tmp_path)] == written
    assert_same(model, training.history, *straight)


def test_a_checkpoint_of_a_model_of_other_parts_is_replaced(tokens, tmp_path):
    config = replace(CONFIG, ema_decay=0.9)
    train(make_model(), tokens, config, validate=scorer(tokens), folder=tmp_path)
    torch.manual_seed(0)
    larger = Transformer(replace(make_model().config, n_layers=2))
    assert train(larger, tokens, config, validate=scorer(tokens), folder=tmp_path).resumed_from == 0


def test_another_run_starts_anew(tokens, straight, tmp_path):
    other = parse_config(TrainingConfig, {**vars(CONFIG), "seed": 8}, "test")
    first = train(make_model(), tokens, other, validate=scorer(tokens), folder=tmp_path)
    assert not first.history.equals(straight[1])
    model = make_model()
    training = train(model, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path)  # other settings
    assert training.resumed_from == 0
    assert_same(model, training.history, *straight)
    torch.manual_seed(1)
    other_weights = Transformer(model.config)
    assert train(other_weights, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path).resumed_from == 0
    rarer = parse_config(TrainingConfig, {**vars(CONFIG), "checkpoint_every": 100}, "test")
    torch.manual_seed(1)
    assert train(Transformer(model.config), tokens, rarer, validate=scorer(tokens), folder=tmp_path).resumed_from == 20


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_divergence_is_one_sentence(tokens):
    broken = make_model()
    with torch.no_grad():
        next(broken.parameters()).fill_(1e30)  # activations overflow
    fine = SimpleNamespace(nats_per_token=1.0, bits_per_byte=1.0)
    with pytest.raises(DivergenceError, match=r"diverged at step 0: the loss .* at learning rate 0\.003; lower"):
        train(broken, tokens, CONFIG, validate=lambda model: fine)
    model = make_model()
    weight = next(p for p in model.parameters() if p.ndim == 2)
    weight.register_hook(lambda gradient: gradient * math.nan)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(DivergenceError, match="gradient"):
        train(model, tokens, CONFIG, validate=lambda model: fine)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    with pytest.raises(DivergenceError, match="validation loss is nan"):
        train(
            make_model(),
            tokens,
            CONFIG,
            validate=lambda model: SimpleNamespace(nats_per_token=math.nan, bits_per_byte=math.nan),
        )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tokens": 0}, "tokens must be greater than 0"),
        ({"learning_rate": -1.0}, "learning_rate must be greater than 0"),
        ({"schedule": "cosin"}, "schedule"),
        ({"evals": 1}, "evals must be greater than or equal to 2"),
        ({"warmup_fraction": 1.5}, "warmup_fraction must be less than or equal to 1"),
        ({"betas": [0.9, 1.0]}, "betas"),
        ({"batch_size": "16"}, "batch_size"),
        ({"token": 5}, "unknown key 'token'"),
    ],
)
def test_impossible_settings_are_named(setting, message):
    with pytest.raises(InputError, match=message):
        parse_config(TrainingConfig, setting, "profile.toml")


def test_progress_counts_tokens(tokens, monkeypatch, tmp_path):
    lines, score = [], scorer(tokens)
    monkeypatch.setenv("PN_PROGRESS", str(tmp_path / "status"))

    def validate(model):
        lines.append((tmp_path / "status").read_text())
        return score(model)

    train(make_model(), tokens, CONFIG, validate=validate, name="transformer")
    assert len(lines) == CONFIG.evals  # so many validations saw the line
    assert all(line.startswith("transformer") and "tok/s" in line and "left" in line for line in lines)
