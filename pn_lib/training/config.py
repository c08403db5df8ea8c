"""How to train: every choice that is not the model's, and the plan of a run that follows from them."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, get_args

import numpy as np

from pn_lib.training.schedule import Schedule, rate_factor

OptimizerName = Literal["muon", "adamw"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Phase:
    """A share of a run's tokens with a batch and a context of their own."""

    share: float
    batch_size: int
    context: int

    def __post_init__(self) -> None:
        if not (self.share > 0 and self.batch_size > 0 and self.context > 0):
            raise ValueError(
                f"share, batch_size and context of a phase must be above 0, not {self.share}, "
                f"{self.batch_size} and {self.context}"
            )

    @property
    def tokens(self) -> int:
        """Tokens of one update."""
        return self.batch_size * self.context


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Budgets are in tokens, never in seconds, so a run means the same on every machine.

    ``optimizer`` muon: weight matrices of hidden layers by Muon at ``matrix_learning_rate``, all else by AdamW at
    ``learning_rate``; adamw: everything by AdamW. The schedule scales both rates (see ``schedule``).
    ``growth``: phases in place of one ``batch_size`` and ``context``, for a batch or a context that grows.
    ``micro_batch``: sequences worked on at once; a batch of several gives the same gradient in less memory, and is what
    processes share among them. ``ema_decay``: validation, and the model at the end, have an average of the weights.
    ``evals`` counts the validations, evenly spaced, before the first update and after the last included.
    ``checkpoint_every`` is in updates; it changes no result.
    """

    tokens: int = 1_000_000
    batch_size: int = 16
    context: int = 256
    growth: tuple[Phase, ...] = ()
    micro_batch: int | None = None  # None: each process's share of the batch at once
    within_stories: bool = False  # attention ends at a story's borders
    optimizer: OptimizerName = "muon"
    learning_rate: float = 0.02
    matrix_learning_rate: float = 0.02
    schedule: Schedule = "linear"
    warmup_fraction: float = 0.02
    decay_fraction: float = 0.5  # of schedule "wsd"
    min_learning_rate_ratio: float = 0.0
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0
    ema_decay: float = 0.0  # 0: no average
    skip_spikes: bool = False  # leave out the update of a batch whose loss jumps (see ``faults``)
    precision: Precision = "auto"
    compile: bool = False  # by torch.compile: a minute's wait, then faster steps; needs a C++ compiler
    evals: int = 10
    checkpoint_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for key in (
            "tokens",
            "batch_size",
            "context",
            "learning_rate",
            "matrix_learning_rate",
            "grad_clip",
            "checkpoint_every",
            "decay_fraction",
        ):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0, not {getattr(self, key)}")
        for key in ("min_learning_rate_ratio", "warmup_fraction", "decay_fraction"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must lie in 0..1, not {getattr(self, key)}")
        for key, names in (("schedule", Schedule), ("precision", Precision), ("optimizer", OptimizerName)):
            if getattr(self, key) not in get_args(names):
                raise ValueError(f"{key} must be one of {', '.join(get_args(names))}, not {getattr(self, key)!r}")
        if not all(0 <= beta < 1 for beta in (*self.betas, self.ema_decay)):
            raise ValueError(f"betas and ema_decay must lie in 0..1, 1 excluded, not {self.betas}, {self.ema_decay}")
        if self.weight_decay < 0 or self.evals < 2 or self.seed < 0:
            raise ValueError(
                f"weight_decay and seed must be at least 0 and evals at least 2, not "
                f"{self.weight_decay}, {self.seed} and {self.evals}"
            )
        self._check_batches()

    def _check_batches(self) -> None:
        if self.growth and abs(sum(phase.share for phase in self.growth) - 1) > 1e-6:
            raise ValueError(f"the shares of growth must add up to 1, not {sum(p.share for p in self.growth):g}")
        if self.growth and self.growth[-1].context != self.context:
            raise ValueError(f"growth must end at the context {self.context}, not at {self.growth[-1].context}")
        for phase in self.phases:
            if self.micro_batch is not None and (self.micro_batch < 1 or phase.batch_size % self.micro_batch):
                raise ValueError(f"micro_batch ({self.micro_batch}) must divide the batch size ({phase.batch_size})")

    @property
    def phases(self) -> tuple[Phase, ...]:
        return self.growth or (Phase(1.0, self.batch_size, self.context),)

    @property
    def _ends(self) -> tuple[int, ...]:
        """For each phase the update that ends it: as many as its tokens pay for, at least one."""
        return tuple(accumulate(max(1, int(phase.share * self.tokens) // phase.tokens) for phase in self.phases))

    @property
    def steps(self) -> int:
        """Updates that the token budget pays for."""
        return self._ends[-1]

    def phase_at(self, step: int) -> Phase:
        """The phase of update ``step`` (0 to steps - 1)."""
        return self.phases[int(np.searchsorted(self._ends, step, side="right"))]

    def tokens_at(self, step: int) -> int:
        """Tokens seen after ``step`` updates."""
        tokens, begin = 0, 0
        for phase, end in zip(self.phases, self._ends, strict=True):
            tokens += max(0, min(step, end) - begin) * phase.tokens
            begin = end
        return tokens

    @property
    def planned_tokens(self) -> int:
        """Tokens of the whole run: the budget, less what is left over after the last whole update."""
        return self.tokens_at(self.steps)

    def rate_at(self, step: int) -> float:
        """What update ``step`` (0 to steps - 1) multiplies the learning rates by, in 0..1."""
        return rate_factor(
            self.tokens_at(step) / self.planned_tokens,
            self.tokens_at(step + 1) / self.planned_tokens,
            self.schedule,
            self.warmup_fraction,
            self.decay_fraction,
            self.min_learning_rate_ratio,
        )

    def eval_steps(self) -> list[int]:
        """After how many updates to validate: from 0 to ``steps``."""
        return sorted({round(step) for step in np.linspace(0, self.steps, self.evals)})
