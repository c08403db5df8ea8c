"""The tokenizer loses nothing, and gives no text the separator's id."""

import subprocess
import sys
from pathlib import Path

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from pn_lib.data.tokenizer import SEPARATOR, Tokenizer, train_tokenizer
from pn_lib.errors import InputError

STORIES = [
    f"Once upon a time, there was a {size} {animal}. It said, “Hello!”\n\nThe end."
    for size in ("big", "small", "red")
    for animal in ("dog", "cat", "bird", "turtle")
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES, 400)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_unicode_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([SEPARATOR, SEPARATOR[:-1], "<|", " ", "|>", "\n", "a", "Once"])).map("".join))
def test_no_text_encodes_to_the_separator(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.separator_id not in ids
    assert tokenizer.decode(ids) == text


def test_odd_characters_come_back(tokenizer):
    for text in ("", " ", "\0\x7f\u0085\u2028", "e\u0301 é ﬁ", "👩\u200d👧 𝒳", "  two  \r\n\t", "Ġ Ċ ģ", "\ufeff"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tokens_are_learned_and_the_separator_is_spelled_out(tokenizer):
    assert len(tokenizer.encode(STORIES[0])) < len(STORIES[0]) / 2
    ids = [tokenizer.separator_id, *tokenizer.encode("Once"), tokenizer.separator_id]
    assert tokenizer.decode(ids) == f"{SEPARATOR}Once{SEPARATOR}"
    assert tokenizer.token_bytes(tokenizer.separator_id) == SEPARATOR.encode()
    singles = {tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)} & {bytes([b]) for b in range(256)}
    assert len(singles) == 256


def test_half_a_character_is_shown_as_such(tokenizer):
    first = next(i for i in range(tokenizer.vocab_size) if tokenizer.token_bytes(i) == "é".encode()[:1])
    assert tokenizer.decode([first]) == "\ufffd"


def test_batch_equals_single(tokenizer):
    assert tokenizer.encode_batch(STORIES) == [tokenizer.encode(story) for story in STORIES]


def test_vocabulary_size(tokenizer):
    assert 300 < tokenizer.vocab_size <= 400
    assert train_tokenizer(STORIES, 300).vocab_size == 300
    assert train_tokenizer(STORIES, 257).vocab_size == 257
    assert train_tokenizer(["ab ab"], 5000).vocab_size < 270
    with pytest.raises(InputError, match="256 tokens is too small"):
        train_tokenizer(STORIES, 256)


def test_training_and_saving_are_deterministic(tokenizer, tmp_path):
    """Twice here and once in another process, where strings hash differently."""
    tokenizer.save(tmp_path / "a")
    train_tokenizer(iter(STORIES), 400).save(tmp_path / "b")
    code = f"from tests.test_tokenizer import *; train_tokenizer(STORIES, 400).save({str(tmp_path / 'c')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
    first, *others = [(tmp_path / name / "tokenizer.json").read_bytes() for name in "abc"]
    assert all(other == first for other in others)


def test_saved_tokenizer_comes_back_and_opens_in_transformers(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    text = STORIES[0] + SEPARATOR + " é"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.separator_id == tokenizer.separator_id and loaded.vocab_size == tokenizer.vocab_size
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert theirs(STORIES[0])["input_ids"] == tokenizer.encode(STORIES[0])


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_damaged_file(tmp_path, content):
    with pytest.raises(InputError, match=r"tokenizer.json does not exist"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer.json is damaged"):
        Tokenizer.load(tmp_path)


def test_one_without_a_separator_is_refused(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace(SEPARATOR, "<other>"), encoding="utf-8")
    with pytest.raises(InputError, match=r"has no token <\|endoftext\|>"):
        Tokenizer.load(tmp_path)


def test_what_is_no_text_is_refused(tokenizer):
    with pytest.raises(InputError, match="character 3 is half of a surrogate pair"):
        tokenizer.encode("ab\ud800")
    with pytest.raises(InputError, match="None is NoneType, not text"):
        tokenizer.encode_batch(["a", None])
    with pytest.raises(InputError, match="one of the first 2 texts is no Unicode"):
        train_tokenizer(["ok", "ab\ud800"], 300)
    with pytest.raises(InputError, match="no stories"):
        train_tokenizer([], 300)
    with pytest.raises(InputError, match="outside the vocabulary"):
        tokenizer.decode([tokenizer.vocab_size])
    with pytest.raises(InputError, match="outside the vocabulary"):
        tokenizer.decode([-1])
