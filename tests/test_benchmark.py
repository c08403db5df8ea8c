"""The benchmark: who runs when, what the tables hold, how ratios are formed; never how fast anything is."""

import importlib.util
import os
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from pn_lib import hardware
from pn_lib.benchmark import command, training_table
from pn_lib.benchmark.contenders import QUICK, build_ours, mamba_name, mixer_names, ours, random_ids
from pn_lib.benchmark.decoding_table import (
    STEPS,
    Decoder,
    against_context,
    decode_briefly,
    decoding_pairs,
    measure_decoding,
)
from pn_lib.benchmark.generation_table import STORIES, generation_pairs, measure_generation, stories_contenders
from pn_lib.benchmark.peak_memory import fresh_peak_mb
from pn_lib.benchmark.quantized_table import measure_quantized, quantized_pairs
from pn_lib.benchmark.scan_table import measure_scan, scan_inputs, scan_methods, scan_pairs
from pn_lib.benchmark.tables import Pair, as_text, ratios, save_table
from pn_lib.benchmark.training_table import measure_training, training_pairs
from pn_lib.cli import main
from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.models.flops import parameter_count
from pn_lib.run.publish import BENCHMARK_FILES
from pn_lib.training import timing
from pn_lib.training.optimizer import make_optimizer
from pn_lib.training.timing import Contender, Timing, TrainingStep, alternate, matrix_peak

TINY = replace(QUICK, lengths=(16,), peer_length=16, contexts=(64, 80), batches=(2,), new_tokens=4, rounds=2)


@pytest.fixture
def no_processes(monkeypatch):
    """Memory is not what this test is about: no process is started for it."""
    for name in ("training_table", "decoding_table"):
        monkeypatch.setattr(f"pn_lib.benchmark.{name}.fresh_peak_mb", lambda work, case, tiny: 1.5)


def check_numbers(table: pd.DataFrame, *columns: str) -> None:
    values = table[list(columns)].to_numpy(float)
    assert len(table) and np.isfinite(values).all() and (values > 0).all()


def test_contenders_take_turns_forwards_then_backwards():
    order = []
    contenders = [Contender(name, lambda name=name: order.append(name)) for name in "abc"]
    timings = alternate(contenders, rounds=3)
    assert "".join(order) == "abc" + "abc" + "cba" + "abc"  # the warm-up, then the rounds
    assert all(len(timings[name].seconds) == 3 for name in "abc")


def test_the_slow_sit_out_and_own_seconds_count():
    slow, fast = Contender("slow", lambda: 5.0), Contender("fast", lambda: 0.5)
    timings = alternate([slow, fast], rounds=9, limit=4.0)
    assert timings["slow"].seconds == [5.0] * timing.FEWEST and timings["fast"].seconds == [0.5] * 8
    assert timings["slow"].first == 5.0


def test_medians_and_ranges():
    timing = Timing(9.0, [1.0, 4.0, 2.0])
    assert timing.rates(8) == {"tokens_per_second": 4.0, "slowest": 2.0, "fastest": 8.0, "rounds": 3}
    assert timing.milliseconds() == {"ms": 2000.0, "ms_least": 1000.0, "ms_most": 4000.0}


def test_ratios_are_ours_over_theirs_where_settings_agree():
    table = pd.DataFrame(
        [
            {"model": "a", "length": 8, "tokens_per_second": 30.0, "peak_memory_mb": 2.0},
            {"model": "a", "length": 9, "tokens_per_second": 40.0, "peak_memory_mb": 2.0},
            {"model": "b", "length": 8, "tokens_per_second": 10.0, "peak_memory_mb": 8.0},
        ]
    )
    found = ratios(table, [Pair("a", "b", ("length",)), Pair("a", "nobody", ("length",))])
    assert found.to_dict("records") == [
        {"ours": "a", "theirs": "b", "length": 8, "speed_ratio": 3.0, "memory_ratio": 0.25}
    ]
    assert ratios(table, [Pair("a", "nobody", ("length",))]).empty


def test_peak_memory_is_what_the_work_adds():
    assert 40 < fresh_peak_mb(np.ones, (6_250_000,), (1,)) < 60
    assert fresh_peak_mb(decode_briefly, (TINY, "Transformer", 80, 2), (TINY.tiny(), "Transformer", 80, 1)) >= 0


