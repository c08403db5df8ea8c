"""How figures look: one style, colours that the colour-blind tell apart, and a learning curve that grows."""

import os

import matplotlib.pyplot as plt
import pandas as pd
from cycler import cycler
from IPython.display import DisplayHandle, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito (2008), in an order whose neighbours also differ in lightness, so that grey print keeps them apart
COLOURS = {"blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermillion": "#D55E00",
           "sky": "#56B4E9", "purple": "#CC79A7", "black": "#000000", "grey": "#7F7F7F"}
MODEL_COLOURS = {"transformer": COLOURS["blue"], "mamba": COLOURS["vermillion"], "ngram": COLOURS["grey"],
                 "source": COLOURS["black"], "human": COLOURS["green"]}


def use_style() -> None:
    """Set the house style for all figures drawn from here on; SVG output is the same, byte for byte, each time."""
    plt.rcParams.update({
        "figure.figsize": (7.0, 3.6), "figure.dpi": 100, "figure.constrained_layout.use": True,
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 10,
        "axes.titlesize": 11, "axes.titlelocation": "left", "axes.labelsize": 10,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": "#DDDDDD", "grid.linewidth": 0.6, "legend.frameon": False, "lines.linewidth": 1.8,
        "axes.prop_cycle": cycler(color=list(COLOURS.values())) , "image.cmap": "cividis",
        "svg.hashsalt": "pocketnarrator", "svg.fonttype": "path", "savefig.facecolor": "white",
    })


def plot_curve(axes: Axes, history: pd.DataFrame, label: str, colour: str, *, train: bool = False) -> None:
    """Bits per byte (or, with ``train``, training loss in nats per token) against tokens seen."""
    column = "train_loss" if train else "bits_per_byte"
    axes.plot(history["tokens"], history[column], color=colour, marker="o", markersize=3, label=label,
              linestyle="--" if train else "-")
    axes.set_xlabel("training tokens")
    axes.set_ylabel("training loss (nats per token)" if train else "bits per byte (validation)")


class LiveCurve:
    """A learning curve that redraws itself in the notebook each time it is called with the history so far.

    Pass it to ``train(..., on_eval=...)``. Where nobody watches (the pipeline, CI) it draws nothing: the finished
    curve is a figure of its own.
    """

    def __init__(self, tokens: int, label: str = "validation"):
        self.tokens = tokens
        self.label = label
        self.watched = not (os.environ.get("PN_PROGRESS") or os.environ.get("CI"))
        self.handle: DisplayHandle | None = None

    def __call__(self, history: pd.DataFrame) -> None:
        if not self.watched:
            return
        figure = self.draw(history)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)
        plt.close(figure)

    def draw(self, history: pd.DataFrame) -> Figure:
        figure, axes = plt.subplots()
        plot_curve(axes, history, self.label, COLOURS["blue"])
        axes.set_xlim(0, self.tokens)
        last = history.iloc[-1]
        axes.set_title(f"{last['tokens'] / self.tokens:.0%} of the budget, {last['bits_per_byte']:.3f} bits per byte")
        return figure
