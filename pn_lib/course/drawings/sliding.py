"""A drawing with controls: whoever runs the notebook moves them, and everywhere else the drawing stands still."""

import html
import os
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from pn_lib.errors import InputError
from pn_lib.run.plotting import draw_png


class Live:
    """Controls above the drawing of their values, drawn again when one changes; ``box`` holds all.

    What ``drawing`` rejects with an InputError is said below the controls, and the last picture stays.
    """

    def __init__(
        self,
        drawing: Callable[..., Figure],
        controls: Sequence[widgets.ValueWidget],
        buttons: Sequence[widgets.Button] = (),
    ):
        """``drawing`` takes the controls' values, in their order; ``buttons`` change a control when clicked."""
        self.drawing, self.controls = drawing, controls
        figure = drawing(*(control.value for control in controls))
        self.image = widgets.Image(value=draw_png(figure), width=round(100 * figure.get_figwidth()))
        self.message = widgets.HTML()
        for control in controls:
            control.observe(lambda _: self._draw(), "value")
        self.box = widgets.VBox([widgets.HBox([*controls, *buttons]), self.message, self.image])

    def _draw(self) -> None:
        try:
            figure = self.drawing(*(control.value for control in self.controls))
        except InputError as error:
            self.message.value = html.escape(str(error))
            return
        self.message.value, self.image.value = "", draw_png(figure)
        self.image.width = round(100 * figure.get_figwidth())


def draw_live(
    drawing: Callable[..., Figure],
    controls: Sequence[widgets.ValueWidget],
    buttons: Sequence[widgets.Button] = (),
) -> None:
    """Show ``Live`` where somebody can move the controls; under the pipeline and in CI, the drawing of their values."""
    if os.environ.get("PN_PROGRESS") or os.environ.get("CI"):
        display(drawing(*(control.value for control in controls)))
    else:
        display(Live(drawing, controls, buttons).box)


def draw_sliding(drawing: Callable[[float], Figure], name: str, value: float) -> None:
    """Show ``drawing`` of ``value``, with a slider over 0.01 to 5, on a log scale."""
    slider = widgets.FloatLogSlider(value, min=-2, max=0.7, step=0.02, description=name, readout_format=".2f")
    draw_live(drawing, [slider])
