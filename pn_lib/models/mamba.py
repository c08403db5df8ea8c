"""Mamba: a language model whose memory of the past is a state of constant size.

Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), section 3. A state-space model
with *selection*: how far the state decays (dt), what is written to it (B) and what is read from it (C) all depend on
the token at hand.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from pn_lib.config import config_class
from pn_lib.errors import InputError
from pn_lib.models.base import Decoder, LanguageModel, check_ids
from pn_lib.models.cpu.availability import can_step_fused
from pn_lib.models.loss import linear_cross_entropy, token_nats
from pn_lib.models.norm import RMSNorm
from pn_lib.models.scan import METHODS, choose_method, selective_scan


@config_class
class MambaConfig:
    """The architecture; the defaults but the size are the paper's.

    Raises:
        InputError (a ValueError): values that no Mamba can have; the sentence names the field.
    """

    vocab_size: PositiveInt
    context: PositiveInt = 256  # the training length only: neither forward nor step has a limit
    d_model: PositiveInt = 128  # D
    n_layers: PositiveInt = 4  # L
    d_state: PositiveInt = 16  # N, state elements of each channel
    expand: PositiveInt = 2  # E = expand * D channels inside a block
    d_conv: PositiveInt = 4  # K, taps of the convolution
    dt_rank: PositiveInt | None = None  # None: D / 16, rounded up
    dt_min: PositiveFloat = 1e-3  # step sizes at initialisation
    dt_max: PositiveFloat = 1e-1
    tied_embeddings: bool = True
    norm_eps: PositiveFloat = 1e-5
    scan: Literal["auto", *METHODS] = "auto"  # how the recurrence is computed, see ``scan``

    def __post_init__(self) -> None:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min ({self.dt_min}) must not exceed dt_max ({self.dt_max})")

    @property
    def d_inner(self) -> int:
        """E, the number of channels inside a block."""
        return self.expand * self.d_model

    @property
    def rank(self) -> int:
        """R, the width of the bottleneck that dt comes through."""
        return math.ceil(self.d_model / 16) if self.dt_rank is None else self.dt_rank


@dataclass
class LayerState:
    """All that a layer keeps of the past, however long that was."""

    conv: Tensor  # the last inputs of the convolution, (B, K-1, E)
    ssm: Tensor  # the state of the scan, (B, E, N), float32


class MambaBlock(nn.Module):
    """One mixer (figure 3 of the paper): project, convolve, scan, gate, project back."""

    def __init__(self, config: MambaConfig):
        super().__init__()
        D, E, N = config.d_model, config.d_inner, config.d_state
        self.config = config
        self.in_proj = nn.Linear(D, 2 * E, bias=False)
        self.conv = nn.Conv1d(E, E, config.d_conv, groups=E)  # each channel on its own; padded by hand, left only
        self.x_proj = nn.Linear(E, config.rank + 2 * N, bias=False)
        self.dt_proj = nn.Linear(config.rank, E)
        self.A_log = nn.Parameter(torch.empty(E, N))  # A = -exp(A_log) stays negative whatever training does
        self.A_log._no_weight_decay = True  # decay would pull every rate towards -1
        self.D = nn.Parameter(torch.empty(E))
        self.out_proj = nn.Linear(E, D, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Section 3.6 of the paper. How long a state remembers is set here, and training hardly repairs it."""
        config = self.config
        # S4D-Real: A = -1, -2, ..., -N in every channel (Gu et al. 2022, "On the Parameterization and
        # Initialization of Diagonal State Space Models").
        self.A_log.copy_(torch.arange(1, config.d_state + 1).float().log().expand_as(self.A_log))
        self.D.fill_(1.0)
        # With the projection small, softplus(bias) is the step size: spread log-uniformly over [dt_min, dt_max].
        bound = config.rank**-0.5
        self.dt_proj.weight.uniform_(-bound, bound)
        low, high = math.log(config.dt_min), math.log(config.dt_max)
        dt = torch.empty_like(self.dt_proj.bias).uniform_(low, high).exp()
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
        # As in GPT-2: the residual stream sums L of these, so that each is made smaller by sqrt(L).
        self.out_proj.weight.div_(math.sqrt(config.n_layers))

    def initial_state(self, batch: int) -> LayerState:
        """No past: nothing to convolve with, nothing remembered."""
        config, weight = self.config, self.in_proj.weight
        conv = weight.new_zeros(batch, config.d_conv - 1, config.d_inner)
        ssm = weight.new_zeros(batch, config.d_inner, config.d_state, dtype=_scan_dtype(weight))
        return LayerState(conv, ssm)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """x (B, T, D), any T >= 1, and the state before it -> the output (B, T, D) and the state after it."""
        method = self.scan_method(x.device)
        # Two products, where cutting the result of one in two would cost a copy of both halves, forwards and backwards.
        x, z = (F.linear(x, weight) for weight in self.in_proj.weight.chunk(2))  # (B, T, E) each
        history = state.conv.to(x.dtype)
        keep = self.config.d_conv - 1
        after = x[:, x.shape[1] - keep :] if x.shape[1] >= keep else torch.cat([history, x], 1)[:, x.shape[1] :]
        x = self.convolve(x, history, method)
        dt, B, C = self.x_proj(x).split([self.config.rank, self.config.d_state, self.config.d_state], dim=-1)
        # The bias decides the order of magnitude of dt: the scan adds it, so that it is never rounded to bfloat16.
        dt = F.linear(dt, self.dt_proj.weight)
        dtype = state.ssm.dtype
        A, D, bias = -torch.exp(self.A_log.to(dtype)), self.D.to(dtype), self.dt_proj.bias.to(dtype)
        y, ssm = selective_scan(x, dt, A, B, C, D, state.ssm, method, z=z, dt_bias=bias)
        return self.out_proj(y), LayerState(after.clone(), ssm)

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """``forward`` for one token of each row, x (B, D) -> (B, D): the recurrence as the paper writes it, once."""
        N, rank = self.config.d_state, self.config.rank
        x, z = F.linear(x, self.in_proj.weight).chunk(2, dim=-1)  # (B, E) each
        window = torch.cat([state.conv, x.unsqueeze(1)], 1)  # (B, K, E)
        x = F.silu((window * self.conv.weight.squeeze(1).mT).sum(1) + self.conv.bias)
        dt, B, C = F.linear(x, self.x_proj.weight).split([rank, N, N], dim=-1)
        dt = F.softplus(F.linear(dt, self.dt_proj.weight) + self.dt_proj.bias)
        a = torch.exp(dt.unsqueeze(2) * -torch.exp(self.A_log))  # (B, E, N)
        h = torch.addcmul(a.mul_(state.ssm), (dt * x).unsqueeze(2), B.unsqueeze(1))
        y = torch.addcmul((h @ C.unsqueeze(2)).squeeze(2), self.D, x)
        return F.linear(y * F.silu(z), self.out_proj.weight), LayerState(window[:, 1:], h)

    def scan_method(self, device: torch.device) -> str:
        """How this block scans on ``device``: the method of the config, or what ``auto`` comes to there."""
        if self.config.scan != "auto":
            return self.config.scan
        return choose_method(device, _scan_dtype(self.in_proj.weight))

    def convolve(self, x: Tensor, history: Tensor, method: str) -> Tensor:
        """silu of the causal convolution: x (B, T, E) and the K - 1 inputs before it, (B, K-1, E) -> (B, T, E)."""
        if method == "fused":
            from pn_lib.models.cpu.fused_scan import fused_convolution  # needs Numba, which need not be there

            return fused_convolution(x, history, self.conv.weight.squeeze(1), self.conv.bias)
        return F.silu(self.conv(torch.cat([history, x], 1).mT)).mT  # nothing is padded on the right


