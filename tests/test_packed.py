"""A quantized model in one file: what was written comes back, everywhere, and what is damaged is one sentence."""

import json
import zlib
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, safe_open, save_file
from test_loading import CARD
from training_example import STORIES
from transformers import AutoModelForCausalLM

from pn_lib.cli import main
from pn_lib.data.tokenizer import Tokenizer, tokenizer_of, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.export import export_transformers
from pn_lib.models.grid import Grid
from pn_lib.models.hybrid import Hybrid, HybridConfig
from pn_lib.models.llama2c import export_llama2c
from pn_lib.models.llama2c_tokenizer import Llama2cTokenizer
from pn_lib.models.loading import open_model
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.packed import HEADER, load_packed, save_packed
from pn_lib.models.packed_tokenizer import pack_tokenizer, unpack_tokenizer
from pn_lib.models.quantize import matrices, quantize, quantized_of
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.commands.inspect_command import inspect

IDS = torch.tensor([[1, 5, 9, 2]])
GRIDS = [Grid("int8", None), Grid("int4", 32), Grid("ternary", 6)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES, 300)


def make(kind: str) -> LanguageModel:
    torch.manual_seed(3)
    if kind == "hybrid":  # a layer of every mixer
        return Hybrid(HybridConfig(300, d_model=16, n_layers=5, pattern="SMDAF", head_dim=8, delta_dim=4)).eval()
    if kind == "mamba":
        return Mamba(MambaConfig(300, d_model=16, n_layers=2, d_state=4)).eval()
    untied = {"tied_embeddings": False, "position": "learned", "norm": "layernorm", "bias": True}
    options = untied if kind == "untied" else {}
    return Transformer(TransformerConfig(300, context=16, d_model=16, n_layers=2, n_heads=2, **options)).eval()


