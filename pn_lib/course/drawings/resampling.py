"""The bootstrap drawn: stories resampled, and what their means tell."""

from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pn_lib.course.drawings.boxes import PALE, cell, note, numbers_of, sheet
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

SHEET = 27.6  # units: as wide as a notebook's page
WIDE = 2.0  # units: a story with its value


def draw_bootstrap(values: ArrayLike, draws: ArrayLike, interval: tuple[float, float]) -> Figure:
    """The stories' values, some draws of as many with replacement, and their means on a scale with the interval.

    Efron, 1979. ``values``: (n,); ``draws``: (rows, n), the numbers of the stories drawn; ``interval``: the ends of
    the middle 95 % of the means of many more draws.

    Raises:
        InputError: a draw has another number of stories, or one that there is not, or there are more than 26.
    """
    x = numbers_of("the values", values, None)
    drawn = numbers_of("the draws", draws, None, len(x)).astype(int)
    if drawn.min() < 0 or drawn.max() >= len(x) or len(x) > len(ascii_lowercase):
        raise InputError(
            f"the draws reach from story {drawn.min()} to {drawn.max()} of {len(x)}: draw from at most 26 stories"
        )
    alt = (
        f"At the top {len(x)} stories with their values; below, draws of {len(x)} stories with replacement, "
        "stories drawn again hatched. On the right the mean of each row as a dot, and at the bottom the "
        "interval."
    )
    figure, axes = sheet(SHEET, 1.3 * len(drawn) + 6.0, alt)
    scale = _Scale(3.4 + len(x) * WIDE + 1.2, SHEET - 0.7, x.min(), x.max())
    note(axes, 3.4, 0.6, "story and its value", "left", bold=True)
    note(axes, scale.left, 0.6, "mean", "left", bold=True)
    for row, chosen in enumerate([np.arange(len(x)), *drawn]):
        y = 1.2 + 1.3 * row + (0.5 if row else 0)
        note(axes, 3.0, y + 0.5, f"draw {row}" if row else "stories", "right")
        for place, story in enumerate(chosen):
            again, text = story in chosen[:place], f"{ascii_lowercase[story]} {x[story]:.2f}"
            cell(axes, 3.4 + place * WIDE, y, text, WIDE, PALE["orange"] if again else "white", marked=again)
        axes.plot([scale.left, scale.right], [y + 0.5] * 2, color=COLOURS["grey"], linewidth=0.6, zorder=0)
        mean = float(x[chosen].mean())
        axes.plot(scale.at(mean), y + 0.5, "o" if row else "D", color=COLOURS["blue" if row else "black"], markersize=6)
        note(axes, scale.at(mean) + 0.35, y + 0.15, f"{mean:.2f}", "left")
    y, ends = 3.8 + 1.3 * len(drawn), [scale.at(end) for end in interval]
    axes.plot(ends, [y, y], "|-", color=COLOURS["vermillion"], linewidth=2.5, markersize=12)
    note(axes, sum(ends) / 2, y + 0.9, f"[{interval[0]:.2f}, {interval[1]:.2f}]")
    note(axes, 3.4 + len(x) * WIDE, y, "the middle 95 % of many such means", "right")
    return figure


class _Scale(NamedTuple):
    """Where numbers from low to high lie between two edges of the sheet."""

    left: float
    right: float
    low: float
    high: float

    def at(self, value: float) -> float:
        return self.left + (self.right - self.left) * (value - self.low) / (self.high - self.low)
