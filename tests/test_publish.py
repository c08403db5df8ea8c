"""Publishing copies what is small of a finished run, and one model that git may hold; `generate` then finds it."""

import pytest
import torch
from training_example import STORIES

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.files import write_json, write_text
from pn_lib.models.loading import open_model
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run import publish, saved_models
from pn_lib.run.stage_records import note_made
from pn_lib.run.stages import load_stages

RUN = "quick-pocket"


def transformer(vocab_size: int, width: int) -> Transformer:
    torch.manual_seed(width)
    return Transformer(TransformerConfig(vocab_size, context=16, d_model=width, n_layers=1, n_heads=2)).eval()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A finished run with three models, of which the two smaller ones are small enough."""
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    results, tokenizer = tmp_path / "results" / RUN, train_tokenizer(STORIES, 300)
    tokenizer.save(results / "tokenizer")
    for name, width in (("zoo/transformer_1", 16), ("zoo/transformer_2", 32), ("transformer", 64)):
        transformer(tokenizer.vocab_size, width).save(results / "models" / name)
    write_json(results / "data.json", {"stories": 3})
    write_json(results / "timings" / "machine.json", {"cores": 2})
    write_json(results / "completions.json", {"large": True})
    write_json(results / "work" / "scratch.json", {})
    for name in [*(stage.name for stage in load_stages()), "report"]:
        note_made(results, name, "0", [results / "data.json"])
    write_text(tmp_path / "figures" / RUN / "study.svg", "<svg/>")
    for name in publish.REPORT_FILES:
        write_text(tmp_path / "report" / RUN / name, name)
    middle = 2 * transformer(tokenizer.vocab_size, 32).n_parameters()
    monkeypatch.setattr(publish, "SMALL_BYTES", middle)
    return tmp_path


def test_small_files_and_a_small_model_are_kept(root):
    for _ in range(2):  # a second time replaces the first
        folders = publish.publish(RUN)
    files = {str(path.relative_to(root)) for folder in folders for path in folder.rglob("*") if path.is_file()}
    kept = (
        "data.json",
        "timings/machine.json",
        "tokenizer/tokenizer.json",
        "models/small/config.json",
        "models/small/model.safetensors",
    )
    assert files == {f"results/published/{RUN}/{name}" for name in kept} | {f"figures/published/{RUN}/study.svg"} | {
        f"report/published/{RUN}/{name}" for name in publish.REPORT_FILES
    }


def test_packed_models_are_kept(root):
    models = root / "results" / RUN / "models"
    (models / "300k.safetensors").write_bytes(b"packed")
    published = publish.publish(RUN)[0]
    assert (published / "models" / "300k.safetensors").read_bytes() == b"packed"
    assert {path.name for path in (published / "models").iterdir()} == {"300k.safetensors", "small"}


def test_git_holds_a_packed_file_once(root, monkeypatch):
    models, there = root / "results" / RUN / "models" / "packed", root / "there"
    write_text(there / "300k.safetensors", "packed")
    write_text(there / "1m.safetensors", "of an older run")
    write_text(models / "300k.safetensors", "packed")
    write_text(models / "1m.safetensors", "packed")
    monkeypatch.setattr(publish, "FILES", there)
    published = publish.publish(RUN)[0]
    assert [path.name for path in (published / "models" / "packed").iterdir()] == ["1m.safetensors"]


def test_the_largest_that_is_small_enough_and_it_opens_with_the_runs_tokenizer(root):
    folder = publish.publish(RUN)[0] / "models" / "small"
    model, tokenizer = open_model(folder)
    whole = transformer(tokenizer.vocab_size, 32)
    assert model.config == whole.config
    ids = torch.tensor([tokenizer.encode(STORIES[0])[:8]])
    with torch.no_grad():
        assert 0 < (model(ids) - whole(ids)).abs().max() < 0.01  # rounded to float16
    assert (folder / "model.safetensors").stat().st_size < publish.SMALL_BYTES + 4_000  # and a header


def test_a_clone_finds_the_published_model(root, monkeypatch):
    published = publish.publish(RUN)[0]
    monkeypatch.setattr(saved_models, "REPOSITORY", root)
    monkeypatch.setenv("PN_ROOT", str(root / "elsewhere"))
    assert saved_models.model_source(f"{RUN}/small") == published / "models" / "small"
    with pytest.raises(InputError, match="has no model 'large'; it has small, as published"):
        saved_models.model_source(f"{RUN}/large")


def test_an_unfinished_run_is_not_published_nor_one_that_is_not_there(root):
    with pytest.raises(InputError, match="there is no run smoke-pocket"):
        publish.publish("smoke-pocket")
    (root / "results" / RUN / "stages" / "report.json").unlink()
    with pytest.raises(InputError, match=r"not finished \(report is missing\)"):
        publish.publish(RUN)