def test_a_process_that_dies_leaves_its_memory_unknown():
    with pytest.warns(UserWarning, match="memory of _exit .* code 3"):
        assert np.isnan(fresh_peak_mb(os._exit, (3,), (3,)))


def test_the_matrix_peak_is_a_rate():
    assert matrix_peak(torch.float32, size=64, repeats=2) > 1e-3


def test_equal_parameters_at_full_size():
    counts = {name: parameter_count(entrant.config(256)).total for name, entrant in ours(command.FULL).items()}
    for name, most in {"Mamba, 7 layers": 0.02, **dict.fromkeys(mixer_names(command.FULL), 0.035)}.items():
        assert abs(counts[name] / counts["Transformer"] - 1) < most, name


def test_a_training_step_trains():
    model = build_ours("Transformer", TINY, 16)
    ids = torch.randint(TINY.vocab_size, (2, 17), generator=torch.Generator().manual_seed(0))
    step = TrainingStep(model, make_optimizer(model, 1e-3), ids[:, :-1], ids[:, 1:], "bfloat16")
    before = model(step.ids, step.targets).item()
    for _ in range(3):
        step()
    assert model(step.ids, step.targets).item() < before


@pytest.mark.parametrize("precisions", [["float32"], ["float32", "bfloat16"]])
def test_training_table(precisions, no_processes, monkeypatch):
    monkeypatch.setattr(training_table, "native_precisions", lambda device: precisions)
    table = measure_training(TINY, peers=False)
    assert list(table["model"]) == list(ours(TINY)) * len(precisions)
    assert list(table["precision"].unique()) == precisions
    check_numbers(table, "parameters", "tokens_per_second", "slowest", "fastest", "peak_memory_mb", "utilisation")
    compared = ratios(table, training_pairs(TINY))
    beside = [mamba_name(2), *mixer_names(TINY)]
    assert sorted(compared["ours"]) == sorted(beside * len(precisions)) and (compared["memory_ratio"] == 1).all()


def test_scan_table():
    table = measure_scan(TINY, peers=False)
    assert set(table["method"]) >= {"torch", "reference"} and set(table["direction"]) == {
        "forward",
        "forward and backward",
    }
    check_numbers(table, "ms", "ms_least", "ms_most", "tokens_per_second")
    assert set(ratios(table, scan_pairs())["ours"]) <= {"fused"}


def test_decoding_table(no_processes):
    table = measure_decoding(TINY)
    assert len(table) == len(ours(TINY)) * 2 and set(table["context"]) == {64, 80}
    check_numbers(table, "tokens_per_second", "ms", "kept_mb", "peak_memory_mb")
    kept = table.set_index(["model", "context"])["kept_mb"]
    assert kept[mamba_name(1), 64] == kept[mamba_name(1), 80] and kept["Transformer", 64] < kept["Transformer", 80]
    assert len(ratios(table, decoding_pairs(TINY))) == 2 * (2 + len(mixer_names(TINY)))


@pytest.mark.parametrize("name", list(ours(TINY)))
def test_copies_of_one_row_that_was_read_decode_as_rows_that_were(name):
    decoder = Decoder(build_ours(name, TINY, 64), TINY, 64, batch=3)
    with torch.inference_mode():
        logits, _ = decoder.model.step(decoder.ids, decoder.state)
        _, state = decoder.model.prefill(random_ids(TINY, 1, 64 - STEPS).expand(3, -1).contiguous())
        expected, _ = decoder.model.step(decoder.ids, state)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_the_crossover_is_where_the_lead_lasts():
    speeds = {"Transformer": [9.0, 9.0, 5.0, 2.0], "Mamba, 4 layers": [10.0, 8.0, 8.0, 9.0]}
    table = pd.DataFrame(
        [
            {"model": name, "batch": 1, "context": context, "tokens_per_second": speed}
            for name, values in speeds.items()
            for context, speed in zip((64, 256, 1024, 8192), values, strict=True)
        ]
    )
    transformer, mamba = against_context(table).to_dict("records")
    assert mamba["longest_over_shortest"] == 0.9 and mamba["faster_than_transformer_from"] == 1024
    assert pd.isna(transformer["faster_than_transformer_from"])


def test_generation_table(monkeypatch):
    monkeypatch.delenv("PN_STORIES260K", raising=False)
    table = measure_generation(TINY, peers=False)
    assert list(table["model"]) == list(ours(TINY)) * 2 and set(table["new_tokens"]) == {4}
    check_numbers(table, "tokens_per_second", "slowest", "fastest", "threads")
    assert ratios(table, generation_pairs(TINY)).empty  # nobody to compare with


