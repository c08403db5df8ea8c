"""Drawn curves, maps and distances hold the numbers given, say in words what they show, and reject wrong shapes."""

import numpy as np
import pytest
import torch

from pn_lib.course.drawings.curves import draw_distances, draw_lines, draw_maps
from pn_lib.errors import InputError

X, RISING, FALLING = [1, 2, 4], torch.tensor([0.5, 1.0, 2.0]), [8.0, 4.0, 1.0]


def test_each_line_has_its_numbers_its_name_and_its_ends_in_words():
    figure = draw_lines(X, {"up": RISING, "down": FALLING}, "width", "size")
    [axes] = figure.axes
    up, down = axes.get_lines()
    np.testing.assert_array_equal(up.get_xydata(), [[1, 0.5], [2, 1], [4, 2]])
    np.testing.assert_array_equal(down.get_ydata(), FALLING)
    assert up.get_linestyle() != down.get_linestyle() and up.get_marker() != down.get_marker()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["up", "down"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("width", "size")
    assert "up from 0.5 to 2, down from 8 to 1" in figure.get_label()


@pytest.mark.parametrize(
    ("log", "scales"), [("", ("linear", "linear")), ("y", ("linear", "log")), ("xy", ("log", "log"))]
)
def test_the_axes_named_are_logarithmic(log, scales):
    [axes] = draw_lines(X, {"up": RISING}, "width", "size", log).axes
    assert (axes.get_xscale(), axes.get_yscale()) == scales


def test_a_line_needs_a_number_for_each_place():
    with pytest.raises(InputError, match="up"):
        draw_lines(X, {"up": [1.0, 2.0]}, "width", "size")


def test_a_map_shades_the_numbers_and_leaves_what_is_not_there_white():
    table = torch.tensor([[1.0, torch.nan], [0.25, 0.75]])
    figure = draw_maps({"first": table, "second": table / 2}, "key", "query", ["the", "cat"])
    first, second = figure.axes[:2]
    shown = first.get_images()[0].get_array()
    assert shown.mask.tolist() == [[False, True], [False, False]] and shown[1, 1] == 0.75
    assert first.get_images()[0].get_clim() == second.get_images()[0].get_clim() == (0, 1)
    assert [label.get_text() for label in first.get_yticklabels()] == ["the", "cat"]
    titles = [axes.get_title("left") or axes.get_title() for axes in (first, second)]  # by the style in force
    assert titles == ["first", "second"]
    assert "first and second" in figure.get_label() and "from 0.12 to 1" in figure.get_label()


def test_a_map_has_a_row_and_a_column_for_each_word():
    with pytest.raises(InputError, match="first"):
        draw_maps({"first": torch.ones(2, 3)}, "key", "query", ["the", "cat"])


def test_what_stays_within_the_limit_is_a_cross():
    figure = draw_distances({"far": 0.3, "near": 1e-7}, limit=1e-5)
    [axes] = figure.axes
    far, near, limit = axes.get_lines()
    assert (far.get_marker(), near.get_marker()) == ("o", "X") and set(limit.get_xdata()) == {1e-5}
    assert far.get_xdata() == [0.3] and near.get_ydata() == ["near"]
    assert figure.get_label().endswith("all but 1: near.")
