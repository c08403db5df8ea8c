"""Rotary positions: a query and a key turn with their places, and the angle between them stays."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc
from numpy.typing import ArrayLike, NDArray

from pn_lib.course.drawings.boxes import TEXT, note, numbers_of, sheet
from pn_lib.run.plotting import COLOURS

RADIUS, PANEL = 2.3, 9.2  # of a clock, and the width that each has, in units


def draw_turning(turned: Mapping[tuple[int, int], tuple[ArrayLike, ArrayLike]]) -> Figure:
    """For each (position of the query, position of the key) one pair of channels of both, as hands of a clock.

    Su et al., 2021, equation 12. Each of ``turned`` is (2,), as rotated to its position.

    Raises:
        InputError: a query or a key is not one pair of channels.
    """
    places = ", ".join(f"positions {m} and {n}" for m, n in turned)
    alt = (
        f"Clocks whose hands are one pair of channels of a query (solid) and of a key (dashed), at {places}. "
        "Both turn; the angle between them and the score below show what stays."
    )
    figure, axes = sheet(PANEL * len(turned), 7.3, alt)
    hands = {}
    for (m, n), (query, key) in turned.items():
        hands[m, n] = (numbers_of(f"the query at {m}", query, 2), numbers_of(f"the key at {n}", key, 2))
    longest = max(np.hypot(*hand) for pair in hands.values() for hand in pair)
    for place, ((m, n), (query, key)) in enumerate(hands.items()):
        centre = np.array([(place + 0.5) * PANEL, 3.3])
        axes.add_patch(Arc(centre, 2 * RADIUS, 2 * RADIUS, color=COLOURS["grey"], linewidth=0.8))
        scale = RADIUS / longest
        _hand(axes, centre, query * scale, "-", "blue", f"q at {m}")
        _hand(axes, centre, key * scale, "--", "vermillion", f"k at {n}")
        _angle(axes, centre, query, key)
        note(axes, centre[0], centre[1] + 3.6, f"distance {m - n}: score q·k = {query @ key:.2f}")
    return figure


def _hand(axes: Axes, centre: NDArray, hand: NDArray, line: str, colour: str, text: str) -> None:
    tip = centre + hand * (1, -1)  # y runs downward
    axes.annotate("", tip, centre, arrowprops={"arrowstyle": "-|>", "linestyle": line, "color": COLOURS[colour],
                  "linewidth": 2, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    across = hand[0] / np.hypot(*hand)
    beyond = centre + hand * (1, -1) / np.hypot(*hand) * (RADIUS + (0.3 if abs(across) > 0.5 else 0.6))
    side = "center" if abs(across) <= 0.5 else "left" if across > 0 else "right"
    axes.text(*beyond, text, ha=side, va="center", fontsize=TEXT, color=COLOURS[colour], fontweight="bold",
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip


def _angle(axes: Axes, centre: NDArray, query: NDArray, key: NDArray) -> None:
    """The arc from the key to the query, the short way round, with its size in degrees."""
    ends = np.degrees([np.arctan2(*hand[::-1]) for hand in (query, key)])
    between = (ends[1] - ends[0] + 180) % 360 - 180  # from the query to the key
    first, last = sorted((ends[0], ends[0] + between))
    axes.add_patch(Arc(centre, 2.2, 2.2, theta1=-last, theta2=-first, linewidth=1.2))  # y runs downward
    middle = np.radians((first + last) / 2)
    axes.text(*centre + 1.7 * np.array([np.cos(middle), -np.sin(middle)]), f"{abs(between):.0f}°", ha="center",
              va="center", fontsize=TEXT)  # fmt: skip
