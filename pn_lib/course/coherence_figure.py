"""The figures of the study of coherence in notebook 08: every model in its place, and what each does with each fact."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from pn_lib.run.coherence.summary import counted
from pn_lib.run.plotting import COLOURS, MODEL_COLOURS
from pn_lib.run.results.coherence_results import Cell, CoherenceResult, Dialect
from pn_lib.titles import TITLES

SHIFT = 1.06  # factor of tokens from one architecture to the next, so that marks at one place do not hide another
MARKS = "os^Dv"  # one a language


def coherence_threshold(found: CoherenceResult, story_words: float) -> Figure:
    """Left: words before the first fault against tokens; right: the share of valid stories against the excess."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 4.4))
    looks = _Looks(found.cells)
    lines: dict[tuple, list[Cell]] = {}
    for cell in found.cells:
        lines.setdefault((str(cell.dialect), cell.architecture, looks.size(cell)), []).append(cell)
    for cells in lines.values():
        tokens = [cell.tokens / 1e6 * looks.shift(cell) for cell in cells]
        left.plot(tokens, [cell.words for cell in cells], clip_on=False, **looks.of(cells[0]))
    left.axhline(story_words, color=COLOURS["black"], linestyle=":", linewidth=1)
    left.annotate("a whole story", (0, story_words), (4, 4), xycoords=("axes fraction", "data"), fontsize=9,
                  textcoords="offset points")  # fmt: skip
    left.set(xscale="log", ylim=(0, 1.1 * story_words), xlabel="tokens read (millions)",
             ylabel="words before the first fault")  # fmt: skip
    _shares(right, found, looks)
    left.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axes in (left, right):
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(handles=looks.legend(any(row.models > 1 for row in found.leaks)), loc="outside lower center",
                  ncols=4, fontsize=9)  # fmt: skip
    return figure


def _shares(axes: Axes, found: CoherenceResult, looks: "_Looks") -> None:
    """The share of valid stories of each model, with the bound and the laws fitted to all models of a language."""
    bits = np.geomspace(0.1, max(10, *(1.3 * cell.excess_bits for cell in found.cells)), 200)
    axes.plot(bits, 2.0**-bits, "--", color=COLOURS["black"], linewidth=1)
    for row in found.leaks:
        if row.architecture == "all" and row.models > 1:
            axes.plot(bits, 2.0 ** (-row.leak.value * bits), ":", color=COLOURS["grey"], linewidth=1)
    for cell in found.cells:
        look = looks.of(cell)
        axes.vlines(cell.excess_bits, cell.valid.low, cell.valid.high, color=look["color"], linewidth=1)
        axes.plot(cell.excess_bits, cell.valid.value, clip_on=False, **look)
    axes.set(xscale="log", ylim=(0, 1), xlabel="excess (bits a story)", ylabel="share of valid stories")


def facts_kept(found: CoherenceResult) -> Figure:
    """A row for each fact, and in it a mark for each model of the easiest language: how often the fact comes back
    right, colored by the share of the model's stories that are valid."""
    models = list(counted(found).values())
    own = [memory for facts in models for memory in facts]
    shift = {facts[0].experiment: 0.6 * ((number + 0.5) / len(models) - 0.5) for number, facts in enumerate(models)}
    least = {slot: min(memory.right for memory in own if memory.slot == slot) for slot in {m.slot for m in own}}
    facts = sorted(least, key=lambda slot: (least[slot], slot))
    figure, axes = plt.subplots(figsize=(7.0, 0.6 + 0.4 * max(len(facts), 3)))
    marks = axes.scatter(
        [memory.right for memory in own],
        [facts.index(memory.slot) + shift[memory.experiment] for memory in own],
        c=[memory.valid for memory in own],
        vmin=0, vmax=1, s=26, cmap="viridis", edgecolors=COLOURS["grey"], linewidths=0.5, clip_on=False, zorder=3,
    )  # fmt: skip
    axes.set(xlabel="share of the times that the fact comes back right")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_yticks(range(len(facts)), facts)
    axes.grid(axis="x", visible=False)
    figure.colorbar(marks, label="valid stories", format=PercentFormatter(1))
    return figure


class _Looks:
    """A color for each architecture, a mark for each language, and larger marks for larger models."""

    def __init__(self, cells: list[Cell]):
        self.names = list(dict.fromkeys(cell.architecture for cell in cells))
        languages = dict.fromkeys(_title(cell.dialect) for cell in cells)
        self.marks = dict(zip(languages, MARKS, strict=False))
        self.points = dict(zip(sorted({self.size(cell) for cell in cells}), range(4, 99, 3), strict=False))

    def size(self, cell: Cell) -> int:
        """Parameters in thousands, by fives: architectures do not meet a size to the last parameter."""
        return 5 * round(cell.parameters / 5e3)

    def shift(self, cell: Cell) -> float:
        return SHIFT ** (self.names.index(cell.architecture) - (len(self.names) - 1) / 2)

    def of(self, cell: Cell) -> dict:
        return {"marker": self.marks[_title(cell.dialect)], "markersize": self.points[self.size(cell)], "linewidth": 1,
                "color": MODEL_COLOURS[cell.architecture], "markerfacecolor": "none"}  # fmt: skip

    def legend(self, law: bool) -> list[Line2D]:
        grey = {"color": COLOURS["grey"], "linestyle": ""}
        return [
            *(Line2D([], [], color=MODEL_COLOURS[name], label=TITLES[name]) for name in self.names),
            *(Line2D([], [], marker="o", markersize=points, label=f"{size:,} K parameters", **grey)
              for size, points in self.points.items()),
            *(Line2D([], [], marker=mark, markerfacecolor="none", label=name, **grey)
              for name, mark in self.marks.items() if len(self.marks) > 1),
            Line2D([], [], color=COLOURS["black"], linestyle="--", linewidth=1, label="bound"),
            *([Line2D([], [], color=COLOURS["grey"], linestyle=":", linewidth=1, label="law")] if law else []),
        ]  # fmt: skip


def _title(dialect: Dialect) -> str:
    plots = "all plots" if dialect.plots is None else f"{dialect.plots} plot{'s' * (dialect.plots > 1)}"
    return f"{plots}, {'all words' if dialect.words is None else f'{dialect.words} words a list'}"
