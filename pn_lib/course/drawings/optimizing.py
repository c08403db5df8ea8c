"""Training drawn: the step that Adam and Muon make of one gradient, and the plan of a run's rate and batches."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pn_lib.course.drawings.boxes import HATCH, PALE, TEXT, note, number_cells, numbers_of, sheet
from pn_lib.run.plotting import COLOURS
from pn_lib.training.config import TrainingConfig

MOST = 3.0  # units that the longest bar is high


def draw_steps(steps: Mapping[str, ArrayLike]) -> Figure:
    """Matrices (n, n), such as a gradient and the steps made of it, over their singular values as bars.

    Every matrix is shown as a share of its largest entry, and its bars as shares of its largest singular value.

    Raises:
        InputError: a matrix is not square, or not as large as the others.
    """
    n = len(numbers_of("the first matrix", next(iter(steps.values())), None, None))
    alt = (
        f"Matrices side by side: {', '.join(steps)}. Each number is a share of the largest in its matrix; blue"
        " is positive, orange negative. The bars below are the singular values of each."
    )
    figure, axes = sheet(len(steps) * (1.5 * n + 1.8) - 0.6, n + 2.8 + MOST, alt)
    for place, (name, step) in enumerate(steps.items()):
        matrix = numbers_of(name, step, n, n)
        left, base = 0.6 + place * (1.5 * n + 1.8), 1.2 + n + 0.6 + MOST
        note(axes, left, 0.6, name, "left", bold=True)
        for row in range(n):
            number_cells(axes, left, 1.1 + row, matrix[row] / abs(matrix).max(), 1.0)
        values = np.linalg.svd(matrix, compute_uv=False)
        for i, value in enumerate(values / values.max()):
            axes.bar(left + 1.5 * i + 0.75, -MOST * value, 1.0, base, color=PALE["blue"], edgecolor=COLOURS["grey"],
                     hatch=HATCH)  # fmt: skip
            note(axes, left + 1.5 * i + 0.75, base + 0.5, f"{value:.2f}")
    return figure


def draw_plan(config: TrainingConfig) -> Figure:
    """A run's learning rate against its tokens, over one batch of each phase, B rows by T columns, to scale."""
    figure = Figure(figsize=(7.0, 2.9), layout="constrained")
    figure.set_label("Above, the factor of the learning rate against the share of the tokens. Below, a rectangle for "
                     "one batch of each phase, as wide as its context and as high as its number of "
                     "windows.")  # fmt: skip
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    ends = np.array([config.tokens_at(step + 1) for step in range(config.steps)]) / config.planned_tokens
    top.plot(100 * ends, [config.rate_at(step) for step in range(config.steps)], color=COLOURS["blue"])
    top.set(ylabel="factor of\npeak rate", ylim=(0, 1.08))
    rows, columns = (max(getattr(phase, side) for phase in config.phases) for side in ("batch_size", "context"))
    begin, updates = 0.0, [config.phase_at(step) for step in range(config.steps)]
    for phase in config.phases:
        left, height, width = 100 * begin + 2, phase.batch_size / rows, 16 * phase.context / columns
        bottom.bar(
            left, height, width, 0.04, align="edge", color=PALE["orange"], edgecolor=COLOURS["grey"], hatch=HATCH
        )
        text = f"{updates.count(phase)} updates of\nB = {phase.batch_size}, T = {phase.context}"
        bottom.text(left + 18, 0.5, text, ha="left", va="center", fontsize=TEXT)
        begin += phase.share
        for axes in (top, bottom):
            axes.axvline(100 * begin, color=COLOURS["black"], linestyle=":", linewidth=1)
    bottom.set(xlabel="share of the tokens (%)", xlim=(0, 100), ylim=(0, 1.1), yticks=[], ylabel="a batch\nto scale")
    bottom.grid(False)
    return figure
