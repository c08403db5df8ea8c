"""The selective scan at the heart of Mamba: one contract, several ways to compute it (``METHODS``).

Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), eq. 2a and 2b, for every
channel e and each of its N state elements:

    h_t = a_t h_{t-1} + b_t x_t,        y_t = C_t . h_t + D x_t

with the discretised  a_t = exp(dt_t A)  (zero-order hold, eq. 4) and  b_t = dt_t B_t.  The paper's eq. 4 has
zero-order hold for B too; its code, and every Mamba trained with it, uses this simpler Euler step, and so do we.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pn_lib.errors import InputError

# Steps that are worked on at once: few enough for their states to stay in a CPU's cache, enough to spread the cost of
# starting an operation. Measured at B=16, E=256, N=16: 4 and 8 are equally fast, 16 and 32 up to twice as slow.
CHUNK = 8


def selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    initial_state: Tensor | None = None,
    method: str = "torch",
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over T steps, in the inputs' own precision even under autocast.

    Args:
        x, dt: inputs and their step sizes (> 0), (B, T, E).
        A: negative decay rates, (E, N).
        B, C: how each step writes to the state and reads it, (B, T, N).
        D: weight of the direct path from x to y, (E,).
        initial_state: h before the first step, (B, E, N); zeros when None.
        method: a key of ``METHODS``.

    Returns:
        y (B, T, E) and the state after the last step (B, E, N). A sequence cut in two, the state carried over, gives
        the same as the whole. Gradients flow to every argument.

    Raises:
        InputError: unknown method; shapes that do not fit; anything but one of float32 and float64 throughout (a
            recurrence over hundreds of steps loses too much in bfloat16); NaN or infinite dt.
    """
    if method not in METHODS:
        raise InputError(f"unknown scan method {method!r}; known are {', '.join(METHODS)}")
    if initial_state is None:
        initial_state = x.new_zeros(x.shape[0], *A.shape)
    _check(x=x, dt=dt, A=A, B=B, C=C, D=D, initial_state=initial_state)
    with torch.autocast(x.device.type, enabled=False):
        y, state = METHODS[method](x, dt, A, B, C, initial_state)
    return y + D * x, state


def _check(**tensors: Tensor) -> None:
    x, A = tensors["x"], tensors["A"]
    if x.ndim != 3 or A.ndim != 2 or 0 in x.shape:
        raise InputError(f"the scan takes x (B, T, E) and A (E, N), not {tuple(x.shape)} and {tuple(A.shape)}")
    (batch, length, channels), n = x.shape, A.shape[1]
    sequence, projection = (batch, length, channels), (batch, length, n)
    shapes = {"x": sequence, "dt": sequence, "A": (channels, n), "B": projection, "C": projection, "D": (channels,)}
    for name, shape in {**shapes, "initial_state": (batch, channels, n)}.items():
        if tensors[name].shape != shape:
            raise InputError(f"the scan's {name} must have shape {shape}, not {tuple(tensors[name].shape)}")
        if tensors[name].dtype not in (torch.float32, torch.float64) or tensors[name].dtype != x.dtype:
            raise InputError(f"the scan works in float32 or float64; {name} is {tensors[name].dtype}, x {x.dtype}")
    if not torch.isfinite(tensors["dt"]).all():
        raise InputError("the scan's dt holds NaN or infinity: the model has diverged; lower the learning rate")


def reference_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The equations as they stand, one step after another; autograd differentiates. The oracle of all others."""
    ys = []
    # unbind, never x[:, t]: the backward of each such index fills a zero tensor as large as x, which makes the whole
    # backward O(T^2); the backward of unbind is one stack.
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        a_t = torch.exp(dt_t[:, :, None] * A)  # (B, E, N)
        h = a_t * h + (dt_t * x_t)[:, :, None] * B_t[:, None, :]
        ys.append((h * C_t[:, None, :]).sum(-1))  # (B, E)
    return torch.stack(ys, dim=1), h


def chunked_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The same in chunks of ``CHUNK`` steps with the gradient written by hand; see ``_ChunkedScan``."""
    return _ChunkedScan.apply(x, dt, A, B, C, h)


