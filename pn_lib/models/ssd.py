"""State-space duality, the heart of Mamba-2: one map from x to y, as a recurrence and as masked attention.

Dao & Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality"
(2024). A head has P channels, each with N state elements; unlike in Mamba all of them share one decay, and all heads
share B and C. For every head, with the state h_t a matrix (P, N):

    h_t = a_t h_{t-1} + dt_t x_t B_t^T,        y_t = h_t C_t + D x_t,        a_t = exp(dt_t A)

Three ways to compute it, equal in values and gradients:

- ``recurrent_ssd`` is the oracle: the equations as they stand.
- ``masked_ssd`` is the dual form (section 3.2): y = (L o C B^T) (dt x), where L_ts = a_t a_{t-1} ... a_{s+1} decays
  what position t sees of s. It is attention without the softmax, under a mask that forgets; all T x T of it.
- ``chunked_ssd`` is what trains (section 6, listing 1): the dual form inside chunks of ``CHUNK`` steps, the recurrence
  between them. Its work is matrix products, and grows with T, not T^2.

Letters: B batch, T steps, H heads, P channels a head, N state elements a channel; Q steps a chunk, K chunks.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pn_lib.errors import InputError

CHUNK = 64  # Q; measured at H = 4, P = 64, N = 64
SEGMENT = 1024  # tokens worked on at once: few enough for what is computed of them to stay in a CPU's cache


def recurrent_ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """One step after another; arguments and results as of ``chunked_ssd``, autograd differentiates."""
    ys = []
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        y_t, h = ssd_step(x_t, dt_t, A, B_t, C_t, D, h)
        ys.append(y_t)
    return torch.stack(ys, dim=1), h


def ssd_step(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The equations once: x (B, H, P), dt (B, H), B and C (B, N), h (B, H, P, N) -> y (B, H, P) and the next h."""
    a = torch.exp(dt * A)
    h = a[..., None, None] * h + (dt[..., None] * x)[..., None] * B[:, None, None, :]
    return (h @ C[:, None, :, None]).squeeze(-1) + D[:, None] * x, h


