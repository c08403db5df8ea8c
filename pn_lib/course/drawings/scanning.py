"""The selective scan drawn: the state and its gates, the parallel scan as a tree, chunks whose states return."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from pn_lib.course.drawings.boxes import PALE, arrow, cell, note, number_cells, numbers_of, shade, sheet, spell
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

WIDE, PIPE, STEP, ROW = 1.5, 1.9, 5.5, 1.9  # units: a number, a pipe, a token of the scan, a number of its state
PAIR = 2.9  # units from one token of the tree to the next


def draw_state(words: Sequence[str], x: ArrayLike, dt: ArrayLike, A: ArrayLike, B: ArrayLike, C: ArrayLike) -> Figure:
    """One channel's state through T tokens (Gu & Dao, 2023, equation 2a), a pipe as thick as the share that is kept.

    ``x``, ``dt``: (T,); ``A``: (N,); ``B``, ``C``: (T, N).

    Raises:
        InputError: another shape, or more numbers in the state than the sheet has room for.
    """
    T, left = len(words), 3.3
    x, dt, A = numbers_of("x", x, T), numbers_of("dt", dt, T), numbers_of("A", A, None)
    B, C = numbers_of("B", B, T, len(A)), numbers_of("C", C, T, len(A))
    if len(A) * WIDE > STEP:
        raise InputError(f"a state of {len(A)} numbers is too large to draw: give at most {int(STEP / WIDE)}")
    kept, written = np.exp(dt[:, None] * A), (dt * x)[:, None] * B  # (T, N) each
    h = np.zeros((T + 1, len(A)))
    for t in range(T):
        h[t + 1] = kept[t] * h[t] + written[t]
    alt = (
        "Tokens from left to right. Pipes, as thick as the share kept, carry each number of the state to the next "
        "token, where step size times B times input is added. C reads the state; the output is below."
    )
    top, bottom = 6.4, 6.4 + ROW * len(A)
    figure, axes = sheet(left + WIDE + STEP * T + 0.9, bottom + 3.4, alt)
    labels = {
        top - 0.4: "state h",
        1.7: "input x",
        2.9: "step size Δ",
        4.3: "B writes",
        bottom + 1.1: "C reads",
        bottom + 2.6: "output y",
    }
    for y, label in labels.items():
        note(axes, left - 0.3, y, label, "right")
    for n, rate in enumerate(A):
        note(axes, left - 0.3, top + 0.5 + ROW * n, f"A = {spell(rate)}", "right")
        cell(axes, left, top + ROW * n, spell(0.0), WIDE)
    for t, word in enumerate(words):
        x0 = left + WIDE + STEP * t
        _choose(axes, x0 + PIPE, word, x[t], dt[t], B[t], abs(B).max(), max(dt))
        _carry(axes, x0, top, kept[t], written[t], h[t + 1], abs(h).max())
        _read(axes, x0 + STEP, bottom, C[t], h[t + 1], abs(C).max())
    return figure


def _choose(
    axes: Axes, x0: float, word: str, x: float, dt: float, B: NDArray[np.float64], largest: float, longest: float
) -> None:
    """What a token decides, above the state: its input, its step size and where it writes."""
    note(axes, x0 + WIDE / 2, 0.6, word, bold=True)
    note(axes, x0 + WIDE / 2, 1.7, spell(x))
    axes.barh(2.9, 1.7 * dt / longest, 0.7, x0 - 0.4, color=COLOURS["blue"])
    note(axes, x0 - 0.2 + 1.7 * dt / longest, 2.9, f"{dt:.2f}", "left")
    number_cells(axes, x0 + (1 - len(B)) * WIDE / 2, 3.8, B, largest, WIDE)
    arrow(axes, (x0 + WIDE / 2, 4.9), (x0 + WIDE / 2, 6.3))
    note(axes, x0 + WIDE / 2 + 0.3, 5.5, "Δ B x", "left")


def _carry(
    axes: Axes,
    x0: float,
    top: float,
    kept: NDArray[np.float64],
    written: NDArray[np.float64],
    h: NDArray[np.float64],
    largest: float,
) -> None:
    """One token's change of the state: pipes that keep, what is written to each number, and the new state."""
    for n in range(len(h)):
        y = top + ROW * n
        axes.add_patch(Rectangle((x0, y + 0.5 - 0.4 * kept[n]), PIPE, 0.8 * kept[n], facecolor=COLOURS["sky"]))
        note(axes, x0 + PIPE / 2, y - 0.3, f"× {kept[n]:.2f}")
        text = spell(written[n])
        cell(axes, x0 + PIPE, y, text if text.startswith("−") else f"+{text}", WIDE, shade(written[n], largest))
        note(axes, x0 + PIPE + WIDE + 0.3, y + 0.5, "=")
        cell(axes, x0 + STEP - WIDE, y, spell(h[n]), WIDE, shade(h[n], largest))


def _read(axes: Axes, right: float, bottom: float, C: NDArray[np.float64], h: NDArray[np.float64], largest: float):
    """What comes out of the state, below it, ending at ``right``: the weights that read it, and their sum with it."""
    middle = right - WIDE / 2
    arrow(axes, (middle, bottom - 0.7), (middle, bottom + 0.5))
    number_cells(axes, middle - len(C) * WIDE / 2, bottom + 0.6, C, largest, WIDE)
    note(axes, middle, bottom + 2.6, spell(C @ h), bold=True)


