"""The figures of notebook 05: marks with intervals, falling lines and grids, in one look for each model throughout.

Each function draws what a cell of the notebook has computed; the cell saves the figure and says in words what it shows.
``looks`` are those of ``model_looks``: by name, what matplotlib calls label, color, marker and linestyle.
"""

from collections.abc import Collection, Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pn_lib.evaluation.intervals import Interval
from pn_lib.evaluation.measures import MEASURES
from pn_lib.run.plotting import COLOURS, MODEL_COLOURS

Looks = Mapping[str, Mapping[str, Any]]
MARKERS = {"ngram": "s", "transformer": "o", "human": "*"}
LINES = {"ngram": ":", "transformer": "-", "human": "--"}
FILTERS = {
    "top-k": ("s", "vermillion"),
    "top-p": ("^", "vermillion"),
    "min-p": ("D", "vermillion"),
    "real": ("*", "green"),
}
CHANCE = {"color": COLOURS["black"], "linestyle": ":", "linewidth": 1}


def model_looks(sizes: Mapping[str, int], published: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """A look for each model, by its number of parameters, and one for real stories, called human."""
    spare = iter("DvP<X>dph" * 2)
    looks = {}
    for name in [*sizes, "human"]:
        another = COLOURS["purple" if name in published else "sky"]
        looks[name] = {
            "label": name if name in published else _label(name, sizes.get(name, 0)),
            "color": MODEL_COLOURS.get(name, another),
            "marker": MARKERS.get(name) or next(spare),
            "linestyle": LINES.get(name, (0, (4, 1, 1, 1))),
        }
    return looks


def _label(name: str, parameters: int) -> str:
    if name in ("ngram", "human"):
        return {"ngram": "4-gram", "human": "real stories"}[name]
    amount = f"{parameters / 1e6:.2g} M" if parameters >= 1e5 else f"{parameters / 1e3:.0f} k"
    return f"Transformer {amount}"


def paired_stories(each: Mapping[str, Sequence[float]], main: str, others: Sequence[str], looks: Looks) -> Figure:
    """A mark for each story: its bits per byte under the main model, and under each of the others."""
    figure, axes = plt.subplots(figsize=(5.6, 3.4))
    for name in others:
        axes.plot(each[main], each[name], **{**looks[name], "linestyle": ""}, markersize=3)
    axes.axline((min(each[main]),) * 2, slope=1, color=COLOURS["black"], linestyle=":", label="equal")
    axes.set(xlabel=f"{looks[main]['label']} (bits per byte)", ylabel="the other model\n(bits per byte)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _rows(axes: Axes, values: Mapping[str, Any], looks: Looks) -> None:
    """A row for each model, from the top: its estimate (value, low, high), if it has one."""
    for row, (name, one) in enumerate(values.items()):
        if one is not None:
            axes.errorbar(
                one.value,
                row,
                xerr=[[one.value - one.low], [one.high - one.value]],
                fmt=looks[name]["marker"],
                color=looks[name]["color"],
                markersize=9 if name == "human" else 5,
                capsize=3,
                clip_on=False,
            )
    labels = [looks[name]["label"] for name in values]
    axes.set(yticks=range(len(values)), yticklabels=labels, ylim=(len(values) - 0.5, -0.5))
    axes.label_outer()


def measures(means: Mapping[str, Mapping[str, Interval | None]], titles: Mapping[str, str], looks: Looks) -> Figure:
    """A panel for each measure of ``titles``, four in a row, a dashed line going up from the real endings."""
    shape = (-(-len(titles) // 4), 4)
    figure, panels = plt.subplots(*shape, figsize=(7.6, shape[0] * (0.28 * len(means) + 0.8)), sharey=True)
    for axes, (key, title) in zip(panels.flat, titles.items(), strict=False):
        _rows(axes, {name: row[key] for name, row in means.items()}, looks)
        if real := means["human"][key]:
            axes.axvline(real.value, color=looks["human"]["color"], linestyle="--", linewidth=1, zorder=0)
        axes.set_title(title, fontsize=9)
        axes.set_xlim(left=0)
        axes.tick_params(labelbottom=True)
    return figure


def copies(longest: Mapping[str, Sequence[float]], looks: Looks) -> Figure:
    """Falling lines: of each model's endings, the share whose longest copied run has n words or more."""
    figure, axes = plt.subplots(figsize=(6.5, 2.8))
    for name, lengths in longest.items():
        runs = np.sort(lengths)
        shares = [1, *np.linspace(1, 0, len(runs), endpoint=False), 0]
        axes.step([0, *runs, runs[-1]], shares, where="pre", **{**looks[name], "marker": ""})
    axes.set(xlabel="n: longest run found in a training story (words)", ylabel="endings with\nn or more (share)",
             ylim=(0, 1.03), xlim=(0, None))  # fmt: skip
    axes.legend()
    return figure


def known_groups(better: pd.DataFrame, models: int) -> Figure:
    """A grid of intervals, measures by groups: shaded by the value, a dot where it is not told from a half.

    The last ``models`` columns are models' endings, set apart by a line from those that were damaged.
    """
    values = better.map(lambda one: np.nan if one is None else one.value)
    figure, axes = plt.subplots(figsize=(7.6, 5.2), layout="constrained")
    shade = axes.imshow(values, cmap="PuOr", vmin=0, vmax=1, aspect="auto")
    for (row, column), one in np.ndenumerate(better.to_numpy()):
        apart = one is not None and not one.low <= 0.5 <= one.high
        strong = apart and abs(one.value - 0.5) > 0.3
        text = f"{one.value:.2f}" if apart else "·"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if strong else "black")
    axes.axvline(better.shape[1] - models - 0.5, color=COLOURS["black"], linewidth=1)
    axes.set_xticks(range(better.shape[1]), better.columns, rotation=40, ha="right", fontsize=8)
    meanings = [fill(MEASURES[measure].split(" (")[0], 36) for measure in better.index]
    axes.set_yticks(range(len(better)), meanings, fontsize=7)
    axes.grid(visible=False)
    figure.colorbar(shade, label="how often the real ending is better")
    figure.get_layout_engine().set(w_pad=0.12)  # long labels come out wider in PNG than in SVG, where they are laid out
    return figure


def sampling(settings: Mapping[str, Mapping[str, Any]], quality: str) -> Figure:
    """Quality (``kept``, an interval) against diversity (``distinct_2``): a line through the temperatures (τ), single
    marks for filters, and a star for real stories."""
    figure, axes = plt.subplots(figsize=(6.8, 3.4))
    heats = [row for name, row in settings.items() if name.startswith("τ")]
    axes.plot([row["distinct_2"] for row in heats], [row["kept"].value for row in heats], color=COLOURS["blue"],
              label="temperature alone")  # fmt: skip
    for name, row in settings.items():
        x, (y, low, high), heat = row["distinct_2"], row["kept"], name.startswith("τ")
        mark, colour = FILTERS.get(name.split()[0], ("o", "blue"))
        axes.errorbar(x, y, yerr=[[y - low], [high - y]], fmt=mark, color=COLOURS[colour], capsize=3, markersize=8,
                      label=None if heat else name)  # fmt: skip
        if heat:
            axes.annotate(name, (x, low), xytext=(0, -4), textcoords="offset points", fontsize=9, ha="center", va="top")
    axes.margins(x=0.1)
    axes.set(
        xlabel="diversity (distinct-2)", ylabel=f"quality ({quality.replace('_', ' ')}, share)", ylim=(-0.03, 1.05)
    )
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def probes(right: Mapping[str, pd.DataFrame], looks: Looks) -> Figure:
    """A panel for each kind of probe: each model's share of right answers, and a dotted line for guessing."""
    kinds = next(iter(right.values()))
    size = (7.2, 0.15 * len(right) * len(kinds) + 1)
    figure, panels = plt.subplots(-(-len(kinds) // 2), 2, squeeze=False, figsize=size, sharex=True, sharey=True)
    for axes, (kind, row) in zip(panels.flat, kinds.iterrows(), strict=False):
        _rows(axes, {name: table.loc[kind] for name, table in right.items()}, looks)
        axes.axvline(row["chance"], **CHANCE)
        axes.set_title(kind, fontsize=10)
    panels.flat[0].set_xlim(0, 1.02)
    for axes in panels[-1]:
        axes.set_xlabel("right (share)")
    return figure


def departures(positions: Mapping[str, Sequence[float]], stories: int, broken: pd.DataFrame, looks: Looks) -> Figure:
    """Left, the share of so many stories that get so far without a fault; right, which fact the fault breaks."""
    figure, (far, facts) = plt.subplots(1, 2, figsize=(7.5, 2.9))
    for (name, places), shift, hatch in zip(positions.items(), (0.27, 0, -0.27), ("", "///", "..."), strict=False):
        reached = np.sort(places)
        shares = 1 - np.arange(len(reached) + 1) / stories
        far.step([0, *reached], shares, where="post", **{**looks[name], "marker": ""})
        facts.barh(np.arange(len(broken)) + shift, broken[name], height=0.26, hatch=hatch, edgecolor="white",
                   color=looks[name]["color"], label=looks[name]["label"])  # fmt: skip
    far.set(xlabel="characters before the first fault", ylabel="share of stories", ylim=(0, 1.03))
    facts.set(xlabel="stories", yticks=range(len(broken)), yticklabels=broken.index, ylabel="fact broken first")
    facts.grid(axis="y", visible=False)
    for axes in (far, facts):
        axes.legend(fontsize=8)
    return figure


def reliability(bins: Mapping[str, pd.DataFrame], looks: Looks) -> Figure:
    """A panel for each model: what comes true of each bin's probability q, as a multiple of it; 1 is calibrated."""
    bins = {name: rows.query("p > 1e-5") for name, rows in bins.items()}  # a logarithmic axis has no place for 0
    ratios = pd.concat(bins.values()).eval("p / q")
    figure, panels = plt.subplots(1, len(bins), sharex=True, sharey=True, squeeze=False, figsize=(7.0, 2.7))
    panels[0, 0].set(xscale="log", yscale="log", ylabel="true p / model's q\n(1: calibrated)")
    panels[0, 0].yaxis.set_major_formatter("{x:g}")
    for axes, (name, each) in zip(panels[0], bins.items(), strict=True):
        ratio, low, high = (each[end] / each["q"] for end in ("p", "low", "high"))
        axes.axhline(1, **CHANCE)
        axes.errorbar(each["q"], ratio, yerr=[ratio - low, high - ratio], **looks[name], capsize=2)
        axes.set(title=looks[name]["label"], xlabel="model's probability, q")
    panels[0, 0].set_ylim(min(0.3, ratios.min() / 3), max(3, 3 * ratios.max()))
    return figure
