"""Kernels of the selective scan and its convolution, for CPUs, in Numba; ``fused_scan`` calls them from PyTorch.

The idea is that of Mamba's CUDA kernel (Gu & Dao 2023, section 3.3.2). One pass over time does everything between two
matrix products: the softplus of dt, the decay, the state, the output, the direct path D and the gate. The states stay
in the processor's cache, and nothing of size B T E N is ever stored: the forward pass keeps those at the borders of
chunks, the backward pass computes the others anew, with gradients derived by hand. A register of W channels is worked
on at once (see ``simd``), so that sums over the N state elements stay in their lanes.

Work is cut into tasks, a sequence and some of its channels each, that share nothing. How it is cut does not depend on
the number of threads, and so neither does any result.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from pn_lib.models.cpu.simd import ONE, WIDTH, ZERO, exp2, fma, load, sigmoid, softplus, splat, spread, store, total

LN_2 = np.float32(np.log(2))
CHUNK = 16  # steps between two stored states: B E N T / 16 numbers, and scratch that stays in the L2 cache
GROUP = 8  # registers of channels that one task of the backward pass sums the gradients of B and C over


class Inputs(NamedTuple):
    """What both passes read. Sequences may be float32, or uint16 with the bits of bfloat16; the others are float32.

    "Blocked" stands for (E / W, N, W): what belongs to a register of W channels lies together.
    """

    x: np.ndarray  # (B, T, E)
    dt: np.ndarray  # (B, T, E), before the softplus where there is a dt_bias
    A: np.ndarray  # blocked; times log2(e), so that exp(dt A) is 2^(dt A)
    B: np.ndarray  # (B, T, N)
    C: np.ndarray  # (B, T, N)
    D: np.ndarray  # (E,)
    z: np.ndarray  # (B, T, E), or empty: no gate
    dt_bias: np.ndarray  # (E,), or empty: dt is the step size as it is


class Gradients(NamedTuple):
    """What the backward pass writes. What many steps or channels share comes in parts, zero at first, to be summed."""

    x: np.ndarray  # (B, T, E)
    dt: np.ndarray  # (B, T, E)
    A: np.ndarray  # (B, blocked)
    B: np.ndarray  # (groups, B, T, N)
    C: np.ndarray  # (groups, B, T, N)
    D: np.ndarray  # (B, E)
    z: np.ndarray  # (B, T, E), or empty
    dt_bias: np.ndarray  # (B, E)
    h: np.ndarray  # (B, blocked): comes as the gradient of the last state, leaves as that of the first


@njit
def step_size(p, b, t, e):
    """dt of a register of channels, and its derivative with respect to what was given."""
    v = load(p.dt, (b, t, e))
    if len(p.dt_bias) == 0:
        return v, splat(ONE)
    v = v + load(p.dt_bias, (e,))
    return softplus(v), sigmoid(v)


@njit
def advance(p, b, t, block, dt, x, before, after, decays):
    """One step of all N states of a register of channels, (N, W) each: h = a h + dt x B; returns C . h + D x."""
    u, y = dt * x, load(p.D, (block * WIDTH,)) * x
    for n in range(len(after)):
        a = exp2(dt * load(p.A, (block, n, 0)))
        h = fma(a, load(before, (n, 0)), u * spread(p.B, (b, t, n)))
        y = fma(spread(p.C, (b, t, n)), h, y)
        store(after, (n, 0), h)
        store(decays, (n, 0), a)
    return y


@njit(cache=True, parallel=True)
def scan_forward(p, h, borders, y, finite):
    """From the initial state h (B, blocked), which becomes the last, to y (B, T, E).

    ``borders`` (B, chunks, blocked) takes the state before each chunk, unless it has no chunks; ``finite`` (B, E / W)
    becomes zero, or NaN where a dt is NaN or infinite.
    """
    T, blocks = p.x.shape[1], len(p.A)
    for task in prange(len(h) * blocks):
        b, block = task // blocks, task % blocks
        e, state = block * WIDTH, h[b, block]
        decays = np.empty_like(state)
        watch = splat(ZERO)
        for t in range(T):
            if t % CHUNK == 0 and borders.shape[1] > 0:
                borders[b, t // CHUNK, block] = state
            dt, _ = step_size(p, b, t, e)
            watch = fma(dt, splat(ZERO), watch)  # stays 0, but for NaN and infinity
            out = advance(p, b, t, block, dt, load(p.x, (b, t, e)), state, state, decays)
            if len(p.z) > 0:
                z = load(p.z, (b, t, e))
                out = out * (z * sigmoid(z))
            store(y, (b, t, e), out)
        finite[b, block] = total(watch)


@njit(cache=True, parallel=True)
def scan_backward(p, borders, grad_y, g):
    """The gradients ``g`` of all inputs, from that of y (B, T, E) and of the last state, which g.h holds."""
    (T, N), groups = p.B.shape[1:], len(g.B)
    for task in prange(len(p.x) * groups):
        b, group = task // groups, task % groups
        decays = np.empty((CHUNK, N, WIDTH), np.float32)
        states = np.empty((CHUNK + 1, N, WIDTH), np.float32)
        rows = np.empty((3, CHUNK, WIDTH), np.float32)  # dt, its derivative, and the gradient before the gate
        sums = np.empty((2, CHUNK, N, WIDTH), np.float32)  # the gradients of B and C, lane by lane
        for start in range((T - 1) // CHUNK * CHUNK, -1, -CHUNK):
            steps = min(CHUNK, T - start)
            sums[:] = 0
            for block in range(group * GROUP, min(len(p.A), (group + 1) * GROUP)):
                states[0] = borders[b, start // CHUNK, block]
                recompute(p, b, start, steps, block, grad_y, g, decays, states, rows)
                sweep(p, b, start, steps, block, g, decays, states, rows, sums)
            gather(b, start, steps, group, g, sums)


@njit
def recompute(p, b, start, steps, block, grad_y, g, decays, states, rows):
    """A chunk forwards once more, its decays and states kept; and back through the gate y = out silu(z)."""
    e = block * WIDTH
    for k in range(steps):
        t = start + k
        dt, slope = step_size(p, b, t, e)
        out = advance(p, b, t, block, dt, load(p.x, (b, t, e)), states[k], states[k + 1], decays[k])
        grad = load(grad_y, (b, t, e))
        if len(p.z) > 0:
            z = load(p.z, (b, t, e))
            s = sigmoid(z)
            store(g.z, (b, t, e), grad * out * s * fma(z, splat(ONE) - s, splat(ONE)))
            grad = grad * (z * s)
        store(rows, (0, k, 0), dt)
        store(rows, (1, k, 0), slope)
        store(rows, (2, k, 0), grad)


@njit
def sweep(p, b, start, steps, block, g, decays, states, rows, sums):
    """A chunk backwards, with G = dL/dh_t = C_t dL/dy_t + a_{t+1} dL/dh_{t+1}; g.h carries the second part along."""
    e = block * WIDTH
    D, grad_D, grad_bias = load(p.D, (e,)), load(g.D, (b, e)), load(g.dt_bias, (b, e))
    for k in range(steps - 1, -1, -1):
        t = start + k
        dt, grad, x = load(rows, (0, k, 0)), load(rows, (2, k, 0)), load(p.x, (b, t, e))
        u, grad_u, grad_dt = dt * x, splat(ZERO), splat(ZERO)
        for n in range(len(g.h[b, block])):
            G = fma(spread(p.C, (b, t, n)), grad, load(g.h, (b, block, n, 0)))
            store(sums, (0, k, n, 0), fma(G, u, load(sums, (0, k, n, 0))))
            store(sums, (1, k, n, 0), fma(grad, load(states, (k + 1, n, 0)), load(sums, (1, k, n, 0))))
            grad_u = fma(G, spread(p.B, (b, t, n)), grad_u)
            G = G * load(decays, (k, n, 0))
            store(g.h, (b, block, n, 0), G)
            G = G * load(states, (k, n, 0))  # the gradient of log a = dt A
            grad_dt = fma(G, load(p.A, (block, n, 0)), grad_dt)
            store(g.A, (b, block, n, 0), fma(G, dt, load(g.A, (b, block, n, 0))))
        grad_dt = fma(grad_dt, splat(LN_2), grad_u * x) * load(rows, (1, k, 0))  # p.A is A log2(e)
        store(g.dt, (b, t, e), grad_dt)
        store(g.x, (b, t, e), fma(grad_u, dt, grad * D))
        grad_D, grad_bias = fma(grad, x, grad_D), grad_bias + grad_dt
    store(g.D, (b, e), grad_D)
    store(g.dt_bias, (b, e), grad_bias)


@njit
def gather(b, start, steps, group, g, sums):
    """The gradients of B and C of a chunk: of the channels of a group, the sums over the lanes."""
    for k in range(steps):
        for n in range(sums.shape[2]):
            g.B[group, b, start + k, n] = total(load(sums, (0, k, n, 0)))
            g.C[group, b, start + k, n] = total(load(sums, (1, k, n, 0)))


@njit
def convolve(x, history, weight, bias, b, t, e):
    """The causal convolution of a register of channels at step t: the K - 1 inputs before x are in ``history``."""
    past = len(weight) - 1
    y = load(bias, (e,))
    for k in range(past + 1):
        i = t - past + k
        y = fma(load(weight, (k, e)), load(x, (b, i, e)) if i >= 0 else load(history, (b, past + i, e)), y)
    return y


@njit(cache=True, parallel=True)
def convolution_forward(x, history, weight, bias, y):
    """x (B, T, E), history (B, K-1, E), weight (K, E), bias (E,) -> y = silu(convolution) (B, T, E)."""
    blocks = x.shape[2] // WIDTH
    for task in prange(len(x) * blocks):
        b, e = task // blocks, task % blocks * WIDTH
        for t in range(x.shape[1]):
            s = convolve(x, history, weight, bias, b, t, e)
            store(y, (b, t, e), s * sigmoid(s))


@njit(cache=True, parallel=True)
def convolution_backward(x, history, weight, bias, grad_y, grad_x, grad_history, grad_weight, grad_bias):
    """Gradients as the inputs, but weight (B, K, E) and bias (B, E) in parts, to be summed over B."""
    T, blocks, past = x.shape[1], x.shape[2] // WIDTH, len(weight) - 1
    for task in prange(len(x) * blocks):
        b, e = task // blocks, task % blocks * WIDTH
        grads = np.zeros((past + T + past, WIDTH), np.float32)  # of the sums before silu; zeros on both sides
        total_bias = splat(ZERO)
        for t in range(T):
            s = convolve(x, history, weight, bias, b, t, e)
            sigma = sigmoid(s)
            grad = load(grad_y, (b, t, e)) * sigma * fma(s, splat(ONE) - sigma, splat(ONE))
            store(grads, (past + t, 0), grad)
            total_bias = total_bias + grad
        store(grad_bias, (b, e), total_bias)
        for k in range(past + 1):
            convolution_weight(x, history, grads, grad_weight, b, k, e)
        for i in range(-past, T):  # an input counts for its own step and the K - 1 after it
            grad = splat(ZERO)
            for k in range(past + 1):
                grad = fma(load(weight, (k, e)), load(grads, (i + 2 * past - k, 0)), grad)
            if i >= 0:
                store(grad_x, (b, i, e), grad)
            else:
                store(grad_history, (b, past + i, e), grad)


@njit
def convolution_weight(x, history, grads, grad_weight, b, k, e):
    past = history.shape[1]
    grad = splat(ZERO)
    for t in range(x.shape[1]):
        i = t - past + k
        grad = fma(load(grads, (past + t, 0)), load(x, (b, i, e)) if i >= 0 else load(history, (b, past + i, e)), grad)
    store(grad_weight, (b, k, e), grad)
