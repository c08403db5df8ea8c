"""Sampling drawn: what a temperature and the filters leave of one distribution over the next word."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from pn_lib.course.drawings.boxes import PALE, note, numbers_of, sheet
from pn_lib.run.plotting import COLOURS

LONGEST, COLUMN, LEFT = 3.2, 5.0, 3.7  # units: a bar of probability 1, from one column to the next, the words


def draw_filters(words: Sequence[str], p: ArrayLike, filtered: Mapping[str, ArrayLike]) -> Figure:
    """The distribution p, (V,), and what each way of ``filtered`` makes of it; what a way removes is struck out.

    Raises:
        InputError: a distribution has not one probability for each word.
    """
    given = numbers_of("p", p, len(words))
    columns = {"as given": given} | {name: numbers_of(name, q, len(words)) for name, q in filtered.items()}
    alt = (
        f"Bars of the probabilities of {len(words)} words, in columns: {', '.join(columns)}. A dashed outline "
        "shows the bar as it was given; a cross stands for a word that was removed."
    )
    figure, axes = sheet(LEFT + COLUMN * len(columns), 1.25 * len(words) + 1.5, alt)
    for row, word in enumerate(words):
        note(axes, LEFT - 0.4, 1.8 + 1.25 * row, word, "right")
    for column, (name, q) in enumerate(columns.items()):
        x = LEFT + COLUMN * column
        note(axes, x, 0.6, name, "left", bold=True)
        axes.plot([x, x], [1.0, 1.25 * len(words) + 1.3], color=COLOURS["grey"], linewidth=0.8)
        for row in range(len(words)):
            _bar(axes, x, 1.8 + 1.25 * row, q[row], given[row])
    return figure


def _bar(axes: Axes, x: float, y: float, q: float, given: float) -> None:
    axes.barh(y, LONGEST * q, 0.8, x, color=PALE["blue"], edgecolor=COLOURS["blue"])
    outline = Rectangle((x, y - 0.4), LONGEST * given, 0.8, fill=False, linestyle="--", edgecolor=COLOURS["black"])
    axes.add_patch(outline)
    end = x + LONGEST * max(q, given) + 0.25
    note(axes, end, y, f"{q:.2f}" if q > 0 else "×", "left", bold=q == 0)