def draw_scan_tree(a: ArrayLike, b: ArrayLike) -> Figure:
    """The parallel scan of h = a h + b over T tokens (Hillis & Steele, 1986), round by round, as a network.

    A cell holds the tokens that its pair covers; bold arrows and filled cells are the tree that ends in the last one.

    Raises:
        InputError: a and b are not of the same length, or shorter than 2.
    """
    a = numbers_of("a", a, None)
    T, b = len(a), numbers_of("b", b, len(a))
    if T < 2:
        raise InputError("a scan of one token has no tree: give two or more")
    rounds = (T - 1).bit_length()
    alt = (
        f"Rows of cells, one for each of {T} tokens; in each round a cell absorbs the cell 1, 2, 4 ... places before "
        "it, and covers twice as many tokens. Hatched ones reach back to the first: they are the states."
    )
    left, pitch = 3.2, 2.6
    bottom = 4.4 + pitch * rounds
    figure, axes = sheet(left + PAIR * T, bottom + 2.9, alt)
    for label, y in (("share a", 0.9), ("input b", 1.9), ("one token", 3.9), ("state h", bottom + 1.7)):
        note(axes, left - 0.2, y, label, "right")
    in_tree, reach = {T - 1}, 2**rounds
    for step in range(rounds, -1, -1):  # upward, as the tree is known from its end
        y = 3.4 + pitch * step
        for t in range(T):
            first = max(0, t - 2**step + 1)
            text = f"{first + 1}–{t + 1}" if first < t else f"{t + 1}"
            fill = PALE["orange"] if t in in_tree else "white"
            cell(axes, left + PAIR * t + 0.3, y, text, PAIR - 0.6, fill, marked=first == 0)
        if step:
            reach //= 2
            note(axes, left - 0.2, y + 0.5, f"round {step}", "right")
            _absorb(axes, left, y, pitch, T, reach, in_tree)
            in_tree |= {t - reach for t in in_tree if t >= reach}
    for t, state in enumerate(_doubled(a, b)):
        for y, value in ((0.4, a[t]), (1.4, b[t]), (bottom + 1.2, state)):
            cell(axes, left + PAIR * t + 0.6, y, spell(value), PAIR - 1.2)
        arrow(axes, (left + PAIR * (t + 0.5), bottom + 0.1), (left + PAIR * (t + 0.5), bottom + 1.1), colour="grey")
    return figure


def _absorb(axes: Axes, left: float, y: float, pitch: float, T: int, reach: int, in_tree: set[int]) -> None:
    """The arrows into a round's cells: from the cell above, and from the one ``reach`` places before that."""
    for t in sorted(range(T), key=lambda t: t in in_tree):  # the tree lies on top
        for source in {t, max(t - reach, 0)} if t >= reach else {t}:
            start = (left + PAIR * (source + 0.5), y - pitch + 1.05)
            arrow(axes, start, (left + PAIR * (t + 0.5), y - 0.1), colour="black" if t in in_tree else "grey")


def _doubled(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = 1
    while reach < len(a):
        b = np.concatenate([b[:reach], a[reach:] * b[:-reach] + b[reach:]])
        a = np.concatenate([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return b


def draw_recomputation(T: int, Q: int) -> Figure:
    """Which states of T tokens are in memory after the forward pass in chunks of Q, and while each goes backward.

    Raises:
        InputError: T is not a multiple of Q.
    """
    if not 0 < Q <= T or T % Q:
        raise InputError(f"{T} tokens cannot be cut into whole chunks of {Q}: choose a divisor of {T}")
    chunks, left, width = T // Q, 5.0, 1.3
    alt = (
        f"Rows of cells for the states of {T} tokens in chunks of {Q}. After the forward pass only the state before "
        "each chunk is kept, hatched. Going back, from the last chunk, its states are computed again and used."
    )
    figure, axes = sheet(left + (T + 1) * width + 5.2, 2.6 + 2.3 * (chunks + 1), alt)
    right = left + (T + 1) * width + 0.5
    note(axes, left - 0.4, 0.7, "state after token", "right")
    note(axes, right, 0.7, "states in memory", "left")
    for t in range(T + 1):
        note(axes, left + (t + 0.5) * width, 0.7, str(t))
    for row in range(chunks + 1):
        y, last = 1.4 + 2.3 * row, chunks - max(row, 1)  # kept states of later chunks are no longer needed
        again = set(range(last * Q + 1, (last + 1) * Q + 1)) if row else set()
        note(axes, left - 0.4, y + 0.5, f"chunk {last + 1} back" if row else "forward", "right", bold=True)
        _memory(axes, left, y, width, T, {k * Q for k in range(last + 1)}, again)
        note(axes, right, y + 0.5, f"{last + 1} + {Q} = {last + 1 + Q}" if row else f"{chunks}, not {T}", "left")
        for chunk in [last] if row else range(chunks):
            begin, end = (left + (state + 0.5) * width for state in (chunk * Q, (chunk + 1) * Q))
            arrow(axes, (begin, y + 1.35), (end, y + 1.35))
            if row:
                arrow(axes, (end, y + 1.75), (begin, y + 1.75), colour="vermillion")
    note(axes, left, 1.8 + 2.3 * (chunks + 1), "→ computes states    ← carries the gradient", "left")
    return figure


def _memory(axes: Axes, x: float, y: float, width: float, T: int, kept: set[int], again: set[int]) -> None:
    """The states in memory: kept ones hatched, recomputed ones plain; of the others there is a dotted outline."""
    for t in range(T + 1):
        if t in kept or t in again:
            cell(axes, x + t * width, y, "", width, PALE["orange" if t in kept else "sky"], marked=t in kept)
        else:
            box = Rectangle((x + t * width, y), width, 1, fill=False, edgecolor=COLOURS["grey"], linestyle=":")
            axes.add_patch(box)
