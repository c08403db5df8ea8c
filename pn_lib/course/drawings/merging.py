"""Byte-pair encoding drawn: one round, all rounds, round by round on a text, and the stream that tokens end up in."""

from collections.abc import Mapping, Sequence

import ipywidgets as widgets
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pn_lib.course.drawings.boxes import PALE, TEXT, arrow, cell, note, sheet
from pn_lib.course.drawings.sliding import draw_live
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

Word = Sequence[bytes]
WIDE, GAP = 28.4, 0.35  # of a sheet, and between two words
SIGNS = {" ": "_", "\n": "⏎", "<|endoftext|>": "■"}


def spell_token(token: bytes) -> str:
    """A token as text: a space is _, the end of a line ⏎, the separator ■."""
    text = token.decode("utf-8", "replace")
    return SIGNS.get(text) or text.replace(" ", "_").replace("\n", "⏎")


def _width(token: bytes) -> float:
    return 0.45 + 0.38 * max(1, len(spell_token(token)))


def _row(axes: Axes, x: float, y: float, tokens: Word, marked: Sequence[int] = ()) -> float:
    """The tokens as cells as wide as their text, from (x, y) on; returns the right end."""
    for place, token in enumerate(tokens):
        text = spell_token(token)
        width = _width(token)
        cell(axes, x, y, text, width, PALE["sky"] if place in marked else "white", marked=place in marked)
        x += width
    return x


def _parts_of(word: Word, pair: tuple[bytes, bytes]) -> list[int]:
    """The places in a word that a merge of the pair uses, from left to right."""
    places, place = [], 0
    while place + 1 < len(word):
        if (word[place], word[place + 1]) == pair:
            places += [place, place + 1]
            place += 1
        place += 1
    return places


def draw_merge(
    words: Mapping[Word, int],
    pairs: Mapping[tuple[bytes, bytes], int],
    pair: tuple[bytes, bytes],
    merged: Sequence[Word],
    shown: int = 6,
) -> Figure:
    """One round of byte-pair encoding (Sennrich et al., 2016): count all pairs, choose one, merge it in every word.

    ``words``: each word as its tokens, with its count; ``merged``: the same words after the merge of ``pair``.

    Raises:
        InputError: there are not as many words after the merge as before.
    """
    if len(words) != len(merged):
        raise InputError(f"{len(words)} words went into the merge and {len(merged)} came out: give each word once")
    height = 1.25 * max(len(words), shown) + 1.8
    alt = (
        "On the left words as cells, one for each token, with the chosen pair hatched; in the middle the "
        "counts of the commonest pairs as bars, the chosen one hatched; on the right the same words after the"
        " merge, the new token hatched."
    )
    figure, axes = sheet(27.6, height, alt)
    note(axes, 2.2, 0.6, "words and their counts", "left", bold=True)
    note(axes, 11.2, 0.6, "1. count, 2. choose", "left", bold=True)
    note(axes, 21.2, 0.6, "3. merge", "left", bold=True)
    for row, ((word, count), after) in enumerate(zip(words.items(), merged, strict=True)):
        y = 1.4 + 1.25 * row
        note(axes, 1.8, y + 0.5, f"{count} ×", "right")
        _row(axes, 2.2, y, word, _parts_of(word, pair))
        _row(axes, 21.2, y, after, [place for place, token in enumerate(after) if token == b"".join(pair)])
    _counts(axes, pairs, pair, shown)
    arrow(axes, (8.6, height / 2), (10.2, height / 2))
    arrow(axes, (18.9, height / 2), (20.5, height / 2))
    return figure


def _counts(axes: Axes, pairs: Mapping[tuple[bytes, bytes], int], chosen: tuple[bytes, bytes], shown: int) -> None:
    commonest = sorted(pairs, key=lambda each: (-pairs[each], each != chosen))[:shown]
    for row, each in enumerate(commonest):
        y, length = 1.4 + 1.25 * row, 4.0 * pairs[each] / pairs[commonest[0]]
        note(axes, 12.9, y + 0.5, "·".join(map(spell_token, each)), "right")
        axes.barh(y + 0.5, length, 0.8, 13.2, color=PALE["sky"] if each == chosen else "white",
                  edgecolor=COLOURS["grey"], hatch="////" if each == chosen else None)  # fmt: skip
        note(axes, 13.4 + length, y + 0.5, f"{pairs[each]}", "left", bold=each == chosen)


def _check_rounds(rounds: Sequence, merges: Sequence) -> None:
    if len(rounds) != len(merges) + 1:
        raise InputError(f"{len(merges)} merges make {len(merges) + 1} rows, and there are {len(rounds)} rounds")


