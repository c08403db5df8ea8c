"""Tokenizers of other kinds, and separators of other names: the right figures, or a word on what is lost."""

import json
import zlib

import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from training_example import STORIES

from pn_lib.cli import main
from pn_lib.data.other_tokenizer import OtherTokenizer
from pn_lib.data.tokenizer import SEPARATOR, Tokenizer, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.lossless import round_trip
from pn_lib.models.packed_tokenizer import unpack_tokenizer
from pn_lib.models.transformer import Transformer, TransformerConfig

BYTES = [f"<0x{b:02X}>" for b in range(256)]
SPECIALS = ["<unk>", "<s>", "</s>"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def _metaspace(normalizer=None, pre_tokenizer=None):
    """SentencePiece's kind, as Llama's and Mistral's tokenizer.json have it."""
    pieces = [*SPECIALS, *BYTES, "▁", *"Tim", "▁T", "im", "▁Tim"]
    model = models.BPE(
        vocab={piece: i for i, piece in enumerate(pieces)},
        merges=[("▁", "T"), ("i", "m"), ("▁T", "im")],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    backend = tokenizers.Tokenizer(model)
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(SPECIALS)
    return backend


METASPACE = {
    "normalizer": _metaspace(
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    ),
    "pre-tokenizer": _metaspace(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always", split=False)),
}


def _wordpiece():
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(cleanup=False)
    backend.train_from_iterator(STORIES, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "[EOS]"]))
    return backend


def _folder(folder, backend):
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    Transformer(TransformerConfig(backend.get_vocab_size(), context=64, d_model=16, n_layers=1, n_heads=2)).save(folder)
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("kind", METASPACE)
@given(text=TEXT)
@settings(max_examples=50, deadline=None)
def test_byte_fallback_gives_any_text_back(kind, text):
    text = text.replace("▁", "_")  # SentencePiece's own spelling of a space
    coder = OtherTokenizer(METASPACE[kind], "</s>")
    assert coder.decode(coder.encode(text)) == text and coder.separator_id not in coder.encode(text + "</s>")


@pytest.mark.parametrize("kind", METASPACE)
def test_byte_fallback_is_scored_and_told(tmp_path, capsys, kind):
    folder = _folder(tmp_path / "m", METASPACE[kind])
    model, coder = open_model(folder)
    assert coder.space_before and coder.separator_id == 2
    assert [coder.token_bytes(i) for i in (3 + ord("a"), 2)] == [b"a", b"</s>"]
    ids = coder.encode("Tim")
    assert len(ids) == 1 and coder.decode([2, *ids, 2, *ids]) == "</s>Tim</s>Tim"
    assert text_likelihood(model, coder, STORIES).stories == len(STORIES)
    assert main(["generate", str(folder), "Tim ran", "--max-new-tokens", "5"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("Tim ran") and "warning" not in told.err
    assert main(["inspect", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "between stories: token 2 '</s>'" in told and "lossless" in told


def test_wordpiece_is_scored_where_it_is_lossless(tmp_path):
    model, coder = open_model(_folder(tmp_path / "m", _wordpiece()))
    assert coder.separator_id == 1  # [EOS]
    trip = round_trip(coder, ["Tim ran", "Tim  ran", "Tim ran\n", "Tim ☃"])
    assert trip.kept == (0,) and "changes 3 of 4 texts" in trip.sentence
    assert text_likelihood(model, coder, ["Tim ran"]).bits_per_byte > 0
    with pytest.raises(InputError, match="tokenizer changes the text"):
        text_likelihood(model, coder, ["Tim ran."])


@pytest.mark.parametrize("kind", ["normalizer", "WordPiece", "<eos>"])
def test_a_quantized_file_holds_it_with_what_ends_a_text(tmp_path, capsys, kind):
    backend = {"WordPiece": _wordpiece, "<eos>": lambda: _named("<eos>")}.get(kind, lambda: METASPACE[kind])()
    folder, file = _folder(tmp_path / "m", backend), tmp_path / "q.safetensors"
    assert main(["quantize", str(folder), str(file)]) == 0
    (_, coder), (_, packed) = open_model(folder), open_model(file)
    assert (type(packed), packed.separator_id) == (type(coder), coder.separator_id)
    assert packed.encode("Tim ran") == coder.encode("Tim ran")
    assert main(["generate", str(file), "Tim ran", "--max-new-tokens", "3"]) == 0
    assert capsys.readouterr().out.endswith("\n")
    with pytest.raises(InputError, match="the tokenizer in here is damaged"):
        unpack_tokenizer("other", zlib.compress(b"[]"), 300, "here")


def _named(text):
    """Our tokenizer with another separator."""
    state = json.loads(train_tokenizer(STORIES, 300)._backend.to_str().replace(SEPARATOR, text))
    return tokenizers.Tokenizer.from_str(json.dumps(state))


WHERE = {  # the files that say it; else its name does
    "tokenizer_config": {"tokenizer_config.json": {"eos_token": "<story>"}},
    "tokenizer_config, as an object": {"tokenizer_config.json": {"eos_token": {"content": "<story>"}}},
    "special_tokens_map": {"special_tokens_map.json": {"eos_token": "<story>"}},
    "generation_config": {"generation_config.json": {"eos_token_id": 0}},
    "generation_config, a list": {"generation_config.json": {"eos_token_id": [0, 7]}},
}


@pytest.mark.parametrize("files", WHERE.values(), ids=WHERE)
def test_a_separator_that_a_file_names(tmp_path, files):
    _same_as_plain(tmp_path, "<story>", files)


@pytest.mark.parametrize("name", ["</s>", "<|end_of_text|>", "[EOS]", "<|endoftext|>"])
def test_a_separator_that_is_known(tmp_path, name):
    _same_as_plain(tmp_path, name, {"config.json": {}})


def _same_as_plain(tmp_path, name, files):
    plain, other = _folder(tmp_path / "plain", _named(SEPARATOR)), _folder(tmp_path / "other", _named(name))
    for file, value in files.items():
        if file != "config.json":
            write_json(other / file, value)
    (model, coder), known = open_model(other), open_model(plain)
    assert isinstance(coder, Tokenizer) and coder.decode([coder.separator_id]) == name
    figures = [text_likelihood(*pair, STORIES).bits_per_byte for pair in ((model, coder), known)]
    assert figures[0] == pytest.approx(figures[1], abs=1e-9)
    assert coder.separator_id not in coder.encode(f"a{name}b")


def test_what_the_tokenizer_says_counts_more_than_a_number(tmp_path):
    backend = _named(SEPARATOR)
    backend.add_special_tokens(["<end>"])
    folder = _folder(tmp_path / "m", backend)
    write_json(folder / "generation_config.json", {"eos_token_id": 300})  # may be a default: GPT-2's name goes before
    assert open_model(folder)[1].separator_id == 0
    write_json(folder / "tokenizer_config.json", {"eos_token": "<end>"})
    assert open_model(folder)[1].separator_id == 300


def test_no_separator_is_one_sentence(tmp_path):
    folder = _folder(tmp_path / "m", _named("<story>"))
    with pytest.raises(InputError, match=r"no token that ends a text; name it in a tokenizer_config\.json") as caught:
        open_model(folder)
    assert "\n" not in str(caught.value)


@given(text=st.text(" \tabé", max_size=80))
@settings(max_examples=50, deadline=None)
def test_runs_of_spaces_as_tokens_come_back(text):
    """GPT-NeoX's, which Mamba's published models have: NFC, and added tokens of 2 to 24 spaces."""
    assert NEOX.decode(NEOX.encode(text)) == text


def _neox():
    backend = train_tokenizer(STORIES, 300)._backend
    backend.normalizer = normalizers.NFC()
    backend.add_special_tokens(["<|padding|>"])
    backend.add_tokens([tokenizers.AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    return Tokenizer(backend)


NEOX = _neox()


def test_runs_of_spaces_are_one_token():
    ids = NEOX.encode("a" + " " * 24 + "b")
    assert len(ids) == 3 and NEOX.token_bytes(ids[1]) == b" " * 24
