"""The figures of notebook 04: walks down a valley, schedules, ladders and branches of a recipe, curves and clocks.

Each function draws what a cell of the notebook has computed; the cell saves the figure and says in words what it shows.
"""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from pn_lib.run.plotting import COLOURS, MODEL_COLOURS, plot_curve
from pn_lib.run.results.optimizers_results import OptimizersResult
from pn_lib.training.schedule import rate_factor


def walks(paths: Mapping[str, Sequence]) -> Figure:
    """Paths (steps, 2), one for gradient descent and one for Adam, in the valley w1^2 / 2 + 10 w2^2."""
    figure, axes = plt.subplots(figsize=(7.0, 3.0))
    w1, w2 = np.meshgrid(np.linspace(-2, 0.6, 80), np.linspace(-1, 1, 80))
    axes.contour(w1, w2, w1**2 / 2 + 10 * w2**2, levels=[0.1, 0.5, 1, 2, 4, 8], colors=COLOURS["grey"], linewidths=0.6)
    for (name, path), line, colour in zip(paths.items(), ("--s", "-o"), ("orange", "blue"), strict=True):
        axes.plot(*np.transpose(path), line, markersize=4, color=COLOURS[colour], label=name)
    axes.plot(0, 0, "*", markersize=12, color=COLOURS["black"], label="lowest point")
    axes.set(xlabel="weight $w_1$ (shallow)", ylabel="weight $w_2$ (steep)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def singular_values(gradient: Sequence, step: Sequence) -> Figure:
    """Singular values, from the largest, of a gradient (as shares of its largest) and of the step made of it."""
    figure, axes = plt.subplots(figsize=(7.0, 2.8))
    axes.plot(np.divide(gradient, gradient[0]), "--", color=COLOURS["orange"], label="gradient")
    axes.plot(step, "-", color=COLOURS["blue"], label="Muon's step")
    axes.set(yscale="log", xlabel="singular value, from the largest", ylabel="size (gradient: largest = 1)")
    axes.legend()
    return figure


def schedules(names: Mapping[str, str]) -> Figure:
    """The factor of the rate for up to four schedules, by the name that ``rate_factor`` knows and the one to show."""
    figure, axes = plt.subplots(figsize=(7.0, 2.8))
    for (schedule, name), line, colour in zip(names.items(), (":", "--", "-", "-."), COLOURS.values(), strict=False):
        factors = [rate_factor(i / 200, (i + 1) / 200, schedule, warmup=0.1, decay=0.4) for i in range(200)]
        axes.plot(np.arange(1, 201) / 2, factors, line, color=colour, label=name)
    axes.set(xlabel="share of the tokens (%)", ylabel="factor of the peak rate")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def curve_and_marks(history: pd.DataFrame, guessing: float, counting: float) -> Figure:
    """Bits per byte against training tokens, on a logarithmic axis, with a line for each of the two marks."""
    figure, axes = plt.subplots()
    plot_curve(axes, history, "Transformer", MODEL_COLOURS["transformer"])
    for value, label, line in ((guessing, "guessing", ":"), (counting, "4-gram, the mark to beat", "--")):
        axes.axhline(value, color=COLOURS["black"], linestyle=line, linewidth=1)
        axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), xytext=(-4, 3),
                      textcoords="offset points", ha="right")  # fmt: skip
    axes.set_yscale("log", base=2)
    axes.set_ylim(min(history["bits_per_byte"].min(), counting) / 1.5, guessing * 1.5)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_formatter(EngFormatter())
    return figure


def train_and_validation(history: pd.DataFrame) -> Figure:
    """Training and validation loss in nats per token; the first row, from before any step, has no training loss."""
    figure, axes = plt.subplots(figsize=(7.0, 3.0))
    seen = history[1:]
    axes.plot(seen["tokens"], seen["train_loss"], ":s", markersize=4, color=COLOURS["vermillion"], label="training")
    axes.plot(seen["tokens"], seen["nats_per_token"], "-o", markersize=4, color=COLOURS["blue"], label="validation")
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.set(xlabel="training tokens", ylabel="nats per token")
    axes.legend()
    return figure


