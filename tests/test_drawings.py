"""The course's drawings hold the numbers given, where a reader looks for them, and reject wrong shapes."""

from collections import Counter

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Rectangle

from pn_lib.course.drawings import sliding
from pn_lib.course.drawings.attending import (
    draw_attention,
    draw_cache,
    draw_heads,
    draw_mask,
    draw_own_attention,
    draw_weights,
)
from pn_lib.course.drawings.boxes import PALE, shade, spell
from pn_lib.course.drawings.machine import APART, draw_lanes, draw_roofline
from pn_lib.course.drawings.merging import (
    draw_merge,
    draw_merges,
    draw_round,
    draw_stepper,
    draw_token_stream,
    spell_token,
)
from pn_lib.course.drawings.model import draw_residual_stream, draw_way
from pn_lib.course.drawings.optimizing import draw_plan, draw_steps
from pn_lib.course.drawings.positions import draw_turning
from pn_lib.course.drawings.resampling import draw_bootstrap
from pn_lib.course.drawings.rounding import draw_bytes, draw_rounding
from pn_lib.course.drawings.sampling import draw_filters
from pn_lib.course.drawings.scanning import PIPE, draw_recomputation, draw_scan_tree, draw_state
from pn_lib.course.drawings.story_sets import draw_runs, draw_split
from pn_lib.data.cleaning import split
from pn_lib.data.stories import to_dataset
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation.heads import attention_maps
from pn_lib.models.scan import selective_scan
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.plotting import COLOURS, draw_png
from pn_lib.training.config import Phase, TrainingConfig

CAT, AT, ON = (b" ", b"c", b"a", b"t"), (b"a", b"t"), (b"o", b"n")
PALE_BLUE, PALE_ORANGE = (to_rgb(PALE[name]) for name in ("blue", "orange"))
KEYS, VALUES = {"the": [1.0, 0.0], "cat": [0.0, 2.0]}, {"the": [0.0, 10.0], "cat": [5.0, 0.0]}


def axes_of(figure: Figure) -> Axes:
    assert len(figure.get_label()) > 20, "a drawing has words for those who cannot see it"
    [axes] = figure.axes
    return axes


def rows_of(axes: Axes) -> list[list[str]]:
    """All text, row by row from the top, each from left to right."""
    rows: dict[float, list] = {}
    for text in axes.texts:
        if text.get_text():
            x, y = text.get_position()
            rows.setdefault(round(y, 2), []).append((x, text.get_text()))
    return [[text for _, text in sorted(rows[y])] for y in sorted(rows)]


def boxes_of(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def hatched_texts(axes: Axes) -> list[str]:
    """What is written in hatched cells."""
    found = []
    for box in boxes_of(axes):
        y, middle = box.get_y(), box.get_x() + box.get_width() / 2
        if box.get_hatch() and box.get_height() == 1:
            found += [
                t.get_text() for t in axes.texts if t.get_position()[0] == middle and y < t.get_position()[1] < y + 1
            ]
    return found


class TestShapes:
    def test_a_number_has_a_proper_minus_and_zero_has_none(self):
        assert [spell(value) for value in (-1.26, -0.04, 0.0, 2.0)] == ["−1.3", "0.0", "0.0", "2.0"]

    def test_a_larger_number_is_darker_and_a_sign_has_its_color(self):
        def lightness(colour: str) -> int:
            return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5))

        assert lightness(shade(0, 1)) > lightness(shade(0.5, 1)) > lightness(shade(1, 1))
        assert shade(1, 1) != shade(-1, 1) and shade(0.0, 0.0) == "#ffffff"


