"""The study of vocabularies: equal text, true words about each file, and verdicts on losses whose winner is known."""

from dataclasses import replace
from itertools import compress
from types import SimpleNamespace

import numpy as np
import pytest

from pn_lib.data.halves import halves
from pn_lib.data.stories import write_parquet
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import TokenFile
from pn_lib.errors import InputError
from pn_lib.models.flops import training_flops_per_token
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.packed import load_packed
from pn_lib.run import frontier
from pn_lib.run.profile import VocabularySettings, load_profile, profile_names
from pn_lib.run.profile_models import check_models
from pn_lib.run.vocabulary import (
    Judged,
    at_equal_text,
    envelope,
    first_merges,
    in_words,
    no_larger,
    seed_spread,
    vocabulary_study,
)
from pn_lib.training.config import TrainingConfig

STORIES = [f"The {colour} {thing} fell." for colour in ("red", "old", "big", "wet") for thing in ("hat", "cup", "toy")]
VALIDATION = [f"{story} It was sad." for story in STORIES]
TRAINING = TrainingConfig(tokens=192, batch_size=2, context=32, quantize="int4", quantize_from=0.5, evals=2)
SIZES = tuple({"d_model": width, "n_layers": 1, "n_heads": 2} for width in (8, 16))
SETTINGS = VocabularySettings(vocab_sizes=(257, 270), sizes=SIZES, seeds=2, training=TRAINING)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    write_parquet(folder / "stories" / "train.parquet", STORIES)
    write_parquet(folder / "stories" / "validation.parquet", VALIDATION)
    return folder


def run(place):
    tokenizer = train_tokenizer(STORIES, 280)
    return vocabulary_study(SETTINGS, tokenizer, place / "stories", place / "models", place / "scratch")


@pytest.fixture(scope="module")
def found(place):
    return run(place)


def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one():
    large = train_tokenizer(STORIES, 280)
    assert first_merges(large, 265).to_json() == train_tokenizer(STORIES, 265).to_json()
    in_bytes = first_merges(large, 257)
    assert in_bytes.vocab_size == 257 and len(in_bytes.encode("Ünder")) == len("Ünder".encode())


def test_at_equal_text_windows_are_as_long_in_bytes_and_updates_as_many():
    training = TrainingConfig(tokens=100_000, batch_size=4, context=400)
    half = at_equal_text(training, 0.5)
    assert (half.context, half.steps, half.planned_tokens) == (200, training.steps, training.planned_tokens // 2)


def test_each_model_is_what_its_file_is_and_has_read_the_same_text(place, found):
    study, timings = found
    names = [f"{size}-{tables}" for size in (257, 270) for tables in ("tied", "untied")]
    names = [f"{name}-{run}" for name in names for run in ("0-0", "0-1", "1-0")]
    assert [m.name for m in study.models] == [timing.name for timing in timings] == names
    test = list(compress(VALIDATION, halves(VALIDATION).test))
    for m in study.models:
        model, tokenizer = load_packed(place / "models" / m.name / f"{m.name}.safetensors")
        assert m.bits_per_byte.value == pytest.approx(text_likelihood(model, tokenizer, test).bits_per_byte, abs=1e-6)
        assert (m.config["vocab_size"], m.parameters) == (tokenizer.vocab_size, model.n_parameters())
        assert m.embedding_parameters == (2 - m.config["tied_embeddings"]) * tokenizer.vocab_size * model.config.d_model
        assert m.flops == m.tokens * training_flops_per_token(model.config)
        assert m.tokens == 3 * 2 * m.config["context"]
    windows = {m.config["vocab_size"]: m.config["context"] for m in study.models}
    assert windows[257] == pytest.approx(32, rel=0.1) and windows[270] < 0.8 * windows[257]
    assert study.text_bytes == 192 and study.seed_spread > 0
    for size in (257, 270):  # of the training stories only those that make up the text
        tokens = TokenFile(place / "scratch" / f"vocabulary-{size}" / "train")
        assert tokens.story_bytes.sum() >= 192 > tokens.story_bytes[:-1].sum()


def test_finished_models_are_read_again(place, found, monkeypatch):
    monkeypatch.setattr(frontier, "train", None)  # would fail if it were called
    assert run(place) == found


def judged(name, vocab_size, file_bytes, loss, stories=100):
    """A model whose loss is ``loss``, give or take the same on every story for all models, and a little of its own."""
    rng = np.random.default_rng(file_bytes)
    nats = (loss + np.linspace(-0.5, 0.5, stories) + rng.normal(0, 0.01, stories)) * np.log(2) * 100
    model = SimpleNamespace(
        name=name, seed=0, file_bytes=file_bytes, config={"vocab_size": vocab_size},
        bits_per_byte=SimpleNamespace(value=nats.sum() / np.log(2) / stories / 100),
    )  # fmt: skip
    return Judged(model, nats, np.full(stories, 100), 1.0)


FILES = [("a", 257, 20_000, 1.5), ("b", 512, 30_000, 1.3), ("c", 257, 40_000, 1.4), ("d", 512, 50_000, 1.2)]


def test_the_envelope_names_the_vocabulary_that_wins_and_its_rival_in_no_more_bytes():
    first, second = envelope([judged(*file) for file in FILES], spread=0.01)
    assert (first.vocab_size, first.from_bytes, first.rival, first.verdict) == (257, 20_000, None, None)
    assert (second.vocab_size, second.from_bytes, second.name, second.rival) == (512, 30_000, "d", "c")
    assert second.difference.value == pytest.approx(-0.2, abs=0.01) and second.verdict == "ahead"
    assert in_words(SimpleNamespace(envelope=[first, second])) == "257 from 20 kB on; 512 from 30 kB on"
    tie = second.model_copy(update={"verdict": "not told apart"})
    assert in_words(SimpleNamespace(envelope=[first, tie])).endswith("512 from 30 kB on (not told apart from 257)")


@pytest.mark.parametrize(
    ("spread", "stories", "verdict"),
    [(0.06, 100, "ahead"), (0.08, 100, "not told apart"), (None, 100, None), (0.01, 29, None)],
)
def test_a_lead_must_exceed_what_stories_and_seeds_leave_open(spread, stories, verdict):
    assert envelope([judged(*file, stories) for file in FILES], spread)[1].verdict == verdict


def test_the_spread_over_seeds_is_pooled_over_models_with_several():
    models = [
        SimpleNamespace(name=name, bits_per_byte=SimpleNamespace(value=value))
        for name, value in (("a-0", 1.0), ("a-1", 1.2), ("b-0", 5.0), ("c-0", 2.0), ("c-1", 2.4))
    ]
    assert seed_spread(models) == pytest.approx(np.sqrt((0.02 + 0.08) / 2))
    assert seed_spread(models[2:3]) is None


def test_settings_without_integers_are_named():
    with pytest.raises(InputError, match="must have quantize"):
        replace(SETTINGS, training=replace(TRAINING, quantize=None))


def test_vocabularies_beyond_the_runs_own_are_left_out():
    assert no_larger((257, 512, 4096), 600) == [257, 512]
    assert no_larger((512, 4096), 300) == [300]


@pytest.mark.parametrize("profile", profile_names())
def test_vocabularies_of_the_profiles_can_be_cut_and_their_sizes_inherit_the_recipe(profile):
    check_models(load_profile(profile))
    assert all(size["qk_norm"] for size in load_profile(profile).frontier.vocabulary.sizes)
