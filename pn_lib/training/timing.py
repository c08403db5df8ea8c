"""How everything here is measured: contenders taking turns, and the machine's own peak."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pn_lib.hardware import autocast
from pn_lib.progress import progress
from pn_lib.training.optimizer import Optimizers

FEWEST = 3  # rounds that even the slowest contender takes part in


@dataclass(frozen=True)
class Contender:
    """Somebody in a race: a name, one turn, and how many tokens (or else) a turn works off.

    A turn returns None and is timed from outside, or returns the seconds that it measured itself.
    """

    name: str
    turn: Callable[[], float | None]
    units: int = 1


class TrainingStep:
    """A turn of training: a model with its optimizer and one batch; a call is one whole update, as the loop does it.

    Args:
        ids, targets: (B, T).
        precision: "float32" or "bfloat16".
    """

    def __init__(self, model: nn.Module, optimizer: Optimizers, ids: Tensor, targets: Tensor, precision: str):
        self.model, self.optimizer, self.precision = model.train(), optimizer, precision
        self.ids, self.targets = ids, targets

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        with autocast(self.ids.device, self.precision):
            loss = self.model(self.ids, self.targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()


@dataclass(frozen=True)
class Timing:
    """Seconds of a contender's turns; the first, which warms up, apart."""

    first: float
    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def milliseconds(self) -> dict[str, float]:
        """Columns: median and range, in ms."""
        return {"ms": 1e3 * self.median, "ms_least": 1e3 * min(self.seconds), "ms_most": 1e3 * max(self.seconds)}

    def rates(self, units: int) -> dict[str, float]:
        """Columns: units (tokens) a second, median and range, and the number of rounds."""
        slowest, fastest = units / max(self.seconds), units / min(self.seconds)
        return {
            "tokens_per_second": units / self.median,
            "slowest": slowest,
            "fastest": fastest,
            "rounds": len(self.seconds),
        }


def alternate(
    contenders: Sequence[Contender], rounds: int, limit: float = float("inf"), description: str = ""
) -> dict[str, Timing]:
    """Let each contender warm up once, then run ``rounds`` rounds in which everybody has one turn.

    A round goes through them forwards, the next backwards, so that whatever slows the machine down for a while, or
    for good, does so to all of them. Whoever has used up ``limit`` seconds sits out, after ``FEWEST`` rounds at least.

    Returns:
        A timing for each name.
    """
    timings: dict[str, Timing] = {}
    with progress(description=description, total=len(contenders) * (rounds + 1), unit="turn") as bar:
        for contender in contenders:
            bar.set_postfix_str(contender.name)
            timings[contender.name] = Timing(_seconds(contender), [])
            bar.update()
        for number in range(rounds):
            for contender in reversed(contenders) if number % 2 else contenders:
                seconds = timings[contender.name].seconds
                if len(seconds) < FEWEST or sum(seconds) < limit:
                    bar.set_postfix_str(contender.name)
                    seconds.append(_seconds(contender))
                bar.update()
    return timings


def _seconds(contender: Contender) -> float:
    start = time.perf_counter()
    measured = contender.turn()
    return time.perf_counter() - start if measured is None else measured


def matrix_peak(dtype: torch.dtype, size: int = 1024, repeats: int = 9) -> float:
    """GFLOP/s (10^9 a second) of the product of two square matrices, the best of several: the machine's peak to us."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))

    def product() -> float:
        start = time.perf_counter()
        a @ b
        return time.perf_counter() - start

    product()  # the first call prepares the kernel
    return 2 * size**3 / min(product() for _ in range(repeats)) / 1e9