class TestAttention:
    def test_scores_weights_and_the_sum_are_the_querys(self):
        rows = rows_of(axes_of(draw_attention([0.0, 2.0], KEYS, VALUES)))
        weight = 1 / (1 + np.exp(4.0))  # the scores are 0 and 4
        assert [row[3] for row in rows if row[0] in KEYS] == ["0.0", "4.0"]
        assert [f"{weight:.3f}", f"{1 - weight:.3f}"] == [row[4] for row in rows if row[0] in KEYS]
        assert rows[-1] == ["sum: what it receives", spell(5 * (1 - weight)), spell(10 * weight)]

    def test_a_key_of_another_width_or_token_is_an_error(self):
        with pytest.raises(InputError, match=r"the keys has the shape \(2, 2\), and the drawing needs \(2, 3\)"):
            draw_attention([0.0, 1.0, 2.0], KEYS, VALUES)
        with pytest.raises(InputError, match="give both for the same tokens"):
            draw_attention([0.0, 1.0], KEYS, {"dog": [1.0, 2.0]})

    def test_the_masked_table_has_no_future_and_its_rows_sum_to_one(self):
        scores = torch.tensor([[0.0, 9.0], [1.0, 1.0]])
        axes = axes_of(draw_mask(scores, ["a", "b"]))
        rows = rows_of(axes)
        assert rows[2:] == [
            ["a", "0.0", "9.0", "0.0", "−∞", "1.00", "0"],
            ["b", "1.0", "1.0", "1.0", "1.0", "0.50", "0.50"],
        ]
        assert sorted(hatched_texts(axes)) == ["0", "−∞"]
        with pytest.raises(InputError, match=r"the table of scores has the shape \(2, 2\)"):
            draw_mask(scores, ["a", "b", "c"])

    def test_heads_are_columns_of_the_table_and_the_wrong_ones_are_not(self):
        axes = axes_of(draw_heads(torch.arange(8.0).view(2, 4), heads=2))
        numbers = [row for row in rows_of(axes) if len(row) == 4]  # of head 0, then of head 1
        assert [row[:2] for row in numbers] == [["0.0", "1.0"], ["4.0", "5.0"], ["2.0", "3.0"], ["6.0", "7.0"]]
        assert [row[2:] for row in numbers] == [["0.0", "1.0"], ["2.0", "3.0"], ["4.0", "5.0"], ["6.0", "7.0"]]
        with pytest.raises(InputError, match="4 channels cannot be divided among 3 heads"):
            draw_heads(torch.zeros(2, 4), heads=3)

    def test_a_trained_heads_table_has_no_future_and_names_each_rows_largest_weight(self):
        weights = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
        axes = axes_of(draw_weights(weights, ["a", "bb"], "layer 0, head 1"))
        assert [row for row in rows_of(axes) if row[0] in ("a", "bb")][-2:] == [["a", "100"], ["bb", "75"]]
        assert [to_rgb(box.get_facecolor()) for box in boxes_of(axes)] == [to_rgb(shade(w, 1)) for w in (1, 0.25, 0.75)]
        with pytest.raises(InputError, match=r"the table of weights has the shape \(2, 2\)"):
            draw_weights(weights, ["a"], "")

    def test_each_step_of_the_cache_computes_one_and_keeps_the_rest(self):
        axes = axes_of(draw_cache(["Once", "upon", "a", "time"], read=2))
        assert rows_of(axes)[1:] == [
            ["prefill", "Once", "upon", "2 computed"],
            ["step 1", "Once", "upon", "a", "1 computed, not 3"],
            ["step 2", "Once", "upon", "a", "time", "1 computed, not 4"],
        ]
        assert hatched_texts(axes) == ["Once", "upon", "a", "time"]
        with pytest.raises(InputError, match="it reads 1 to 1 of them"):
            draw_cache(["a", "b"], read=2)


class TestModel:
    def test_each_token_predicts_the_next_and_only_later_ones_hear_of_it(self):
        axes = axes_of(draw_way(["the", "cat", "saw"]))
        ends = [(row[0], row[-1]) for row in rows_of(axes) if row[0] in ("the", "cat")]
        assert ends == [("the", "cat"), ("cat", "saw")]
        told = [text.get_text() for text in axes.texts].count("keys, values")
        assert told == 1, "one pair of tokens has one way between them"
        with pytest.raises(InputError, match="give two or more"):
            draw_way(["the"])

    def test_the_stream_is_the_sum_so_far(self):
        rows = rows_of(axes_of(draw_residual_stream(torch.tensor([1.0, -2.0]), [torch.tensor([0.5, 1.0])] * 2)))
        assert [row for row in rows if row[0] != "+"][1:] == [
            ["embedding", "1.0", "−2.0"],
            ["part 1", "0.5", "1.0", "1.5", "−1.0"],
            ["part 2", "0.5", "1.0", "2.0", "0.0"],
        ]
        with pytest.raises(InputError, match=r"what part 1 writes has the shape \(3,\)"):
            draw_residual_stream(torch.zeros(2), [torch.zeros(3)])


