"""Mamba: a language model whose memory of the past is a state of constant size.

Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), section 3. A state-space model
with *selection*: how far the state decays (dt), what is written to it (B) and what is read from it (C) all depend on
the token at hand.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from pn_lib.config import config_class
from pn_lib.models.base import Decoder
from pn_lib.models.convolution import causal_convolution, convolution_step, last_inputs
from pn_lib.models.cpu.availability import can_step_fused
from pn_lib.models.scan import METHODS, choose_method, selective_scan
from pn_lib.models.stack import LayerState, Stack


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
        self.dt_proj.bias.copy_(initial_dt_bias(self.dt_proj.bias, config.dt_min, config.dt_max))
        # As in GPT-2: the residual stream sums L of these, so that each is made smaller by sqrt(L).
        self.out_proj.weight.div_(math.sqrt(config.n_layers))

    def initial_state(self, batch: int) -> LayerState:
        """No past: nothing to convolve with, nothing remembered."""
        config, weight = self.config, self.in_proj.weight
        conv = weight.new_zeros(batch, config.d_conv - 1, config.d_inner)
        ssm = weight.new_zeros(batch, config.d_inner, config.d_state, dtype=_scan_dtype(weight))
        return LayerState(conv, ssm)

    def forward(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """x (B, T, D), any T >= 1, and the state before it (None: no past) -> the output (B, T, D) and the state after.

        ``LayerState.ssm`` is the state of the scan, (B, E, N), float32.
        """
        state = self.initial_state(len(x)) if state is None else state
        method = self.scan_method(x.device)
        # Two products, where cutting the result of one in two would cost a copy of both halves, forwards and backwards.
        x, z = (F.linear(x, weight) for weight in self.in_proj.weight.chunk(2))  # (B, T, E) each
        history = state.conv.to(x.dtype)
        after = last_inputs(x, history)
        x = causal_convolution(x, history, self.conv.weight, self.conv.bias, fused=method == "fused")
        dt, B, C = self.x_proj(x).split([self.config.rank, self.config.d_state, self.config.d_state], dim=-1)
        # The bias decides the order of magnitude of dt: the scan adds it, so that it is never rounded to bfloat16.
        dt = F.linear(dt, self.dt_proj.weight)
        dtype = state.ssm.dtype
        A, D, bias = -torch.exp(self.A_log.to(dtype)), self.D.to(dtype), self.dt_proj.bias.to(dtype)
        y, ssm = selective_scan(x, dt, A, B, C, D, state.ssm, method, z=z, dt_bias=bias)
        return self.out_proj(y), LayerState(after, ssm)

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """``forward`` for one token of each row, x (B, D) -> (B, D): the recurrence as the paper writes it, once."""
        N, rank = self.config.d_state, self.config.rank
        x, z = F.linear(x, self.in_proj.weight).chunk(2, dim=-1)  # (B, E) each
        x, history = convolution_step(x, state.conv, self.conv.weight, self.conv.bias)
        dt, B, C = F.linear(x, self.x_proj.weight).split([rank, N, N], dim=-1)
        dt = F.softplus(F.linear(dt, self.dt_proj.weight) + self.dt_proj.bias)
        a = torch.exp(dt.unsqueeze(2) * -torch.exp(self.A_log))  # (B, E, N)
        h = torch.addcmul(a.mul_(state.ssm), (dt * x).unsqueeze(2), B.unsqueeze(1))
        y = torch.addcmul((h @ C.unsqueeze(2)).squeeze(2), self.D, x)
        return F.linear(y * F.silu(z), self.out_proj.weight), LayerState(history, h)

    def scan_method(self, device: torch.device) -> str:
        """How this block scans on ``device``: the method of the config, or what ``auto`` comes to there."""
        if self.config.scan != "auto":
            return self.config.scan
        return choose_method(device, _scan_dtype(self.in_proj.weight))


class Mamba(Stack):
    """L Mamba blocks; sequences of any length."""

    name = "mamba"
    Config = MambaConfig

    def __init__(self, config: MambaConfig):
        super().__init__(config, [lambda: MambaBlock(config)] * config.n_layers)

    def decoder(self, states: list[LayerState]) -> Decoder:
        """From where the layers stand on: by a kernel where that can run, and by PyTorch's operations elsewhere."""
        c = self.config
        wanted = c.scan in ("auto", "fused") and c.d_model % 16 == 0 and c.d_inner % 16 == 0
        if not (wanted and can_step_fused(self.embedding.weight)):
            return super().decoder(states)
        from pn_lib.models.cpu.fused_decoding import FusedMamba  # needs Numba, which need not be there

        return FusedMamba(self, states)


def initial_dt_bias(like: Tensor, dt_min: float, dt_max: float) -> Tensor:
    """The biases whose softplus is spread log-uniformly over [dt_min, dt_max]: random, of the shape of ``like``."""
    dt = torch.empty_like(like).uniform_(math.log(dt_min), math.log(dt_max)).exp()
    return dt + torch.log(-torch.expm1(-dt))  # the inverse of softplus


def _scan_dtype(weight: Tensor) -> torch.dtype:
    """float32, or float64 in a model of float64; never less, whatever the weights are kept in."""
    return torch.promote_types(weight.dtype, torch.float32)
