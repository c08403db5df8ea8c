"""Measures against the exact source: the source itself must come out perfect, and every kind of damage be noticed."""

import math
from random import Random

import numpy as np
import pandas as pd
import pytest

from pn_lib.data import pocket
from pn_lib.data.pocket.content import POOLS
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import write_tokens
from pn_lib.errors import InputError
from pn_lib.evaluation.validity import (
    SPACING,
    departure_reasons,
    departures,
    excess_bits_per_byte,
    source_nats,
    valid_share,
)
from pn_lib.models.likelihood import likelihood
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
    with pytest.raises(InputError, match=r"1 of 40 stories are not Pocket stories, first number 3"):
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
    assert departure_reasons([story[: len(story) // 2], story[:-1], story[:20]]) == [(stop, 3)]
    assert departure_reasons([story + " And then?", story + "\n\nMore."]) == [("it goes on after its end", 2)]
    first = story.split(". ")[0]
    assert departure_reasons([first + ". Zebras fly. " + story, first[:-4]]) == [
        ("a sentence that cannot stand there", 1),
        (stop, 1),
    ]
    assert departure_reasons(["Once upon a tree"]) == [("a sentence that goes astray", 1)]


def test_wrong_facts_and_pronouns_are_named():
    probes = [pocket.consistency_probe(seed) for seed in range(30)]
    reasons = dict(departure_reasons([beginning + wrong for beginning, _, wrong in probes]))
    assert reasons["another name, thing, place or deed than it has to be"] >= 28
    pronouns = [
        story.replace(" He ", " She ", 1) if " He " in story else story.replace(" She ", " He ", 1) for story in STORIES
    ]
    assert dict(departure_reasons(pronouns))["a wrong pronoun"] >= 10


def departure(story):
    """The only row there is."""
    [row] = departures([story]).itertuples()
    return row


def test_departures_are_of_the_stories_that_leave_the_language():
    table = departures([*STORIES[:3], STORIES[3][:-1], STORIES[4], "Once upon a tree"])
    assert table["story"].tolist() == [3, 5] and table["back"].isna().all() and table["slot"].isna().all()
    assert table["back"].dtype == "Int64" and departures(STORIES[:2]).columns.equals(table.columns)
    assert table.loc[1, ["position", "expected", "found"]].tolist() == [12, "time,", "tree"]


def before(gap):
    """Its beginning, and a space where one belongs."""
    quoting = gap.beginning[-1] == '"' and gap.beginning.count('"') % 2
    return gap.beginning + ("" if quoting or gap.beginning[-1] == "\n" else " ")


def after_a_shared_beginning(right, wrong):
    """From the first word on in which they differ."""
    right, wrong = right.split(" "), wrong.split(" ")
    same = next(i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b)
    return len(" ".join([*right[:same], ""])) if same else 0


@pytest.mark.parametrize(
    "slot",
    sorted(
        POOLS.keys()
        - {
            "break",
            "trait",
            "day",
            "junk",
            "elsewhere",
            "yard",
            "attempt",
            "mischief",
            "chance",
            "worry",
            "wrong",
            "empty",
            "cold",
        }
    ),
)
def test_a_broken_fact_is_named(slot):
    rng = Random(slot)
    for _ in range(3):
        gap = pocket.fact_gap(rng, {slot}, foils=1)
        found = departure(before(gap) + gap.wrong[0] + ", all of a sudden")
        shared = after_a_shared_beginning(gap.right, gap.wrong[0])
        assert found.slot == slot and found.reason == "another name, thing, place or deed than it has to be"
        assert found.position == len(before(gap)) + shared
        assert (found.expected, found.found) == (gap.right[shared:], gap.wrong[0][shared:])
        assert found.back == gap.distance + shared


def test_a_fact_that_is_taken_is_broken_though_new():
    found = departure("Lily was a kind girl who loved to dance. One day, Lily and her friend Lily went for a walk.")
    assert (found.slot, found.expected, found.found) == ("friend", "Tom", "Lily") and pd.isna(found.back)


def test_words_that_are_no_fact_break_one_that_is_due():
    found = departure("Lily was a kind girl who loved to dance. But zebras, came.")
    assert (found.reason, found.slot, found.expected, found.found, found.back) == (
        "another name, thing, place or deed than it has to be",
        "hero",
        "Lily",
        "zebras",
        29,
    )  # characters since "girl"
    new = departure("Lily was a kind girl who loved to swim.")  # a hobby that is on no list breaks none
    assert new.reason == "a sentence that goes astray" and pd.isna(new.slot) and new.expected == "sing"
    nobody = departure("Once there was a kind girl named Lily. Zebras came.")  # a pronoun was due
    assert nobody.reason == "a sentence that cannot stand there" and pd.isna(nobody.slot) and nobody.expected == "She"


def test_facts_are_found_by_whole_words():
    rng = Random(0)
    gap = next(gap for gap in iter(lambda: pocket.fact_gap(rng, {"toy"}, foils=1), None) if gap.right == "ball")
    for text, fact in (("balloon and fell", "balloon"), ("paper plane", "paper plane"), ("paper planet", "paper")):
        assert departure(before(gap) + text).found == fact


def test_where_a_story_stops_and_where_it_should_have():
    story = STORIES[0]
    found = departure(story + " And then?")
    assert (found.position, found.expected, found.found) == (len(story), "", "And")
    found = departure(story[:-3])
    assert story.startswith(found.found, found.position) and found.expected.startswith(found.found)


def test_a_wrong_pronoun_is_of_a_fact_too():
    rng = Random(0)
    for _ in range(10):
        gap = pocket.pronoun_gap(rng)
        found = departure(before(gap) + gap.wrong[0] + " xyz")
        assert (found.reason, found.slot, found.expected, found.found, found.back) == (
            "a wrong pronoun",
            gap.slot,
            gap.right,
            gap.wrong[0],
            gap.distance,
        )


def test_paragraphs_are_a_fact():
    story = next(story for story in STORIES if "\n\n" in story)
    first, second = [i for i in range(len(story)) if story.startswith("\n\n", i)][:2]
    found = departure(story[:second] + " " + story[second + 2 :])
    assert (found.position, found.reason, found.slot, found.expected, found.found, found.back) == (
        second,
        SPACING,
        "break",
        "\n\n",
        " ",
        second - first,
    )
    found = departure(story[:first] + "\n " + story[first + 2 :])
    assert (found.reason, found.expected, found.found) == (SPACING, "\n", " ") and pd.isna(found.slot)
    inside = story.index(" ", second + 30)
    for wrong in ("\n\n", "  "):
        found = departure(story[:inside] + wrong + story[inside + 1 :])
        assert found.reason == SPACING and pd.isna(found.slot) and found.position in (inside, inside + 1)
