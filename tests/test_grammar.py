"""The grammar checker is real, its rules are the ones we think, and it sees what it should and no more."""

import pytest

from pn_lib.data import pocket
from pn_lib.evaluation.grammar import CORRUPTIONS, faults, faults_per_100_words, recall


@pytest.mark.parametrize(
    ("text", "rule", "found"),
    [
        ("Tom ate a apple.", "AnA", "a"),
        ("She were happy.", "PronounInflectionBe", "were"),
        ("He did not went home.", "DidPast", "went"),
        ("The the dog ran.", "RepeatedWords", "The the"),
        ("They plays in the park.", "PronounVerbAgreement", "plays"),
    ],
)
def test_slips_are_found_where_they_stand(text, rule, found):
    [fault] = [fault for fault in faults(text) if fault.rule == rule]
    assert text[fault.start : fault.end] == found and fault.message


def test_names_style_and_simple_words_are_no_faults():
    assert faults('One sunny day, Sam and his friend Gigi went under a rose bush. "Very good," said Will.') == []


def test_only_the_completion_is_charged():
    beginning = "She were sad. "
    assert faults_per_100_words(beginning, "Then she ate a cake.") == 0.0
    assert faults_per_100_words(beginning, "Then she ate a apple.") == pytest.approx(100 / 5)
    assert faults_per_100_words(beginning, "") == 0.0


def test_what_is_noticed_and_what_is_not():
    """The claim of the module: articles and doubled words are seen, a missing article is not."""
    stories = pocket.sample_stories(40, 7)
    noticed = recall(stories)
    assert list(noticed) == list(CORRUPTIONS)
    share = {name: hit / tried for name, (hit, tried) in noticed.items() if tried >= 10}
    assert share["a word doubled"] > 0.9 and share["a → an"] > 0.9
    assert share["in the park → in park"] < 0.5
    assert noticed == recall(stories)
    assert sum(len(faults(story)) for story in stories) / len(stories) < 0.2
