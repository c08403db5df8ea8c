"""The Transformer as a whole: a token's way through it, and the residual stream as a sum."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pn_lib.course.drawings.boxes import PALE, TEXT, arrow, cell, note, number_cells, numbers_of, sheet
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

# the parts in reading order: x of the left edge, width, name, section of notebook 03 that builds it
WAY = {
    "embedding": (2.6, 2.8, "embedding", "3.2"),
    "attention norm": (6.5, 2.0, "norm", "3.8"),
    "attention": (9.0, 2.8, "attention", "3.3–3.7"),
    "MLP norm": (13.9, 2.0, "norm", "3.8"),
    "MLP": (16.3, 2.8, "feed-\nforward", "3.10"),
    "norm": (20.4, 2.0, "norm", "3.8"),
    "logits": (22.6, 2.2, "logits", "3.11"),
}
BRANCHES = ((6.1, ("attention norm", "attention"), 12.4), (13.5, ("MLP norm", "MLP"), 19.7))  # leaves, parts, returns
LINE, LIFT = 3.4, 1.35  # between two tokens' streams; of a branch above its stream


def draw_way(words: Sequence[str]) -> Figure:
    """The way of each token through a pre-norm Transformer to the token that it predicts, the next of ``words``.

    Raises:
        InputError: fewer than two words.
    """
    if len(words) < 2:
        raise InputError(f"a way needs a token and the next one, and there are {len(words)} words: give two or more")
    tokens = len(words) - 1
    alt = (
        f"A line for each of {tokens} tokens, from the embedding to the logits of the next token. In each "
        "block attention, then the feed-forward layer, reads the line through a norm and adds to it; only "
        "attention passes anything from line to line, and only from earlier tokens to later ones."
    )
    figure, axes = sheet(27.6, 1.9 + LINE * tokens + 0.2, alt)
    for x, width, _, section in WAY.values():
        note(axes, x + width / 2, 0.5, section, bold=True)
    for row in range(tokens):
        y = 1.9 + LIFT + LINE * row
        arrow(axes, (24.8, y), (25.3, y), colour="grey")
        axes.plot([2.0, 24.9], [y, y], color=COLOURS["grey"], linewidth=3.5, zorder=1, solid_capstyle="butt")
        cell(axes, 0.1, y - 0.5, words[row], 1.9)
        cell(axes, 25.4, y - 0.5, words[row + 1], 1.9, PALE["sky"])
        _branches(axes, y)
        for name in ("embedding", "norm", "logits"):
            _box(axes, name, y)
        if row:  # what earlier tokens pass on
            x = WAY["attention"][0] + WAY["attention"][1] / 2
            arrow(axes, (x, y - LINE - LIFT + 0.7), (x, y - LIFT - 0.75), colour="vermillion")
            note(axes, x - 0.3, y - LINE + 0.55, "keys, values", "right")
    bottom = 1.9 + LINE * tokens - 0.5
    note(axes, 1.05, 0.5, "section", bold=True)
    note(axes, 1.05, bottom, "token")
    note(axes, 12.9, bottom, "one block: a model has L of them, one after the other")
    note(axes, 26.35, bottom, "the next?")
    return figure


def _branches(axes: Axes, y: float) -> None:
    """Both branches of a block on the stream at height y: out, through the parts, and added again."""
    for leaves, parts, returns in BRANCHES:
        axes.plot([leaves, leaves, returns, returns], [y, y - LIFT, y - LIFT, y], color=COLOURS["black"], linewidth=1)
        axes.text(returns, y, "+", ha="center", va="center", fontsize=TEXT, zorder=3,
                  bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "linewidth": 0.8})  # fmt: skip
        for name in parts:
            _box(axes, name, y - LIFT)


def _box(axes: Axes, name: str, y: float) -> None:
    x, width, text, _ = WAY[name]
    fill = PALE["orange"] if name == "attention" else "white"
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=TEXT - 0.5, linespacing=0.95, zorder=3,
              bbox={"boxstyle": "round,pad=0.3", "facecolor": fill, "linewidth": 0.8})  # fmt: skip


def draw_residual_stream(start: ArrayLike, written: Sequence[ArrayLike], channels: int = 7) -> Figure:
    """The first channels of one token's stream: what each part writes on the left, the sum so far on the right.

    ``start``: (D,), the embedding; ``written``: for each part its (D,).

    Raises:
        InputError: a part writes another number of channels than the stream has.
    """
    stream = numbers_of("the start of the stream", start, None)
    parts = [numbers_of(f"what part {n} writes", part, len(stream)) for n, part in enumerate(written, 1)]
    stream = stream[:channels]
    largest, wide = max(abs(each[:channels]).max() for each in (stream, *parts)), 1.5
    width = len(stream) * wide
    alt = (
        "Rows of numbers, the first channels of one token. On the right the residual stream, which begins as "
        "the embedding; on the left what each part writes, which is added to the row above."
    )
    figure, axes = sheet(3.6 + 2 * width + 3.2, 1.4 + 1.9 * (len(parts) + 1), alt)
    right = 3.6 + width + 2.6
    note(axes, 3.6, 0.6, "what a part writes", "left", bold=True)
    note(axes, right, 0.6, "the residual stream", "left", bold=True)
    note(axes, right - 0.4, 1.7, "embedding", "right")
    number_cells(axes, right, 1.2, stream, largest, wide)
    for n, part in enumerate(parts, 1):
        y = 1.2 + 1.9 * n
        stream = stream + part[:channels]
        note(axes, 3.2, y + 0.5, f"part {n}", "right")
        number_cells(axes, 3.6, y, part[:channels], largest, wide)
        arrow(axes, (right - 2.3, y + 0.5), (right - 0.3, y + 0.5))
        note(axes, right - 1.3, y - 0.1, "+")
        arrow(axes, (right + width / 2, y - 0.8), (right + width / 2, y - 0.05))
        number_cells(axes, right, y, stream, max(largest, float(np.abs(stream).max())), wide)
    return figure
