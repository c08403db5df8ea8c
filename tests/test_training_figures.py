"""The figures of notebook 04 show the numbers that they are given, each where it belongs."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pn_lib.course import training_figures as figures

HISTORY = pd.DataFrame({"tokens": [0, 10, 20], "train_loss": [7.0, 3.0, 2.0], "nats_per_token": [7.0, 4.0, 5.0],
                        "bits_per_byte": [2.8, 1.0, 0.4]})  # fmt: skip


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def test_each_path_is_drawn_in_its_place():
    paths = {"gradient descent": np.array([[-1.8, 0.9], [-1.0, -0.5]]), "Adam": np.array([[-1.8, 0.9], [-1.5, 0.6]])}
    drawn = lines_of(figures.walks(paths).axes[0])
    for name, path in paths.items():
        np.testing.assert_allclose(drawn[name].get_xydata(), path)


def test_a_gradients_singular_values_are_shares_of_the_largest_and_a_steps_are_not():
    drawn = lines_of(figures.singular_values([4.0, 1.0], [0.9, 0.8]).axes[0])
    assert list(drawn["gradient"].get_ydata()) == [1.0, 0.25]
    assert list(drawn["Muon's step"].get_ydata()) == [0.9, 0.8]


def test_a_schedule_that_ends_does_and_one_that_does_not_does_not():
    drawn = lines_of(figures.schedules({"linear": "linear", "constant": "level"}).axes[0])
    assert drawn["linear"].get_ydata()[-1] < 0.02 and drawn["level"].get_ydata()[-1] == 1


def test_marks_are_lines_within_the_axis():
    axes = figures.curve_and_marks(HISTORY, guessing=2.8, counting=0.3).axes[0]
    low, high = axes.get_ylim()
    assert low < 0.3 and high > 2.8
    assert {float(line.get_ydata()[0]) for line in axes.lines[1:]} == {2.8, 0.3}


def test_the_loss_before_any_step_is_left_out():
    drawn = lines_of(figures.train_and_validation(HISTORY).axes[0])
    assert list(drawn["training"].get_ydata()) == [3.0, 2.0] and list(drawn["validation"].get_ydata()) == [4.0, 5.0]


def test_a_rung_has_a_stroke_for_each_seed_and_the_mark_is_a_line():
    rungs = pd.DataFrame({"equal tokens": [2.0, 1.0], "equal seconds": [2.5, 1.5]}, index=["foot", "top"])
    index = pd.MultiIndex.from_product([["foot", "top"], [0, 1]], names=["change", "seed"])
    axes = figures.ladder(rungs, pd.Series([1.9, 2.1, 0.9, 1.1], index), mark=0.3).axes[0]
    strokes = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "|"]
    assert strokes == [[1.9, 2.1], [0.9, 1.1]]
    assert list(lines_of(axes)["4-gram, the mark to beat"].get_xdata()) == [0.3, 0.3]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["foot", "top"]


def test_a_difference_has_a_bar_only_with_an_interval():
    rows = [{"change": "a", "difference": 0.1, "low": 0.0, "high": 0.2, "equal_seconds": 0.3},
            {"change": "b", "difference": -0.1, "low": None, "high": None, "equal_seconds": -0.3}]  # fmt: skip
    axes = figures.differences(rows).axes[0]
    bars = [list(line.get_xdata()) for line in axes.lines if list(line.get_ydata()) in ([0, 0], [1, 1])]
    assert bars == [[0.0, 0.2]]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"] == [0.3, -0.3]


def test_the_star_is_at_the_lowest_validation_loss():
    figure = figures.few_stories({0.0: HISTORY, 0.1: HISTORY}, epoch=10)
    for axes in figure.axes:
        [star] = [line for line in axes.lines if line.get_marker() == "*"]
        assert (star.get_xdata()[0], star.get_ydata()[0]) == (1.0, 4.0)
        assert [text.get_text() for text in axes.texts] == ["4.00"]


def test_each_panel_has_its_own_way_to_pay():
    curves = {name: ([2.0, 1.0], {"tokens": [0, k], "GFLOP": [0, 2 * k], "seconds": [0, 3 * k]})
              for k, name in enumerate("abc", start=1)}  # fmt: skip
    panels = figures.three_axes(curves).axes
    assert [axes.get_xlabel() for axes in panels] == ["tokens", "GFLOP", "seconds"]
    assert [[line.get_xdata()[-1] for line in axes.lines] for axes in panels] == [[1, 2, 3], [2, 4, 6], [3, 6, 9]]


def test_only_what_comes_on_top_is_hatched():
    seconds = pd.Series({"forward": 6.0, "backward": 4.0, "validation": 1.0})
    axes = figures.clocks(seconds, seconds / 10, on_top=1).axes[0]
    assert [(bar.get_width(), bar.get_hatch() or "") for bar in axes.patches] == [(6.0, ""), (4.0, ""), (1.0, "//")]
    assert [text.get_text() for text in axes.texts] == ["60.0%", "40.0%", "10.0%"]
