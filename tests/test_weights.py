"""The weights in a folder of transformers are the same model in whatever way they were saved."""

import json

import pytest
import torch
from safetensors.torch import save_file
from training_example import STORIES

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.models.huggingface import to_transformers
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.transformer import Transformer, TransformerConfig


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Config, state dict, tokenizer and the bits per byte of a random Llama."""
    tokenizer = train_tokenizer(STORIES, 300)
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(tokenizer.vocab_size, context=32, d_model=16, n_layers=2, n_heads=2)).eval()
    config, state = to_transformers(model)
    state = {name: weight.contiguous() for name, weight in state.items()}
    return config, state, tokenizer, text_likelihood(model, tokenizer, STORIES).bits_per_byte


def _in_parts(folder, state, name, save):
    names = sorted(state)
    halves = {f"{name.partition('.')[0]}-0000{n}-of-00002.{name.partition('.')[2]}": names[n - 1 :: 2] for n in (1, 2)}
    for file, part in halves.items():
        save({key: state[key] for key in part}, folder / file)
    write_json(
        folder / f"{name}.index.json", {"weight_map": {key: file for file, part in halves.items() for key in part}}
    )


def _whole(folder, state):
    save_file(state, folder / "model.safetensors")


WAYS = {
    "safetensors": _whole,
    "pickled": lambda f, s: torch.save(s, f / "pytorch_model.bin"),
    "safetensors in parts": lambda f, s: _in_parts(f, s, "model.safetensors", save_file),
    "pickled in parts": lambda f, s: _in_parts(f, s, "pytorch_model.bin", torch.save),
    "by DistributedDataParallel": lambda f, s: _whole(f, {f"module.{k}": v for k, v in s.items()}),
    "compiled": lambda f, s: _whole(f, {f"_orig_mod.{k}": v for k, v in s.items()}),
    "both": lambda f, s: _whole(f, {f"module._orig_mod.{k}": v for k, v in s.items()}),
    "both, compiled last": lambda f, s: _whole(f, {f"_orig_mod.module.{k}": v for k, v in s.items()}),
    "the inner model compiled": lambda f, s: _whole(f, {f"model._orig_mod.{k}": v for k, v in s.items()}),
    "each layer compiled": lambda f, s: _whole(
        f,
        {
            k.replace("layers.0.", "layers.0._orig_mod.").replace("layers.1.", "layers.1.module."): v
            for k, v in s.items()
        },
    ),
    "Lightning": lambda f, s: _whole(f, {f"model.{k}": v for k, v in s.items()}),
    "the inner model": lambda f, s: _whole(f, {k.removeprefix("model."): v for k, v in s.items()}),
    "bfloat16": lambda f, s: _whole(f, {k: v.bfloat16() for k, v in s.items()}),
    "float16": lambda f, s: _whole(f, {k: v.half() for k, v in s.items()}),
    "float64": lambda f, s: _whole(f, {k: v.double() for k, v in s.items()}),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_model_in_every_way(saved, tmp_path, way):
    config, state, tokenizer, known = saved
    write_json(tmp_path / "config.json", config)
    tokenizer.save(tmp_path)
    WAYS[way](tmp_path, state)
    model, coder = open_model(tmp_path)
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}
    close = 1e-2 if way in ("bfloat16", "float16") else 1e-6
    assert text_likelihood(model, coder, STORIES).bits_per_byte == pytest.approx(known, abs=close)


def _index(places):
    return lambda folder, state: write_json(folder / "model.safetensors.index.json", places)


def _elsewhere(folder, state):
    _whole(folder.parent, state)
    _index({"weight_map": dict.fromkeys(state, "../model.safetensors")})(folder, state)


def _lacking(folder, state):
    _in_parts(folder, state, "model.safetensors", save_file)
    (folder / "model-00002-of-00002.safetensors").unlink()


def _emptied(folder, state):
    _in_parts(folder, state, "model.safetensors", save_file)
    save_file({"other": torch.ones(1)}, folder / "model-00002-of-00002.safetensors")


def _quantized(folder, state):
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", config | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    _whole(folder, state)


def _cut_short(path, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_index({}), "names no files of weights"),
        (_elsewhere, "'../model.safetensors', which is not beside it"),
        (_lacking, "'model-00002-of-00002.safetensors', which is not beside it"),
        (_emptied, "lack the weight"),
        (lambda f, s: torch.save({"model": s, "step": 3}, f / "pytorch_model.bin"), "more than a table of weights"),
        (lambda f, s: torch.save(s["lm_head.weight"], f / "pytorch_model.bin"), "more than a table of weights"),
        (lambda f, s: _cut_short(f / "pytorch_model.bin", s), "are damaged"),
        (lambda f, s: (f / "pytorch_model.bin").write_text("<html></html>"), "web page"),
        (
            lambda f, s: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1"),
            "git lfs pull",
        ),
        (lambda f, s: _whole(f, s | {"model.norm.weight": s["model.norm.weight"].to(torch.int8)}), "holds torch.int8"),
        (lambda f, s: _whole(f, s | {f"ema.{k}": v.clone() for k, v in s.items()}), "no place for the weight ema"),
        (lambda f, s: _whole(f, s | {"module.lm_head.weight": s["lm_head.weight"] + 1}), "more than one weight"),
        (lambda f, s: _quantized(f, s), "is quantized \\(gptq\\).*dequantize"),
    ],
)
def test_damage_is_one_sentence(saved, tmp_path, damage, sentence):
    write_json(tmp_path / "config.json", saved[0])
    saved[2].save(tmp_path)
    damage(tmp_path, saved[1])
    with pytest.raises(InputError, match=sentence) as caught:
        open_model(tmp_path)
    assert "\n" not in str(caught.value)
