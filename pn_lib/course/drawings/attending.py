"""Attention drawn: one query's weighted sum, the mask, the cut into heads, the growing KV cache, a trained head."""

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pn_lib.course.drawings.boxes import (
    PALE,
    TEXT,
    arrow,
    cell,
    cells,
    note,
    number_cells,
    numbers_of,
    shade,
    sheet,
    spell,
)
from pn_lib.course.drawings.merging import spell_token
from pn_lib.course.drawings.sliding import draw_live
from pn_lib.data.tokenizer import Tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation.heads import attention_maps
from pn_lib.models.transformer import Transformer
from pn_lib.run.plotting import COLOURS

WIDE, NARROW = 1.5, 1.4  # of a cell with a number
MOST_TOKENS = 24  # of a sentence whose table can be read


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def draw_attention(query: ArrayLike, keys: Mapping[str, ArrayLike], values: Mapping[str, ArrayLike]) -> Figure:
    """What one query receives (Vaswani et al., 2017, equation 1, without the scale), from left to right.

    ``query``: (d,); ``keys`` and ``values``: for each token seen its (d,).

    Raises:
        InputError: another shape, or keys and values of different tokens.
    """
    if list(keys) != list(values):
        raise InputError(f"keys are of {list(keys)} and values of {list(values)}: give both for the same tokens")
    q = numbers_of("the query", query, None)
    k = numbers_of("the keys", list(keys.values()), len(keys), len(q))
    v = numbers_of("the values", list(values.values()), len(keys), len(q))
    alt = (
        "From left to right: a query meets the key of each token in a dot product, softmax turns the scores "
        "into weights, and the values, times their weights, add up to what the query's token receives."
    )
    width, bottom = len(q) * WIDE, 2.6 + 1.3 * len(k)
    figure, axes = sheet(17.3 + 3 * width, bottom + 1.9, alt)
    at = {
        "key k": 2.6,
        "score q·k": 4.9 + width,
        "weight w": 8.6 + width,
        "value v": 13.9 + width,
        "w v": 15.6 + 2 * width,
    }
    for (heading, x), half in zip(at.items(), (width / 2, WIDE / 2, 2.2, width / 2, width / 2), strict=True):
        note(axes, x + half, 2.0, heading, bold=True)
    note(axes, 2.3, 0.7, "query q", "right", bold=True)
    number_cells(axes, 2.6, 0.2, q, abs(np.stack([q, *k])).max(), WIDE)
    weights = softmax(k @ q)
    for row, word in enumerate(keys):
        note(axes, 2.3, 3.1 + 1.3 * row, word, "right")
        number_cells(axes, 2.6, 2.6 + 1.3 * row, k[row], abs(np.stack([q, *k])).max(), WIDE)
        _weigh(axes, 2.6 + 1.3 * row, tuple(at.values())[1:], k[row] @ q, weights[row], v[row], abs(v).max())
    note(axes, at["weight w"] - 1.1, bottom + 0.2, "softmax")
    axes.plot([at["w v"], at["w v"] + width], [bottom + 0.1] * 2, color=COLOURS["black"], linewidth=1.2)
    note(axes, at["w v"] - 0.4, bottom + 0.9, "sum: what it receives", "right", bold=True)
    number_cells(axes, at["w v"], bottom + 0.4, weights @ v, abs(v).max(), WIDE)
    return figure


def _weigh(
    axes: Axes, y: float, at: tuple[float, ...], score: float, weight: float, value: NDArray[np.float64], largest: float
) -> None:
    """One token's row from its score on; ``at``: the left edges of score, weight, value and their product."""
    at_score, at_weight, at_value, at_product = at
    arrow(axes, (at_score - 2.0, y + 0.5), (at_score - 0.3, y + 0.5))
    cell(axes, at_score, y, spell(score), WIDE)
    arrow(axes, (at_score + WIDE + 0.3, y + 0.5), (at_weight - 0.3, y + 0.5))
    axes.barh(y + 0.5, 2.6 * weight, 0.7, at_weight, color=COLOURS["blue"])
    note(axes, at_weight + 2.6 * weight + 0.2, y + 0.5, f"{weight:.3f}", "left")
    note(axes, at_value - 0.5, y + 0.5, "×")
    number_cells(axes, at_value, y, value, largest, WIDE)
    note(axes, at_product - 0.85, y + 0.5, "=")
    number_cells(axes, at_product, y, weight * value, largest, WIDE)


