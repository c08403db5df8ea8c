"""A run beside the published one: what is the same, what differs within a tolerance and beyond it, what is no match."""

import json
import math
import shutil

import pytest
from published_runs import PUBLISHED, RUNS

from pn_lib import cli
from pn_lib.errors import InputError
from pn_lib.files import read_json, write_json
from pn_lib.run import pipeline
from pn_lib.run.comparison import COMPARED, beside_reference
from pn_lib.run.profile import load_profile
from pn_lib.run.stages import REPOSITORY

RUN = "quick-pocket"


@pytest.fixture
def root(tmp_path):
    """Output of a machine that reproduced the published run to the byte."""
    shutil.copytree(PUBLISHED / RUN, tmp_path / "results" / RUN)
    return tmp_path


def change(root, file, *keys, by):
    path = root / "results" / RUN / f"{file}.json"
    values = inner = read_json(path)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = inner[keys[-1]] + by
    write_json(path, values)


def test_an_equal_run_reproduces(root):
    table = beside_reference(RUN, root, REPOSITORY)
    assert table.splitlines()[-1].startswith("All within tolerance")
    assert table.count("within") == sum(compared.tolerance is not None for compared in COMPARED) + 1


def test_a_loss_may_differ_a_little_and_a_count_not_at_all(root):
    change(root, "training", "transformer", "bits_per_byte", by=0.004)
    change(root, "timings/stages", "total_seconds", by=10_000)  # a slower machine is no failure
    assert "All within tolerance" in beside_reference(RUN, root, REPOSITORY)
    change(root, "training", "transformer", "bits_per_byte", by=0.02)
    change(root, "tokenization", "tokens", "train", by=1)
    last = beside_reference(RUN, root, REPOSITORY).splitlines()[-1]
    assert last.startswith("Outside: training text, tokens; Transformer, bits per byte.")


@pytest.mark.parametrize(
    ("file", "keys", "by", "words"),
    [("run", ("settings", "seed"), 1, "other settings"), ("data", ("corpus", "fingerprint"), "0", "other stories")],
)
def test_another_run_of_the_same_name_is_not_compared(root, file, keys, by, words):
    change(root, file, *keys, by=by)
    table = beside_reference(RUN, root, REPOSITORY)
    assert f"not compared, since this run has {words}." in table and "tolerance" not in table


def test_a_run_of_which_none_is_published(root):
    (root / "results" / RUN).rename(root / "results" / "mine-pocket")
    assert beside_reference("mine-pocket", root, REPOSITORY) is None


@pytest.mark.parametrize("model", [{}, {"bits_per_byte": {"value": None}}])
def test_a_missing_number_is_one_sentence(root, model):
    write_json(root / "results" / RUN / "mamba.json", {"model": model})
    with pytest.raises(InputError, match=r"mamba\.json has no number model\.bits_per_byte\.value"):
        beside_reference(RUN, root, REPOSITORY)


@pytest.mark.parametrize("run", RUNS)
def test_every_published_run_can_be_compared_with(run):
    """It has every number, and its settings are those of its profile as it is now: a newcomer's run is like it."""
    assert all(math.isfinite(compared.of(PUBLISHED / run)) for compared in COMPARED)
    made_with = read_json(PUBLISHED / run / "run.json")
    settings = json.loads(json.dumps(load_profile(made_with["profile"]).settings()))
    assert made_with["settings"] == settings


def test_a_report_ends_with_the_table(root, monkeypatch, capsys):
    monkeypatch.setenv("PN_ROOT", str(root))
    monkeypatch.setattr(pipeline.Pipeline, "run", lambda self: [self.report / "report.html"])
    assert cli.main(["run", "--profile", "quick", "--corpus", "pocket"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("report.html") < printed.index("beside the published quick-pocket")
