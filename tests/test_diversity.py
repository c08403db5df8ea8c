"""Diversity measures and intervals against numbers worked out by hand."""

import numpy as np
import pytest

from pn_lib.errors import InputError
from pn_lib.evaluation.diversity import (
    distinct_n,
    loops,
    ngrams,
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
    assert words("\"Don't!\" said Ana. 'It’s 3 o'clock,' Zoë-Mae") == [
        "don't",
        "said",
        "ana",
        "it's",
        "o'clock",
        "zoë",
        "mae",
    ]
    assert ngrams("The cat. The dog", 2) == [("the", "cat"), ("cat", "the"), ("the", "dog")]
    assert ngrams("one", 2) == []


def test_rouge2_precision_counts_distinct_bigrams():
    # candidate: {the cat, cat sat, sat the} of which the reference has the first two; "the cat" twice counts once
    assert rouge2_precision("The cat sat. The cat", "the cat sat down") == pytest.approx(2 / 3)
    assert rouge2_precision("word", "word") == 0.0


def test_self_rouge2_takes_the_closest_other():
    # a-b share {x y, y z}: F = 2*2/(2+3); c shares nothing
    np.testing.assert_allclose(self_rouge2(["x y z", "x y z w", "p q r"]), [0.8, 0.8, 0.0])
    assert self_rouge2(["alone here"]).tolist() == [0.0]


def test_distinct_and_repetition():
    assert distinct_n(["a b a b", "b a"], 2) == pytest.approx(2 / 4)  # ab ba ab | ba
    assert repetition("a b c d a b c d a", 4) == pytest.approx(2 / 6)  # abcd bcda cdab dabc abcd bcda
    assert repetition("a b c", 4) == 0.0
    assert distinct_n(["", "a"], 2) == 0.0


def test_loops_are_words_said_again_and_again_in_a_row():
    assert loops("He ran and the dog and the dog and the dog sat")
    assert not loops("He ran and the dog and the dog sat")  # twice only
    assert not loops("the dog and a cat and the dog and a bird and the dog")  # not in a row
    assert loops("very very very very big") and not loops("very, very, very big")  # a single word: four times
    assert not loops("") and not loops("word")


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
