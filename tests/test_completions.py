"""Completions and their measures against stories made for the purpose."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.evaluation.completions import (
    MEASURES,
    Ending,
    Yardstick,
    carried_over,
    common_words,
    complete,
    copy_lengths,
    cut_at,
    cut_beginning,
    finished,
    measure,
    measure_one,
    paired,
    prompt_of,
    quotes_close,
    summarise,
)
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.intervals import wilson_interval
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.transformer import Transformer, TransformerConfig

TRAINING = [
    f"One day, {name} had a {thing}. {name} lost the {thing} in the park. Then {name} found it. The end."
    for name in ("Tim", "Sue", "Bob")
    for thing in ("red ball", "blue kite", "big drum", "toy train")
]


@pytest.fixture(scope="module")
def yardstick(tmp_path_factory):
    return Yardstick.of(TRAINING, StoryIndex.build(TRAINING, tmp_path_factory.mktemp("index")))


@pytest.fixture(scope="module")
def model():
    tokenizer = train_tokenizer(TRAINING, 300)
    torch.manual_seed(0)
    config = TransformerConfig(tokenizer.vocab_size, context=32, d_model=16, n_layers=1, n_heads=2)
    return Transformer(config), tokenizer


def test_stories_are_cut_at_a_word():
    beginning, ending = cut_beginning("Tom had a red kite. The wind took it.", 0.4)
    assert (beginning, ending) == ("Tom had a red", " kite. The wind took it.")  # 0.4 of 37 characters is inside "kite"
    assert cut_beginning("Supercalifragilistic", 0.4) == ("Supercal", "ifragilistic")
    for story in TRAINING:
        assert "".join(cut_beginning(story)) == story


def test_completions_are_the_same_alone_and_among_others(model):
    network, tokenizer = model
    beginnings = ["One day, Tim", "Sue had", "Then Bob"]
    told = complete(network, tokenizer, beginnings, 2, max_bytes=40, temperature=1.0, seed=3)
    assert [len(endings) for endings in told] == [2, 2, 2]
    assert told == complete(network, tokenizer, beginnings, 2, max_bytes=40, temperature=1.0, seed=3)
    assert told[0] == complete(network, tokenizer, beginnings[:1], 2, max_bytes=40, temperature=1.0, seed=3)[0]
    assert len({ending.text for endings in told for ending in endings}) == 6


def test_a_long_beginning_loses_its_first_tokens_and_leaves_room(model):
    network, tokenizer = model
    long = " ".join(TRAINING)
    assert prompt_of(tokenizer, long, 32) == tokenizer.encode(long)[-16:]
    assert prompt_of(tokenizer, "Tim", 32)[0] == tokenizer.separator_id
    [[ending]] = complete(network, tokenizer, [long], max_bytes=20, temperature=0)
    assert len(tokenizer.encode(ending.text)) > 0


def test_endings_are_cut_at_bytes_and_not_inside_a_character():
    assert cut_at("Mia ran.", True, 8) == Ending("Mia ran.", True)
    assert cut_at("Mia ran.", True, 7) == Ending("Mia ran", False)
    assert cut_at("Mia ran.", False, 99) == Ending("Mia ran.", False)
    assert cut_at("né", True, 2) == Ending("n", False)


def test_a_model_goes_on_when_its_context_is_full(model):
    network, tokenizer = model
    ngram = NGram(NGramConfig(tokenizer.vocab_size, order=2)).fit(np.array(prompt_of(tokenizer, " ".join(TRAINING))))
    for teller in (network, ngram):
        for limit in (30, 400):  # the network's context is 32 tokens, of at most 4 bytes here
            [[ending]] = complete(teller, tokenizer, ["One day, Tim had"], max_bytes=limit, temperature=0)
            assert not ending.ended and limit - 4 < len(ending.text.encode()) <= limit
    long, short = (
        complete(network, tokenizer, ["One day, Tim had"], max_bytes=n, temperature=1.0, seed=1)[0][0]
        for n in (300, 60)
    )
    assert long.text.startswith(short.text.rstrip("\ufffd"))


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ('"Hi," said Tim.', True),
        ('"Hi, said Tim.', False),
        ("“Hi” “Ho”", True),
        ("“Hi “Ho””", False),
        ("”Hi“", False),
        ("no quotes, it's fine", True),
    ],
)
def test_quotes(text, closed):
    assert quotes_close(text) is closed


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("The end.", True),
        ('"Yes!" ', True),
        ("(all is well.)", True),
        ("and then", False),
        ("and then,", False),
        ("", False),
    ],
)
def test_finished_sentences(text, done):
    assert finished(text) is done


def test_names_and_things_carried_over(yardstick):
    assert yardstick.names == {"Tim", "Sue", "Bob"}
    assert "the" in yardstick.common and "kite" in yardstick.common  # a kite is in a quarter of them
    rare = Yardstick(yardstick.index, yardstick.names, yardstick.common - {"kite", "blue"})
    kept = carried_over("Tim and Sue saw a blue kite.", "Sue took the kite. Bob ran.", rare)
    assert kept["names_kept"] == 1 / 2 and kept["names_new"] == 1.0
    assert kept["words_kept"] == 1 / 4  # the kite, of and, saw, blue and kite: "a" is common
    nothing = carried_over("the", "Tim", rare)
    assert math.isnan(nothing["names_kept"]) and math.isnan(nothing["words_kept"]) and nothing["names_new"] == 1.0


def test_common_words_stand_in_more_than_a_share_of_the_stories():
    assert common_words(["a b", "a c", "a d", "a d"], 0.4) == {"a", "d"}
    assert common_words(["a a b", "b"], 0.5) == {"b"}  # told once, however often within a story


def test_one_completion_by_hand(yardstick):
    good = measure_one("One day, Tim had a", Ending(" red ball. Tim lost it in the park.", True), yardstick)
    assert good["grammar_faults"] == 0.0 and good["words"] == 8 and good["known_words"] == 1.0
    assert good["longest_copy"] == 4  # red ball tim lost; "in the park" is one shorter
    for text, ended, measure_name in [
        (" red ball. Tim lost it", True, "finished"),
        (' red ball. "Tim lost it.', True, "quotes_close"),
        (" red ball. Tim lost it in the park.", False, "ended"),
    ]:
        bad = measure_one("One day, Tim had a", Ending(text, ended), yardstick)
        assert bad[measure_name] == 0.0 and good[measure_name] == 1.0
    looping = measure_one("Tim", Ending(" had a ball and a ball and a ball and a ball.", True), yardstick)
    assert looping["loops"] == 1.0 and looping["repetition"] > 0.4
    strange = measure_one("Tim", Ending(" had a xylophone.", True), yardstick)
    assert strange["known_words"] == pytest.approx(2 / 3)
    assert measure_one("Tim", Ending(" had an ball.", True), yardstick)["grammar_faults"] == pytest.approx(100 / 3)


def test_the_table_and_its_summary(yardstick):
    told = [[Ending(" red ball.", True), Ending(" red ball.", True)], [Ending(" blue kite.", True), Ending("", False)]]
    table = measure(["Tim had a", "Sue had a"], told, [" red ball.", " big drum."], yardstick)
    assert list(table.columns) == ["beginning", "repeat", *MEASURES] and len(table) == 4
    assert table["rouge2_reference"].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert table["distinct_2"].iloc[0] == 1 / 2 and table["distinct_2"].isna().tolist() == [False, True, False, True]
    means = summarise(table)
    assert means["ended"].value == 3 / 4 and means["rouge2_reference"].value == 1 / 2
    # both completions of a beginning are drawn together: the interval spans the two beginnings' means
    assert (means["rouge2_reference"].low, means["rouge2_reference"].high) == (0.0, 1.0)
    # a share of 0 in two beginnings is not 0 for certain
    assert means["names_kept"] == wilson_interval(0, 2) and means["names_kept"].high > 0.5
    assert summarise(table[table["beginning"] == 0])["ended"] is None


def test_names_with_an_apostrophe_come_again(yardstick):
    irish = Yardstick(yardstick.index, frozenset({"O'Brien", "Tim"}), yardstick.common)
    assert carried_over("Mr. O'Brien saw Tim.", "Then O'Brien's dog ran.", irish)["names_kept"] == 1 / 2


def test_two_tellers_are_compared_beginning_by_beginning():
    first = pd.DataFrame({"beginning": [0, 0, 1, 1, 2], "finished": [1.0, 1.0, 0.0, 1.0, 1.0]})
    second = pd.DataFrame({"beginning": [0, 1, 2], "finished": [1.0, 0.5, float("nan")]})
    # beginnings 0 and 1 have both: 1 - 1 and 0.5 - 0.5; a table set beside itself differs by nothing, for certain
    assert paired(first, second, "finished") == paired(first, first, "finished") == (0.0, 0.0, 0.0)
    worse = second.assign(finished=[0.0, 0.0, 0.0])
    assert paired(first, worse, "finished").value == pytest.approx((1 + 0.5 + 1) / 3)
    assert paired(first[:2], second, "finished") is None


def test_histogram_of_copies_is_open_at_its_end():
    table = pd.DataFrame({"longest_copy": [0, 4, 5, 12, 250]})
    assert copy_lengths(table, (0, 5, 10, 100)) == [2, 1, 1, 1]