@pytest.fixture(scope="module")
def damaged(tokenizer, tmp_path_factory):
    """A function that writes a good file with some of its tensors or its header replaced."""
    folder = tmp_path_factory.mktemp("packed")
    good, bad = folder / "good.safetensors", folder / "bad.safetensors"
    save_packed(quantize(make("transformer"), GRIDS[2]), tokenizer, good)
    with safe_open(good, "pt") as file:
        header = json.loads(file.metadata()[HEADER])

    def write(change=lambda tensors, header: None, text=None):
        tensors, changed = load_file(good), json.loads(json.dumps(header))
        change(tensors, changed)
        save_file(tensors, bad, {HEADER: json.dumps(changed) if text is None else text})
        return bad

    write.good = good
    return write


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("kind", ["transformer", "untied", "mamba", "hybrid"])
def test_what_was_written_comes_back(kind, grid, tokenizer, tmp_path):
    model = quantize(make(kind), grid)
    save_packed(model, tokenizer, tmp_path / "a.safetensors")
    found, coder = open_model(tmp_path / "a.safetensors")
    assert found.config == model.config and not found.training
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())
    assert coder.to_json() == tokenizer.to_json()
    for name, weight in matrices(found).items():
        assert torch.equal(quantized_of(weight).dequantized(), weight), name
    save_packed(found, coder, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_bytes_are_few(tokenizer, tmp_path):
    model = make("transformer")
    count = sum(weight.numel() for weight in matrices(model).values())
    sizes = {}
    for kind in ("int8", "int4", "ternary"):
        save_packed(quantize(model, Grid(kind, 16)), tokenizer, tmp_path / "a.safetensors")
        sizes[kind] = (tmp_path / "a.safetensors").stat().st_size
    assert sizes["int8"] - sizes["int4"] == pytest.approx(count / 2, abs=16)
    assert sizes["int8"] - sizes["ternary"] == pytest.approx(count * 0.8, abs=16)
    rest = sizes["int8"] - count - 2 * count / 16 - 2 * 16 * 5
    assert rest < 1400  # header and tokenizer


@pytest.mark.parametrize("kind", ["transformer", "mamba"])
def test_transformers_opens_what_is_exported_with_the_same_logits(kind, tokenizer, tmp_path):
    save_packed(quantize(make(kind), Grid("int4")), tokenizer, tmp_path / "a.safetensors")
    model, coder = open_model(tmp_path / "a.safetensors")
    export_transformers(model, coder, tmp_path / "hf", CARD)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    with torch.no_grad():
        assert torch.allclose(theirs(IDS).logits, model(IDS), atol=1e-4)


def test_inspect_takes_the_file_for_a_model(damaged):
    assert "Transformer" in inspect(str(damaged.good), "pocket")


def test_a_model_that_is_not_quantized_is_refused(tokenizer, tmp_path):
    with pytest.raises(InputError, match="not quantized"):
        save_packed(make("transformer"), tokenizer, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


# --- tokenizers ---------------------------------------------------------------------------------------------------


def test_ours_is_its_merges(tokenizer):
    kind, data = pack_tokenizer(tokenizer)
    assert kind == "merges" and len(data) < 4 * 43 + 20
    assert unpack_tokenizer(kind, data, 300, "here").to_json() == tokenizer.to_json()


def test_another_byte_level_tokenizer_is_its_table(tokenizer):
    table = json.loads(tokenizer.to_json())
    table["pre_tokenizer"]["add_prefix_space"] = True
    other = Tokenizer.from_json(json.dumps(table).encode(), "here")
    kind, data = pack_tokenizer(other)
    back = unpack_tokenizer(kind, data, 300, "here")
    assert kind == "json" and back.space_before and back.encode("Tim ran.") == other.encode("Tim ran.")


def test_a_tokenizer_of_llama2c(tokenizer, tmp_path):
    export_llama2c(Transformer(TransformerConfig(300, d_model=16, n_heads=2)), tokenizer, tmp_path)
    other = Llama2cTokenizer(tmp_path / "tokenizer.bin", 300)
    kind, data = pack_tokenizer(other)
    back = unpack_tokenizer(kind, data, 300, "here")
    assert kind == "llama2c" and (back.pieces, back.scores) == (other.pieces, other.scores)
    with pytest.raises(InputError, match="no 301 tokens of llama2"):
        unpack_tokenizer(kind, data, 301, "here")


DOUBLING = [(5, 5), *((257 + i, 257 + i) for i in range(99))]  # the last token would have 2^100 bytes


@pytest.mark.parametrize("merges", [[(1, 400)], [(0, 1)], [(5, 6), (5, 6)], DOUBLING])
def test_merges_that_nobody_learned(merges):
    with pytest.raises(InputError):
        tokenizer_of(merges)


def test_a_number_far_beyond_the_others_is_refused_before_a_table_reaches_to_it(tokenizer):
    table = json.loads(tokenizer.to_json())
    table["model"]["vocab"]["zz"] = 10**9
    data = zlib.compress(json.dumps(table).encode())
    with pytest.raises(InputError, match="it numbers 301 tokens up to 1,000,000,000"):
        unpack_tokenizer("json", data, 300, "here")


# --- damaged and hostile files ------------------------------------------------------------------------------------


def set_to(name, value):
    return lambda tensors, header: tensors.update({name: value(tensors[name])})


def configured(**values):
    return lambda tensors, header: header["config"].update(values)


def merged(change):
    """Other merges in the file's tokenizer."""

    def write(tensors, header):
        merges = np.frombuffer(zlib.decompress(tensors["tokenizer"].numpy().tobytes()), "<u2").reshape(-1, 2).tolist()
        other = zlib.compress(np.array(change(merges), "<u2").tobytes())
        tensors["tokenizer"] = torch.frombuffer(bytearray(other), dtype=torch.uint8)

    return write


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            set_to("scales", lambda t: t.index_fill(0, torch.tensor([3]), torch.nan)),
            "a scale is negative or not finite",
        ),
        (set_to("scales", lambda t: -t), "a scale is negative or not finite"),
        (set_to("scales", lambda t: t * torch.inf), "a scale is negative or not finite"),
        (set_to("others", lambda t: t * torch.inf), "a weight is not finite"),
        (set_to("scales", lambda t: t[1:]), "scales has"),
        (set_to("integers", lambda t: t[1:].clone()), "integers has"),
        (set_to("integers", lambda t: t.index_fill(0, torch.tensor([3]), 243)), "a byte holds 243"),
        (set_to("integers", lambda t: t.float()), "no list of torch.uint8"),
        (set_to("others", lambda t: t[None]), "no list of torch.float16"),
        (set_to("tokenizer", lambda t: t[:-5].clone()), "the tokenizer in .* is damaged"),
        (set_to("tokenizer", lambda t: t + 1), "the tokenizer in .* is damaged"),
        (merged(lambda merges: [*merges[:5], (600, 1), *merges[6:]]), "a merge joins tokens 600 and 1 when there are"),
        (merged(lambda merges: [*merges[:5], (290, 1), *merges[6:]]), "a merge joins tokens 290 and 1 when there are"),
        (merged(lambda merges: merges[:-1]), "the tokenizer in .* has 299 tokens, its model 300"),
        (merged(lambda merges: []), "the tokenizer in .* has 257 tokens, its model 300"),
        (lambda tensors, header: tensors.pop("scales"), "scales"),
        (configured(d_model=10**15, n_heads=1), "d_model is 1,000,000,000,000,000"),
        (configured(n_layers=10**9), "n_layers is"),
        (configured(context=10**12), "context is"),
        (configured(d_ff=7000), "integers has"),
        (configured(vocab_size=299), "has"),
        (configured(d_model="16"), "d_model must be"),
        (configured(colour=1), "unknown key|colour"),
        (lambda tensors, header: header.update(version=2), "version 2"),
        (lambda tensors, header: header.update(model="ngram"), "unknown kind, 'ngram'"),
        (lambda tensors, header: header.update(tokenizer="bpe"), "unknown kind, 'bpe'"),
        (lambda tensors, header: header["grid"].update(integers="int3"), "integers"),
        (lambda tensors, header: header["grid"].update(group=0), "group"),
        (lambda tensors, header: header["grid"].update(group=10**30), "group|scales has"),
    ],
)
def test_a_damaged_file_is_one_sentence(change, sentence, damaged):
    with pytest.raises(InputError, match=sentence) as error:
        load_packed(damaged(change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 1}', "[" * 100_000])
def test_a_damaged_header(text, damaged):
    with pytest.raises(InputError, match="the header of"):
        load_packed(damaged(text=text))


def test_a_word_of_a_megabyte_is_not_said_whole(damaged, capsys):
    assert main(["inspect", str(damaged(configured(activation="x" * 10**6)))]) == 2
    error = capsys.readouterr().err
    assert "activation must be 'swiglu'" in error and len(error) < 2200 and error.count("\n") == 1


def test_scales_of_zero_are_weights_of_zero(damaged):
    """A row that training has left at zero has one."""
    model, _ = load_packed(damaged(set_to("scales", torch.zeros_like)))
    assert not any(weight.any() for weight in matrices(model).values())
    assert torch.equal(model(IDS), torch.zeros(1, 4, 300))


def test_weights_without_their_config(damaged, tmp_path):
    save_file(load_file(damaged.good), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="weights of a model alone"):
        open_model(tmp_path / "model.safetensors")


def test_huge_tables_are_refused_before_they_are_made(damaged):
    """All sizes within what a file of this length could hold, their product beyond any memory."""
    stored = 5 * len(load_file(damaged.good)["integers"])
    most = stored // 2 * 2
    with pytest.raises(InputError, match="damaged"):
        load_packed(damaged(configured(d_model=most, d_ff=most, n_layers=1000, vocab_size=most, n_heads=1)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_sentence_or_a_model(data, damaged, tmp_path):
    """Bytes changed anywhere, or the end cut off: never another error than ours."""
    content = bytearray(damaged.good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzzed.safetensors"
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2, 100, 8, 0]))])
    try:
        model, coder = load_packed(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert replace(model.config) == model.config and asdict(model.config)
        assert model(IDS).isfinite().all() and coder.vocab_size == 300
