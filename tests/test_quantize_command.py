"""``python -m pn_lib quantize``: a file that the other commands take, its size and its bits per byte."""

import re

import pytest
import torch
from training_example import STORIES

from pn_lib.cli import main
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.models.transformer import Transformer, TransformerConfig


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    tokenizer = train_tokenizer(STORIES, 280)
    torch.manual_seed(0)
    Transformer(TransformerConfig(280, context=64, d_model=16, n_layers=1, n_heads=2)).save(tmp_path / "tiny")
    tokenizer.save(tmp_path / "tiny")
    return str(tmp_path / "tiny")


def test_a_file_that_tells_stories(model, tmp_path, capsys):
    out = tmp_path / "small.safetensors"
    assert main(["quantize", model, str(out), "--bits", "4", "--corpus", "pocket", "--stories", "3"]) == 0
    said = capsys.readouterr().out
    assert f"{out.stat().st_size:,} bytes with its tokenizer" in said
    after, before = map(
        float, re.search(r"([\d.]+) bits per byte on 100 .* of pocket; ([\d.]+) as it was", said).groups()
    )
    assert after == pytest.approx(before, rel=0.02)
    assert main(["generate", str(out), "Tim had", "--max-new-tokens", "5"]) == 0
    assert capsys.readouterr().out.startswith("Tim had")
    assert main(["inspect", str(out)]) == 0


def test_by_rounding_without_a_corpus(model, tmp_path, capsys):
    sizes = {}
    for bits in ("8", "1.58"):
        out = tmp_path / f"small{bits}.safetensors"
        assert main(["quantize", model, str(out), "--bits", bits, "--group", "0"]) == 0
        sizes[bits] = out.stat().st_size
    assert sizes["1.58"] < sizes["8"] and "bits per byte" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bits", "3"], "--bits must be 8, 4, 1.58, not 3"),
        (["--group", "-1"], "must not be negative"),
        (["--stories", "5"], "needs the --corpus"),
        (["--corpus", "no/such/corpus"], "no/such/corpus"),
    ],
)
def test_bad_options(model, tmp_path, capsys, options, sentence):
    assert main(["quantize", model, str(tmp_path / "a.safetensors"), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("out", ["small.bin", "no/such/folder/small.safetensors"])
def test_a_place_that_cannot_be(model, capsys, out):
    assert main(["quantize", model, out]) == 2
    assert "ends in .safetensors" in capsys.readouterr().err
