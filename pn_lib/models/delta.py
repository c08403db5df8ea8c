"""Gated DeltaNet: a state that is corrected, not only added to.

Yang, Kautz & Hatamizadeh, "Gated Delta Networks: Improving Mamba2 with Delta Rule" (2024). The state S (P, N) of a head
maps keys to values. Mamba-2 lets it fade and adds what comes; here each step first looks up what the state says of its
key, and writes only the difference to its value (eq. 10):

    S_t = a_t S_{t-1} + b_t (v_t - a_t S_{t-1} k_t) k_t^T,        y_t = S_t q_t

with a_t in (0, 1) the share of the state that is kept and b_t in (0, 1) how far it is corrected; keys have length one.

- ``recurrent_delta`` is the oracle: the equation as it stands.
- ``chunked_delta`` is what trains (section 3.3): inside a chunk the corrections solve one triangular system.

Letters as in ``ssd``: B batch, T steps, H heads, P channels of a value, N of a key; Q steps a chunk, K chunks.
"""

import math

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.config import config_class
from pn_lib.models.convolution import causal_convolution, convolution_step, last_inputs
from pn_lib.models.mamba import initial_dt_bias
from pn_lib.models.norm import RMSNorm
from pn_lib.models.ssd import decay_mask
from pn_lib.models.stack import LayerState, Stack

CHUNK = 64  # Q


@config_class
class DeltaNetConfig:
    """The architecture; the rates are the authors' code's.

    Raises:
        InputError (a ValueError): values that no Gated DeltaNet can have; the sentence names the field.
    """

    vocab_size: PositiveInt
    context: PositiveInt = 256  # the training length only: neither forward nor step has a limit
    d_model: PositiveInt = 128  # D
    n_layers: PositiveInt = 4  # L
    n_heads: PositiveInt = 4  # H
    head_dim: PositiveInt = 32  # N, of queries and keys
    expand: PositiveInt = 2  # P = expand * N, of values
    d_conv: PositiveInt = 4  # taps of the convolution
    dt_min: PositiveFloat = 1e-3  # step sizes at initialisation, of the decay as in Mamba-2
    dt_max: PositiveFloat = 1e-1
    tied_embeddings: bool = True
    norm_eps: PositiveFloat = 1e-5

    def __post_init__(self) -> None:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min ({self.dt_min}) must not exceed dt_max ({self.dt_max})")

    @property
    def value_dim(self) -> int:
        """P, of one head."""
        return self.expand * self.head_dim

    @property
    def widths(self) -> tuple[int, int, int]:
        """Of queries, keys and values, all heads together."""
        return tuple(self.n_heads * width for width in (self.head_dim, self.head_dim, self.value_dim))


