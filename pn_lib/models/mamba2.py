"""Mamba-2: a state-space model whose training is matrix products.

Dao & Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality"
(2024), section 7. Beside Mamba's block, dt, B and C come straight from the input, one convolution goes over x, B and C
together, decay is one number a head, and the gated output is normed before it is projected.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from pn_lib.config import config_class
from pn_lib.models.convolution import causal_convolution, convolution_step, last_inputs
from pn_lib.models.cpu.availability import can_fuse
from pn_lib.models.mamba import initial_dt_bias
from pn_lib.models.norm import RMSNorm
from pn_lib.models.ssd import chunked_ssd, ssd_step
from pn_lib.models.stack import LayerState, Stack


@config_class
class Mamba2Config:
    """The architecture; the defaults but the sizes are the paper's.

    Raises:
        InputError (a ValueError): values that no Mamba-2 can have; the sentence names the field.
    """

    vocab_size: PositiveInt
    context: PositiveInt = 256  # the training length only: neither forward nor step has a limit
    d_model: PositiveInt = 128  # D
    n_layers: PositiveInt = 4  # L
    d_state: PositiveInt = 64  # N, state elements of each channel
    head_dim: PositiveInt = 64  # P, channels of a head, which decay alike
    expand: PositiveInt = 2  # E = expand * D channels inside a block
    d_conv: PositiveInt = 4  # K, taps of the convolution
    dt_min: PositiveFloat = 1e-3  # step sizes at initialisation
    dt_max: PositiveFloat = 1e-1
    tied_embeddings: bool = True
    norm_eps: PositiveFloat = 1e-5

    def __post_init__(self) -> None:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min ({self.dt_min}) must not exceed dt_max ({self.dt_max})")
        if self.d_inner % self.head_dim:
            raise ValueError(f"head_dim ({self.head_dim}) must divide expand * d_model ({self.d_inner})")

    @property
    def d_inner(self) -> int:
        """E, the number of channels inside a block."""
        return self.expand * self.d_model

    @property
    def n_heads(self) -> int:
        """H = E / P."""
        return self.d_inner // self.head_dim


class Mamba2Block(nn.Module):
    """One mixer (figure 6 of the paper, right): project, convolve, scan by duality, gate, norm, project back."""

    def __init__(self, config: Mamba2Config):
        super().__init__()
        D, E, N, H = config.d_model, config.d_inner, config.d_state, config.n_heads
        self.config = config
        self.in_proj = nn.Linear(D, 2 * E + 2 * N + H, bias=False)  # to the gate z, to x, B, C, and to dt
        self.conv = nn.Conv1d(E + 2 * N, E + 2 * N, config.d_conv, groups=E + 2 * N)  # padded by hand, left only
        self.dt_bias = nn.Parameter(torch.empty(H))
        self.A_log = nn.Parameter(torch.empty(H))  # A = -exp(A_log) stays negative whatever training does
        self.D = nn.Parameter(torch.empty(H))
        self.norm = RMSNorm(E, config.norm_eps)
        self.out_proj = nn.Linear(E, D, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """As the authors' code: -A uniform over [1, 16], step sizes log-uniform over [dt_min, dt_max], D one."""
        c = self.config
        self.A_log.uniform_(1, 16).log_()
        self.D.fill_(1.0)
        self.dt_bias.copy_(initial_dt_bias(self.dt_bias, c.dt_min, c.dt_max))
        # As in GPT-2: the residual stream sums L of these, so that each is made smaller by sqrt(L).
        self.out_proj.weight.div_(math.sqrt(c.n_layers))

    def initial_state(self, batch: int) -> LayerState:
        """No past: nothing to convolve with, nothing remembered. ``LayerState.ssm`` is (B, H, P, N), float32."""
        c, weight = self.config, self.in_proj.weight
        conv = weight.new_zeros(batch, c.d_conv - 1, c.d_inner + 2 * c.d_state)
        wide = torch.promote_types(weight.dtype, torch.float32)
        return LayerState(conv, weight.new_zeros(batch, c.n_heads, c.head_dim, c.d_state, dtype=wide))

    def forward(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """x (B, T, D), any T >= 1, and the state before it (None: no past) -> output (B, T, D) and the state after."""
        state = self.initial_state(len(x)) if state is None else state
        if can_fuse(x):
            from pn_lib.models.cpu.fused_mamba2 import can_mix  # needs Numba, which need not be there

            if can_mix(self.config.head_dim, self.config.d_state, self.config.d_conv):
                return self._fused(x, state)
        E, N = self.config.d_inner, self.config.d_state
        # Four products, where cutting the result of one in four would cost copies, forwards and backwards.
        z, x, BC, dt = (F.linear(x, weight) for weight in self.in_proj.weight.split((E, E, 2 * N, self.config.n_heads)))
        (x, after_x), (BC, after_BC) = self._convolve(x, state, slice(E)), self._convolve(BC, state, slice(E, None))
        dt, A, D = self._rates(dt, state.ssm.dtype)
        x, (B, C) = x.unflatten(-1, (-1, self.config.head_dim)), BC.split(N, dim=-1)
        y, ssm = chunked_ssd(x, dt, A, B, C, D, state.ssm)
        return self.out_proj(self._gated(y.flatten(2), z)), LayerState(torch.cat([after_x, after_BC], -1), ssm)

    def _fused(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """``forward`` with one kernel between the projections."""
        from pn_lib.models.cpu.fused_mamba2 import mamba2_mixer

        E, N, A = self.config.d_inner, self.config.d_state, -torch.exp(self.A_log)
        projected, conv = self.in_proj(x), (state.conv, self.conv.weight.squeeze(1), self.conv.bias)
        norm = self.norm.weight, self.norm.eps
        y, ssm = mamba2_mixer(projected, *conv, self.dt_bias, A, self.D, *norm, state.ssm)
        return self.out_proj(y), LayerState(last_inputs(projected[..., E : 2 * E + 2 * N], state.conv), ssm)

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """``forward`` for one token of each row, x (B, D) -> (B, D): the recurrence as the paper writes it, once."""
        E, N, P = self.config.d_inner, self.config.d_state, self.config.head_dim
        z, xBC, dt = F.linear(x, self.in_proj.weight).split((E, E + 2 * N, self.config.n_heads), dim=-1)
        xBC, history = convolution_step(xBC, state.conv, self.conv.weight, self.conv.bias)
        x, B, C = xBC.to(state.ssm.dtype).split((E, N, N), dim=-1)
        dt, A, D = self._rates(dt, state.ssm.dtype)
        y, h = ssd_step(x.unflatten(-1, (-1, P)), dt, A, B, C, D, state.ssm)
        return F.linear(self._gated(y.flatten(1), z), self.out_proj.weight), LayerState(history, h)

    def _convolve(self, v: Tensor, state: LayerState, channels: slice) -> tuple[Tensor, Tensor]:
        """Some of the convolution's channels: v (B, T, ...) convolved, and their history after it."""
        history = state.conv[..., channels].to(v.dtype)
        y = causal_convolution(v, history, self.conv.weight[channels], self.conv.bias[channels])
        return y, last_inputs(v, history)

    def _gated(self, y: Tensor, z: Tensor) -> Tensor:
        """y (..., E) by silu(z), normed in the precision of the norm's gain."""
        dtype = self.norm.weight.dtype
        return self.norm.forward(y.to(dtype) * F.silu(z).to(dtype))

    def _rates(self, dt: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """The step sizes from their projection, A and D, in the precision of the state."""
        return F.softplus(dt.to(dtype) + self.dt_bias.to(dtype)), -torch.exp(self.A_log.to(dtype)), self.D.to(dtype)


class Mamba2(Stack):
    """L Mamba-2 blocks; sequences of any length."""

    name = "mamba2"
    Config = Mamba2Config

    def __init__(self, config: Mamba2Config):
        super().__init__(config, [lambda: Mamba2Block(config)] * config.n_layers)
