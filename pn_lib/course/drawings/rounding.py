"""Rounding drawn: weights that snap to the points of a grid, and integers that share bytes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pn_lib.course.drawings.boxes import PALE, arrow, cell, cells, note, numbers_of, sheet, spell
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

LEFT, SPAN, PANEL = 5.6, 20.0, 5.4  # units: the labels, the real line, the height of a line with its weights
DIGIT, BIT = 1.7, 0.8  # units: widths of cells


def draw_rounding(w: ArrayLike, levels: Sequence[int]) -> Figure:
    """The weights w, (length,), on the real line, and the points s q to which each grid of ``levels`` rounds them.

    A level n has the integers q from -n to n, and its scale is s = max |w| / n.

    Raises:
        InputError: w is not a vector, all of it is zero, or a level is below 1.
    """
    weights = numbers_of("w", w, None)
    largest = abs(weights).max()
    if largest == 0 or min(levels) < 1:
        raise InputError("rounding needs a weight that is not zero, and levels from 1 on")
    alt = (
        f"The real line, once for each of {' and '.join(f'{2 * n + 1} points' for n in levels)}: dots for the weights "
        "above it, and from each an arrow to the nearest point of the grid, under which its integer is."
    )
    figure, axes = sheet(LEFT + SPAN + 1.2, PANEL * len(levels) + 0.1, alt)
    for place, n in enumerate(levels):
        y, scale = PANEL * place + 3.6, largest / n
        note(axes, 0.3, y - 2.0, "weights w", "left")
        note(axes, 0.3, y, f"n = {n}: s = {scale:.2f}", "left", bold=True)
        note(axes, 0.3, y + 0.9, "integers q", "left")
        axes.plot([LEFT - 0.4, LEFT + SPAN + 0.4], [y, y], color=COLOURS["black"], linewidth=1.2)
        _snap(axes, y, weights, scale, n)
    return figure


def _snap(axes: Axes, y: float, weights: NDArray[np.float64], scale: float, n: int) -> None:
    """The points of a grid on the line at height y, and above it the weights that fall on them."""
    chosen = {round(w / scale) for w in weights}
    for q in range(-n, n + 1):
        x = _place(q / n)
        axes.plot(x, y, "s", color=COLOURS["black"], markersize=6, markerfacecolor="black" if q in chosen else "white")
        note(axes, x, y + 0.9, spell(q, 0), bold=q in chosen)
    for w in weights:
        x = _place(w / scale / n)
        axes.plot(x, y - 2.0, "o", color=COLOURS["blue"], markersize=6)
        note(axes, x, y - 2.9, spell(w, 2))
        arrow(axes, (x, y - 1.7), (_place(round(w / scale) / n), y - 0.35), colour="blue")


def _place(share: float) -> float:
    """Where a share of the largest weight, from -1 to 1, lies on the line."""
    return LEFT + SPAN * (share + 1) / 2


def draw_bytes(packings: Sequence[tuple[Sequence[int], int, int]]) -> Figure:
    """How integers become bytes: for each (q, n, per_byte) a row of q, the digits q + n, and each byte with its bits.

    The first digit of a byte is its lowest, to the base 2 n + 1.

    Raises:
        InputError: the integers of a row are outside -n..n, do not fill its bytes, or do not fit into them.
    """
    longest = max(len(q) // per_byte * _byte_width(per_byte) for q, _, per_byte in packings)
    alt = (
        "For each way of packing, from the top: the integers, as many to a group as share a byte; the same as digits "
        "from 0 on; the number that these digits write; and the eight bits of its byte."
    )
    figure, axes = sheet(4.6 + longest, 6.2 * len(packings) + 0.2, alt)
    for place, (q, n, per_byte) in enumerate(packings):
        base, y = 2 * n + 1, 6.2 * place + 0.3
        if len(q) % per_byte or max(abs(v) for v in q) > n or base**per_byte > 256:
            raise InputError(f"{len(q)} integers {list(q)} do not fill bytes of {per_byte}, each from {-n} to {n}")
        labels = ("integers q", f"digits q + {n}", f"base {base}", "byte")
        for row, label in enumerate(labels):
            note(axes, 4.2, y + 0.5 + 1.4 * row, label, "right")
        for k in range(0, len(q), per_byte):
            x = 4.6 + k // per_byte * _byte_width(per_byte)
            _pack(axes, x, y, q[k : k + per_byte], n)
    return figure


def _byte_width(per_byte: int) -> float:
    return max(per_byte * DIGIT, 8 * BIT, 2.3 * per_byte + 2.0) + 1.0


def _pack(axes: Axes, x: float, y: float, q: Sequence[int], n: int) -> None:
    """The integers of one byte, their digits, the number that they write and its bits, one below the other."""
    digits, base = [v + n for v in q], 2 * n + 1
    cells(axes, x, y, [spell(v, 0) for v in q], DIGIT, PALE["sky"])
    cells(axes, x, y + 1.4, [str(digit) for digit in digits], DIGIT)
    byte = sum(digit * base**i for i, digit in enumerate(digits))
    terms = [f"{digit}·{base**i}" if i else f"{digit}" for i, digit in enumerate(digits)]
    note(axes, x, y + 3.3, f"{' + '.join(terms)} = {byte}", "left")
    for i, bit in enumerate(f"{byte:08b}"):
        cell(axes, x + i * BIT, y + 4.2, bit, BIT, PALE["orange"])
