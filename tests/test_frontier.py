"""Models of the frontier: trained, rounded, packed, and judged by their files."""

import json
import shutil
from dataclasses import replace
from itertools import compress

import pytest

from pn_lib.data.halves import halves
from pn_lib.data.stories import write_parquet
from pn_lib.errors import InputError
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.packed import load_packed
from pn_lib.models.packed_tokenizer import pack_tokenizer
from pn_lib.run import frontier
from pn_lib.run.frontier import RESULT, train_packed
from pn_lib.run.profile import FrontierModel, FrontierSettings, load_profile, profile_names
from pn_lib.run.taught import taught_or_alone
from pn_lib.training.checkpoint import checkpoints
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import train

STORIES = [f"The {colour} {thing} fell." for colour in ("red", "old", "big", "wet") for thing in ("hat", "cup", "toy")]
TRAINING = TrainingConfig(
    tokens=12 * 64, batch_size=4, context=16, quantize="int4", quantize_group=16, quantize_from=0.5, checkpoint_every=2
)
FILES = ["config.json", "model.safetensors", RESULT, "tiny.safetensors"]
TINY = FrontierModel("tiny", 270, {"d_model": 16, "n_layers": 1, "n_heads": 2, "tied_embeddings": True}, TRAINING)


TAUGHT = replace(TINY, name="taught", teacher="tiny")


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stories")
    write_parquet(folder / "train.parquet", STORIES)
    write_parquet(folder / "validation.parquet", [f"{story} It was sad." for story in STORIES])
    return folder


@pytest.fixture(scope="module")
def trained(stories, tmp_path_factory):
    return train_packed(TINY, stories, tmp_path_factory.mktemp("frontier"))


def test_what_is_said_of_a_model_is_true_of_its_file(trained):
    model, tokenizer = load_packed(trained.path)
    texts = [f"{story} It was sad." for story in STORIES]
    expected = {
        half: text_likelihood(model, tokenizer, list(compress(texts, mask))).bits_per_byte
        for half, mask in halves(texts)._asdict().items()
    }
    found = trained.model
    assert found.bits_per_byte.value == pytest.approx(expected["test"], abs=1e-6)
    assert found.choice_bits_per_byte == pytest.approx(expected["choice"], abs=1e-6)
    assert found.bits_per_byte.low < found.bits_per_byte.value < found.bits_per_byte.high
    assert 0 < abs(found.float32_bits_per_byte - expected["test"]) < 0.5  # rounding changes something, not all
    assert found.file_bytes == trained.path.stat().st_size
    assert found.tokenizer_bytes == len(pack_tokenizer(tokenizer)[1])
    assert found.parameters == model.n_parameters() and found.embedding_parameters == tokenizer.vocab_size * 16
    assert found.tokens == 12 * 64
    assert trained.timing.seconds > 0 and trained.timing.decoding > 0 and trained.timing.float32_decoding > 0


def test_a_finished_model_is_read_and_leaves_no_checkpoint(trained, stories, monkeypatch):
    home = trained.path.parent
    assert sorted(path.name for path in home.iterdir()) == FILES
    monkeypatch.setattr(frontier, "train", None)  # would fail if it were called
    assert train_packed(TINY, stories, home.parent) == trained


def test_a_packed_file_that_is_not_as_it_was_made_is_made_anew(trained, stories):
    whole = trained.path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    trained.path.write_bytes(flipped)
    assert train_packed(TINY, stories, trained.path.parent.parent).model == trained.model
    assert trained.path.read_bytes() == whole