def test_a_query_and_a_key_that_turn_together_keep_their_angle_and_their_score():
    axes = axes_of(draw_turning({(2, 0): ([1.0, 0.0], [0.0, 1.0]), (3, 1): ([0.0, -2.0], [1.0, 0.0])}))
    texts = Counter(text.get_text() for text in axes.texts)
    assert texts["90°"] == 2 and texts["distance 2: score q·k = 0.00"] == 2
    assert [patch.theta2 - patch.theta1 for patch in axes.patches if isinstance(patch, Arc)] == [360, 90, 360, 90]
    assert {"q at 2", "k at 0", "q at 3", "k at 1"} <= texts.keys()
    with pytest.raises(InputError, match=r"the key at 1 has the shape \(4,\)"):
        draw_turning({(3, 1): ([1.0, 0.0], [1.0, 0.0, 0.0, 0.0])})


class TestTokens:
    def test_a_round_marks_the_pair_before_and_the_token_after(self):
        pairs = {(b" ", b"c"): 2, (b"c", b"a"): 2, AT: 5, ON: 1}
        axes = axes_of(draw_merge({CAT: 2, ON: 1}, pairs, AT, [(b" ", b"c", b"at"), ON]))
        assert hatched_texts(axes) == ["a", "t", "at"]
        [first, second, *_] = rows_of(axes)[1:]
        assert first == ["2 ×", "_", "c", "a", "t", "a·t", "5", "_", "c", "at"]
        assert second == ["1 ×", "o", "n", "_·c", "2", "o", "n"]
        with pytest.raises(InputError, match="2 words went into the merge and 1 came out"):
            draw_merge({CAT: 2, ON: 1}, pairs, AT, [ON])

    def test_a_pair_that_overlaps_itself_is_used_once(self):
        axes = axes_of(draw_merge({(b"a", b"a", b"a"): 1}, {(b"a", b"a"): 2}, (b"a", b"a"), [(b"aa", b"a")]))
        assert hatched_texts(axes) == ["a", "a", "aa"]

    def test_each_merge_is_a_row_with_its_new_token_hatched(self):
        axes = axes_of(draw_merges([[CAT, ON], [(b" ", b"c", b"at"), ON]], [AT]))
        assert rows_of(axes) == [["bytes", "_", "c", "a", "t", "o", "n"], ["1. a·t", "_", "c", "at", "o", "n"]]
        assert hatched_texts(axes) == ["at"]
        with pytest.raises(InputError, match="1 merges make 2 rows, and there are 1 rounds"):
            draw_merges([[CAT]], [AT])

    def test_a_round_shows_the_text_its_pair_and_how_far_the_curve_has_fallen(self):
        rounds, merges = [[CAT, ON], [(b" ", b"c", b"at"), ON], [(b" ", b"c", b"at"), (b"on",)]], [AT, ON]
        figure = draw_round(rounds, merges, 1, shown=1)
        text, curve = figure.axes
        assert rows_of(text) == [["merge 1: a·t, 1 × in the whole text"], ["_", "c", "at"]]
        assert hatched_texts(text) == ["at"]
        whole, now, dot = (line.get_ydata().tolist() for line in curve.lines)
        assert (whole, now, dot) == ([3.0, 2.5, 2.0], [3.0, 2.5], [2.5])  # tokens per word, of both words
        assert rows_of(draw_round(rounds, merges, 0, shown=2).axes[0])[0] == ["bytes, no merge yet"]
        with pytest.raises(InputError, match="2 merges make 3 rows"):
            draw_round(rounds[:2], merges, 0, shown=1)

    def test_the_words_of_a_round_stay_on_their_lines(self):
        rounds = [[CAT] * 30, [(b" ", b"c", b"at")] * 30]
        before, after = (draw_round(rounds, [AT], n, shown=24) for n in (0, 1))
        assert before.get_figheight() == after.get_figheight()
        assert [len(row) // 4 for row in rows_of(before.axes[0])[1:]] == [
            len(row) // 3 for row in rows_of(after.axes[0])[1:]
        ]
        assert max(box.get_x() + box.get_width() for box in boxes_of(before.axes[0])) <= 28.4

    def test_stories_begin_at_their_separators(self):
        tokens = [b"<|endoftext|>", b"The", b" fox", b"<|endoftext|>", b"Ben", b"<|endoftext|>"]
        axes = axes_of(draw_token_stream(tokens, [0, 40, 41, 0, 50, 0], offsets=[0, 3]))
        assert hatched_texts(axes) == ["■"] * 3
        assert rows_of(axes)[1:] == [["■", "The", "_fox", "■", "Ben", "■"], ["0", "40", "41", "0", "50", "0"]]
        heads = [text.xy[0] for text in axes.texts if not text.get_text()]
        edges = [box.get_x() for box in boxes_of(axes)]
        assert edges[0] < heads[0] < edges[1] and edges[3] < heads[1] < edges[4]
        with pytest.raises(InputError, match="6 tokens and 1 ids"):
            draw_token_stream(tokens, [0], offsets=[0])


