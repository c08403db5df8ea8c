"""Stories drawn: held out by their hashes, and near copies found by shared runs of words."""

import re
from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure

from pn_lib.course.drawings.boxes import HATCH, PALE, cell, note, sheet
from pn_lib.data.cleaning import story_key
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

SHEET = 27.6  # units: as wide as a notebook's page


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
