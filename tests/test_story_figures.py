"""The figures of notebook 05 show the numbers that they are given, each model in its own look and place."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pn_lib.course import story_figures as figures
from pn_lib.evaluation.intervals import Interval
from pn_lib.run.plotting import COLOURS

SIZES = {"ngram": 5, "transformer_1": 160_000, "transformer": 2_900_000, "small": 90_000, "theirs": 7}
LOOKS = figures.model_looks(SIZES, published=["theirs"])


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.lines}


def title_of(axes) -> str:
    return axes.get_title(loc="left") or axes.get_title()  # the house style puts it on the left


def test_a_model_is_named_by_its_size_or_as_it_was_published():
    labels = {name: look["label"] for name, look in LOOKS.items()}
    assert labels == {"ngram": "4-gram", "transformer_1": "Transformer 0.16 M", "transformer": "Transformer 2.9 M",
                      "small": "Transformer 90 k", "theirs": "theirs", "human": "real stories"}  # fmt: skip


def test_no_two_models_share_a_marker_and_published_ones_have_their_own_colour():
    assert len({look["marker"] for look in LOOKS.values()}) == len(LOOKS)
    assert LOOKS["theirs"]["color"] != LOOKS["small"]["color"] == LOOKS["transformer_1"]["color"]


def test_each_story_is_a_mark_at_both_models_bits():
    each = {"transformer": np.array([0.2, 0.3]), "ngram": np.array([0.5, 0.4])}
    drawn = lines_of(figures.paired_stories(each, "transformer", ["ngram"], LOOKS).axes[0])
    np.testing.assert_allclose(drawn["4-gram"].get_xydata(), [[0.2, 0.5], [0.3, 0.4]])


def test_an_estimate_lies_in_its_models_row_and_one_that_is_missing_leaves_the_row_empty():
    means = {"ngram": {"kept": Interval(0.2, 0.1, 0.4)}, "transformer": {"kept": None},
             "human": {"kept": Interval(0.9, 0.8, 1.0)}}  # fmt: skip
    panel = figures.measures(means, {"kept": "names kept"}, LOOKS).axes[0]
    marks = {line.get_marker(): line.get_xydata().tolist() for line in panel.lines if line.get_marker() in "so*"}
    assert marks == {"s": [[0.2, 0]], "*": [[0.9, 2]]}
    assert [text.get_text() for text in panel.get_yticklabels()] == ["4-gram", "Transformer 2.9 M", "real stories"]
    assert [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"] == [0.9]  # the real endings


def test_the_share_of_endings_falls_past_each_longest_copy():
    line = lines_of(figures.copies({"ngram": [4, 2]}, LOOKS).axes[0])["4-gram"]
    np.testing.assert_allclose(line.get_xydata(), [[0, 1], [2, 1], [4, 0.5], [4, 0]])


def test_a_value_is_written_only_where_it_is_told_from_a_half_and_models_stand_behind_a_line():
    shuffled = {"loops": Interval(0.55, 0.4, 0.7), "names_kept": None}
    counted = {"loops": Interval(0.9, 0.8, 1.0), "names_kept": Interval(0.3, 0.1, 0.4)}
    better = pd.DataFrame({"shuffled": shuffled, "4-gram": counted})
    axes = figures.known_groups(better, models=1).axes[0]
    assert [text.get_text() for text in axes.texts] == ["·", "0.90", "·", "0.30"]
    assert axes.lines[0].get_xdata()[0] == 0.5
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "says the same words three times in a\nrow", "names of the beginning that come\nagain",
    ]  # fmt: skip


def test_a_line_joins_the_temperatures_alone():
    kept = Interval(0.2, 0.1, 0.4)
    settings = {name: {"distinct_2": x, "kept": kept} for name, x in
                {"τ = 0.4": 0.3, "τ = 1.0": 0.5, "top-k 20": 0.4, "real stories": 0.6}.items()}  # fmt: skip
    axes = figures.sampling(settings, "names_kept").axes[0]
    assert lines_of(axes)["temperature alone"].get_xdata().tolist() == [0.3, 0.5]
    assert [text.get_text() for text in axes.texts] == ["τ = 0.4", "τ = 1.0"]
    marks = {line.get_marker(): line.get_color() for line in axes.lines if line.get_marker() in "s*"}
    assert marks == {"s": COLOURS["vermillion"], "*": COLOURS["green"]}


def test_a_probes_answers_lie_beside_guessing():
    right = {"ngram": pd.DataFrame({"value": [0.3, 0.6], "low": [0.2, 0.5], "high": [0.4, 0.7], "chance": [0.25, 0.5]},
                                   index=["facts", "grammar"])}  # fmt: skip
    panels = figures.probes(right, LOOKS).axes
    assert [title_of(axes) for axes in panels] == ["facts", "grammar"]
    assert [axes.lines[-1].get_xdata()[0] for axes in panels] == [0.25, 0.5]
    assert [float(axes.lines[0].get_xdata()[0]) for axes in panels] == [0.3, 0.6]


def test_a_story_counts_until_its_first_fault():
    broken = pd.DataFrame({"ngram": [3.0, 1.0]}, index=["hero", "none"])
    far, facts = figures.departures({"ngram": [30, 10]}, 4, broken, LOOKS).axes
    np.testing.assert_allclose(far.lines[0].get_xydata(), [[0, 1], [10, 0.75], [30, 0.5]])
    assert [bar.get_width() for bar in facts.patches] == [3.0, 1.0]


def test_a_bins_truth_is_a_multiple_of_what_the_model_said():
    rows = pd.DataFrame({"q": [0.1, 0.5, 0.2], "p": [0.2, 0.5, 0.0], "low": [0.1, 0.4, 0.0], "high": [0.3, 0.6, 0.0]})
    axes = figures.reliability({"ngram": rows}, LOOKS).axes[0]
    drawn = next(line for line in axes.lines if line.get_marker() == "s")
    np.testing.assert_allclose(drawn.get_xydata(), [[0.1, 2.0], [0.5, 1.0]])
    assert title_of(axes) == "4-gram"