def test_a_killed_run_goes_on_and_ends_with_the_same_file(trained, stories, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(frontier, "_judge", killed)
        train_packed(TINY, stories, tmp_path)
    checkpoints(tmp_path / "tiny")[0].unlink()  # as if it had come two updates earlier
    begun = []
    monkeypatch.setattr(frontier, "train", lambda *a, **named: begun.append(train(*a, **named)) or begun[0])
    again = train_packed(TINY, stories, tmp_path)
    assert begun[0].resumed_from == 10
    assert again.path.read_bytes() == trained.path.read_bytes() and again.model == trained.model


def test_a_killed_runs_tokens_are_not_those_of_other_stories(stories, tmp_path, monkeypatch):
    others = tmp_path / "stories"
    shutil.copytree(stories, others)
    write_parquet(others / "train.parquet", STORIES[:-5])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(frontier, "train", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        train_packed(TINY, stories, tmp_path)
    fresh = train_packed(TINY, others, tmp_path / "fresh")
    assert train_packed(TINY, others, tmp_path).path.read_bytes() == fresh.path.read_bytes()


@pytest.mark.parametrize("change", ["settings", "stories"])
def test_another_model_or_other_stories_are_trained_anew(trained, stories, tmp_path, change):
    home = trained.path.parent
    shutil.copytree(home, tmp_path / "tiny")
    settings, others = TINY, stories
    if change == "settings":
        settings = replace(TINY, training=replace(TRAINING, seed=1))
    else:
        others = tmp_path / "stories"
        shutil.copytree(stories, others)
        write_parquet(others / "train.parquet", STORIES[:-1])
    again = train_packed(settings, others, tmp_path)
    assert again.path.read_bytes() != trained.path.read_bytes()
    assert json.loads((tmp_path / "tiny" / RESULT).read_text())["key"] != json.loads((home / RESULT).read_text())["key"]


def test_models_that_cannot_be_are_named():
    with pytest.raises(InputError, match=r"training\.quantize of tiny must name the integers"):
        replace(TINY, training=replace(TRAINING, quantize=None))
    study = load_profile("smoke").frontier.vocabulary
    with pytest.raises(InputError, match="two models have the same name: tiny, tiny"):
        FrontierSettings((TINY, TINY), study)
    with pytest.raises(InputError, match="teacher of taught, 'tiny', must be a model listed before it"):
        FrontierSettings((TAUGHT, TINY), study)
    with pytest.raises(InputError, match=r"teacher of taught, 'tiny', .* has the same vocab_size"):
        FrontierSettings((TINY, replace(TAUGHT, vocab_size=280)), study)
    with pytest.raises(InputError, match="name"):
        replace(TINY, name="a/b")


def test_a_taught_model_stands_beside_itself_alone(trained, stories, tmp_path):
    with pytest.raises(InputError, match=r"tiny.config\.json"):
        train_packed(TAUGHT, stories, tmp_path)  # its teacher is not there
    shutil.copytree(trained.path.parent, tmp_path / "tiny")
    [(found, timing)] = taught_or_alone([TINY, TAUGHT], stories, tmp_path)
    files = {name: tmp_path / name / f"{name}.safetensors" for name in ("taught", "taught-alone", "taught-longer")}
    texts = [f"{story} It was sad." for story in STORIES]
    test = list(compress(texts, halves(texts).test))
    taught, alone, longer = (text_likelihood(*load_packed(path), test).bits_per_byte for path in files.values())
    assert files["taught-alone"].read_bytes() == trained.path.read_bytes() != files["taught"].read_bytes()
    assert found.difference.value == pytest.approx(taught - alone) and found.difference.value
    assert found.longer_difference.value == pytest.approx(taught - longer)
    assert (found.bits_per_byte.value, found.longer.value) == pytest.approx((taught, longer))
    assert (found.teacher, found.tokens, found.longer_tokens) == ("tiny", 12 * 64, 16 * 64)  # a pass more beside three
    assert timing.longer_seconds > 0
    assert train_packed(TAUGHT, stories, tmp_path).model.teacher == "tiny"


def test_another_teacher_teaches_anew(trained, stories, tmp_path):
    other = train_packed(replace(TINY, training=replace(TRAINING, seed=1)), stories, tmp_path)
    first = train_packed(TAUGHT, stories, tmp_path)
    shutil.rmtree(other.path.parent)
    shutil.copytree(trained.path.parent, tmp_path / "tiny")
    before = first.path.read_bytes()
    assert train_packed(TAUGHT, stories, tmp_path).path.read_bytes() != before


@pytest.mark.parametrize("profile", profile_names())
def test_models_of_the_profiles_inherit_the_recipe(profile):
    for model in load_profile(profile).frontier.models:
        assert model.transformer["qk_norm"] and model.transformer["tied_embeddings"]
