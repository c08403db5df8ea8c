"""Models of any origin on the same stories: one table, whose numbers are those of a plain pass."""

import pytest

pytest.importorskip("transformers")

import numpy as np
import torch
from tiny_listener import save_listener

from pn_lib.cli import main
from pn_lib.data import pocket
from pn_lib.data.halves import halves
from pn_lib.data.stories import write_parquet
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.evaluation import probes
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.commands import compare_command, listen_command
from pn_lib.run.results.listening_results import GeneralResult, ListeningResult
from pn_lib.run.results.stories_results import CompletionsResult

FILE = """corpus = "{root}/corpus"
stories = 6

[[models]]
name = "general"
source = "{root}/ear"
trained_on = "the web"
general = true

[[models]]
name = "ours"
source = "{root}/ours"
trained_on = "200 stories"

[[models]]
name = "3-gram"
ngram = 300
trained_on = "200 stories"
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    monkeypatch.setattr(compare_command, "KINDS", ("grammar",))
    monkeypatch.setattr(compare_command, "load_probes", lambda kind: probes.load_probes(kind)[:8])
    stories = pocket.sample_stories(60, 3)
    for part, some in (("train", stories[:40]), ("validation", stories[40:])):
        write_parquet(tmp_path / "corpus" / "data" / f"{part}-00000-of-00001.parquet", some)
    save_listener(tmp_path / "ear", stories)
    tokenizer = train_tokenizer(stories[:40], 320)
    tokenizer.save(tmp_path / "ours")
    torch.manual_seed(0)
    Transformer(TransformerConfig(tokenizer.vocab_size, context=64, d_model=16, n_layers=1, n_heads=2)).save(
        tmp_path / "ours"
    )
    (tmp_path / "mine.toml").write_text(FILE.format(root=tmp_path))
    return tmp_path, stories[40:]


def test_all_models_are_scored_on_the_same_stories(root, capsys):
    folder, validation = root
    assert main(["compare", str(folder / "mine.toml")]) == 0
    text = capsys.readouterr().out
    found = GeneralResult.read(folder / "results" / "mine")
    test = [story for story, mask in zip(validation, halves(validation).test, strict=True) if mask][:6]
    assert found.stories == len(test) and found.general == "general"
    general, ours, counted = found.models
    assert all(name in text for name in ("general", "ours", "3-gram"))
    assert general.difference is None
    for model in (ours, counted):
        difference = model.bits_per_byte.value - general.bits_per_byte.value
        assert model.difference.value == pytest.approx(difference)
        assert model.probes["grammar"].n == 8
    model, tokenizer = open_model(folder / "ours")
    with_end = text_likelihood(model, tokenizer, test)
    ends = []
    for story in test:  # of a text alone, its end left out
        ids = torch.tensor([[tokenizer.separator_id, *tokenizer.encode(story)]])[:, -65:]
        ends.append(-model(ids[:, -64:])[0, -1].log_softmax(-1)[tokenizer.separator_id].item())
    bits = (with_end.story_nats.sum() - np.sum(ends)) / np.log(2) / with_end.bytes
    assert ours.bits_per_byte.value == pytest.approx(bits, rel=0.01)  # a last window may begin elsewhere
    assert ours.ending.value > 0 and 0 < ours.first_word < 60


def test_the_small_models_write_endings_that_the_general_one_hears(root, monkeypatch, capsys):
    folder, validation = root
    monkeypatch.setattr(compare_command, "MAX_BYTES", 40)
    monkeypatch.setattr(listen_command, "MAX_BYTES", 40)
    with (folder / "mine.toml").open("a") as file:
        file.write("\n[endings]\nbeginnings = 2\ntemperature = 0.5\n")
    assert main(["compare", str(folder / "mine.toml")]) == 0
    results = folder / "results" / "mine"
    told = CompletionsResult.read(results)
    test = [story for story, mask in zip(validation, halves(validation).test, strict=True) if mask][:2]
    assert list(told.tellers) == ["human", "ours", "3-gram"] and told.temperature == 0.5
    real = told.tellers["human"]
    assert [b + ending[0].text for b, ending in zip(told.beginnings, real, strict=True)] == test
    assert main(["listen", "mine", "--ear", str(folder / "ear")]) == 0
    heard = ListeningResult.read(results)
    assert heard.beginnings == 2 and set(heard.tellers) == set(told.tellers)
    monkeypatch.setattr(listen_command, "MAX_BYTES", 4_000)
    assert main(["listen", "mine", "--ear", str(folder / "ear")]) == 2
    assert "does not fit in the listener's 96; name one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("general = true\n", "", "name two models or more, one of them with general = true"),
        ("stories = 6", "storys = 6", "unknown key 'storys'"),
        ("stories = 6", "stories = 0", "stories must be greater than 0"),
        ("stories = 6", "stories = 2026-01-01", "stories must be a valid integer"),
        ('trained_on = "the web"\n', "", "trained_on is missing"),
    ],
)
def test_mistakes_in_the_file_are_one_sentence(root, capsys, old, new, said):
    folder, _ = root
    text = (folder / "mine.toml").read_text()
    assert old in text
    (folder / "mine.toml").write_text(text.replace(old, new, 1))
    assert main(["compare", str(folder / "mine.toml")]) == 2
    assert said in capsys.readouterr().err
    assert main(["compare", str(folder / "nothing.toml")]) == 2
    assert "does not exist" in capsys.readouterr().err