class TestStories:
    def test_held_out_stories_have_the_smallest_hashes(self):
        texts = [f"story {i}" for i in range(12)]
        _, held_out = split(to_dataset(texts), validation_stories=3, seed=1)
        axes = axes_of(draw_split(texts, held_out["text"], seed=1))
        ends = {line.get_marker(): [] for line in axes.lines}
        for line in axes.lines:
            ends[line.get_marker()].append(line.get_xdata()[0])
        assert len(ends["s"]) == 3 and len(ends["o"]) == 9
        assert max(ends["s"]) < min(ends["o"])
        assert set(hatched_texts(axes)) == {str(texts.index(text)) for text in held_out["text"]}
        with pytest.raises(InputError, match="give at least one"):
            draw_split(texts, [], seed=1)

    def test_words_in_a_shared_run_are_shaded_and_runs_are_counted(self):
        copies = {"edited": "The fox had a red hat.", "other": "A fox had it."}
        axes = axes_of(draw_runs("The fox had a red ball.", copies, n=3))
        shaded = [round(box.get_x(), 2) for box in boxes_of(axes) if np.allclose(box.get_facecolor()[:3], PALE_BLUE)]
        assert len(shaded) == 5
        titles = [row[0] for row in rows_of(axes) if "shared" in row[0]]
        assert titles == [
            "edited: 3 of its 4 runs of 3 words are shared",
            "other: 0 of its 2 runs of 3 words are shared",
        ]
        with pytest.raises(InputError, match="other has 4 words, fewer than a run of 5"):
            draw_runs("The fox had a red ball.", copies, n=5)

    def test_a_long_text_goes_on_in_the_next_line(self):
        axes = axes_of(draw_runs("a b", {"long": "word " * 60}, n=2))
        assert max(box.get_x() + box.get_width() for box in boxes_of(axes)) < axes.get_xlim()[1]
        assert len([text for text in axes.texts if text.get_text() == "word"]) == 60

    def test_each_draw_has_its_mean_and_marks_what_came_before(self):
        axes = axes_of(draw_bootstrap([0.2, 0.4], [[1, 1], [0, 1]], (0.25, 0.375)))
        rows = rows_of(axes)
        means = [row[0] for row in rows if len(row) == 1]
        assert [row for row in rows if row[0].startswith("draw")] == [
            ["draw 1", "b 0.40", "b 0.40"], ["draw 2", "a 0.20", "b 0.40"]]  # fmt: skip
        assert hatched_texts(axes) == ["b 0.40"]
        assert [mean for mean in means if mean in ("0.30", "0.40")] == ["0.30", "0.40", "0.30"]
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in "Do"]
        assert marks[0] == marks[2] < marks[1]
        with pytest.raises(InputError, match="draw from at most 26 stories"):
            draw_bootstrap([0.2, 0.4], [[0, 2]], (0.2, 0.4))


