"""What all drawings are made of: a sheet of paper, cells with text or numbers, arrows, notes.

A sheet is measured in units of which a cell is one high; y runs downward, so that rows are drawn as they are read.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

UNIT = 0.25  # inches
TEXT = 9  # points
PALE = {name: to_hex(1 - 0.35 * (1 - np.array(to_rgb(colour)))) for name, colour in COLOURS.items()}
HATCH = "////"  # what marks a cell in grey print, too


def sheet(width: float, height: float, words: str) -> tuple[Figure, Axes]:
    """An empty figure of ``width`` x ``height`` units without a frame; ``words`` say what it will show.

    It is not one of pyplot's figures, so a notebook shows it once, as the value of its cell.
    """
    figure = Figure(figsize=(width * UNIT, height * UNIT), layout="none")
    figure.set_label(words)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def numbers_of(name: str, values: ArrayLike, *shape: int | None) -> NDArray[np.float64]:
    """``values`` as float64, whether they are a tensor, an array or lists.

    Raises:
        InputError: their shape is not ``shape``, in which None stands for any length above 0.
    """
    array = np.asarray(values.detach() if hasattr(values, "detach") else values, dtype=float)
    fits = len(array.shape) == len(shape) and all(
        n > 0 if wanted is None else n == wanted for n, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"{name} has the shape {array.shape}, and the drawing needs ({wanted})")
    return array


def cell(
    axes: Axes, x: float, y: float, text: str = "", width: float = 1.0, fill: str = "white", *, marked: bool = False
) -> None:
    """A box one unit high whose upper left corner is at (x, y); a marked one is hatched."""
    hatch = HATCH if marked else None
    axes.add_patch(Rectangle((x, y), width, 1, facecolor=fill, edgecolor=COLOURS["grey"], linewidth=0.8, hatch=hatch))
    if text:
        back = {"facecolor": fill, "edgecolor": "none", "pad": 0.6} if marked else None
        axes.text(x + width / 2, y + 0.5, text, ha="center", va="center", fontsize=TEXT, bbox=back)


def cells(
    axes: Axes, x: float, y: float, texts: Sequence[str], width: float = 1.0, fill: str = "white", *, marked=()
) -> float:
    """A row of cells from (x, y) on; those whose place is in ``marked`` are hatched. Returns the row's right end."""
    for place, text in enumerate(texts):
        cell(axes, x + place * width, y, text, width, fill, marked=place in marked)
    return x + len(texts) * width


def shade(value: float, largest: float) -> str:
    """Blue for a positive number, orange for a negative one, and the paler the smaller it is."""
    strength = 0.6 * min(1.0, abs(value) / largest) if largest else 0.0
    full = np.array(to_rgb(COLOURS["blue" if value > 0 else "orange"]))
    return to_hex(1 - strength * (1 - full))


def spell(value: float, digits: int = 1) -> str:
    """A number with a proper minus sign, and never -0."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def number_cells(
    axes: Axes, x: float, y: float, values: NDArray[np.float64], largest: float, width: float = 1.5, digits: int = 1
) -> float:
    """A row of numbers, each cell shaded by its own; the shade is full at ``largest``. Returns the row's right end."""
    for place, value in enumerate(values):
        cell(axes, x + place * width, y, spell(value, digits), width, shade(value, largest))
    return x + len(values) * width


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], *, colour: str = "black") -> None:
    style = {"arrowstyle": "->", "color": COLOURS[colour], "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)


def note(axes: Axes, x: float, y: float, text: str, align: str = "center", *, bold: bool = False) -> None:
    axes.text(x, y, text, ha=align, va="center", fontsize=TEXT, fontweight="bold" if bold else "normal")