def draw_mask(scores: ArrayLike, words: Sequence[str]) -> Figure:
    """Scores (T, T), the same without the future, and the weights that are left, each row summing to one.

    Raises:
        InputError: the scores are not one row and one column for each of the T words.
    """
    T = len(words)
    z = numbers_of("the table of scores", scores, T, T)
    seen = np.tril(np.ones((T, T), dtype=bool))
    weights = softmax(np.where(seen, z, -np.inf))
    alt = (
        "Three tables, one row a query and one column a key: the scores; the scores with minus infinity, "
        "hatched, in place of all that lies in the future; and the softmax of each row, in which the hatched "
        "cells are zero."
    )
    figure, axes = sheet(7.4 + 3 * T * WIDE, T + 2.5, alt)
    tables = (("scores", z, ""), ("the future: −∞", z, "−∞"), ("softmax of each row", weights, "0"))
    for place, (title, table, future) in enumerate(tables):
        x = 2.4 + place * (T * WIDE + 2.3)
        note(axes, x, 0.6, title, "left", bold=True)
        if place:
            arrow(axes, (x - 2.0, 2.1 + T / 2), (x - 0.3, 2.1 + T / 2))
        for column, word in enumerate(words):
            note(axes, x + (column + 0.5) * WIDE, 1.6, word)
        for row in range(T):
            shown = seen[row].sum() if future else T
            end = number_cells(axes, x, 2.1 + row, table[row, :shown], abs(table).max(), WIDE, 1 + (table is weights))
            cells(axes, end, 2.1 + row, [future] * (T - shown), WIDE, marked=range(T))
    for row, word in enumerate(words):
        note(axes, 2.1, 2.6 + row, word, "right")
    return figure


def draw_heads(x: ArrayLike, heads: int) -> Figure:
    """How (T, D) becomes ``heads`` times (T, d), and what goes wrong if the same numbers are only counted off anew.

    Raises:
        InputError: x is not a matrix, or its D channels cannot be divided among the heads.
    """
    rows = numbers_of("x", x, None, None)
    T, D = rows.shape
    if D % heads:
        raise InputError(f"{D} channels cannot be divided among {heads} heads: choose a divisor of {D}")
    d = D // heads
    alt = (
        f"A table of {T} tokens and {D} channels is cut by columns into {heads} heads, in which each row is "
        "still one token. Beside it, the same numbers counted off row by row, which mixes tokens."
    )
    figure, axes = sheet(5.0 + (D + 2 * d) * NARROW, heads * (T + 1) + 1.2, alt)
    owners = np.repeat(np.arange(T), D).reshape(T, D)  # whose number it is: its shade
    middle, right = 3.2 + D * NARROW, 4.8 + (D + d) * NARROW
    _token_cells(axes, 1.7, 1.2 + (heads * (T + 1) - 1 - T) / 2, rows, owners)
    note(axes, 1.7, 0.5, f"x: T = {T}, D = {D}", "left", bold=True)
    for h in range(1, heads):  # where the columns are cut
        at = 1.7 + h * d * NARROW
        axes.plot([at, at], [1.2, 0.2 + heads * (T + 1)], color=COLOURS["vermillion"], linewidth=2, linestyle="--")
    for t in range(T):
        note(axes, 1.4, 1.7 + (heads * (T + 1) - 1 - T) / 2 + t, f"t = {t}", "right")
    note(axes, middle, 0.5, "unflatten, swap", "left", bold=True)
    note(axes, right, 0.5, "reshape: wrong", "left", bold=True)
    for h in range(heads):
        y, columns = 1.2 + h * (T + 1), slice(h * d, (h + 1) * d)
        _token_cells(axes, middle, y, rows[:, columns], owners[:, columns])
        _token_cells(axes, right, y, rows.reshape(heads, T, d)[h], owners.reshape(heads, T, d)[h])
        for left in (middle, right):
            note(axes, left - 0.3, y + T / 2, f"h{h}", "right")
    return figure