def masked_ssd(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """y from an empty state, as one product with a masked matrix for each head; arguments as of ``chunked_ssd``."""
    L = decay_mask((dt * A).mT)  # (B, H, T, T)
    M = L * (C @ B.mT)[:, None]
    return torch.einsum("bhts,bshp->bthp", M, dt[..., None] * x) + D[:, None] * x


def decay_mask(log_a: Tensor) -> Tensor:
    """log a (..., T) -> L (..., T, T): L_ts = a_t a_{t-1} ... a_{s+1} for s <= t (1 on the diagonal), otherwise 0."""
    total = log_a.cumsum(-1)
    below = (total[..., :, None] - total[..., None, :]).tril()  # before exp: above the diagonal it might overflow
    return below.exp().tril()


def chunked_ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, h: Tensor, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """The map by matrix products, its gradient written by hand.

    Args:
        x: (B, T, H, P).
        dt: step sizes, (B, T, H), not below zero.
        A: decay rates, (H,), not above zero.
        B, C: how each step writes to the state and reads it, (B, T, N).
        D: weight of the direct path from x to y, (H,).
        h: the state before the first step, (B, H, P, N).
        chunk: steps in a chunk, Q.

    x, B and C may be bfloat16, in which their products then are; the others are float32 (or float64), and so are the
    decays and states inside.

    Returns:
        y (B, T, H, P), of the type of x, and the state after the last step. Gradients flow to every argument.

    Raises:
        InputError: dt is NaN or infinite: the model has diverged.
    """
    if not dt.isfinite().all():
        raise InputError("dt holds NaN or infinity: the model has diverged; lower the learning rate")
    length = x.shape[1]
    Q = min(chunk, length)
    missing = -length % Q
    if missing:  # steps of size 0 neither decay nor write
        x, dt, B, C = (F.pad(v, (0, 0) * (v.ndim - 2) + (0, missing)) for v in (x, dt, B, C))
    with torch.autocast(x.device.type, enabled=False):
        y, h = _ChunkedSSD.apply(x, dt, A, B, C, D, h, Q)
    return (y[:, :length] if missing else y), h


class _ChunkedSSD(torch.autograd.Function):
    """In a chunk that begins with the state h, u = dt x, and l_t the sum of log a up to t from the chunk's beginning:

        y_t = sum_{s <= t} (C_t . B_s) e^(l_t - l_s) u_s  +  e^(l_t) h C_t  +  D x_t
        h'  = e^(l_Q) h  +  sum_s e^(l_Q - l_s) u_s B_s^T

    l_t scales all of y_t but D x_t, -l_s all that u_s adds to anything, l_Q all of h'. So the gradient of l_t is
    grad y_t . (y_t - D x_t) - grad u_t . u_t, at t = Q plus grad h' . h': the mask need not be differentiated.

    The chunks of a segment are worked on at once; only y and the states between segments are kept, and the backward
    pass recomputes masks and states.
    """

    @staticmethod
    def forward(ctx, x, dt, A, B, C, D, h, Q):
        y, borders, segments = torch.empty_like(x, dtype=A.dtype), [], _segments(x, Q)
        for steps in segments:
            borders.append(h)
            s = _Segment(x[:, steps], dt[:, steps], A, B[:, steps], C[:, steps], h, Q)
            read = (s.C @ s.starts.mT.to(x.dtype)).view_as(s.u)
            y_ = torch.addcmul(_by_head(s.M, s.u), read, s.since[..., None])
            y[:, steps] = _steps(y_.addcmul_(s.x, D[:, None]), len(x))
            h = s.last
        ctx.save_for_backward(x, dt, A, B, C, D, y, *borders)  # y not yet rounded: the gradient of l is a difference
        ctx.Q, ctx.segments = Q, segments
        return y.to(x.dtype), h

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y, grad_h):
        x, dt, A, B, C, D, y, *borders = ctx.saved_tensors
        grad_x, grad_dt, grad_B, grad_C = (torch.empty_like(v) for v in (x, dt, B, C))
        grad_A, grad_D = torch.zeros_like(A), torch.zeros_like(D)
        for steps, h in reversed(list(zip(ctx.segments, borders, strict=True))):
            s = _Segment(x[:, steps], dt[:, steps], A, B[:, steps], C[:, steps], h, ctx.Q)
            grad, y_ = (_chunks(v[:, steps], ctx.Q) for v in (grad_y, y))
            read = _scaled(grad, s.since)  # (BK, Q, H P)
            grad_ends, grad_h = _carry_back(read.mT @ s.C, s.since[:, -1], grad_h)
            grad_S = sum(s.L[i] * (grad[:, :, i] @ s.u[:, :, i].mT) for i in range(len(A))).to(x.dtype)
            grad_C[:, steps] = _steps(torch.baddbmm(grad_S @ s.B, read, s.starts.to(x.dtype)), len(x))
            write = torch.baddbmm(grad_S.mT @ s.C, _scaled(s.u, s.until), grad_ends.to(x.dtype))
            grad_B[:, steps] = _steps(write, len(x))
            passed = (s.B @ grad_ends.mT.to(x.dtype)).view_as(s.u)
            grad_u = torch.addcmul(_by_head(s.M.mT, grad), passed, s.until[..., None])
            from_u, direct = (grad_u * s.x).sum(-1, dtype=A.dtype), (grad * s.x).sum(-1, dtype=A.dtype)
            grad_l = (grad * y_).sum(-1, dtype=A.dtype) - D * direct - from_u * s.dt
            grad_l[:, -1] += (grad_ends * s.ends).unflatten(1, (len(A), -1)).sum((2, 3))
            grad_a = grad_l.flip(1).cumsum(1).flip(1)  # of log a: it counts in all l that follow
            grad_A += (s.dt * grad_a).sum((0, 1))
            grad_D += direct.sum((0, 1))
            grad_dt[:, steps] = _steps(from_u + grad_a * A, len(x))
            grad_x[:, steps] = _steps(torch.addcmul(grad_u * s.dt[..., None], grad, D[:, None]), len(x))
        return grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_h, None


