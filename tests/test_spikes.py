"""Spikes, memory, Ctrl-C: noticed and said."""

import logging
import math
import signal
import time
from dataclasses import replace

import pytest
import torch
from training_example import CONFIG, assert_same, make_model, scorer

from pn_lib.data.tokens import IGNORED, story_batch
from pn_lib.errors import DivergenceError, InputError
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.training.checkpoint import checkpoints
from pn_lib.training.interruptions import interrupt_deferred, memory_explained
from pn_lib.training.loop import train
from pn_lib.training.profiling import EnergyMeter, PhaseClock
from pn_lib.training.spikes import IN_A_ROW, SpikeWatch


def watched(losses) -> list[int]:
    watch = SpikeWatch()
    return [step for step, loss in enumerate(losses) if watch.sees(step, loss)]


def test_a_jump_is_a_spike_and_a_decline_is_none():
    falling = [6 * math.exp(-step / 50) + 2 + 0.1 * (-1) ** step for step in range(200)]
    assert watched(falling) == []
    assert watched([*falling[:100], 4.5, *falling[101:]]) == [100]
    assert watched([8 - step / 10 for step in range(60)] + [4.0]) == [60]  # beside the last ones, not the first
    assert watched([2.0] * 30 + [2.4] + [2.0] * 5) == []  # nothing below half a nat
    assert watched([2.0] * 10 + [9.0]) == []  # too little seen to say what is usual
    assert watched([2.0] * 30 + [math.nan]) == []  # divergence, which the loop tells


def test_spikes_without_end_are_divergence():
    watch = SpikeWatch([2.0] * 30)
    for step in range(IN_A_ROW - 1):
        assert watch.sees(step, 8.0)
    with pytest.raises(DivergenceError, match=r"jumped from 2\.00 to 8\.00 and has stayed there for 10 updates"):
        watch.sees(IN_A_ROW - 1, 8.0)
    assert SpikeWatch(**watch.state_dict()).state_dict() == watch.state_dict()


class Spiky:
    """A model whose loss is a hundred times too large at one update."""

    def __init__(self, at: int):
        self.model, self.calls = make_model(), 0
        self.model.register_forward_hook(self.strike)
        self.at = at

    def strike(self, module, _, loss):
        if module.training:
            self.calls += 1
        return 100 * loss if module.training and self.calls == self.at else loss


class Rounded(Spiky):
    """A model whose loss is three times as large from one update on, as ternary weights have it."""

    def strike(self, module, _, loss):
        if module.training:
            self.calls += 1
        return 3 * loss if module.training and self.calls >= self.at else loss


def test_the_loss_of_rounded_weights_is_no_spike(tokens):
    config = replace(CONFIG, tokens=50 * 64, quantize="int8", quantize_from=0.5)
    assert not train(Rounded(at=27).model, tokens, config, validate=scorer(tokens)).spikes  # update 25, half of them
    with pytest.raises(DivergenceError, match="stayed there for 10 updates"):
        train(Rounded(at=27).model, tokens, replace(config, quantize_from=0.9), validate=scorer(tokens))


def test_spike_is_told_and_its_update_left_out(tokens, caplog):
    config = replace(CONFIG, tokens=30 * 64)
    weights = {}
    for skip in (False, True):
        model = Spiky(at=26).model  # the first call is that of the first validation: update 24
        with caplog.at_level(logging.WARNING):
            training = train(model, tokens, replace(config, skip_spikes=skip), validate=scorer(tokens))
        assert [spike["step"] for spike in training.spikes] == [24]
        assert training.spikes[0]["loss"] > 50 * training.spikes[0]["expected"] > 100
        assert "the loss of step 24 jumped to" in caplog.text
        assert ("its update is left out" in caplog.text) == skip
        weights[skip] = model.embedding.weight
        caplog.clear()
    assert not torch.equal(weights[True], weights[False])


def test_spikes_are_remembered_over_a_resume(tokens, tmp_path):
    config = replace(CONFIG, tokens=40 * 64, skip_spikes=True)
    straight_model = Spiky(at=26).model
    expected = train(straight_model, tokens, config, validate=scorer(tokens))
    stopped = Spiky(at=26)
    stopped.model.register_forward_hook(
        lambda module, *_: signal.raise_signal(signal.SIGINT) if stopped.calls == 33 else None
    )
    with pytest.raises(KeyboardInterrupt):
        train(stopped.model, tokens, config, validate=scorer(tokens), folder=tmp_path)
    model = make_model()
    training = train(model, tokens, config, validate=scorer(tokens), folder=tmp_path)
    assert training.resumed_from == 32 and training.spikes == expected.spikes
    assert_same(model, training.history, straight_model, expected.history)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
        ),
    ],
)
def test_out_of_memory_names_the_micro_batch(tokens, error):
    def fail(module, _):
        if module.training:
            raise error

    model = make_model()
    model.blocks[0].mlp.register_forward_pre_hook(fail)
    with pytest.raises(InputError, match="out of memory with 4 sequences of 16 tokens at once: set micro_batch to 2"):
        train(model, tokens, CONFIG, validate=scorer(tokens))
    with pytest.raises(InputError, match="1 sequence of 16 tokens at once: take a shorter context"):
        train(model, tokens, replace(CONFIG, micro_batch=1), validate=scorer(tokens))


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"), memory_explained(4, 16):
        raise RuntimeError("shapes do not match")


