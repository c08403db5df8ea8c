"""How to train: every choice that is not the model's, and the plan of a run that follows from them."""

from itertools import accumulate
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pn_lib.config import config_class
from pn_lib.training.schedule import Schedule, rate_factor

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
DecayRate = Annotated[float, Field(ge=0, lt=1)]  # of a running mean


@config_class
class Phase:
    """A share of a run's tokens with a batch and a context of their own."""

    share: PositiveShare
    batch_size: PositiveInt
    context: PositiveInt

    @property
    def tokens(self) -> int:
        """Tokens of one update."""
        return self.batch_size * self.context


@config_class
class TrainingConfig:
    """How to train. Budgets are in tokens, never in seconds, so a run means the same on every machine.

    ``optimizer`` muon: weight matrices of hidden layers by Muon at ``matrix_learning_rate``, all else by AdamW at
    ``learning_rate``; adamw: everything by AdamW. The schedule scales both rates (see ``schedule``).
    ``growth``: phases in place of one ``batch_size`` and ``context``, for a batch or a context that grows.
    ``micro_batch``: sequences worked on at once; a batch of several gives the same gradient in less memory, and is what
    processes share among them. ``ema_decay``: validation, and the model at the end, have an average of the weights.
    ``quantize``: from the share ``quantize_from`` of the updates on, the model reads with its weights rounded to these
    integers, and the gradient of the rounded weights trains the real ones (see ``rounded``); the model at the end has
    the real ones, for ``quantize`` to round.
    ``evals`` counts the validations, evenly spaced, before the first update and after the last included.
    ``checkpoint_every`` is in updates; it changes no result.
    """

    tokens: PositiveInt = 1_000_000
    batch_size: PositiveInt = 16
    context: PositiveInt = 256
    growth: tuple[Phase, ...] = ()
    micro_batch: PositiveInt | None = None  # None: each process's share of the batch at once
    # A token sees its own story only: attention is masked, or each row is one story (what follows it counts as tokens).
    within_stories: bool = False
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: PositiveFloat = 0.02
    matrix_learning_rate: PositiveFloat = 0.02
    schedule: Schedule = "linear"
    warmup_fraction: Share = 0.02
    decay_fraction: PositiveShare = 0.5  # of schedule "wsd"
    min_learning_rate_ratio: Share = 0.0
    weight_decay: NonNegativeFloat = 0.1
    betas: tuple[DecayRate, DecayRate] = (0.9, 0.95)
    grad_clip: PositiveFloat = 1.0
    ema_decay: DecayRate = 0.0  # 0: no average
    quantize: Literal["int8", "int4", "ternary"] | None = None
    quantize_group: PositiveInt | None = 32  # weights of a row that share a scale; None: the whole row
    quantize_from: Share = 0.0  # 0.9: in the last tenth
    skip_spikes: bool = False  # leave out the update of a batch whose loss jumps (see ``spikes``)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # by torch.compile: a minute's wait, then faster steps; needs a C++ compiler
    evals: Annotated[int, Field(ge=2)] = 10
    checkpoint_every: PositiveInt = 50
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if self.growth and abs(sum(phase.share for phase in self.growth) - 1) > 1e-6:
            raise ValueError(f"the shares of growth must add up to 1, not {sum(p.share for p in self.growth):g}")
        if self.growth and self.growth[-1].context != self.context:
            raise ValueError(f"growth must end at the context {self.context}, not at {self.growth[-1].context}")
        for phase in self.phases:
            if self.micro_batch is not None and phase.batch_size % self.micro_batch:
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
