"""``make numbers`` sees a number that moves, a text that differs, and a key that is gone."""

import pytest
from elsewhere import compare

ONE = {"curve": {"bits_per_byte": [2.0, 1.0]}, "probes": {"share": 0.5}, "told": ["a cat", "a dog"]}


def test_equal_results_did_not_move():
    row = compare("two threads", "mamba.json", ONE, ONE)
    assert (row.numbers, row.moved, row.where, row.bits_per_byte) == (3, 0, None, 0)
    assert (row.texts, row.other_texts) == (2, 0)


def test_the_largest_relative_movement_is_named():
    other = {"curve": {"bits_per_byte": [2.0, 1.25]}, "probes": {"share": 0.75}, "told": ["a cat", "a cow"]}
    row = compare("two threads", "mamba.json", other, ONE)
    assert (row.moved, row.where, row.bits_per_byte) == (0.5, "probes.share", 0.25)
    assert (row.texts, row.other_texts) == (2, 1)


def test_other_keys_are_no_comparison():
    with pytest.raises(ValueError, match="other keys"):
        compare("two threads", "mamba.json", {**ONE, "more": 1}, ONE)
