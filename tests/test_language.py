"""Measures against the exact source: the source itself must come out perfect, and every kind of damage be noticed."""

import math

import numpy as np
import pytest

from pn_lib.data import pocket
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import write_tokens
from pn_lib.errors import InputError
from pn_lib.evaluation.language import (
    departure_reasons,
    excess_bits_per_byte,
    source_nats,
    valid_share,
)
from pn_lib.evaluation.likelihood import likelihood
from pn_lib.models.ngram import NGram, NGramConfig

STORIES = pocket.sample_stories(40, seed=1)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(pocket.sample_stories(300, seed=2), 512)


def test_source_tells_its_own_stories():
    assert valid_share(STORIES)[0] == 1.0
    assert np.isfinite(source_nats(STORIES)).all()
    broken = [story.replace(" the ", " teh ", 1) for story in STORIES[:10]]
    share = valid_share(broken + STORIES[:30])
    assert share.value == 0.75 and share.low < 0.75 < share.high


def test_excess_is_zero_for_the_source_and_counts_bits():
    exact, n_bytes = source_nats(STORIES), np.array([len(s.encode()) for s in STORIES])
    assert excess_bits_per_byte(exact, STORIES) == pytest.approx((0, 0, 0))
    a_bit_more = excess_bits_per_byte(exact + math.log(2) * n_bytes, STORIES)
    assert a_bit_more == pytest.approx((1, 1, 1))
    with pytest.raises(InputError, match=r"1 of 40 stories are no Pocket stories, first number 3"):
        excess_bits_per_byte(exact, [*STORIES[:3], "It was late.", *STORIES[4:]])


def test_no_model_beats_the_source(tokenizer, tmp_path):
    stories = pocket.sample_stories(300, seed=2)
    model = NGram(NGramConfig(tokenizer.vocab_size, 4, tokenizer.separator_id))
    model.fit(np.asarray(write_tokens(tmp_path / "train", stories, tokenizer).tokens))
    score = likelihood(model, write_tokens(tmp_path / "validation", STORIES, tokenizer), context=256)
    excess = excess_bits_per_byte(score.story_nats, STORIES)
    assert 0 < excess.low < excess.value < excess.high
    exact = source_nats(STORIES).sum() / math.log(2) / score.bytes
    assert excess.value == pytest.approx(score.bits_per_byte - exact)


def test_departures_are_named():
    stop, story = "it stops before its end", STORIES[0]
    assert departure_reasons(STORIES) == []
    assert departure_reasons([story[:len(story) // 2], story[:-1], story[:20]]) == [(stop, 3)]
    assert departure_reasons([story + " And then?", story + "\n\nMore."]) == [("it goes on after its end", 2)]
    first = story.split(". ")[0]
    assert departure_reasons([first + ". Zebras fly. " + story, first[:-4]]) == [
        ("a sentence that cannot stand there", 1), (stop, 1)]
    assert departure_reasons(["Once upon a tree"]) == [("a sentence that goes astray", 1)]


def test_wrong_facts_and_pronouns_are_named():
    probes = [pocket.consistency_probe(seed) for seed in range(30)]
    reasons = dict(departure_reasons([beginning + wrong for beginning, _, wrong in probes]))
    assert reasons["another name, thing, place or deed than it has to be"] >= 28
    pronouns = [story.replace(" He ", " She ", 1) if " He " in story else story.replace(" She ", " He ", 1)
                for story in STORIES]
    assert dict(departure_reasons(pronouns))["a wrong pronoun"] >= 10
