"""A drawing with a slider: whoever runs the notebook moves it, and everywhere else the drawing stands still."""

import os
from collections.abc import Callable

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from pn_lib.run.plotting import draw_png


class Sliding:
    """A slider over 0.01 to 5, on a log scale, above the drawing of its value; ``box`` holds both."""

    def __init__(self, drawing: Callable[[float], Figure], name: str, value: float):
        self.slider = widgets.FloatLogSlider(value, min=-2, max=0.7, step=0.02, description=name, readout_format=".2f")
        figure = drawing(value)
        self.image = widgets.Image(value=draw_png(figure), width=round(100 * figure.get_figwidth()))
        self.slider.observe(lambda change: setattr(self.image, "value", draw_png(drawing(change["new"]))), "value")
        self.box = widgets.VBox([self.slider, self.image])


def draw_sliding(drawing: Callable[[float], Figure], name: str, value: float) -> None:
    """Show ``drawing`` of ``value``, with a slider where somebody can move it; under the pipeline and in CI without."""
    if os.environ.get("PN_PROGRESS") or os.environ.get("CI"):
        display(drawing(value))
    else:
        display(Sliding(drawing, name, value).box)