def recurrent_delta(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """One step after another; arguments and results as of ``chunked_delta``, autograd differentiates."""
    ys = []
    for step in zip(*(tensor.unbind(1) for tensor in (q, k, v, log_a, b)), strict=True):
        y, S = delta_step(*step, S)
        ys.append(y)
    return torch.stack(ys, dim=1), S


def delta_step(q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
    """The equation once: q and k (B, H, N), v (B, H, P), log a and b (B, H), S (B, H, P, N) -> y (B, H, P), next S."""
    S = log_a.exp()[..., None, None] * S
    correction = b[..., None] * (v - (S @ k[..., None]).squeeze(-1))
    S = S + correction[..., None] * k[..., None, :]
    return (S @ q[..., None]).squeeze(-1), S


def chunked_delta(
    q: Tensor, k: Tensor, v: Tensor, log_a: Tensor, b: Tensor, S: Tensor, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """The map by matrix products.

    With l_t the sum of log a up to t from the chunk's beginning, where the state was S, the corrections u_t (rows of U)
    of a chunk are the solution of (I + A) U = b (V - e^l K S^T), A_ts = b_t e^(l_t - l_s) k_t . k_s for s < t. Then

        y_t = e^(l_t) S q_t  +  sum_{s <= t} e^(l_t - l_s) (q_t . k_s) u_s
        S'  = e^(l_Q) S  +  sum_s e^(l_Q - l_s) u_s k_s^T

    Args:
        q, k: (B, T, H, N); keys of length one at most, or the corrections may overshoot.
        v: (B, T, H, P).
        log_a: not above zero, (B, T, H).
        b: (B, T, H).
        S: the state before the first step, (B, H, P, N).
        chunk: steps in a chunk, Q.

    Returns:
        y (B, T, H, P) and the state after the last step, all in the precision of S. Gradients flow to every argument.
    """
    length = q.shape[1]
    Q = min(chunk, length)
    missing = -length % Q
    with torch.autocast(q.device.type, enabled=False):
        q, k, v, log_a, b = (
            F.pad(t.to(S.dtype), (0, 0) * (t.ndim - 2) + (0, missing))
            .unflatten(1, (-1, Q))
            .transpose(2, 3)
            .contiguous()
            for t in (q, k, v, log_a[..., None], b[..., None])
        )  # (B, K, H, Q, ...): idle steps at the end neither fade nor write
        total, L = log_a.cumsum(-2), decay_mask(log_a.squeeze(-1))
        A = (b * L * (k @ k.mT)).tril(-1)  # the solver takes the diagonal for ones
        both = torch.linalg.solve_triangular(
            A, torch.cat([b * v, b * total.exp() * k], -1), upper=False, unitriangular=True
        )
        values, keys = both.split([v.shape[-1], k.shape[-1]], -1)  # U = values - keys S^T
        seen, read, last = (q @ k.mT) * L, total.exp() * q, total[..., -1:, :]
        kept, written = last.exp(), (last - total).exp() * k
        ys = []
        for c in range(q.shape[1]):
            u = values[:, c] - keys[:, c] @ S.mT
            ys.append(read[:, c] @ S.mT + seen[:, c] @ u)
            S = kept[:, c] * S + u.mT @ written[:, c]
        y = torch.stack(ys, 1).transpose(2, 3).flatten(1, 2)  # (B, T, H, P)
    return y[:, :length], S


class DeltaNetBlock(nn.Module):
    """One mixer (figure 1 of the paper, right): project, convolve, correct the state, norm each head, gate, project."""

    def __init__(self, config: DeltaNetConfig):
        super().__init__()
        D, H, channels = config.d_model, config.n_heads, sum(config.widths)
        self.config = config
        self.in_proj = nn.Linear(D, channels + config.widths[2] + 2 * H, bias=False)  # q, k, v; the gate; a, b
        self.conv = nn.Conv1d(channels, channels, config.d_conv, groups=channels)  # padded by hand, left only
        self.dt_bias = nn.Parameter(torch.empty(H))
        self.A_log = nn.Parameter(torch.empty(H))
        self.norm = RMSNorm(config.value_dim, config.norm_eps)
        self.out_proj = nn.Linear(config.widths[2], D, bias=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Decay as in Mamba-2: -A uniform over [1, 16], step sizes log-uniform over [dt_min, dt_max]."""
        c = self.config
        self.A_log.uniform_(1, 16).log_()
        self.dt_bias.copy_(initial_dt_bias(self.dt_bias, c.dt_min, c.dt_max))
        self.out_proj.weight.div_(math.sqrt(c.n_layers))  # as in GPT-2: the residual stream sums L of these

    def initial_state(self, batch: int) -> LayerState:
        """No past. ``LayerState.ssm`` is the state S, (B, H, P, N), float32."""
        c, weight = self.config, self.in_proj.weight
        conv = weight.new_zeros(batch, c.d_conv - 1, sum(c.widths))
        wide = torch.promote_types(weight.dtype, torch.float32)
        return LayerState(conv, weight.new_zeros(batch, c.n_heads, c.value_dim, c.head_dim, dtype=wide))

    def forward(self, x: Tensor, state: LayerState | None = None) -> tuple[Tensor, LayerState]:
        """x (B, T, D), any T >= 1, and the state before it (None: no past) -> output (B, T, D) and the state after."""
        state = self.initial_state(len(x)) if state is None else state
        qkv, gate, ab = (F.linear(x, weight) for weight in self.in_proj.weight.split(self._splits()))
        history = state.conv.to(qkv.dtype)
        after = last_inputs(qkv, history)
        qkv = causal_convolution(qkv, history, self.conv.weight, self.conv.bias)
        y, S = chunked_delta(*self._prepared(qkv, ab, state.ssm.dtype), state.ssm)
        return self._output(y, gate), LayerState(after, S)

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """``forward`` for one token of each row, x (B, D) -> (B, D): the recurrence once."""
        qkv, gate, ab = F.linear(x, self.in_proj.weight).split(self._splits(), dim=-1)
        qkv, history = convolution_step(qkv, state.conv, self.conv.weight, self.conv.bias)
        y, S = delta_step(*self._prepared(qkv, ab, state.ssm.dtype), state.ssm)
        return self._output(y, gate), LayerState(history, S)

    def _splits(self) -> tuple[int, int, int]:
        return sum(self.config.widths), self.config.widths[2], 2 * self.config.n_heads

    def _prepared(self, qkv: Tensor, ab: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """q, k (..., H, N), v (..., H, P), log a and b (..., H) of the recurrence, in its precision."""
        parts = qkv.to(dtype).split(self.config.widths, dim=-1)
        q, k, v = (part.unflatten(-1, (self.config.n_heads, -1)) for part in parts)
        q, k = F.normalize(q, dim=-1, eps=1e-6) * self.config.head_dim**-0.5, F.normalize(k, dim=-1, eps=1e-6)
        a, b = ab.to(dtype).chunk(2, dim=-1)
        log_a = -torch.exp(self.A_log.to(dtype)) * F.softplus(a + self.dt_bias.to(dtype))
        return q, k, v, log_a, b.sigmoid()

    def _output(self, y: Tensor, gate: Tensor) -> Tensor:
        """What the heads read (..., H, P) and the gate (..., H P) -> (..., D)"""
        y = self.norm.forward(y.to(self.norm.weight.dtype)).flatten(-2)
        return F.linear(y.to(gate.dtype) * F.silu(gate), self.out_proj.weight)


class DeltaNet(Stack):
    """L Gated DeltaNet blocks; sequences of any length."""

    name = "deltanet"
    Config = DeltaNetConfig

    def __init__(self, config: DeltaNetConfig):
        super().__init__(config, [lambda: DeltaNetBlock(config)] * config.n_layers)
