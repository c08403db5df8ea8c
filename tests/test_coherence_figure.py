"""The figures of notebook 08 show every model of the study of coherence, and hide none behind another."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from pn_lib.course.coherence_figure import coherence_threshold, facts_kept
from pn_lib.run.results.coherence_results import CoherenceResult


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def cell(architecture: str, parameters: int, tokens: int, words: float, valid: float, bits: float = 2.0) -> dict:
    share = {"value": valid, "low": 0.0, "high": 1.0}
    return {
        "architecture": architecture, "dialect": {"plots": 1, "words": None}, "parameters": parameters,
        "tokens": tokens, "seeds": 1, "flops": 1.0, "excess": share, "excess_bits": bits, "valid": share,
        "cooler": share, "words": words, "steady": 0.0, "slots": {}, "recalled": [],
    }  # fmt: skip


def found(*cells: dict) -> CoherenceResult:
    return CoherenceResult(cool=0.5, cells=cells, thresholds=[], least=[], leaks=[], told=1, copies=0, new_pairs=None)


def test_sizes_that_differ_a_little_are_one_line_and_larger_models_have_larger_marks():
    small, grown, large = (
        cell("transformer", 59_840, 1_000_000, 3, 0.0), cell("transformer", 60_100, 2_000_000, 9, 0.0),
        cell("transformer", 124_900, 1_000_000, 5, 0.0),
    )  # fmt: skip
    left, _ = coherence_threshold(found(small, grown, large), story_words=100).axes
    one, other, whole = left.lines
    np.testing.assert_allclose(one.get_xydata(), [[1, 3], [2, 9]])
    np.testing.assert_allclose(other.get_xydata(), [[1, 5]])
    assert other.get_markersize() > one.get_markersize() and whole.get_ydata()[0] == 100


def test_two_architectures_with_the_same_numbers_are_drawn_side_by_side():
    same = [cell(name, 60_000, 1_000_000, 3, 0.0) for name in ("transformer", "mamba")]
    first, second, _ = coherence_threshold(found(*same), story_words=100).axes[0].lines
    assert first.get_xdata()[0] < 1 < second.get_xdata()[0] and first.get_color() != second.get_color()


def test_a_share_is_drawn_at_its_excess_above_the_bound():
    _, right = coherence_threshold(found(cell("mamba", 60_000, 1_000_000, 3, 0.6)), story_words=100).axes
    bound, mark = right.lines
    at = np.interp(2.0, *bound.get_data())
    assert at == pytest.approx(0.25, abs=0.01) and list(mark.get_xydata()[0]) == [2.0, 0.6]


def test_a_fact_is_drawn_at_the_share_of_times_that_it_comes_back_right():
    easy, other = {"plots": 1, "words": 4}, {"plots": 3, "words": 4}
    who = {"architecture": "transformer", "parameters": 60_000, "tokens": 5_000_000, "seed": 0, "repeated": 40}
    rows = [("a", "hero", 0, 0.2), ("a", "colour", 30, 0.2), ("b", "hero", 2, 0.9), ("b", "colour", 0, 0.9)]
    memories = [
        who | {"experiment": name, "dialect": easy, "slot": slot, "broken": broken, "valid": valid}
        for name, slot, broken, valid in rows
    ]
    elsewhere = memories[0] | {"experiment": "c", "dialect": other, "slot": "pet"}
    study = found(cell("transformer", 60_000, 5_000_000, 3, 0.6) | {"dialect": easy}).model_dump()
    axes, _ = facts_kept(CoherenceResult(**study | {"memories": [*memories, elsewhere]})).axes
    [marks] = axes.collections
    assert [label.get_text() for label in axes.get_yticklabels()] == ["colour", "hero"]  # what breaks most, first
    np.testing.assert_allclose(marks.get_offsets()[:, 0], [1, 0.25, 0.95, 1])
    rows = marks.get_offsets()[:, 1]
    assert rows.round().tolist() == [1, 0, 1, 0] and rows[0] != rows[2]
    assert marks.get_array().tolist() == [0.2, 0.2, 0.9, 0.9]