class TestTraining:
    def test_each_matrix_is_over_its_own_singular_values(self):
        figure = draw_steps(
            {"gradient": torch.diag(torch.tensor([4.0, 1.0])), "level": torch.tensor([[0.0, 3.0], [-3.0, 0.0]])}
        )
        axes = axes_of(figure)
        assert rows_of(axes) == [
            ["gradient", "level"],
            ["1.0", "0.0", "0.0", "1.0"],
            ["0.0", "0.2", "−1.0", "0.0"],
            ["1.00", "0.25", "1.00", "1.00"],
        ]
        heights = [abs(box.get_height()) for box in boxes_of(axes) if box.get_hatch()]
        assert np.allclose(np.array(heights) / heights[0], [1, 0.25, 1, 1])
        with pytest.raises(InputError, match=r"level has the shape \(3, 3\), and the drawing needs \(2, 2\)"):
            draw_steps({"gradient": torch.eye(2), "level": torch.eye(3)})

    def test_batches_are_to_scale_and_the_rate_is_the_schedules(self):
        growth = (Phase(0.5, 8, 16), Phase(0.5, 2, 64))
        config = TrainingConfig(tokens=40 * 128, batch_size=2, context=64, growth=growth, warmup_fraction=0.1)
        top, bottom = draw_plan(config).axes
        small, large = bottom.patches
        assert small.get_height() / large.get_height() == pytest.approx(4)
        assert large.get_width() / small.get_width() == pytest.approx(4)
        assert [text.get_text() for text in bottom.texts] == [
            "20 updates of\nB = 8, T = 16",
            "20 updates of\nB = 2, T = 64",
        ]
        rates = top.lines[0].get_ydata()
        assert list(rates) == [config.rate_at(step) for step in range(40)] and max(rates) == 1


def test_a_filter_strikes_out_what_it_removes_and_keeps_the_outline_of_what_was_given():
    given = torch.tensor([0.6, 0.3, 0.1])
    axes = axes_of(draw_filters(["a", "b", "c"], given, {"top-k 2": torch.tensor([2 / 3, 1 / 3, 0.0])}))
    assert rows_of(axes)[1:] == [["a", "0.60", "0.67"], ["b", "0.30", "0.33"], ["c", "0.10", "×"]]
    filled = [box.get_width() for box in boxes_of(axes) if box.get_fill()]
    outlines = [box.get_width() for box in boxes_of(axes) if not box.get_fill()]
    assert np.allclose(np.array(filled) / filled[0], [1, 0.5, 1 / 6, 10 / 9, 5 / 9, 0], atol=1e-6)
    assert np.allclose(np.array(outlines) / outlines[0], [1, 0.5, 1 / 6] * 2)
    with pytest.raises(InputError, match=r"top-k 2 has the shape \(2,\), and the drawing needs \(3\)"):
        draw_filters(["a", "b", "c"], given, {"top-k 2": torch.tensor([0.5, 0.5])})


class TestScan:
    def test_pipes_are_as_thick_as_the_share_kept_and_the_state_is_the_scans(self):
        x, dt, A = torch.tensor([1.0, -1.0]), torch.tensor([2.0, 0.5]), torch.tensor([-0.1, -1.0])
        B, C = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        axes = axes_of(draw_state(["a", "b"], x, dt, A, B, C))
        y, h = selective_scan(x[None, :, None], dt[None, :, None], A[None], B[None], C[None], torch.zeros(1))
        rows = rows_of(axes)
        assert [float(number.replace("−", "-")) for number in rows[-1][1:]] == pytest.approx(y.flatten(), abs=0.05)
        [slow, fast] = (row for row in rows if row[0].startswith("A ="))
        assert [slow[-1], fast[-1]] == [spell(number) for number in h.flatten().tolist()]
        assert fast == ["A = −1.0", "0.0", "+0.0", "=", "0.0", "−1.5", "=", "−1.5"]
        pipes = [box.get_height() / 0.8 for box in boxes_of(axes) if box.get_width() == PIPE]
        assert pipes == pytest.approx(torch.exp(dt[:, None] * A).flatten())
        with pytest.raises(InputError, match=r"B has the shape \(2, 2\), and the drawing needs \(2, 3\)"):
            draw_state(["a", "b"], x, dt, [-1.0, -2.0, -3.0], B, C)
        with pytest.raises(InputError, match="a state of 4 numbers is too large to draw: give at most 3"):
            draw_state(["a"], [1.0], [1.0], [-1.0] * 4, [[1.0] * 4], [[1.0] * 4])

    @pytest.mark.parametrize("T", [2, 5, 8])
    def test_the_tree_ends_in_the_states_of_the_loop(self, T):
        a, b = np.linspace(0.1, 0.9, T), np.linspace(-3, 4, T)
        h, states = 0.0, []
        for share, given in zip(a, b, strict=True):
            h = share * h + given
            states.append(spell(h))
        axes = axes_of(draw_scan_tree(a, b))
        rows = rows_of(axes)
        assert rows[-1] == ["state h", *states]
        assert rows[-2] == [f"round {int(np.ceil(np.log2(T)))}", "1", *(f"1–{t}" for t in range(2, T + 1))]
        assert rows[3] == ["round 1", "1", *(f"{t - 1}–{t}" for t in range(2, T + 1))]
        with pytest.raises(InputError, match="give two or more"):
            draw_scan_tree([1.0], [1.0])

    def test_the_last_states_tree_is_filled_and_each_of_its_cells_has_two_above_it(self):
        axes = axes_of(draw_scan_tree(np.ones(8), np.ones(8)))
        filled = [box for box in boxes_of(axes) if np.allclose(box.get_facecolor()[:3], PALE_ORANGE)]
        assert list(Counter(box.get_y() for box in filled).values()) == [1, 2, 4, 8]
        black = [text for text in axes.texts if not text.get_text() and text.arrowprops["color"] == COLOURS["black"]]
        assert len(black) == 2 * (1 + 2 + 4)

    def test_a_chunk_goes_backward_with_its_own_states_and_those_kept_before_it(self):
        axes = axes_of(draw_recomputation(T=6, Q=3))
        states: dict[float, str] = {}  # by height: o kept, s computed again, . not in memory
        for box in sorted(boxes_of(axes), key=lambda box: box.get_x()):
            sign = "o" if box.get_hatch() else "s" if box.get_fill() else "."
            states[box.get_y()] = states.get(box.get_y(), "") + sign
        assert [states[y] for y in sorted(states)] == ["o..o...", "o..osss", "osss..."]
        assert [row[-1] for row in rows_of(axes)[1:4]] == ["2, not 6", "2 + 3 = 5", "1 + 3 = 4"]
        with pytest.raises(InputError, match="6 tokens cannot be cut into whole chunks of 4: choose a divisor of 6"):
            draw_recomputation(6, 4)


