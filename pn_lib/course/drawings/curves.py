"""What was computed, drawn as curves, as maps, or as distances from a limit."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pn_lib.course.drawings.boxes import numbers_of
from pn_lib.run.plotting import COLOURS

DASHES = ("-", "--", ":")
MARKERS = ("o", "s", "^")
FEW = 30  # points that can be told apart when each is marked


def draw_lines(
    x: ArrayLike, lines: Mapping[str, ArrayLike], xlabel: str, ylabel: str, log: Literal["", "y", "xy"] = ""
) -> Figure:
    """Curves over the same x, (n,), one for each entry of ``lines``, (n,); ``log`` names the logarithmic axes.

    Raises:
        InputError: a line has not one number for each of x.
    """
    places = numbers_of("x", x, None)
    curves = {name: numbers_of(name, y, len(places)) for name, y in lines.items()}
    figure, axes = _panels(1, (5.4, 2.7))
    ends = ", ".join(f"{name} from {y[0]:.2g} to {y[-1]:.2g}" for name, y in curves.items())
    figure.set_label(f"Curves of {ylabel} against {xlabel}. From the left end to the right one: {ends}.")
    for i, (name, y) in enumerate(curves.items()):
        marker = MARKERS[i % len(MARKERS)] if len(places) <= FEW else ""
        axes[0].plot(places, y, marker + DASHES[i % len(DASHES)], markersize=4, label=name)
    axes[0].set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes[0].set_yscale("log")
    if log == "xy":
        axes[0].set_xscale("log", base=2)
        axes[0].set_xticks(places, [f"{place:g}" for place in places])
    axes[0].minorticks_off()
    axes[0].legend()
    return figure


def draw_maps(maps: Mapping[str, ArrayLike], xlabel: str, ylabel: str, words: Sequence[str]) -> Figure:
    """Tables (n, n) side by side, shades from 0 to 1; nan stays white. The n ``words`` name the rows and the columns.

    Raises:
        InputError: a table has not one row and one column for each word.
    """
    n = len(words)
    tables = {name: numbers_of(name, table, n, n) for name, table in maps.items()}
    figure, panels = _panels(len(tables), (3.1 * len(tables) + 0.6, 2.8))
    low, high = np.nanmin(list(tables.values())), np.nanmax(list(tables.values()))
    figure.set_label(
        f"Shades of {n} x {n} numbers, from {low:.2g} to {high:.2g}, a row for each {ylabel} and a column for each "
        f"{xlabel}: {' and '.join(tables)}."
    )
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        image = axes.imshow(table, vmin=0, vmax=1)
        axes.set(title=name, xlabel=xlabel)
        axes.set_xticks(range(n), words)
        axes.set_yticks(range(n), words)
        axes.grid(False)
    panels[0].set_ylabel(ylabel)
    figure.colorbar(image, ax=panels)
    return figure


def draw_distances(distances: Mapping[str, float], limit: float) -> Figure:
    """How far each thing is from where it should be, on a logarithmic axis; a cross stays within the limit."""
    within = [name for name, distance in distances.items() if distance <= limit]
    figure, [axes] = _panels(1, (6.4, 2.8))
    figure.set_label(
        f"On a logarithmic axis, {len(distances)} distances and a dashed line at the limit of {limit:.0e}. Beyond it, "
        f"as dots, are all but {len(within)}{': ' + ', '.join(within) if within else ''}."
    )
    for name, distance in distances.items():
        marker, colour = ("X", "orange") if name in within else ("o", "blue")
        axes.plot(distance, name, marker, markersize=8, color=COLOURS[colour])
    axes.axvline(limit, color=COLOURS["black"], linestyle="--", linewidth=1.2)
    axes.text(1.3 * limit, -0.5, "tolerance", fontsize=9)
    axes.set(xscale="log", xlabel="largest difference", xlim=(limit / 1000, None))
    axes.invert_yaxis()
    return figure


def _panels(columns: int, size: tuple[float, float]) -> tuple[Figure, list]:
    """Not pyplot's figure, so a notebook shows it once, as the value of its cell."""
    figure = Figure(figsize=size)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])
