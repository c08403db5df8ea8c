"""``python -m pn_lib export``: other programs' files from any model here, packed ones too."""

import math

import pytest
import torch
from training_example import STORIES
from transformers import AutoModelForCausalLM, AutoTokenizer

from pn_lib.cli import main
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.models.generation import generate
from pn_lib.models.grid import Grid
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.llama2c_tokenizer import Llama2cTokenizer
from pn_lib.models.loading import open_model
from pn_lib.models.packed import save_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig

NAME = "reference/300k"
TEXT = "Tim had a ball."


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """The model that NAME stands for."""
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    path = tmp_path / "results" / "reference" / "models" / "300k.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(280, context=64, d_model=16, n_layers=1, n_heads=2))
    save_packed(quantize(model, Grid("int4")), train_tokenizer(STORIES, 280), path)
    return open_model(path)


def logits(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids]))[0, -1]


def test_transformers_opens_a_packed_model_with_the_same_logits(packed, tmp_path, capsys):
    model, tokenizer = packed
    assert main(["export", NAME, str(tmp_path / "hf")]) == 0
    assert "from_pretrained" in capsys.readouterr().out
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ids = AutoTokenizer.from_pretrained(tmp_path / "hf")(TEXT)["input_ids"]
    assert ids == tokenizer.encode(TEXT)
    with torch.no_grad():
        assert torch.allclose(theirs(torch.tensor([ids])).logits[0, -1], logits(model, ids), atol=1e-5)


def test_transformers_finds_stories_as_likely_and_writes_the_same_tokens(packed, tmp_path):
    model, tokenizer = packed
    assert main(["export", NAME, str(tmp_path / "hf")]) == 0
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    ends, nats = [tokenizer.separator_id], 0.0
    for story in STORIES:
        ids = torch.tensor([[*ends, *tokenizer.encode(story), *ends]])
        with torch.no_grad():
            nats -= theirs(ids[:, :-1]).logits[0].log_softmax(-1).gather(1, ids[0, 1:, None]).double().sum().item()
    bits = nats / math.log(2) / sum(len(story.encode()) for story in STORIES)
    assert bits == pytest.approx(text_likelihood(model, tokenizer, STORIES).bits_per_byte, rel=1e-5)
    for beginning in ("", *(story[:9] for story in STORIES[:5])):
        ids = [*ends, *tokenizer.encode(beginning)]
        [ours] = generate(model, [ids], 40, temperature=0, stop_id=tokenizer.separator_id)
        told = theirs.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)[0, len(ids) :].tolist()
        assert told == ours.ids + ends * (ours.finish_reason == "stop")


@pytest.mark.parametrize(("bits", "program", "atol"), [("32", "run", 1e-5), ("8", "runq", 2e-3)])
def test_llama2c_gets_the_same_logits(bits, program, atol, packed, tmp_path, capsys):
    model, tokenizer = packed
    assert main(["export", NAME, str(tmp_path / "c"), "--format", "llama2c", "--bits", bits]) == 0
    assert f"{program} {tmp_path / 'c' / 'model.bin'}" in capsys.readouterr().out
    again, theirs = open_model(tmp_path / "c" / "model.bin"), Llama2cTokenizer(tmp_path / "c" / "tokenizer.bin", 280)
    expected = logits(model, [tokenizer.separator_id, *tokenizer.encode(TEXT)])
    found = logits(again[0], [0, *theirs.encode(TEXT)])
    assert torch.allclose(found.sort().values, expected.sort().values, atol=atol)
    assert (tmp_path / "c" / "model.bin").read_bytes()[:4] == (b"24ka" if bits == "8" else (16).to_bytes(4, "little"))


def test_a_tokenizer_of_another_kind_is_refused(packed, tmp_path, capsys):
    assert main(["export", NAME, str(tmp_path / "c"), "--format", "llama2c"]) == 0
    (tmp_path / "c" / "tokenizer.bin").rename(tmp_path / "c" / "tok280.bin")
    assert main(["export", str(tmp_path / "c" / "model.bin"), str(tmp_path / "out")]) == 2
    assert "a tokenizer of another kind" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--format", "gguf"], "--format must be transformers or llama2c, not gguf"),
        (["--bits", "8"], "--bits must be 32, or 8 for llama2c, not 8 for transformers"),
        (["--format", "llama2c", "--bits", "4"], "not 4 for llama2c"),
    ],
)
def test_bad_options(options, sentence, packed, tmp_path, capsys):
    assert main(["export", NAME, str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(packed, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert main(["export", NAME, str(tmp_path / "out")]) == 2
    assert "is a file, and the model needs a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