class TestRounding:
    def test_each_weight_has_an_arrow_to_its_grid_point(self):
        axes = axes_of(draw_rounding(torch.tensor([0.7, -0.31, 0.04]), (7, 1)))
        bold = [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"]
        assert bold == ["n = 7: s = 0.10", "−3", "0", "7", "n = 1: s = 0.70", "0", "1"]
        heads = [text.xy[0] for text in axes.texts if not text.get_text()]
        points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"]
        assert len(points) == 15 + 3
        fine, coarse = points[:15], points[15:]
        assert heads == pytest.approx([fine[14], fine[4], fine[7], coarse[2], coarse[1], coarse[1]])
        with pytest.raises(InputError, match="a weight that is not zero"):
            draw_rounding([0.0, 0.0], (7,))

    def test_a_byte_is_the_number_that_its_digits_write(self):
        rows = rows_of(axes_of(draw_bytes([([3, -7, 0, 7], 7, 2)])))
        assert rows == [
            ["integers q", "3", "−7", "0", "7"],
            ["digits q + 7", "10", "0", "7", "14"],
            ["base 15", "10 + 0·15 = 10", "7 + 14·15 = 217"],
            ["byte", *f"{10:08b}", *f"{217:08b}"],
        ]
        for q, n, per_byte in (([1, 0, 1], 7, 2), ([8, 0], 7, 2), ([1, 0, 1], 7, 3)):
            with pytest.raises(InputError, match="do not fill bytes"):
                draw_bytes([(q, n, per_byte)])


class TestLive:
    @staticmethod
    def drawing(dt: float) -> Figure:
        if dt > 4:
            raise InputError("a step of <5> is too large")
        return draw_state(["a"], [1.0], [dt], [-1.0], [[1.0]], [[1.0]])

    @pytest.fixture
    def shown(self, monkeypatch) -> list:
        """What a notebook would show where somebody can move it."""
        shown = []
        monkeypatch.setattr(sliding, "display", shown.append)
        monkeypatch.delenv("PN_PROGRESS", raising=False)
        monkeypatch.delenv("CI", raising=False)
        return shown

    def test_moving_the_slider_redraws_the_picture(self, shown):
        sliding.draw_sliding(self.drawing, "Δ", 2.0)
        [slider], message, image = parts_of(shown)
        first = image.value
        assert first == draw_png(self.drawing(2.0))
        slider.value = 0.1
        assert image.value == draw_png(self.drawing(slider.value)) != first
        slider.value = 5.0
        assert message.value == "a step of &lt;5&gt; is too large" and image.value != first
        slider.value = 2.0
        assert not message.value and image.value == first

    @pytest.mark.parametrize("who", ["CI", "PN_PROGRESS"])
    def test_where_nobody_watches_the_drawing_stands_still(self, who, shown, monkeypatch):
        monkeypatch.setenv(who, "true")
        sliding.draw_sliding(self.drawing, "Δ", 2.0)
        assert [type(each) for each in shown] == [Figure]

    def test_the_button_takes_the_next_merge_until_there_is_none(self, shown):
        rounds, merges = [[CAT, CAT], [(b" ", b"c", b"at")] * 2, [(b" c", b"at")] * 2], [AT, (b" ", b"c")]
        draw_stepper(rounds, merges, n=0)
        [slider, button], _, image = parts_of(shown)
        pictures = [image.value]
        for _ in range(3):
            button.click()
            pictures.append(image.value)
        assert slider.value == 2 and len(set(pictures)) == 3
        assert pictures[1] == draw_png(draw_round(rounds, merges, 1, 24))

    def test_another_sentence_layer_or_head_is_another_table(self, shown):
        tokenizer = train_tokenizer(["the cat saw the dog"] * 3, 270)
        torch.manual_seed(0)
        model = Transformer(TransformerConfig(tokenizer.vocab_size, context=40, d_model=8, n_layers=2, n_heads=2))
        draw_own_attention(model, tokenizer, "the cat", layer=1)
        [text, layer, head], message, image = parts_of(shown)
        assert (layer.value, head.value) == (1, 0)
        pictures = [image.value]
        for control, value in ((text, "the dog"), (layer, 0), (head, 1)):
            control.value = value
            pictures.append(image.value)
        assert len(set(pictures)) == 4
        weights = attention_maps(model, [tokenizer.separator_id, *tokenizer.encode("the dog")])[0, 1]
        tokens = ["■", *(spell_token(tokenizer.token_bytes(i)) for i in tokenizer.encode("the dog"))]
        assert pictures[-1] == draw_png(draw_weights(weights, tokens, "layer 0, head 1"))
        text.value = " "
        assert "this sentence has 0 tokens" in message.value
        text.value = "the cat saw " * 30
        assert "type 1 to 23" in message.value and image.value == pictures[-1]


def parts_of(shown: list) -> tuple:
    """The controls, the message, and the picture of the one box that was shown."""
    [box] = shown
    controls, message, image = box.children
    return controls.children, message, image


def test_each_register_holds_neighboring_channels_at_one_token():
    axes = axes_of(draw_lanes(T=5, E=6, W=3))
    cells = [box for box in boxes_of(axes) if box.get_height() == 1]
    assert len(cells) == 6 * 5 and sum(bool(box.get_hatch()) for box in cells) == 6
    frames = [box for box in boxes_of(axes) if box.get_height() == 3]
    assert len(frames) == 2 and len({frame.get_x() for frame in frames}) == 1
    texts = [text.get_text() for text in axes.texts]
    assert {"channel 1", "channel 6", "register 2:"} <= {*texts} and "channel 7" not in texts
    for wrong in ((5, 6, 4), (5, 6, 0), (2, 6, 3)):
        with pytest.raises(InputError, match="whole registers"):
            draw_lanes(*wrong)


def test_a_roofline_rises_to_the_peak_and_names_stand_apart():
    points = {"slow": (0.5, 1.0), "equal": (0.5, 1.01), "elsewhere": (8.0, 1.02), "fast": (8.0, 70.0)}
    axes = axes_of(draw_roofline(20.0, 100.0, points))
    (x, y), *dots = [line.get_data() for line in axes.lines]
    assert (x[1], y[1]) == (5.0, 100.0) and y[2] == 100.0 and y[0] == 20.0 * x[0]
    assert sorted((*dot[0], *dot[1]) for dot in dots) == sorted(points.values())
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts if text.get_text() in points}
    assert heights == {"slow": 1.0, "equal": APART, "elsewhere": 1.02, "fast": 70.0}
    assert "slow at 1 with 0.5" in axes.figure.get_label()
    for wrong in ({}, {"still": (1.0, 0.0)}):
        with pytest.raises(InputError, match="a program, and numbers above 0"):
            draw_roofline(20.0, 100.0, wrong)