def ladder(rungs: pd.DataFrame, runs: pd.Series, mark: float) -> Figure:
    """Bits per byte of each rung, from the foot at the top down.

    ``rungs`` has a row a rung and the columns "equal tokens" and "equal seconds"; ``runs`` has the value of each
    (change, seed) at equal tokens; ``mark`` is a line.
    """
    figure, axes = plt.subplots(figsize=(7.0, 4.2))
    places = range(len(rungs))
    axes.plot(rungs["equal tokens"], places, "-o", linewidth=1, color=COLOURS["blue"], label="at equal tokens")
    axes.plot(rungs["equal seconds"], places, "--s", linewidth=1, markerfacecolor="none", color=COLOURS["vermillion"],
              label="at equal time")  # fmt: skip
    for place, name in enumerate(rungs.index):
        axes.plot(runs.loc[name], [place] * len(runs.loc[name]), "|", color=COLOURS["blue"], markersize=10)
    axes.axvline(mark, linestyle=":", color=COLOURS["black"], label="4-gram, the mark to beat")
    axes.set_yticks(places, rungs.index)
    axes.invert_yaxis()
    axes.set_xlabel("bits per byte (validation); further left is better")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def rates(found: OptimizersResult) -> Figure:
    """Loss over the rate of the matrices, for AdamW and for Muon, each at its best rate of all else."""
    figure, axes = plt.subplots(figsize=(7.0, 3.2))
    looks = ((found.adamw, "AdamW", "--s", "orange", 12), (found.muon, "Muon", "-o", "blue", -18))
    for side, name, line, colour, above in looks:
        points = [(one.matrix_rate, one.bits_per_byte) for one in side.trials if one.rate == side.rate]
        best = min(points, key=lambda point: point[1])
        axes.plot(*zip(*points, strict=True), line, color=COLOURS[colour], label=name)
        lowest = axes.plot(*best, "*", markersize=13, color=COLOURS["black"])[0]
        axes.annotate(f"{best[1]:.3f}", best, xytext=(0, above), textcoords="offset points", ha="center")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({one.matrix_rate for side in (found.adamw, found.muon) for one in side.trials}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(y=0.15)
    axes.set(xlabel="peak rate of the matrices", ylabel="bits per byte (the half that chose)")
    lowest.set_label("lowest")  # once for both
    axes.legend()
    return figure


def differences(rows: Sequence[Mapping]) -> Figure:
    """A line a change: its difference at equal tokens with the interval ("low" is None where there is none), and at
    equal time."""
    figure, axes = plt.subplots(figsize=(7.0, 4.2))
    for place, row in enumerate(rows):
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=COLOURS["blue"])
        axes.plot(row["difference"], place, "o", color=COLOURS["blue"], label=None if place else "at equal tokens")
        axes.plot(row["equal_seconds"], place, "s", color=COLOURS["vermillion"], markerfacecolor="none",
                  label=None if place else "at equal time")  # fmt: skip
    axes.axvline(0, color=COLOURS["black"], linewidth=1)
    axes.set_yticks(range(len(rows)), [row["change"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("difference from the recipe in bits per byte (right of zero: worse)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def few_stories(curves: Mapping[float, pd.DataFrame], epoch: int) -> Figure:
    """A panel for each rate of dropout: training and validation loss over epochs of ``epoch`` tokens, the gap between
    them, and the lowest validation loss."""
    figure, panels = plt.subplots(1, len(curves), sharey=True, figsize=(7.0, 3.2))
    for axes, (dropout, curve) in zip(panels, curves.items(), strict=True):
        curve = curve[1:]  # the first row is from before any step
        epochs, lowest = curve["tokens"] / epoch, curve["nats_per_token"].idxmin()
        axes.plot(epochs, curve["nats_per_token"], "-o", markersize=4, color=COLOURS["blue"], label="validation")
        axes.plot(epochs, curve["train_loss"], ":s", markersize=4, color=COLOURS["vermillion"], label="training")
        axes.fill_between(epochs, curve["train_loss"], curve["nats_per_token"], color=COLOURS["grey"], alpha=0.2)
        best = (epochs[lowest], curve["nats_per_token"][lowest])
        axes.plot(*best, "*", markersize=13, color=COLOURS["black"], label="lowest")
        axes.annotate(f"{best[1]:.2f}", best, xytext=(0, 9), textcoords="offset points", ha="center")
        axes.set(title=f"dropout {dropout}", xlabel="epochs")
    panels[0].set_ylabel("nats per token")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def three_axes(curves: Mapping[str, tuple[Iterable[float], Mapping[str, Iterable[float]]]]) -> Figure:
    """Bits per byte against three ways to pay: for each of three names its losses, and what each cost by unit."""
    figure, panels = plt.subplots(1, 3, sharey=True, figsize=(7.0, 3.4))
    styles = zip((":o", "--s", "-^"), ("blue", "vermillion", "black"), strict=True)
    for (name, (losses, paid)), (line, colour) in zip(curves.items(), styles, strict=True):
        for axes, (unit, values) in zip(panels, paid.items(), strict=True):
            axes.plot(values, losses, line, markersize=4, color=COLOURS[colour], label=name)
            axes.set_xlabel(unit)
    panels[0].xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0].set_ylabel("bits per byte (validation)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def clocks(seconds: pd.Series, shares: pd.Series, on_top: int) -> Figure:
    """A bar a phase with its share of training; the last ``on_top`` phases, hatched, come on top of it."""
    figure, axes = plt.subplots(figsize=(7.0, 2.8))
    inside = len(seconds) - on_top
    bars = axes.barh(seconds.index, seconds, color=[COLOURS["blue"]] * inside + ["white"] * on_top,
                     edgecolor=COLOURS["blue"], hatch=[""] * inside + ["//"] * on_top)  # fmt: skip
    axes.bar_label(bars, [f"{share:.1%}" for share in shares], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("seconds; percent of training (hatched: on top of it)")
    return figure
