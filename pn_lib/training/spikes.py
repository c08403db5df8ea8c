"""Losses that jump: noticed at once, and the end of a training that does not come back."""

import math
from itertools import pairwise
from statistics import mean, pstdev

from pn_lib.errors import DivergenceError

REMEMBERED = 64  # losses that say how much is usual
NEEDED = 16  # as many before anything is called a spike; a new one is compared with the mean of the last so many
IN_A_ROW = 10  # spikes left out one after another before training is given up


class SpikeWatch:
    """Is this loss out of line? A spike lies six standard deviations, and at least 0.5 nats, above the last ones' mean.

    A bad batch, or a step too far, can throw a model back by thousands of updates; the next losses show it. The
    standard deviation is that of the noise from one batch to the next, from differences of neighbours (von Neumann,
    1941): a steady fall of the loss does not count as noise.
    """

    def __init__(self, recent: list[float] | None = None, spikes: list[dict] | None = None, in_a_row: int = 0):
        self.recent = recent or []
        self.spikes = spikes or []  # step, loss, and the loss that was expected
        self.in_a_row = in_a_row

    def sees(self, step: int, loss: float) -> bool:
        """Whether ``loss`` is a spike; either is remembered.

        Raises:
            DivergenceError: there was nothing but spikes for a while.
        """
        expected, spike = mean(self.recent[-NEEDED:] or [math.inf]), False
        if len(self.recent) >= NEEDED and math.isfinite(loss):
            noise = pstdev(b - a for a, b in pairwise(self.recent)) / math.sqrt(2)
            spike = loss > expected + max(0.5, 6 * noise)
        if not spike:
            self.recent = [*self.recent, loss][-REMEMBERED:]
            self.in_a_row = 0
            return False
        self.spikes.append({"step": step, "loss": loss, "expected": expected})
        self.in_a_row += 1
        if self.in_a_row == IN_A_ROW:
            raise DivergenceError(
                f"the loss jumped from {expected:.2f} to {loss:.2f} and has stayed there for "
                f"{IN_A_ROW} updates, up to step {step}; lower learning_rate and "
                "matrix_learning_rate"
            )
        return True

    def state_dict(self) -> dict:
        return {"recent": self.recent, "spikes": self.spikes, "in_a_row": self.in_a_row}
