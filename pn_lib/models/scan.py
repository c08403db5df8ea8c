"""The selective scan at the heart of Mamba: one contract, several ways to compute it (``METHODS``).

Gu & Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023), eq. 2a and 2b, for every
channel e and each of its N state elements:

    h_t = a_t h_{t-1} + b_t x_t,        y_t = C_t . h_t + D x_t

with the discretised  a_t = exp(dt_t A)  (zero-order hold, eq. 4) and  b_t = dt_t B_t.  The paper's eq. 4 has
zero-order hold for B too; its code, and every Mamba trained with it, uses this simpler Euler step, and so do we.

The recurrence is written down once for each thing that the others cannot do:

- ``reference_scan`` is the oracle: the equations as they stand. Values and gradients of the other methods are tested
  against it; it is too slow to train with.
- ``chunked_scan`` runs wherever PyTorch does, on a GPU and in float64 too, with its gradient written by hand.
- ``cpu.scan_kernels`` is one pass in Numba, for float32 on a CPU, and the fastest there; ``auto`` takes it.
- ``MambaBlock.step`` (``mamba``) is a single step, of which decoding takes one for each token; with the next one it is
  tested against ``forward``.
- ``scan_row`` (``cpu.decoding_kernels``) is that step inside the kernel that decodes with a whole model at once.

``mamba-ssm`` is the paper's own kernel, for whoever has it installed; nothing here depends on it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.cpu.availability import why_no_kernels

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
    method: str = "auto",
    *,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence over T steps; the state is in the precision of A, even under autocast.

    Args:
        x, dt: inputs and their step sizes (>= 0), (B, T, E).
        A: decay rates, not above zero, (E, N).
        B, C: how each step writes to the state and reads it, (B, T, N).
        D: weight of the direct path from x to y, (E,).
        initial_state: h before the first step, (B, E, N); zeros when None.
        method: a key of ``METHODS``, or ``auto``, see ``choose_method``.
        z: a gate (B, T, E): y is multiplied by silu(z).
        dt_bias: (E,): the step size is then softplus(dt + dt_bias).

    A, D, initial_state and dt_bias are all float32 or all float64; x, dt, B, C and z are that too, or bfloat16.

    Returns:
        y (B, T, E), of the type of x, and the state after the last step (B, E, N). A sequence cut in two, the state
        carried over, gives the same as the whole. Gradients flow to every argument.

    Raises:
        InputError: unknown method, or one that cannot run here; shapes or types that do not fit (a recurrence over
            hundreds of steps loses too much in bfloat16); A above zero; NaN or infinite dt.
    """
    if method != "auto" and method not in METHODS:
        raise InputError(f"unknown scan method {method!r}; known are auto, {', '.join(METHODS)}")
    state = x.new_zeros(x.shape[0], *A.shape, dtype=A.dtype) if initial_state is None else initial_state
    _check(x=x, dt=dt, A=A, B=B, C=C, D=D, initial_state=state, z=z, dt_bias=dt_bias)
    method = choose_method(x.device, A.dtype) if method == "auto" else method
    with torch.autocast(x.device.type, enabled=False):
        return METHODS[method](x, dt, A, B, C, D, state, z, dt_bias)


def choose_method(device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """What ``auto`` means: ``fused`` in float32 on a CPU where Numba is installed, otherwise ``torch``."""
    return "fused" if device.type == "cpu" and dtype == torch.float32 and not why_no_kernels() else "torch"


def _check(**tensors: Tensor | None) -> None:
    x, A = tensors["x"], tensors["A"]
    if x.ndim != 3 or A.ndim != 2 or 0 in x.shape:
        raise InputError(f"the scan takes x (B, T, E) and A (E, N), not {tuple(x.shape)} and {tuple(A.shape)}")
    (batch, length, channels), n = x.shape, A.shape[1]
    sequence, projection, channel = (batch, length, channels), (batch, length, n), (channels,)
    shapes = {
        "x": sequence,
        "dt": sequence,
        "A": (channels, n),
        "B": projection,
        "C": projection,
        "D": channel,
        "initial_state": (batch, channels, n),
        "z": sequence,
        "dt_bias": channel,
    }
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.shape != shapes[name]:
            raise InputError(f"the scan's {name} must have shape {shapes[name]}, not {tuple(tensor.shape)}")
        if tensor.device != x.device:
            raise InputError(f"the scan's {name} is on {tensor.device}, x on {x.device}: move them to one device")
        short = tensor.dtype == torch.bfloat16 and name in ("x", "dt", "B", "C", "z")
        if A.dtype not in (torch.float32, torch.float64) or not (tensor.dtype == A.dtype or short):
            raise InputError(
                f"the scan works in float32 or float64, with sequences in bfloat16 at most; {name} is "
                f"{tensor.dtype}, A {A.dtype}"
            )
    if (A > 0).any():
        raise InputError("the scan's A holds a rate above zero, or NaN: the state would grow without end")
    if tensors["dt_bias"] is None and not (tensors["dt"] >= 0).all():
        raise InputError("the scan's dt holds NaN or a negative step; pass dt_bias for the softplus to be applied")


def _plain(core: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    """A method from a function of (x, dt, A, B, C, h): what surrounds the recurrence, by PyTorch's own operations."""

    def method(x, dt, A, B, C, D, h, z, dt_bias):
        wide, dt, B, C = (v.to(A.dtype) for v in (x, dt, B, C))
        dt = dt if dt_bias is None else F.softplus(dt + dt_bias)
        if not torch.isfinite(dt).all():
            raise InputError("the scan's dt holds NaN or infinity: the model has diverged; lower the learning rate")
        y, h = core(wide, dt, A, B, C, h)
        y = y + D * wide
        return (y if z is None else y * F.silu(z.to(A.dtype))).to(x.dtype), h

    return method


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


def fused_method(x, dt, A, B, C, D, h, z, dt_bias):
    """All of it in one kernel, on a CPU; see ``cpu.fused_scan`` and ``cpu.scan_kernels``."""
    if not (x.is_cpu and A.dtype == torch.float32):
        raise InputError(f"the fused scan works on a CPU in float32, not on {x.device} in {A.dtype}; take 'torch'")
    if why_no_kernels():
        raise InputError(f"the fused scan cannot run here ({why_no_kernels()}); pip install numba, or take 'torch'")
    from pn_lib.models.cpu.fused_scan import fused_scan

    return fused_scan(x, dt, A, B, C, D, h, z, dt_bias)


def cuda_method(x, dt, A, B, C, D, h, z, dt_bias):
    """The paper's own kernel, from the package mamba-ssm, on a GPU; from an empty state only, which is all it takes."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError as error:
        raise InputError(f"the scan 'mamba-ssm' needs the package of that name ({error}); take 'torch'") from None
    if not x.is_cuda or A.dtype != torch.float32 or h.any():
        raise InputError("mamba-ssm's scan works on a GPU, in float32, from an empty state; take 'torch'")
    x, dt, B, C, z = (None if v is None else v.to(x.dtype).mT.contiguous() for v in (x, dt, B, C, z))
    y, h = selective_scan_fn(x, dt, A, B, C, D, z, dt_bias, dt_bias is not None, return_last_state=True)
    return y.mT, h


# A method takes what selective_scan does, all checked, and returns y and the last state.
METHODS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "reference": _plain(reference_scan),
    "torch": _plain(chunked_scan),
    "fused": fused_method,
    "mamba-ssm": cuda_method,
}