class _Segment:
    """What both passes need of some chunks: inputs (BK, Q, ...), decays, masked products and states."""

    def __init__(self, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor, Q: int):
        self.x, self.dt, self.B, self.C = (_chunks(v, Q) for v in (x, dt, B, C))
        self.u = (self.x * self.dt[..., None]).to(x.dtype)
        log_a = self.dt * A
        total = log_a.cumsum(1)  # l, (BK, Q, H)
        self.since, self.until = total.exp(), (total[:, -1:] - total).exp()  # e^(l_t), e^(l_Q - l_t)
        self.L = decay_mask(log_a.permute(2, 0, 1))  # (H, BK, Q, Q)
        self.M = (self.L * (self.C @ self.B.mT)).to(x.dtype)
        written = _scaled(self.u, self.until).mT @ self.B  # (BK, H P, N)
        self.starts, self.ends = _carry(written, self.since[:, -1], h)
        self.last = self.ends.view(len(h), -1, *h.shape[1:])[:, -1].clone()  # not a view, which would keep them all


def _segments(x: Tensor, Q: int) -> list[slice]:
    """Steps of whole chunks that, all rows together, have about ``SEGMENT`` tokens."""
    length = max(1, SEGMENT // (len(x) * Q)) * Q
    return [slice(start, min(start + length, x.shape[1])) for start in range(0, x.shape[1], length)]


def _chunks(v: Tensor, Q: int) -> Tensor:
    """(B, T, ...) -> (BK, Q, ...)"""
    return v.unflatten(1, (-1, Q)).flatten(0, 1)


def _steps(v: Tensor, batch: int) -> Tensor:
    """(BK, Q, ...) -> (B, T, ...)"""
    return v.unflatten(0, (batch, -1)).flatten(1, 2)


def _scaled(v: Tensor, factor: Tensor) -> Tensor:
    """v (BK, Q, H, P) times factor (BK, Q, H), in the precision of v -> (BK, Q, H P)"""
    return (v * factor[..., None]).to(v.dtype).flatten(2)


def _by_head(M: Tensor, v: Tensor) -> Tensor:
    """M (H, BK, Q, Q) applied to v (BK, Q, H, P), head by head, with no copy of v -> (BK, Q, H, P), a view."""
    y = v.new_empty(len(M), len(v), v.shape[1], v.shape[3])
    for i in range(len(M)):
        torch.bmm(M[i], v[:, :, i], out=y[i])
    return y.permute(1, 2, 0, 3)


def _carry(written: Tensor, decay: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """What chunks write to the state (BK, H P, N), how far they decay it (BK, H), and the first state (B, H, P, N) ->
    the states before and after each chunk, (BK, H P, N) each."""
    written, decay = written.to(h.dtype).view(len(h), -1, *h.shape[1:]), decay.view(len(h), -1, h.shape[1], 1, 1)
    starts, ends = torch.empty_like(written), torch.empty_like(written)
    for k in range(written.shape[1]):
        starts[:, k] = h
        h = torch.addcmul(written[:, k], decay[:, k], h, out=ends[:, k])
    return starts.flatten(0, 1).flatten(1, 2), ends.flatten(0, 1).flatten(1, 2)


def _carry_back(read: Tensor, decay: Tensor, grad_h: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the states before each chunk that come from its own outputs (BK, H P, N), and of the last state
    -> of the states after each chunk (BK, H P, N), and of the first (B, H, P, N)."""
    read, decay = read.view(len(grad_h), -1, *grad_h.shape[1:]), decay.view(len(grad_h), -1, grad_h.shape[1], 1, 1)
    ends = torch.empty_like(read, dtype=grad_h.dtype)
    for k in reversed(range(read.shape[1])):
        ends[:, k] = grad_h
        grad_h = torch.addcmul(read[:, k].to(grad_h.dtype), decay[:, k], grad_h)
    return ends.flatten(0, 1).flatten(1, 2), grad_h