class _ChunkedScan(torch.autograd.Function):
    """Only the states between chunks are kept, B·E·N·T/CHUNK numbers; the backward pass recomputes those within.

    Inside a chunk of K steps the tensors are time-major, (K, B, N, E): each step is one contiguous block, and the
    broadcasts run along E, the longest axis. All but the recurrence itself is done for K steps at once.
    """

    @staticmethod
    def forward(ctx, x, dt, A, B, C, h):
        A, h, y, boundaries = A.mT.contiguous(), h.mT.contiguous(), torch.empty_like(x), []
        for steps in _chunks(x.shape[1]):
            x_, dt_, B_, C_ = _time_major(steps, x, dt, B, C)
            boundaries.append(h)
            _, H = _states(dt_, dt_ * x_, A, B_, h)
            y[:, steps] = (C_[:, :, None, :] @ H[1:]).squeeze(2).transpose(0, 1)
            h = H[-1].clone()  # not a view, which would keep the whole chunk alive
        ctx.save_for_backward(x, dt, A, B, C, *boundaries)
        return y, h.mT.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y, grad_h):
        """With g_t = dL/dh_t = C_t grad_y_t + a_{t+1} g_{t+1}, the same recurrence backwards in time."""
        x, dt, A, B, C, *boundaries = ctx.saved_tensors
        grad_x, grad_dt, grad_B, grad_C = (torch.empty_like(v) for v in (x, dt, B, C))
        grad_A, carry = torch.zeros_like(A), grad_h.mT.contiguous()  # (N, E), (B, N, E)
        with torch.autocast(x.device.type, enabled=False):
            for steps, h in reversed(list(zip(_chunks(x.shape[1]), boundaries, strict=True))):
                x_, dt_, B_, C_, grad_y_ = _time_major(steps, x, dt, B, C, grad_y)
                u = dt_ * x_
                a, H = _states(dt_, u, A, B_, h)
                G, carry = _state_gradients(a, grad_y_, C_, carry)
                # A vector times a transposed matrix: the same product as matrix times vector, and 8 times as fast.
                grad_C[:, steps] = (grad_y_[:, :, None, :] @ H[1:].mT).squeeze(2).transpose(0, 1)
                grad_B[:, steps] = (u[:, :, None, :] @ G.mT).squeeze(2).transpose(0, 1)
                grad_u = (B_[:, :, None, :] @ G).squeeze(2)  # (K, B, E)
                grad_log_a = G.mul_(a).mul_(H[:-1])  # log a = dt A
                grad_dt_ = torch.mul(grad_log_a, A, out=a).sum(2)
                grad_dt[:, steps] = grad_dt_.addcmul_(grad_u, x_).transpose(0, 1)
                grad_x[:, steps] = grad_u.mul_(dt_).transpose(0, 1)
                grad_A += grad_log_a.mul_(dt_[:, :, None, :]).sum((0, 1))
        return grad_x, grad_dt, grad_A.mT, grad_B, grad_C, carry.mT


def _chunks(length: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, length, CHUNK)]


def _time_major(steps: slice, *tensors: Tensor) -> list[Tensor]:
    """(B, T, ...) -> (K, B, ...) for the K steps of a chunk."""
    return [v[:, steps].transpose(0, 1).contiguous() for v in tensors]


def _states(dt: Tensor, u: Tensor, A: Tensor, B: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """dt, u = dt x (K, B, E), B (K, B, N), h (B, N, E) -> decays (K, B, N, E), h and states (K+1, B, N, E)."""
    # 2^(z log2 e) = e^z, to the same accuracy; on x86 builds of PyTorch exp2 is three to four times as fast as exp.
    decays = torch.mul(dt[:, :, None, :], A * math.log2(math.e)).exp2_()
    states = torch.empty(len(dt) + 1, *h.shape, dtype=h.dtype, device=h.device)
    states[0] = h
    torch.mul(B[:, :, :, None], u[:, :, None, :], out=states[1:])
    previous, *rest = states.unbind(0)
    for decay, state in zip(decays.unbind(0), rest, strict=True):
        previous = state.addcmul_(decay, previous)
    return decays, states


def _state_gradients(decays: Tensor, grad_y: Tensor, C: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
    """g_t for the steps of a chunk (K, B, N, E), and what the chunk before it receives, a_1 g_1 (B, N, E)."""
    gradients = torch.mul(C[:, :, :, None], grad_y[:, :, None, :])
    gradients[-1] += carry
    *earlier, later = gradients.unbind(0)
    first, *decays_after = decays.unbind(0)
    for gradient, decay in zip(reversed(earlier), reversed(decays_after), strict=True):
        later = gradient.addcmul_(decay, later)
    return gradients, first * later


# A method takes (x, dt, A, B, C, initial_state), all checked, and returns y without D's part, and the last state.
METHODS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"reference": reference_scan, "torch": chunked_scan}
