"""Stories drawn: held out by their hashes, near copies found by shared runs of words, resampled by the bootstrap."""

import re
from collections.abc import Collection, Mapping, Sequence
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from pn_lib.course.drawings.boxes import HATCH, PALE, cell, note, numbers_of, sheet
from pn_lib.data.cleaning import story_key
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

SHEET = 27.6  # units: as wide as a notebook's page
WIDE = 2.0  # units: a story with its value


def draw_split(texts: Sequence[str], held_out: Collection[str], seed: int) -> Figure:
    """The stories in the order of their file, each with a line to its hash, on which `split` decides.

    Raises:
        InputError: none of the stories is held out, or one is that is not among them.
    """
    hashes = {text: int.from_bytes(story_key(text, str(seed)), "big") / 2**128 for text in texts}  # shares of the most
    if not held_out or set(held_out) - set(texts):
        raise InputError(f"{len(held_out)} stories are held out: give at least one, and only such as are in the file")
    alt = (
        f"{len(texts)} stories in the order of a file, and a line from each to its hash between 0 and 1. The "
        f"{len(held_out)} with the smallest hashes, hatched, are held out."
    )
    figure, axes = sheet(SHEET, 7.6, alt)
    left, width = 0.8, 26.0
    wide, border = width / len(texts), max(hashes[text] for text in held_out)
    note(axes, left, 0.6, "stories in the order of the file", "left", bold=True)
    axes.barh(6.0, width * border + 0.3, 1.0, left, color=PALE["orange"], hatch=HATCH, edgecolor=COLOURS["grey"])
    axes.plot([left, left + width], [6.0, 6.0], color=COLOURS["black"], linewidth=1)
    for number, text in enumerate(texts):
        chosen, x = text in held_out, left + number * wide
        colour, marker = (COLOURS["vermillion"], "s") if chosen else (COLOURS["grey"], "o")
        cell(axes, x, 1.1, str(number), wide, PALE["orange"] if chosen else "white", marked=chosen)
        ends = [x + wide / 2, left + width * hashes[text]]
        axes.plot(ends, [2.2, 6.0], color=colour, linewidth=1.8 if chosen else 0.7)
        axes.plot(ends[1], 6.0, marker, color=colour, markersize=5)
    note(axes, left, 7.1, "held out", "left", bold=True)
    note(axes, left + width, 7.1, "hash, from 0 on the left to 1 on the right", "right")
    return figure


def draw_runs(original: str, copies: Mapping[str, str], n: int) -> Figure:
    """Each copy word by word; words are shaded where they lie in a run of ``n`` words that the original has, too.

    Raises:
        InputError: a text is shorter than a run.
    """
    texts = {name: re.findall(r"\w+", text.lower()) for name, text in {"the original": original, **copies}.items()}
    if short := next((name for name, words in texts.items() if len(words) < n), None):
        raise InputError(f"{short} has {len(texts[short])} words, fewer than a run of {n}: choose shorter runs")
    known = set(_runs(texts.pop("the original"), n))
    lines = {name: _lines(words) for name, words in texts.items()}
    height = sum(1.2 * len(rows) + 1.9 for rows in lines.values())
    alt = (
        f"Texts as cells, one for each word, shaded where a run of {n} words is in the original, too. Above "
        "each is how many of its runs are."
    )
    figure, axes = sheet(SHEET, height, alt)
    y = 0.7
    for name, words in texts.items():
        runs = _runs(words, n)
        shaded = {i + k for i, run in enumerate(runs) if run in known for k in range(n)}
        shared = len(set(runs) & known)
        note(axes, 0.3, y, f"{name}: {shared} of its {len(set(runs))} runs of {n} words are shared", "left", bold=True)
        for row, line in enumerate(lines[name]):
            for place, x, width in line:
                fill = PALE["blue"] if place in shaded else "white"
                cell(axes, x, y + 0.6 + 1.2 * row, words[place], width, fill)
        y += 1.2 * len(lines[name]) + 1.9
    return figure


def _runs(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def _lines(words: Sequence[str]) -> list[list[tuple[int, float, float]]]:
    """For each line of a text, its words as (place, x, width): as many as the sheet is wide."""
    lines, x = [[]], 0.3
    for place, word in enumerate(words):
        width = 0.6 + 0.36 * len(word)
        if x + width > SHEET - 0.3:
            lines.append([])
            x = 0.3
        lines[-1].append((place, x, width))
        x += width
    return lines


def draw_bootstrap(values: ArrayLike, draws: ArrayLike, interval: tuple[float, float]) -> Figure:
    """The stories' values, some draws of as many with replacement, and their means on a scale with the interval.

    Efron, 1979. ``values``: (n,); ``draws``: (rows, n), the numbers of the stories drawn; ``interval``: the ends of
    the middle 95 % of the means of many more draws.

    Raises:
        InputError: a draw has another number of stories, or one that there is not, or there are more than 26.
    """
    x = numbers_of("the values", values, None)
    drawn = numbers_of("the draws", draws, None, len(x)).astype(int)
    if drawn.min() < 0 or drawn.max() >= len(x) or len(x) > len(ascii_lowercase):
        raise InputError(
            f"the draws reach from story {drawn.min()} to {drawn.max()} of {len(x)}: draw from at most 26 stories"
        )
    alt = (
        f"At the top {len(x)} stories with their values; below, draws of {len(x)} stories with replacement, "
        "stories drawn again hatched. On the right the mean of each row as a dot, and at the bottom the "
        "interval."
    )
    figure, axes = sheet(SHEET, 1.3 * len(drawn) + 6.0, alt)
    scale = _Scale(3.4 + len(x) * WIDE + 1.2, SHEET - 0.7, x.min(), x.max())
    note(axes, 3.4, 0.6, "story and its value", "left", bold=True)
    note(axes, scale.left, 0.6, "mean", "left", bold=True)
    for row, chosen in enumerate([np.arange(len(x)), *drawn]):
        y = 1.2 + 1.3 * row + (0.5 if row else 0)
        note(axes, 3.0, y + 0.5, f"draw {row}" if row else "stories", "right")
        for place, story in enumerate(chosen):
            again, text = story in chosen[:place], f"{ascii_lowercase[story]} {x[story]:.2f}"
            cell(axes, 3.4 + place * WIDE, y, text, WIDE, PALE["orange"] if again else "white", marked=again)
        axes.plot([scale.left, scale.right], [y + 0.5] * 2, color=COLOURS["grey"], linewidth=0.6, zorder=0)
        mean = float(x[chosen].mean())
        axes.plot(scale.at(mean), y + 0.5, "o" if row else "D", color=COLOURS["blue" if row else "black"], markersize=6)
        note(axes, scale.at(mean) + 0.35, y + 0.15, f"{mean:.2f}", "left")
    y, ends = 3.8 + 1.3 * len(drawn), [scale.at(end) for end in interval]
    axes.plot(ends, [y, y], "|-", color=COLOURS["vermillion"], linewidth=2.5, markersize=12)
    note(axes, sum(ends) / 2, y + 0.9, f"[{interval[0]:.2f}, {interval[1]:.2f}]")
    note(axes, 3.4 + len(x) * WIDE, y, "the middle 95 % of many such means", "right")
    return figure


class _Scale(NamedTuple):
    """Where numbers from low to high lie between two edges of the sheet."""

    left: float
    right: float
    low: float
    high: float

    def at(self, value: float) -> float:
        return self.left + (self.right - self.left) * (value - self.low) / (self.high - self.low)