def test_stories260k_beside_llama2c(stories260k_dir, llama2c_run):
    mine, theirs = stories_contenders(batch=1)
    assert mine.name == STORIES and 0 < theirs.turn() < 10
    assert len(stories_contenders(batch=2)) == 1


def test_a_program_that_is_not_llama2c(stories260k_dir, monkeypatch):
    monkeypatch.setenv("PN_LLAMA2C", "/no/such/program")
    with pytest.raises(InputError, match="PN_LLAMA2C names /no/such/program"):
        stories_contenders(batch=1)[1].turn()


def test_missing_peers_are_an_input_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    monkeypatch.delitem(sys.modules, "pn_lib.benchmark.peers", raising=False)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mambapy" else real(name, *a))
    assert main(["benchmark", "--peers", "--quick"]) == 2
    assert "need mambapy: pip install -e .[peers]" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.csv"))


def test_peers_compute_what_ours_do():
    pytest.importorskip("transformers")
    pytest.importorskip("mambapy")
    from pn_lib.benchmark.contenders import others

    ids, targets = random_ids(TINY, 2, 2, 16)
    for name, entrant in others(TINY).items():
        theirs, config = entrant.model(16), entrant.config(16)
        assert sum(p.numel() for p in theirs.parameters()) == parameter_count(config).total, name
        assert abs(theirs(ids, targets).item() - np.log(TINY.vocab_size)) < 0.5
    y = {name: scan(*scan_inputs(TINY, 16)) for name, scan in scan_methods(TINY, 16, peers=True).items()}
    torch.testing.assert_close(y["mambapy pscan"], y["reference"], rtol=1e-3, atol=1e-4)


def test_the_table_of_decoding_from_integers():
    table = measure_quantized(TINY)
    check_numbers(table, "tokens_per_second", "ms", "weights_mb", "parameters")
    assert set(table["precision"]) == {"float32", "int8", "int4", "ternary"} and len(table) == 3 * 4
    compared = ratios(table, quantized_pairs(TINY))
    assert len(compared) == 3 * 3 and compared["theirs"].str.endswith("float32").all()
    memory = table.set_index(["model"])["weights_mb"]
    large = f"Transformer, width {TINY.large_width}"
    assert memory[f"{large}, int4"] < memory[f"{large}, int8"] < memory[f"{large}, float32"] / 3


def test_each_table_is_saved_as_soon_as_it_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    folder = tmp_path / "results" / "benchmark"
    save_table(pd.DataFrame({"old": [1]}), folder / "generation.csv")
    settings = {"precision": "float32", "length": 9, "batch": 1, "context": 64, "direction": "", "sampling": "greedy"}
    table = pd.DataFrame([{"model": name, **settings, "tokens_per_second": 1234.5} for name in ours(command.FULL)])

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure_training", lambda scale, peers: table)
    monkeypatch.setattr(command, "measure_scan", lambda scale, peers: table)
    monkeypatch.setattr(command, "measure_decoding", interrupted)
    assert main(["benchmark"]) == 130
    saved = {path.name for path in folder.iterdir()}
    assert saved == {"machine.json", "scan.csv", "training.csv", "training_ratios.csv"}
    captured = capsys.readouterr()
    assert "threads" in captured.out and "training, ours / theirs" in captured.out
    assert captured.err.endswith("error: stopped; the tables finished so far are saved\n")
    assert main(["publish", "benchmark"]) == 2
    monkeypatch.setattr(command, "measure_decoding", lambda scale: table)
    monkeypatch.setattr(command, "measure_quantized", lambda scale: table)
    monkeypatch.setattr(command, "measure_generation", lambda scale, peers: table)
    assert main(["benchmark"]) == 0 and main(["publish", "benchmark"]) == 0
    published = tmp_path / "results" / "published" / "benchmark" / hardware.instructions()
    assert {path.name for path in published.iterdir()} >= {*BENCHMARK_FILES, "decoding_contexts.csv"}
    assert read_json(published / "machine.json")["versions"]["numba"]


def test_numbers_are_printed_in_three_digits():
    text = as_text(pd.DataFrame({"x": [12345.6, 12.345, 1.2345, 0.12345, np.nan]}))
    assert text.split() == ["x", "12,346", "12.3", "1.23", "0.123"]