class Mamba(LanguageModel):
    """Embedding, L pre-norm residual Mamba blocks, a last norm, and logits; sequences of any length."""

    name = "mamba"
    Config = MambaConfig

    def __init__(self, config: MambaConfig):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.norms = nn.ModuleList(RMSNorm(config.d_model, config.norm_eps) for _ in range(config.n_layers))
        self.blocks = nn.ModuleList(MambaBlock(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.head = None if config.tied_embeddings else nn.Linear(config.d_model, config.vocab_size, bias=False)
        # Only these: initialising every Linear here, as is usual, would undo what the blocks did for dt.
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
        hidden, layers = self._run(ids)
        return self._logits(hidden[:, -1]), self.decoder(layers)

    def decoder(self, layers: list[LayerState]) -> Decoder:
        """From where the layers stand on: by a kernel where that can run, and by PyTorch's operations elsewhere."""
        c = self.config
        wanted = c.scan in ("auto", "fused") and c.d_model % 16 == 0 and c.d_inner % 16 == 0
        if not (wanted and can_step_fused(self.embedding.weight)):
            return MambaDecoder(self, layers)
        from pn_lib.models.cpu.fused_decoding import FusedMamba  # needs Numba, which need not be there

        return FusedMamba(self, layers)

    def step(self, ids: Tensor, state: Decoder) -> tuple[Tensor, Decoder]:
        """ids (B,) -> logits (B, V) and the next state: time and memory do not depend on what came before."""
        return state.step(self.embedding(ids)), state

    def _run(self, ids: Tensor) -> tuple[Tensor, list[LayerState]]:
        """ids (B, T) -> hidden vectors (B, T, D), and the state after them."""
        check_ids(ids, self.config.vocab_size)
        if ids.ndim != 2 or ids.numel() == 0:
            raise InputError(f"Mamba needs at least one token in each row of ids (B, T), not {tuple(ids.shape)}")
        x, after = self.embedding(ids), []
        for norm, block in zip(self.norms, self.blocks, strict=True):
            update, layer_state = block(norm(x), block.initial_state(len(ids)))
            x = x + update
            after.append(layer_state)
        return self.norm(x), after

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.output_weight())

    def output_weight(self) -> Tensor:
        """The weight of the output layer, (V, D)."""
        return self.embedding.weight if self.head is None else self.head.weight


class MambaDecoder(Decoder):
    """Decoding by PyTorch's operations, block by block, from where the layers stand."""

    def __init__(self, model: Mamba, layers: list[LayerState]):
        self.model, self.layers = model, layers

    def step(self, x: Tensor) -> Tensor:
        for i, (norm, block) in enumerate(zip(self.model.norms, self.model.blocks, strict=True)):
            update, self.layers[i] = block.step(norm(x), self.layers[i])
            x = x + update
        return self.model._logits(self.model.norm(x))

    def select(self, rows: Tensor) -> None:
        self.layers = [LayerState(layer.conv[rows], layer.ssm[rows]) for layer in self.layers]

    def n_bytes(self) -> int:
        return sum(layer.conv.nbytes + layer.ssm.nbytes for layer in self.layers)


def _scan_dtype(weight: Tensor) -> torch.dtype:
    """float32, or float64 in a model of float64; never less, whatever the weights are kept in."""
    return torch.promote_types(weight.dtype, torch.float32)
