"""RUN/NAME: a run's model or packed file, one's own or the published one, in every command; damage is one sentence."""

import json

import pytest
import torch
from training_example import STORIES

from pn_lib.cli import main
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.models.grid import Grid
from pn_lib.models.packed import save_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run import saved_models
from pn_lib.run.saved_models import find_model, model_source

NAME = "reference/300k"


def transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(280, context=64, d_model=16, n_layers=1, n_heads=2))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The packed file of a run that is published and that this clone has not run itself."""
    monkeypatch.setattr(saved_models, "REPOSITORY", tmp_path / "clone")
    monkeypatch.setenv("PN_ROOT", str(tmp_path / "own"))
    path = tmp_path / "clone" / "results" / "published" / "reference" / "models" / "300k.safetensors"
    path.parent.mkdir(parents=True)
    save_packed(quantize(transformer(), Grid("int4")), train_tokenizer(STORIES, 280), path)
    return path


def test_a_clone_has_the_published_one(published):
    assert model_source(NAME) == find_model(NAME) == published


def test_ones_own_comes_first(published, tmp_path):
    own = tmp_path / "own" / "results" / "reference" / "models"
    transformer().save(own / "other")
    assert model_source(NAME) == published
    (own / "300k.safetensors").write_bytes(published.read_bytes())
    assert model_source(NAME) == own / "300k.safetensors"
    transformer().save(own / "300k")
    assert model_source(NAME) == own / "300k"


def test_a_missing_one_is_a_sentence_that_names_those_there(published):
    transformer().save(published.parent / "zoo" / "8M.long")
    transformer().save(published.parent / "zoo" / "8M.long" / "hf")
    for name in ("reference/1M", "reference/zoo"):
        with pytest.raises(InputError, match=r"no model '\w+'; it has 300k, zoo/8M\.long, as published"):
            model_source(name)
        assert find_model(name) is None
    published.unlink()
    with pytest.raises(InputError, match=r"it has zoo/8M\.long, as published"):
        model_source(NAME)


def test_a_run_that_is_not_there_may_be_on_the_hub(published):
    assert model_source("nobody/300k") == "nobody/300k" and find_model("nobody/300k") is None


def test_every_command_takes_it(published, capsys):
    assert main(["generate", NAME, "Tim had", "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out.startswith("Tim had")
    assert main(["inspect", NAME]) == 0
    assert f"model {NAME}: Transformer" in capsys.readouterr().out
    small = ["--stories", "12", "--train-stories", "60", "--completions", "4", "--max-bytes", "120"]
    assert main(["evaluate", NAME, *small]) == 0
    assert "bits per byte" in capsys.readouterr().out


def rewritten(data: bytes, change) -> bytes:
    """A safetensors file with its JSON header changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    ours = json.loads(header["__metadata__"]["pocketnarrator"])
    change(header, ours)
    header["__metadata__"]["pocketnarrator"] = json.dumps(ours)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def longer(header, ours):
    header["scales"]["data_offsets"][1] += 2


def with_nan(data: bytes) -> bytes:
    start = 8 + int.from_bytes(data[:8], "little")
    at = start + json.loads(data[8:start])["scales"]["data_offsets"][0]
    return data[:at] + b"\x00\x7e" + data[at + 2 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:1000],
        lambda data: (1 << 62).to_bytes(8, "little") + data[8:],
        with_nan,
        lambda data: rewritten(data, longer),
        lambda data: rewritten(data, lambda header, ours: ours["config"].update(d_model=1 << 40)),
        lambda data: rewritten(data, lambda header, ours: ours["config"].update(n_layers=1 << 62)),
        lambda data: rewritten(data, lambda header, ours: header["others"].update(shape=[1 << 60])),
    ],
    ids=["empty", "an end cut off", "half", "a huge header", "NaN", "overlap", "too wide", "too deep", "a huge shape"],
)
@pytest.mark.parametrize("command", ["generate", "inspect", "evaluate"])
def test_a_damaged_one_is_one_sentence(command, damage, published, capsys):
    published.write_bytes(damage(published.read_bytes()))
    assert main([command, NAME]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "300k.safetensors" in error
