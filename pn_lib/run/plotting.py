"""How figures look: one style, colours that the colour-blind tell apart, words for those who cannot see them."""

import os
import warnings
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from cycler import cycler
from IPython import get_ipython
from IPython.display import DisplayHandle, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageChops, ImageOps

from pn_lib.run.fonts import USUAL, fit_fonts

# Okabe & Ito (2008), in an order whose neighbours also differ in lightness, so that grey print keeps them apart
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "black": "#000000",
    "grey": "#7F7F7F",
}
MODEL_COLOURS = {
    "transformer": COLOURS["blue"],
    "mamba": COLOURS["vermillion"],
    "mamba2": COLOURS["orange"],
    "deltanet": COLOURS["purple"],
    "hybrid": COLOURS["sky"],
    "ngram": COLOURS["grey"],
    "source": COLOURS["black"],
    "human": COLOURS["green"],
}
SHARPNESS = 1.5  # pixels of a notebook's picture per pixel of the page: screens have more dots than that counts
DPI = 100 * SHARPNESS
MARGIN = 15  # pixels of white around a notebook's picture


def use_style() -> None:
    """Set the house style for all figures drawn from here on; SVG output is the same, byte for byte, each time.

    In a notebook, a figure's label (``Run.save_figure`` sets it) becomes the alternative text of its picture.
    """
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.family": "sans-serif",
            "font.sans-serif": [USUAL],
            "font.size": 10,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "axes.prop_cycle": cycler(color=list(COLOURS.values())),
            "image.cmap": "cividis",
            "svg.hashsalt": "pocketnarrator",
            "svg.fonttype": "path",
            "savefig.facecolor": "white",
        }
    )
    if shell := get_ipython():
        plt.switch_backend(plt.get_backend())  # load it now: on the first figure it would set formatters of its own
        formatters = shell.display_formatter.formatters
        formatters["image/png"].for_type(Figure, _picture)
        formatters["text/plain"].for_type(Figure, _words)


def draw(figure: Figure, **options: Any) -> bytes:
    """A figure as ``savefig`` saves it with ``options``; letters that the usual font lacks come from other fonts."""
    drawn = _drawn(figure, options)
    return _drawn(figure, options) if fit_fonts(figure) else drawn


def _drawn(figure: Figure, options: dict[str, Any]) -> bytes:
    drawn = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # fit_fonts tells of them, once
        figure.savefig(drawn, **options)
    return drawn.getvalue()


def draw_png(figure: Figure) -> bytes:
    """The PNG of a figure, drawn when it is asked for first or has changed since: drawing takes the most time."""
    if figure.stale or not hasattr(figure, "drawn_png"):
        figure.drawn_png = draw(figure, format="png", dpi=DPI, metadata={"Software": None})
        figure.stale = False  # savefig has only changed the resolution, and changed it back
    return figure.drawn_png


def _picture(figure: Figure) -> tuple[bytes, dict[str, str | int]]:
    """The PNG with narrow margins, its width on the page and its words; 64 colors take 40 % of the space."""
    image, small = Image.open(BytesIO(draw_png(figure))).convert("RGB"), BytesIO()
    drawn = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
    image = ImageOps.expand(image.crop(drawn), MARGIN, "white")
    image.quantize(64, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    words = {"alt": figure.get_label()} if figure.get_label() else {}
    return small.getvalue(), {"width": round(image.width / SHARPNESS)} | words


def _words(figure: Figure, printer, _cycle: bool) -> None:
    printer.text(figure.get_label() or repr(figure))


def plot_curve(axes: Axes, history: pd.DataFrame, label: str, colour: str) -> None:
    """Bits per byte against tokens seen."""
    axes.plot(history["tokens"], history["bits_per_byte"], color=colour, marker="o", markersize=3, label=label)
    axes.set_xlabel("training tokens")
    axes.set_ylabel("bits per byte (validation)")


class LiveCurve:
    """A learning curve that redraws itself in the notebook each time it is called with the history so far.

    Pass it to ``train(..., on_eval=...)``. Where nobody watches (the pipeline, CI) it draws nothing: the finished
    curve is a figure of its own.
    """

    def __init__(self, tokens: int):
        self.tokens = tokens
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
        plot_curve(axes, history, "validation", COLOURS["blue"])
        axes.set_xlim(0, self.tokens)
        last = history.iloc[-1]
        axes.set_title(f"{last['tokens'] / self.tokens:.0%} of the budget, {last['bits_per_byte']:.3f} bits per byte")
        return figure
