"""The README's figure: what a story model's bytes buy, from a file of a hundred kilobytes to a general model."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.run.plotting import COLOURS, MODEL_COLOURS, draw, use_style
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published"
PICTURE = REPOSITORY / "figures" / "published" / "reference" / "frontier.svg"
OURS = ("reference/", "overnight-tinystories/")  # how our models are named
TICKS = {10**5: "100 kB", 10**6: "1 MB", 10**7: "10 MB", 10**8: "100 MB"}
LOSSES = (0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6)
SIDES = ((1, 0), (1, 1), (1, -1), (-1, 0), (-1, -1), (-1, 1), (0, 1), (0, -1))  # right and up of a point


def frontier_words() -> str:
    """The picture in words, for whoever cannot see it."""
    points = "; ".join(f"{_name(one)}: {_loss(one):.2f}" for one in _models())
    return f"Bits per byte of held-out stories against the bytes of the model, tokenizer included: {points}"


def frontier_markdown() -> str:
    """The picture with its words, as the README shows it."""
    return f"![{frontier_words()}]({PICTURE.relative_to(REPOSITORY).as_posix()})"


def frontier_picture() -> str:
    """The picture as SVG, the same each time."""
    use_style()
    figure = draw_frontier(_models(), read_json(PUBLISHED / "overnight-tinystories" / "data.json")["compressors"])
    return draw(figure, format="svg", metadata={"Date": None}).decode()


def draw_frontier(models: list[dict], compressors: dict[str, float]) -> Figure:
    """Bits per byte, with 95 % intervals, against the bytes of each model; names beside the points, a line through ours
    that no smaller one of ours beats, and another for the best of the compressors.

    Args:
        models: name, file_bytes, bits_per_byte (value, low, high) of each, from small files to large.
        compressors: bits per byte of each.
    """
    figure, axes = plt.subplots(figsize=(5.6, 4.0))
    best = min(compressors, key=compressors.__getitem__)
    axes.axhline(compressors[best], color=COLOURS["black"], linewidth=1, linestyle=":")
    axes.text(0.99, compressors[best], f"{best}: compression, no model", ha="right", va="bottom",
              transform=axes.get_yaxis_transform())  # fmt: skip
    edge: list[dict] = []
    for model in filter(_ours, models):
        edge += [model] if not edge or _loss(model) < _loss(edge[-1]) else []
    axes.plot([one["file_bytes"] for one in edge], list(map(_loss, edge)),
              linewidth=1.2, color=COLOURS["blue"], alpha=0.5)  # fmt: skip
    for model in models:
        spread = [[_loss(model) - model["bits_per_byte"]["low"]], [model["bits_per_byte"]["high"] - _loss(model)]]
        axes.errorbar(model["file_bytes"], _loss(model), spread, fmt="o" if _ours(model) else "D", color=_color(model),
                      capsize=3)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="model on disk, tokenizer included",
             ylabel="bits per byte (lower is better)")  # fmt: skip
    axes.margins(0.14, 0.14)
    for axis, ticks in ((axes.xaxis, TICKS), (axes.yaxis, LOSSES)):
        axis.set_major_locator(FixedLocator(list(ticks)))
        axis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: TICKS[round(size)]))
    axes.yaxis.set_major_formatter("{x:g}")
    _name_points(axes, models)
    return figure


def _name_points(axes: Axes, models: list[dict]) -> None:
    """Write each name, the longest first, at the first side of its point where it covers no point and no other name."""
    axes.figure.canvas.draw()  # lays it out
    models = sorted(models, key=lambda model: -len(_name(model)))
    points = axes.transData.transform([(one["file_bytes"], _loss(one)) for one in models])
    taken = [text.get_window_extent() for text in axes.texts]
    for model, (x, y) in zip(models, points, strict=True):
        for right, up in SIDES:
            text = axes.annotate(
                _name(model), (model["file_bytes"], _loss(model)), (9 * right, 9 * up), textcoords="offset points",
                ha=("right", "center", "left")[right + 1], va=("top", "center", "bottom")[up + 1], color=_color(model),
                fontweight="bold" if _ours(model) else "normal")  # fmt: skip
            box = text.get_window_extent().padded(2)
            others = [point for point in points if tuple(point) != (x, y)]
            inside = axes.bbox.contains(*box.min) and axes.bbox.contains(*box.max)
            if inside and not box.count_contains(others) and not box.count_overlaps(taken):
                break
            text.remove()
        else:
            raise InputError(f"the figure of the frontier has no room for the name {_name(model)!r}; draw it larger")
        taken.append(box)


def _models() -> list[dict]:
    """From small files to large, the models that were compared on the same stories; before any comparison was made, our
    small files alone."""
    folder = PUBLISHED / "reference"
    compared = folder / "general.json"
    if compared.exists():
        found = read_json(compared)["models"]
    else:
        found = [{**one, "name": f"reference/{one['name']}"} for one in read_json(folder / "frontier.json")["models"]]
    return sorted(found, key=lambda model: model["file_bytes"])


def _ours(model: dict) -> bool:
    return model["name"].startswith(OURS)


def _loss(model: dict) -> float:
    return model["bits_per_byte"]["value"]


def _color(model: dict) -> str:
    other = MODEL_COLOURS["ngram"] if "gram" in model["name"] else COLOURS["vermillion"]
    return COLOURS["blue"] if _ours(model) else other


def _size(model: dict) -> str:
    kilobytes = round(model["file_bytes"] / 1000)
    return f"{kilobytes} kB" if kilobytes < 1000 else f"{kilobytes / 1000:.{1 if kilobytes < 10_000 else 0}f} MB"


def _name(model: dict) -> str:
    """What the point is called; ours by their size, as all are Transformers that read the same stories."""
    return f"{'ours' if _ours(model) else model['name']}, {_size(model)}"