def test_a_real_allocation_that_fails():
    with pytest.raises(InputError, match="out of memory with 8 sequences"), memory_explained(8, 16):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_a_second_signal_waits_too():
    with interrupt_deferred() as interrupt:
        assert not interrupt.is_set()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert interrupt.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_micro_batches_give_the_same_training(tokens):
    results = {}
    for micro in (None, 2, 1):
        model = make_model(dropout=0.0)
        history = train(model, tokens, replace(CONFIG, micro_batch=micro), validate=scorer(tokens)).history
        results[micro] = history
    for micro in (2, 1):
        torch.testing.assert_close(
            torch.tensor(results[micro].to_numpy()), torch.tensor(results[None].to_numpy()), rtol=2e-3, atol=1e-6
        )


def test_average_is_resumed_and_kept_by_the_model(tokens, tmp_path):
    config = replace(CONFIG, ema_decay=0.9, within_stories=True)
    whole = make_model()
    expected = train(whole, tokens, config, validate=scorer(tokens)).history
    latest = make_model()
    assert not expected.equals(train(latest, tokens, replace(config, ema_decay=0.0), validate=scorer(tokens)).history)
    assert expected["bits_per_byte"].iloc[-1] == scorer(tokens)(whole).bits_per_byte  # the model is the average
    model = make_model()
    model.register_forward_pre_hook(lambda module, _: signal.raise_signal(signal.SIGINT) if module.training else None)
    for _ in range(3):  # stopped after one update each time
        with pytest.raises(KeyboardInterrupt):
            train(model, tokens, config, validate=scorer(tokens), folder=tmp_path)
    again = make_model()
    assert_same(again, train(again, tokens, config, validate=scorer(tokens), folder=tmp_path).history, whole, expected)
    finished = train(again, tokens, config, validate=scorer(tokens), folder=tmp_path)  # the cell is run once more
    assert finished.resumed_from == config.steps and len(checkpoints(tmp_path)) == 2


def test_within_stories_a_recurrence_reads_each_story_alone(tokens):
    """One update is that of the stories' own tokens, in one part or in several of unlike lengths."""
    config = replace(CONFIG, tokens=4 * 64, batch_size=4, context=64, within_stories=True)
    x, y = story_batch(tokens, 4, 64, config.seed, 0)
    assert 0.2 < (y == IGNORED).float().mean() < 0.9
    torch.manual_seed(0)
    expected = Mamba(MambaConfig(vocab_size=300, d_model=16, n_layers=1, d_state=4))
    nats = [expected.nats(row[None, :n], to[None, :n]) for row, to in zip(x, y, strict=True) for n in [(to >= 0).sum()]]
    trained = []
    for micro in (None, 1):
        torch.manual_seed(0)
        mamba = Mamba(MambaConfig(vocab_size=300, d_model=16, n_layers=1, d_state=4))
        history = train(mamba, tokens, replace(config, micro_batch=micro), validate=scorer(tokens)).history
        assert history["train_loss"].iloc[-1] == pytest.approx(float(torch.cat(nats, 1).mean()), rel=1e-5)
        trained.append(mamba.state_dict())
    torch.testing.assert_close(*trained, rtol=1e-3, atol=1e-4)


def test_phase_clock_adds_up_and_forgets():
    clock = PhaseClock()
    clock.seconds |= {"forward": 1.0, "optimizer": 0.5, "validation": 4.0}
    assert clock.training_seconds == 1.5
    with clock("backward"):
        time.sleep(0.01)
    assert 1.51 <= clock.training_seconds < 2.5
    before = clock.training_seconds

    def more() -> str:
        with clock("forward"):
            return "found"

    assert clock.unheard(more) == "found" and clock.training_seconds == before
    with pytest.raises(KeyError), clock("no such phase"):
        pass


def test_energy_where_the_machine_tells(tmp_path):
    assert EnergyMeter(tmp_path).joules() is None
    for name, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 9_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{value}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    meter = EnergyMeter(tmp_path)
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("7000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("1000000\n")  # it wrapped around
    assert meter.joules() == pytest.approx(2 + 2)
