"""What a processor does with a scan: channels in the lanes of registers, and the roof under which programs run."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pn_lib.course.drawings.boxes import PALE, arrow, cell, note, sheet
from pn_lib.errors import InputError
from pn_lib.run.plotting import COLOURS

LEFT, WIDE, GAP = 4.6, 1.6, 0.8  # units: room for labels, a cell, the space between two registers
APART = 1.5  # how much higher a name on a logarithmic axis is than the one below it, at least
NOW = 2  # the token at which each register is drawn


def draw_lanes(T: int, E: int, W: int) -> Figure:
    """T tokens of E channels, cut into registers of W lanes, each of which walks through the tokens by itself.

    Raises:
        InputError: E is not a multiple of W, or there are too few tokens to walk through.
    """
    if not 0 < W <= E or E % W or T < NOW + 2:
        raise InputError(f"{E} channels of {T} tokens: give whole registers of {W}, and {NOW + 2} tokens or more")
    alt = (
        f"A row of cells for each of {E} channels, a column for each of {T} tokens. Every {W} neighboring channels "
        "share a register, framed, which goes from token to token on its own; cells it has passed are filled."
    )
    right = LEFT + T * WIDE + 0.6
    figure, axes = sheet(right + 8.6, 1.6 + E + GAP * (E // W), alt)
    note(axes, LEFT - 0.4, 0.7, "token", "right")
    for t in range(T):
        note(axes, LEFT + (t + 0.5) * WIDE, 0.7, str(t + 1))
    for group in range(E // W):
        top = 1.4 + group * (W + GAP)
        for lane in range(W):
            note(axes, LEFT - 0.4, top + lane + 0.5, f"channel {group * W + lane + 1}", "right")
        _register(axes, top, T, W)
        note(axes, right, top + W / 2 - 0.5, f"register {group + 1}:", "left", bold=True)
        note(axes, right, top + W / 2 + 0.5, f"{W} channels at once", "left")
    return figure


def _register(axes: Axes, top: float, T: int, W: int) -> None:
    """The cells of W channels; a frame around those at the token that their register is at, and where it goes next."""
    for t in range(T):
        for lane in range(W):
            fill = PALE["sky"] if t < NOW else PALE["orange"] if t == NOW else "white"
            cell(axes, LEFT + t * WIDE, top + lane, "", WIDE, fill, marked=t == NOW)
    x = LEFT + NOW * WIDE
    axes.add_patch(Rectangle((x, top), WIDE, W, fill=False, edgecolor=COLOURS["black"], linewidth=2))
    arrow(axes, (x + WIDE, top + W / 2), (x + 2.6 * WIDE, top + W / 2))


def draw_roofline(bandwidth: float, peak: float, points: Mapping[str, tuple[float, float]]) -> Figure:
    """Programs under the roofline (Williams et al., 2009) of a machine: GB/s of memory and GFLOP/s of the processor.

    ``points``: by name, FLOPs a byte and GFLOP/s, each above 0.

    Raises:
        InputError: there is no program, or a number is not above 0.
    """
    if not points or min(bandwidth, peak, *(number for point in points.values() for number in point)) <= 0:
        raise InputError("a roofline needs a program, and numbers above 0 on both of its logarithmic axes")
    figure = Figure(figsize=(6.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    told = "; ".join(f"{name} at {speed:.2g} with {intensity:.2g}" for name, (intensity, speed) in points.items())
    figure.set_label(
        f"GFLOP/s against FLOPs a byte, both logarithmic. A roof rises with memory's {bandwidth:.0f} GB/s up to the "
        f"processor's {peak:.0f} GFLOP/s. Below it: {told}."
    )
    low, corner = min(intensity for intensity, _ in points.values()) / 3, peak / bandwidth
    high = max(corner, *(intensity for intensity, _ in points.values())) * 12
    axes.loglog([low, corner, high], [bandwidth * low, peak, peak], color=COLOURS["black"])
    axes.annotate(f"memory: {bandwidth:.0f} GB/s", (np.sqrt(low * corner), bandwidth * np.sqrt(low * corner)), (-8, 4),
                  textcoords="offset points", ha="right")  # fmt: skip
    axes.annotate(f"processor: {peak:.0f} GFLOP/s", (high, peak), (0, 8), textcoords="offset points", ha="right")
    placed: list[tuple[float, float]] = []
    for name, (intensity, speed) in sorted(points.items(), key=lambda point: point[1][1]):
        below = [height for x, height in placed if x / 10 < intensity < x * 10]
        placed.append((intensity, max([speed, *(APART * height for height in below)])))
        axes.plot(intensity, speed, "o", color=COLOURS["blue"])
        axes.text(1.2 * intensity, placed[-1][1], name, va="center")
    axes.set(xlabel="arithmetic intensity (FLOPs a byte)", ylabel="GFLOP/s", xlim=(low, high))
    axes.set_ylim(min(speed for _, speed in points.values()) / 2, peak * 3)
    return figure