def draw_merges(rounds: Sequence[Sequence[Word]], merges: Sequence[tuple[bytes, bytes]]) -> Figure:
    """The words before the first merge and after each: a row for each round, its new token hatched.

    Raises:
        InputError: there is not one round more than merges.
    """
    _check_rounds(rounds, merges)
    alt = (
        "Words as cells, one for each token, in rows: bytes at the top, then one merge a row, with the new "
        "token hatched. The cells become fewer."
    )
    figure, axes = sheet(WIDE, 1.25 * len(rounds) + 0.4, alt)
    for row, words in enumerate(rounds):
        x, y, new = 3.4, 0.2 + 1.25 * row, b"".join(merges[row - 1]) if row else None
        label = f"{row}. {'·'.join(map(spell_token, merges[row - 1]))}" if row else "bytes"
        note(axes, 3.0, y + 0.5, label, "right")
        for word in words:
            x = GAP + _row(axes, x, y, word, [place for place, token in enumerate(word) if token == new])
        axes.set_xlim(0, max(axes.get_xlim()[1], x))
    return figure


def draw_round(rounds: Sequence[Sequence[Word]], merges: Sequence[tuple[bytes, bytes]], n: int, shown: int) -> Figure:
    """The first ``shown`` words of a text after ``n`` merges, and how the tokens per word of all of it fall.

    ``rounds`` as for ``draw_merges``. The sheet has the height that the bytes need, so that no round moves what is
    below.

    Raises:
        InputError: there is not one round more than merges.
    """
    _check_rounds(rounds, merges)
    alt = (
        "A text as cells, one for each token, the newest token hatched; below it a curve of tokens per word against "
        "the number of merges, with a dot at this round."
    )
    lines = _lines(rounds[0][:shown])
    height = 1.6 + 1.3 * len(lines)
    figure, axes = sheet(WIDE, height + 8.4, alt)
    new = b"".join(merges[n - 1]) if n else None
    title = "bytes, no merge yet"
    if n:
        times = sum(map(len, rounds[n - 1])) - sum(map(len, rounds[n]))  # each merge makes one token fewer
        title = f"merge {n}: {'·'.join(map(spell_token, merges[n - 1]))}, {times} × in the whole text"
    note(axes, 0.2, 0.7, title, "left", bold=True)
    for row, line in enumerate(lines):
        x = 0.2
        for word in (rounds[n][place] for place in line):
            x = GAP + _row(axes, x, 1.4 + 1.3 * row, word, [i for i, token in enumerate(word) if token == new])
    below = figure.add_axes((0.09, 1.9 / (height + 8.4), 0.88, 5.6 / (height + 8.4)))
    fertility = [sum(map(len, words)) / len(words) for words in rounds]
    below.plot(fertility, "--", color=COLOURS["grey"], linewidth=1.2)
    below.plot(fertility[: n + 1], color=COLOURS["blue"])
    below.plot(n, fertility[n], "o", color=COLOURS["blue"])
    below.annotate(f"{fertility[n]:.2f}", (n, fertility[n]), (4, 6), textcoords="offset points", fontsize=TEXT)
    below.set(xlabel="merges", ylabel="tokens per word", ylim=(0, 1.15 * fertility[0]))
    return figure


def draw_stepper(
    rounds: Sequence[Sequence[Word]], merges: Sequence[tuple[bytes, bytes]], n: int, shown: int = 24
) -> None:
    """Show ``draw_round`` of ``n``, with a button for the next merge and a slider over all of them."""
    at = widgets.IntSlider(n, 0, len(merges), description="Merges", continuous_update=False)
    button = widgets.Button(description="Next merge")
    button.on_click(lambda _: setattr(at, "value", at.value + 1))
    draw_live(lambda now: draw_round(rounds, merges, now, shown), [at], [button])


def _lines(words: Sequence[Word]) -> list[list[int]]:
    """The places of the words on each line of a sheet on which their tokens fit side by side."""
    lines, x = [[]], 0.2
    for place, word in enumerate(words):
        width = sum(_width(token) for token in word)
        if lines[-1] and x + width > WIDE:
            lines.append([])
            x = 0.2
        lines[-1].append(place)
        x += width + GAP
    return lines


def draw_token_stream(tokens: Word, ids: Sequence[int], offsets: Sequence[int]) -> Figure:
    """Tokens in a row with the id of each below; an arrow to where each story begins, at its separator.

    Raises:
        InputError: there are not as many ids as tokens.
    """
    if len(tokens) != len(ids):
        raise InputError(f"there are {len(tokens)} tokens and {len(ids)} ids: give one id for each token")
    alt = (
        "Stories as one row of tokens, with a hatched separator before, between and after them, and the id "
        "below each. Arrows show where each story begins."
    )
    figure, axes = sheet(WIDE, 3.8, alt)
    edges = [0.2]
    for token, number in zip(tokens, ids, strict=True):
        width = max(1.5, 0.45 + 0.38 * len(spell_token(token)))
        border = spell_token(token) == "■"
        cell(axes, edges[-1], 1.6, spell_token(token), width, PALE["sky"] if border else "white", marked=border)
        axes.text(edges[-1] + width / 2, 3.1, str(number), ha="center", va="center", fontsize=TEXT - 1)
        edges.append(edges[-1] + width)
    for story, offset in enumerate(offsets):
        arrow(axes, (edges[offset] + 0.75, 0.9), (edges[offset] + 0.75, 1.5))
        note(axes, edges[offset] + 0.2, 0.5, f"story {story}, offset {offset}", "left")
    axes.set_xlim(0, edges[-1] + 0.2)
    return figure
