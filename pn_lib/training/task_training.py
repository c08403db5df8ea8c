"""Training and testing on a task with exact answers (``pn_lib.data.tasks``): short sequences in, any length asked."""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pn_lib.data.tokens import IGNORED
from pn_lib.errors import DivergenceError
from pn_lib.models.base import LanguageModel
from pn_lib.progress import progress
from pn_lib.training.optimizer import make_optimizer
from pn_lib.training.schedule import rate_factor

TEST_SEED = 1 << 32  # far from the seeds that anybody trains with, so that no test batch was a training batch


class Task(Protocol):
    """What can be learned and asked here."""

    @property
    def vocab_size(self) -> int: ...

    def batch(self, batch_size: int, length: int, seed: int, step: int) -> tuple[Tensor, Tensor]: ...


def train_on_task(
    model: LanguageModel,
    task: Task,
    steps: int,
    *,
    lengths: Sequence[int],
    batch_size: int = 32,
    peak_learning_rate: float = 3e-3,
    matrix_learning_rate: float | None = None,
    seed: int = 0,
) -> list[float]:
    """Train ``model`` in place for ``steps`` updates, leave it in evaluation mode; the loss of each update, in nats.

    Each update has sequences of one of the ``lengths``, drawn at random. The short ones are a ladder: with few tokens
    to look through there is something to be learned from the first update on, and what was learned carries over. With a
    ``matrix_learning_rate`` Muon moves the hidden matrices.

    Raises:
        DivergenceError: the loss is no longer finite.
    """
    optimizer = make_optimizer(model, peak_learning_rate, 0.0, (0.9, 0.98), matrix_learning_rate)
    # A stream of its own: the batches have those of (seed, 0) to (seed, steps - 1).
    length_of = np.random.default_rng((seed, steps)).choice(lengths, size=steps)
    device, losses = next(model.parameters()).device, []
    model.train()
    for step in progress(range(steps), "Training on a task", unit="step"):
        ids, targets = (t.to(device) for t in task.batch(batch_size, int(length_of[step]), seed, step))
        optimizer.zero_grad()
        loss = model(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(rate_factor(step / steps, (step + 1) / steps, "cosine", warmup=0.05, minimum=0.1))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise DivergenceError(f"the loss of step {step} is {losses[-1]:g}; lower peak_learning_rate")
    model.eval()
    return losses


@torch.no_grad()
def accuracy(
    model: LanguageModel,
    task: Task,
    length: int,
    *,
    sequences: int = 256,
    seed: int = TEST_SEED,
    tokens_at_once: int = 1 << 14,
) -> float:
    """The share of what is asked in ``sequences`` new sequences of ``length`` tokens that ``model`` answers rightly.

    Greedily: its answer is its likeliest token. ``tokens_at_once`` bounds the memory, and changes the sequences drawn.
    """
    device, right, asked = next(model.parameters()).device, 0, 0
    batch_size = max(1, tokens_at_once // length)
    for step, start in enumerate(range(0, sequences, batch_size)):
        ids, targets = (t.to(device) for t in task.batch(min(batch_size, sequences - start), length, seed, step))
        counts = targets != IGNORED
        right += int((model(ids).argmax(-1) == targets)[counts].sum())
        asked += int(counts.sum())
    return right / asked
