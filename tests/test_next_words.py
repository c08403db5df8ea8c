"""The exact distribution of a Pocket story's next word, against sums over all the stories of a small program."""

import math
from collections import defaultdict

import pytest

from pn_lib.data import pocket
from pn_lib.data.pocket import chooser
from pn_lib.data.pocket.chooser import Enumerator
from pn_lib.data.pocket.templates import Language, Pool, words
from pn_lib.data.tokenizer import pre_tokens

STORIES = pocket.sample_stories(40, seed=11)
# Words that begin others, contractions beside apostrophes, marks that join, an empty line, two ways to one text.
TEMPLATES = {
    "story": """
{name}[ said| asked], "[I can't|I can|I'll|I] [go|go now|goggle][.|!|]"[| Then {name}[ left|'s cat left]|
{break}{Name}: '[ten|tent]'.]
"""
}
SMALL = Language(TEMPLATES, {"name": Pool({"": words("Sam, Samuel, Al")}), "break": Pool({"": ({"name": "\n\n"},)})})


def everything(program) -> dict[str, float]:
    """Every text of a small program with its probability."""
    texts = defaultdict(float)
    enumerator = Enumerator()
    for weight in enumerator.runs(program):
        texts[enumerator.text] += math.exp(weight)
    return texts


def brute_force(texts: dict[str, float]) -> dict[str, dict[str, float]]:
    """The words that follow each prefix in all the texts in which a word ends there."""
    following = defaultdict(lambda: defaultdict(float))
    for text, p in texts.items():
        for prefix, word in zip(places(text), [*pre_tokens(text), ""], strict=True):
            following[prefix][word] += p
    return {
        prefix: {word: p / math.fsum(sums.values()) for word, p in sums.items()} for prefix, sums in following.items()
    }


def places(story: str) -> list[str]:
    pieces = pre_tokens(story)
    return ["".join(pieces[:i]) for i in range(len(pieces) + 1)]


def test_every_place_of_a_small_program_agrees_with_brute_force():
    texts = everything(SMALL)
    expected = brute_force(texts)
    inside = {text[:i] for text in texts for i in range(len(text))} - expected.keys()  # in the middle of words
    assert len(expected) > 500 and len(inside) > 500
    for prefix, following in expected.items():
        assert chooser.next_words(SMALL, prefix, pre_tokens) == pytest.approx(following, rel=1e-9), prefix
    for prefix in sorted(inside)[::3]:
        assert chooser.next_words(SMALL, prefix, pre_tokens) == {}, prefix


def test_a_word_ends_where_the_prefix_does():
    assert chooser.next_words(SMALL, "", pre_tokens).keys() == {"Sam", "Samuel", "Al"}
    assert chooser.next_words(SMALL, "Sam", pre_tokens).keys() == {" said", " asked"}
    assert chooser.next_words(SMALL, "Sa", pre_tokens) == {}
    assert chooser.next_words(SMALL, 'Al said, "I can', pre_tokens).keys() == {" go", " goggle", "'t"}


def test_probabilities_sum_to_one_and_come_in_order():
    for story in STORIES[:12]:
        for prefix in places(story)[::9]:
            following = list(pocket.next_words(prefix).values())
            assert math.fsum(following) == pytest.approx(1, abs=1e-12)
            assert following == sorted(following, reverse=True) and following[-1] > 0


def kind(character: str) -> str:
    return "letter" if character.isalpha() else "space" if character.isspace() else "mark"


def test_words_agree_with_the_probability_of_prefixes():
    """p(word) is that of all the stories that go on with it and then with a character that cannot belong to it."""
    alphabet = sorted(set("".join(STORIES)))
    for i, story in enumerate(STORIES[:20]):
        prefix = places(story)[i * len(pre_tokens(story)) // 20]
        sums = {}
        for word in pocket.next_words(prefix):
            after = [c for c in alphabet if kind(c) == "space" or kind(c) != kind(word[-1])]
            sums[word] = chooser.log_sum(
                [pocket.log_prob(prefix + word), *(pocket.prefix_log_prob(prefix + word + c) for c in after)]
            )
        total = chooser.log_sum(list(sums.values()))
        assert pocket.next_words(prefix) == pytest.approx({w: math.exp(s - total) for w, s in sums.items()}, rel=1e-9)


def test_words_of_a_story_multiply_to_its_probability():
    for story in STORIES[:3]:
        nats = 0.0
        for prefix, word in zip(places(story), [*pre_tokens(story), ""], strict=True):
            nats += math.log(pocket.next_words(prefix)[word])
        assert nats == pytest.approx(pocket.log_prob(story), abs=1e-9)


def test_a_story_ends_and_what_is_no_story_goes_nowhere():
    for story in STORIES:
        assert pocket.next_words(story) == {"": 1.0}
    assert pocket.next_words("Once upon a tree") == pocket.next_words(STORIES[0] + " And") == {}
    assert pocket.next_words("On") == {}  # of "Once": no word ends there
