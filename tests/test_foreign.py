"""What people take for a model and is none is named for what it is, in one sentence that says what to do."""

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from training_example import make_model

from pn_lib.cli import main
from pn_lib.errors import InputError
from pn_lib.models.foreign import check_beginning, looks_like_model, read_llama2c
from pn_lib.models.loading import open_model


def _saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def _zip(name, text):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, text)
    return file.getvalue()


class _Code:
    def __reduce__(self):
        return (print, ("executed",))


WEIGHTS = {"weight": torch.ones(2, 2)}
LLAMA2C = {"model": WEIGHTS, "model_args": {"dim": 8, "n_layers": 1}, "iter_num": 3}
NANOGPT = {"model": WEIGHTS, "model_args": {"n_embd": 8, "n_layer": 1}, "config": {"dataset": "shakespeare"}}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
OLD = _saved(LLAMA2C, _use_new_zipfile_serialization=False)
PAGE = b"\n<!DOCTYPE html>\n<html><title>model.bin at main</title></html>"
KINDS = {  # name of the file, its bytes, what the sentence says
    "GGUF": ("stories.gguf", b"GGUF\x03\0\0\0" + bytes(60), r"GGUF.*gguf_file='stories\.gguf'.*save_pretrained"),
    "GGUF with another name": ("model.bin", b"GGUF\x03\0\0\0" + bytes(60), r"GGUF.*gguf_file='model\.bin'"),
    "GGML": ("ggml-model.bin", b"lmgg" + bytes(60), "GGML"),
    "pointer": ("model.bin", POINTER, "Git LFS pointer.*git lfs pull"),
    "web page": ("model.bin", PAGE, "web page.*hf download"),
    "a server's answer": ("model.bin", b'{"error":"Repository not found"}', "is a text.*hf download"),
    "empty": ("model.bin", b"", "is empty.*hf download"),
    "zeros": ("model.bin", bytes(4096), "did not come to its end"),
    "unfinished": ("model.bin.crdownload", b"\x08\0\0\0" * 20, "did not come to its end"),
    "TensorFlow": ("tf_model.h5", b"\x89HDF\r\n\x1a\n" + bytes(60), "TensorFlow.*from_tf=True"),
    "Flax": ("flax_model.msgpack", b"\x81\xa5model" + bytes(60), "Flax.*from_flax=True"),
    "ONNX": ("model.onnx", b"\x08\x07\x12\x07pytorch" + bytes(60), "ONNX"),
    "ONNX with another name": ("model.bin", b"\x08\x07\x12\x07pytorch" + bytes(60), "ONNX"),
    "gzip": ("model.bin", gzip.compress(b"weights" * 50), "compressed with gzip"),
    "archive": ("model.bin", _zip("model.safetensors", "x"), "ZIP archive"),
    "llama2.c's checkpoint": ("ckpt.pt", _saved(LLAMA2C), r"llama2\.c.*export\.py model\.bin --checkpoint ckpt\.pt"),
    "nanoGPT's checkpoint": ("ckpt.pt", _saved(NANOGPT), "nanoGPT.*GPT2LMHeadModel"),
    "half a checkpoint": ("ckpt.pt", _saved(LLAMA2C)[:200], r"only its beginning.*--checkpoint ckpt\.pt"),
    "half a checkpoint of before": ("ckpt.pt", OLD[: len(OLD) // 2], "could be opened only by.*or it is damaged"),
    "a damaged table of contents": ("ckpt.pt", _saved(LLAMA2C).replace(b"PK\1\2", b"PK\0\0", 1), "or it is damaged"),
    "one byte": ("model.bin", b"\x80", "too few|no config"),
    "weights alone": ("pytorch_model.bin", _saved(WEIGHTS), r"alone.*config\.json"),
    "code": ("model.bin", _saved({"weight": _Code()}), "only by running the code"),
    "safetensors": ("model.safetensors", save({"w": torch.zeros(1)}), r"weights.*alone"),
}


@pytest.mark.parametrize(("name", "data", "sentence"), KINDS.values(), ids=KINDS)
def test_a_file_is_named_for_what_it_is(tmp_path, capsys, name, data, sentence):
    (tmp_path / name).write_bytes(data)
    for target in (tmp_path / name, tmp_path):  # given itself, or the folder that it is downloaded into
        with pytest.raises(InputError, match=sentence) as caught:
            open_model(target)
        assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "generate", "evaluate"])
def test_every_command_says_so(tmp_path, capsys, command):
    (tmp_path / "ckpt.pt").write_bytes(_saved(NANOGPT))
    for target in (tmp_path, tmp_path / "ckpt.pt"):
        assert main([command, str(target)]) == 2
        error = capsys.readouterr().err
        assert "nanoGPT" in error and error.count("\n") == 1


def test_folders_without_a_model(tmp_path):
    adapter, outputs = tmp_path / "adapter", tmp_path / "outputs"
    (outputs / "checkpoint-500").mkdir(parents=True)
    (outputs / "checkpoint-500" / "config.json").write_text("{}")
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    for folder, sentence in (
        (adapter, r"adapter.*merge_and_unload\(\)\.save_pretrained"),
        (outputs, r"folders of models: checkpoint-500; give one"),
        (outputs / "checkpoint-500", "no weights"),
    ):
        with pytest.raises(InputError, match=sentence if "no" not in sentence[:2] else "no equal here|no weights"):
            open_model(folder)
    assert looks_like_model(adapter) and not looks_like_model(outputs)


def test_weights_of_other_frameworks_beside_a_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    for name, data, sentence in (KINDS[kind] for kind in ("GGUF", "TensorFlow", "Flax", "ONNX")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=sentence):
            open_model(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize(("data", "sentence"), [(POINTER, "git lfs pull"), (PAGE, "web page"), (b"", "is empty")])
def test_tables_that_were_never_fetched(tmp_path, name, data, sentence):
    make_model().save(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=sentence):
        open_model(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.model", "vocab.txt", "spiece.model"])
def test_tokenizers_without_the_table_that_is_read(tmp_path, name):
    make_model().save(tmp_path)
    (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=r"no tokenizer\.json; write it.*AutoTokenizer"):
        open_model(tmp_path)


@given(
    width=st.integers(1, 20_000),
    rest=st.lists(st.integers(1, 4096), min_size=6, max_size=6),
    body=st.binary(max_size=80),
)
def test_no_llama2c_model_is_taken_for_something_else(tmp_path_factory, width, rest, body):
    """Its first bytes are its width, which may be those of a pickle or a letter."""
    path = tmp_path_factory.getbasetemp() / "model.bin"
    path.write_bytes(struct.pack("<7i", width, *rest) + body)
    assert read_llama2c(path) == path.read_bytes()


@given(length=st.integers(2, 10**6))
def test_no_safetensors_are_taken_for_something_else(tmp_path_factory, length):
    path = tmp_path_factory.getbasetemp() / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"a":' + bytes(np.arange(200, dtype=np.uint8)))
    assert check_beginning(path)
