"""A stack of mixers: the body that Mamba, Mamba-2, Gated DeltaNet and their hybrids share.

Every layer is x + mixer(norm(x)), and a mixer is whatever turns (B, T, D) into (B, T, D) without looking ahead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.base import Decoder, LanguageModel, check_ids
from pn_lib.models.loss import linear_cross_entropy, token_nats
from pn_lib.models.norm import RMSNorm


class State(Protocol):
    """What a mixer keeps of the past."""

    def select(self, rows: Tensor) -> None:
        """Keep these rows (int64) of the batch only."""

    def n_bytes(self) -> int:
        """Memory taken, all rows together."""


class Mixer(Protocol):
    """A module that a layer of a stack can be made of."""

    def initial_state(self, batch: int) -> State | None:
        """No past; None for a mixer that keeps nothing of it."""

    def __call__(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State | None]:
        """x (B, T, D), any T >= 1, and the state before it -> the output (B, T, D) and the state after it.

        Without a state there is no past, and the state after it need not be of use.
        """

    def step(self, x: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        """``__call__`` for one token of each row, x (B, D) -> (B, D), and the state after it."""


@dataclass
class LayerState:
    """All that a recurrent mixer keeps of the past, however long that was."""

    conv: Tensor  # the last inputs of its convolution, (B, K-1, channels)
    ssm: Tensor  # the state of its recurrence, (B, ...), float32

    def select(self, rows: Tensor) -> None:
        self.conv, self.ssm = self.conv[rows], self.ssm[rows]

    def n_bytes(self) -> int:
        return self.conv.nbytes + self.ssm.nbytes


class Stack(LanguageModel):
    """Embedding, L pre-norm residual mixers, a last norm, and logits.

    A subclass names its mixers, in order; its config has at least ``vocab_size``, ``d_model``, ``norm_eps`` and
    ``tied_embeddings``.
    """

    def __init__(self, config: Any, mixers: Sequence[Callable[[], Mixer]]):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.norms = nn.ModuleList(RMSNorm(config.d_model, config.norm_eps) for _ in mixers)
        self.blocks = nn.ModuleList(mixer() for mixer in mixers)
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.head = None if config.tied_embeddings else nn.Linear(config.d_model, config.vocab_size, bias=False)
        # Only these: initialising every Linear here, as is usual, would undo what the mixers did for theirs.
        for table in [self.embedding] if self.head is None else [self.embedding, self.head]:
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V), or with ``targets`` (B, T) the mean cross-entropy in nats.

        Raises:
            InputError: ids that are no (B, T) integers within the vocabulary, or that are empty.
        """
        hidden, _ = self._run(ids)
        return self._logits(hidden) if targets is None else linear_cross_entropy(hidden, self.output_weight(), targets)

    @torch.no_grad()
    def nats(self, ids: Tensor, targets: Tensor) -> Tensor:
        """As ``LanguageModel.nats``, without ever holding the logits of a whole batch."""
        return token_nats(self._run(ids)[0], self.output_weight(), targets)

    def prefill(self, ids: Tensor) -> tuple[Tensor, Decoder]:
        """ids (B, T), T >= 1 -> logits after the last token (B, V), and the state.

        All rows must have the same length: padding would be read into the state like any token.
        """
        hidden, states = self._run(ids, [block.initial_state(len(ids)) for block in self.blocks])
        return self._logits(hidden[:, -1]), self.decoder(states)

    def decoder(self, states: list[State | None]) -> Decoder:
        """From where the layers stand on."""
        return StackDecoder(self, states)

    def step(self, ids: Tensor, state: Decoder) -> tuple[Tensor, Decoder]:
        """ids (B,) -> logits (B, V) and the next state."""
        return state.step(self.embedding(ids)), state

    def _run(self, ids: Tensor, states: list[State | None] | None = None) -> tuple[Tensor, list[State | None]]:
        """ids (B, T) -> hidden vectors (B, T, D), and the states after them."""
        check_ids(ids, self.config.vocab_size)
        if ids.ndim != 2 or ids.numel() == 0:
            raise InputError(f"{self.name} needs at least one token in each row of ids (B, T), not {tuple(ids.shape)}")
        x, after = self.embedding(ids), []
        states = [None] * len(self.blocks) if states is None else states
        for norm, block, state in zip(self.norms, self.blocks, states, strict=True):
            update, state = block(norm(x), state)
            x = x + update
            after.append(state)
        return self.norm(x), after

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.output_weight())

    def output_weight(self) -> Tensor:
        """The weight of the output layer, (V, D)."""
        return self.embedding.weight if self.head is None else self.head.weight


class StackDecoder(Decoder):
    """Decoding by PyTorch's operations, mixer by mixer, from where the layers stand."""

    def __init__(self, model: Stack, layers: list[State | None]):
        self.model, self.layers = model, layers

    def step(self, x: Tensor) -> Tensor:
        # Methods are called directly: at one token the hooks that PyTorch looks for take longer than the arithmetic.
        for i, (norm, block) in enumerate(zip(self.model.norms, self.model.blocks, strict=True)):
            update, self.layers[i] = block.step(norm.forward(x), self.layers[i])
            x = x + update
        return self.model._logits(self.model.norm.forward(x))

    def select(self, rows: Tensor) -> None:
        for layer in self.layers:
            if layer is not None:
                layer.select(rows)

    def n_bytes(self) -> int:
        return sum(layer.n_bytes() for layer in self.layers if layer is not None)
