"""Diversity measures and intervals against numbers worked out by hand."""

import numpy as np
import pytest

from pn_lib.errors import InputError
from pn_lib.evaluation.diversity import (
    StoryIndex,
    distinct_n,
    measure_stories,
    ngrams,
    quotes_close,
    repetition,
    rouge2_precision,
    self_rouge2,
    words,
)
from pn_lib.evaluation.intervals import (
    bits_per_byte_interval,
    bootstrap_interval,
    t_interval,
    t_quantile,
    wilson_interval,
)


def test_words_are_lower_case_letters_with_inner_apostrophes():
    assert words("\"Don't!\" said Ana. 'It’s 3 o'clock,' Zoë-Mae") == ["don't", "said", "ana", "it's", "o'clock", "zoë",
                                                                      "mae"]
    assert ngrams("The cat. The dog", 2) == [("the", "cat"), ("cat", "the"), ("the", "dog")]
    assert ngrams("one", 2) == []


def test_rouge2_precision_counts_distinct_bigrams():
    # candidate: {the cat, cat sat, sat the} of which the reference has the first two; "the cat" twice counts once
    assert rouge2_precision("The cat sat. The cat", "the cat sat down") == pytest.approx(2 / 3)
    assert rouge2_precision("word", "word") == 0.0


def test_self_rouge2_takes_the_likest_other():
    # a-b share {x y, y z}: F = 2*2/(2+3); c shares nothing
    np.testing.assert_allclose(self_rouge2(["x y z", "x y z w", "p q r"]), [0.8, 0.8, 0.0])
    assert self_rouge2(["alone here"]).tolist() == [0.0]


def test_distinct_and_repetition():
    assert distinct_n(["a b a b", "b a"], 2) == pytest.approx(2 / 4)  # ab ba ab | ba
    assert repetition("a b c d a b c d a", 4) == pytest.approx(2 / 6)  # abcd bcda cdab dabc abcd bcda
    assert repetition("a b c", 4) == 0.0
    assert distinct_n(["", "a"], 2) == 0.0


@pytest.mark.parametrize(("text", "closed"), [('"Hi," said Tim.', True), ('"Hi, said Tim.', False), ("“Hi” “Ho”", True),
                                              ("“Hi “Ho””", False), ("”Hi“", False), ("no quotes, it's fine", True)])
def test_quotes(text, closed):
    assert quotes_close(text) is closed


STORIES = ["Tim had a red ball. He lost the red ball in the park.", "A cat sat on the mat.", "Tim had a cat."]


def test_index_finds_the_nearest_story():
    index = StoryIndex(STORIES)
    # 2-grams: tim had*, had a*, a cat, cat sat, sat on -> story 1 has three, story 2 has three (tim had, had a, a cat)
    assert index.nearest("Tim had a cat sat on") == (1, pytest.approx(3 / 5))
    assert index.nearest("Tim had a purple cat") == (0, pytest.approx(2 / 4))
    assert index.nearest("the red ball, the red ball") == (0, pytest.approx(2 / 3))  # repeated 2-grams count once
    assert index.nearest("nothing alike here") == (-1, 0.0)
    assert index.nearest("park A cat") == (1, pytest.approx(1 / 2))  # no 2-gram runs from one story into the next
    assert index.nearest("") == (-1, 0.0)


def test_index_finds_the_longest_copy():
    index = StoryIndex(STORIES)
    assert index.longest_copied_span("Then Tim had a red ball and the red ball in the park.") == \
        ["the", "red", "ball", "in", "the", "park"]
    assert index.longest_copied_span("in the park a cat sat") == ["in", "the", "park"]  # stops where a story ends
    assert index.longest_copied_span("purple cat") == ["cat"]
    assert index.longest_copied_span("purple") == [] == index.longest_copied_span("")
    assert index.known_words("the purple cat") == pytest.approx(2 / 3)


def test_longest_copy_agrees_with_plain_search():
    rng = np.random.default_rng(0)
    letters = np.array(list("abcd"))
    texts = [" ".join(rng.choice(letters, 30)) for _ in range(40)]
    index = StoryIndex(texts)
    for text in (" ".join(rng.choice(letters, 25)) for _ in range(20)):
        sequence = text.split()
        plain = max(k for i in range(25) for k in range(26 - i)
                    if any(" ".join(sequence[i:i + k]) in t for t in texts))
        assert len(index.longest_copied_span(text)) == plain


def test_measures_together():
    measures = measure_stories(['Tim said, "I', "A cat"], [' lost the red ball."', " sat on the mat. A dog"],
                               [' lost the ball."', " sat on the mat."], [True, False], StoryIndex(STORIES))
    assert measures["quotes_close"] == 1.0  # opened in the beginning, closed in the completion
    assert measures["ended"] == 0.5
    assert measures["longest_copy_median"] == 4
    assert measures["rouge2_reference"] == pytest.approx((1 / 3 + 3 / 5) / 2)
    assert measures["known_words"] == pytest.approx((1 + 5 / 6) / 2)
    assert set(measures) == {"rouge2_reference", "self_rouge2", "memorisation_rouge2", "longest_copy_median",
                             "distinct_2", "repetition", "known_words", "quotes_close", "ended"}


def test_student_quantiles_of_the_tables():
    for df, t in {1: 12.7062, 2: 4.30265, 3: 3.18245, 9: 2.26216, 30: 2.04227}.items():
        assert t_quantile(df) == pytest.approx(t, abs=2e-4)
    assert t_quantile(4, 0.99) == pytest.approx(4.60409, abs=1e-4)


def test_t_interval_by_hand():
    value, low, high = t_interval([1.0, 2.0, 3.0])
    assert (value, low, high) == pytest.approx((2.0, 2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4)
    with pytest.raises(InputError, match="two seeds"):
        t_interval([1.0])


def test_wilson_by_hand():
    # Wilson 1927 with z = 1.959964: 8 of 10
    assert wilson_interval(8, 10) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-6)
    assert wilson_interval(0, 10)[:2] == (0.0, 0.0)
    assert wilson_interval(10, 10).high == 1.0
    with pytest.raises(InputError, match="at least one"):
        wilson_interval(0, 0)


def test_bootstrap_is_deterministic_and_covers():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(60):
        interval = bootstrap_interval(rng.normal(3.0, 1.0, 50), resamples=200)
        hits += interval.low <= 3.0 <= interval.high
    assert hits >= 50  # 95 % of 60 are 57
    values = rng.normal(size=30)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values)


def test_ratio_and_paired_intervals():
    nats, n_bytes = np.array([100.0, 300.0, 220.0]), np.array([100, 200, 200])
    assert bits_per_byte_interval(nats, n_bytes).value == pytest.approx(620 / 500 / np.log(2))
    # a constant gain per byte is certain when paired, however unlike the stories are
    paired = bits_per_byte_interval(nats - (nats - 0.1 * n_bytes), n_bytes)
    assert paired == pytest.approx((0.1 / np.log(2),) * 3)
    with pytest.raises(InputError, match="two stories"):
        bootstrap_interval([1.0])
