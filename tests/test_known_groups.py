"""Damage does what its name says, and measures notice the damage they are for."""

from random import Random

import numpy as np
import pandas as pd
import pytest

from pn_lib.evaluation.completions import Ending, Yardstick, cut_at, measure
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.intervals import Interval
from pn_lib.evaluation.known_groups import damage, known_groups, looping, negated, renamed, shuffled, superiority
from pn_lib.evaluation.names import WORD

NAMES = {"Tom", "Mia", "Ben", "Sue"}
HEROES = [
    ("Tom", "Mia", "kite"),
    ("Ben", "Sue", "drum"),
    ("Mia", "Ben", "ship"),
    ("Sue", "Tom", "hat"),
    ("Tom", "Sue", "boat"),
]
BEGINNINGS = [f"One day, {a} lost the {thing} of {b}." for a, b, thing in HEROES]
ENDINGS = [
    f' {a} was sad. "Look," said {b}. They found the {thing} in the park. Then {a} could play with it.'
    for a, b, thing in HEROES
]


def test_shuffled_sentences_are_the_same_ones_in_another_order():
    text = ' Tom ran. "Stop!" said Mia.\n\nThen he fell. The end.'
    for seed in range(9):
        found = shuffled(text, Random(seed))
        assert found != text and sorted(found.split()) == sorted(text.split()) and len(found) == len(text)
    assert shuffled(" Tom ran.", Random(0)) == " Tom ran."


def test_names_are_exchanged_throughout():
    found = renamed(" Tom ran. Mia saw Tom's hat.", NAMES, Random(0))
    assert found == " Mia ran. Tom saw Mia's hat."
    single = renamed(" Tom ran. He saw Tom.", NAMES, Random(0))
    [other] = {word[1] for word in WORD.finditer(single)} & (NAMES - {"Tom"})
    assert single == f" {other} ran. He saw {other}."
    assert renamed(" He ran.", NAMES, Random(0)) == " He ran."
    for names in (set(), {"Tom"}):  # as in scripts without capitals: nothing to exchange
        assert renamed(" Tom ran.", names, Random(0)) == " Tom ran." and damage([" Tom ran."], names, 99)["renamed"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Tom was sad.", "Tom was not sad."),
        ("Tom was not sad.", "Tom was sad."),
        ("He couldn't go, but she could.", "He could go, but she could not."),
        ("It can't be! I can.", "It can be! I cannot."),
        ("They won't. The cannon wasted it.", "They will. The cannon wasted it."),
    ],
)
def test_facts_are_negated_both_ways(before, after):
    assert negated(before) == after


def test_damage_leaves_out_what_it_does_not_change():
    groups = damage([" He ran.", " Tom was sad. Mia ran."], NAMES, 100)
    assert groups["renamed"][0] == groups["negated"][0] == groups["shuffled"][0] == []
    assert groups["negated"][1] == [Ending(" Tom was not sad. Mia ran.", True)]
    assert groups["another"] == [[Ending(" Tom was sad. Mia ran.", True)], [Ending(" He ran.", True)]]
    assert looping(" Tom sat. Mia ran.") == " Tom sat. Mia ran. Mia ran. Mia ran. Mia ran."
    assert "copied" not in groups and damage([" He ran."] * 2, NAMES, 12)["looping"][0] == [
        Ending(" He ran. He ", False)
    ]


def table(values):
    return pd.DataFrame({"beginning": list(values), "worth": list(values.values()), "loops": list(values.values())})


def test_superiority_by_hand():
    first, second = table({0: 1.0, 1: 2.0, 2: 5.0, 3: np.nan}), table({0: 0.0, 1: 2.0, 2: 9.0, 4: 1.0})
    assert superiority(first, second, "worth").value == pytest.approx((1 + 0.5 + 0) / 3)
    assert superiority(first, second, "loops").value == pytest.approx((0 + 0.5 + 1) / 3)  # fewer loops are better
    assert superiority(first, first, "worth") == Interval(0.5, 0.5, 0.5)
    several = pd.DataFrame({"beginning": [0, 0, 1], "worth": [0.0, 2.0, 0.0]})
    assert superiority(table({0: 1.0, 1: 1.0}), several, "worth").value == pytest.approx((0.5 + 1) / 2)
    assert superiority(first[:1], second, "worth") is None


def test_each_measure_notices_the_damage_it_is_for(tmp_path):
    training = [b + e.replace("park", "wood") for b, e in zip(BEGINNINGS, ENDINGS, strict=True)]
    yardstick = Yardstick(StoryIndex.build(training, tmp_path), frozenset(NAMES), frozenset({"the", "in", "was"}))
    told = {"human": [[cut_at(text, True, 500)] for text in ENDINGS]} | damage(ENDINGS, NAMES, 500, training)
    tables = {group: measure(BEGINNINGS, rows, ENDINGS, yardstick) for group, rows in told.items()}
    found = known_groups(
        tables, "human", {}, ["names_kept", "words_kept", "loops", "finished", "self_rouge2", "longest_copy"]
    )
    better = {key: {group: row[group].value for group in row} for key, row in found["better"].items()}
    assert better["names_kept"]["another"] > 0.7 and better["names_kept"]["shuffled"] == 0.5
    assert better["words_kept"]["another"] == 1 and better["words_kept"]["renamed"] == 0.5
    assert better["loops"]["looping"] == 1 and better["loops"]["cut"] == 0.5
    assert better["finished"]["cut"] == 1 and better["finished"]["shuffled"] == 0.5
    assert better["self_rouge2"]["same"] == 1 and better["longest_copy"]["copied"] > 0.9
    assert found["groups"]["cut"] == "last third missing"