def _token_cells(axes: Axes, x: float, y: float, table: NDArray[np.float64], owners: NDArray[np.int64]) -> None:
    """A table of numbers, each shaded by the token that it belongs to."""
    for (row, column), value in np.ndenumerate(table):
        fill = shade(owners[row, column], 3)
        cell(axes, x + column * NARROW, y + row, spell(value), NARROW, fill)


def draw_cache(words: Sequence[str], read: int) -> Figure:
    """Which keys and values exist after the prefill of ``read`` of the words, and after each step that adds one.

    Raises:
        InputError: the prefill would read none of the words, or leave none to write.
    """
    if not 0 < read < len(words):
        raise InputError(f"a prefill of {read} of {len(words)} tokens leaves nothing to draw: it reads 1 to "
                         f"{len(words) - 1} of them")  # fmt: skip
    edges = 4.0 + np.cumsum([0.0, *(max(1.2, 0.6 + 0.38 * len(word)) for word in words)])
    alt = (
        "A row for the prefill and one for each later step: the keys and values kept from before are plain, "
        "the new ones hatched. Each step computes one, where a pass without a cache computes them all."
    )
    figure, axes = sheet(edges[-1] + 6.6, 2.4 + 1.3 * (len(words) - read + 1), alt)
    note(axes, 4.0, 0.6, "keys and values in the cache", "left", bold=True)
    for row, length in enumerate(range(read, len(words) + 1)):
        y, new = 1.3 + 1.3 * row, length if row == 0 else 1
        note(axes, 3.6, y + 0.5, f"step {row}" if row else "prefill", "right")
        for place, word in enumerate(words[:length]):
            fresh, width = place >= length - new, edges[place + 1] - edges[place]
            cell(axes, edges[place], y, word, width, PALE["orange" if fresh else "sky"], marked=fresh)
        note(axes, edges[-1] + 0.6, y + 0.5, f"{new} computed" + (f", not {length}" if row else ""), "left")
    return figure


def draw_weights(weights: ArrayLike, tokens: Sequence[str], title: str) -> Figure:
    """A head's weights (T, T), one row a query, each row's largest written as percent.

    Raises:
        InputError: the weights are not one row and one column for each of the T tokens.
    """
    T = len(tokens)
    table = numbers_of("the table of weights", weights, T, T)
    alt = (
        f"{title}: a triangle of shades, a row for each token that looks and a column for each that it may look at; "
        "the largest weight of each row is written into it, in percent."
    )
    left, top = (0.8 + 0.4 * max(map(len, tokens)) for _ in range(2))
    figure, axes = sheet(left + T + 0.6, top + T + 1.6, alt)
    note(axes, left, 0.7, title, "left", bold=True)
    for place, token in enumerate(tokens):
        note(axes, left - 0.3, top + 1.5 + place, token, "right")
        axes.text(left + place + 0.5, top + 0.8, token, rotation=90, ha="center", va="bottom", fontsize=TEXT)
        for column in range(place + 1):
            weight = table[place, column]
            largest = column == table[place, : place + 1].argmax()
            text = f"{100 * weight:.0f}" if largest else ""
            cell(axes, left + column, top + 1 + place, text, fill=shade(weight, 1.0))
    return figure


def draw_own_attention(model: Transformer, tokenizer: Tokenizer, sentence: str, layer: int = 0, head: int = 0) -> None:
    """Show ``draw_weights`` of a sentence, with a field to type another one and a choice of layer and head."""
    n_layers, n_heads = model.config.n_layers, model.config.n_heads
    text = widgets.Text(sentence, description="Sentence", continuous_update=False, layout=widgets.Layout(width="32em"))
    choices = [
        widgets.Dropdown(options=range(n), value=value, description=name, layout=widgets.Layout(width="11em"))
        for name, n, value in (("Layer", n_layers, layer), ("Head", n_heads, head))
    ]

    def drawing(sentence: str, layer: int, head: int) -> Figure:
        ids = [tokenizer.separator_id, *tokenizer.encode(sentence.strip())]
        if not 1 < len(ids) <= MOST_TOKENS:
            raise InputError(f"this sentence has {len(ids) - 1} tokens: type 1 to {MOST_TOKENS - 1}")
        tokens = [spell_token(tokenizer.token_bytes(i)) for i in ids]
        return draw_weights(attention_maps(model, ids)[layer, head], tokens, f"layer {layer}, head {head}")

    draw_live(drawing, [text, *choices])
