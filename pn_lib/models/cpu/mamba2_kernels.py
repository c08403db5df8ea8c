"""Kernels of a Mamba-2 layer, all between its two projections, for float32 on CPUs; ``fused_mamba2`` calls them.

A sequence is worked off chunk by chunk: the convolution and its silu, the softplus of dt, the duality
(``ssd_kernels``), the gate and the norm, all while the chunk is in the processor's cache. Kept for the backward pass
are the states between chunks and y before the gate; it computes the rest again, in reverse order.

A task is a sequence, whatever the number of threads, so that no result depends on that.
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from pn_lib.models.cpu.simd import ONE, WIDTH, ZERO, fma, load, sigmoid, softplus, splat, store, total
from pn_lib.models.cpu.ssd_kernels import (
    CHUNK,
    head_backward,
    head_forward,
    make_chunk,
    make_room,
    projections_backward,
    score,
)

LOG2_E = np.float32(np.log2(np.e))


class Inputs(NamedTuple):
    """What both passes read."""

    projected: np.ndarray  # (B, T, 2 E + 2 N + H): the gate z; x, B and C before their convolution; dt before its bias
    history: np.ndarray  # (B, K-1, E + 2 N), the inputs of the convolution before the first step
    weight: np.ndarray  # (K, E + 2 N)
    bias: np.ndarray  # (E + 2 N,)
    dt_bias: np.ndarray  # (H,)
    A: np.ndarray  # (H,)
    D: np.ndarray  # (H,)
    gain: np.ndarray  # (E,), of the norm
    eps: np.float32


class Gradients(NamedTuple):
    """What the backward pass writes. What all sequences share comes in parts, zero at first, to be summed over B."""

    projected: np.ndarray
    history: np.ndarray
    weight: np.ndarray  # (B, K, E + 2 N)
    bias: np.ndarray  # (B, E + 2 N)
    dt_bias: np.ndarray  # (B, H)
    A: np.ndarray  # (B, H)
    D: np.ndarray  # (B, H)
    gain: np.ndarray  # (B, E)
    h: np.ndarray  # (B, H, N, P): comes as the gradient of the last state, leaves as that of the first


@njit(cache=True, parallel=True)
def mamba2_forward(p, states, y, out, finite):
    """y before the gate, and ``out``, gated and normed, (B, T, E) each.

    ``states`` (B, S, H, N, P) holds the first state, and takes the k-th, before chunk k, at k modulo S: all of them
    where S is one more than there are chunks, the last two where it is two. ``finite`` (B,) becomes zero, or NaN where
    a dt is NaN or infinite.
    """
    heads, N, P = states.shape[2:]
    for b in prange(len(states)):
        c, ring = make_chunk(heads, P, N, p.history.shape[1]), states.shape[1]
        finite[b] = ZERO
        for k in range((y.shape[1] + CHUNK - 1) // CHUNK):
            begin = k * CHUNK
            steps = min(CHUNK, y.shape[1] - begin)
            convolve_chunk(p, c, b, begin, steps)
            finite[b] += rates(p, c, b, begin, steps)
            score(c)
            for head in range(heads):
                head_forward(c, head, p.D[head], states[b, k % ring, head], states[b, (k + 1) % ring, head])
                put(c.y, y, b, begin, steps, head * P)
            gate(p, b, begin, steps, y, out)


@njit(cache=True, parallel=True)
def mamba2_backward(p, states, y, grad_out, g):
    """The gradients ``g`` of all inputs from those of ``out`` and of the last state, which g.h holds."""
    heads, N, P = states.shape[2:]
    for b in prange(len(states)):
        c, r = make_chunk(heads, P, N, p.history.shape[1]), make_room(heads, P, N, p.history.shape[1])
        for k in range(states.shape[1] - 2, -1, -1):
            begin = k * CHUNK
            steps = min(CHUNK, y.shape[1] - begin)
            convolve_chunk(p, c, b, begin, steps)
            rates(p, c, b, begin, steps)
            score(c)
            ungate(p, b, begin, steps, y, grad_out, g, r)
            r.scores[:], r.BT[:], r.CT[:] = ZERO, ZERO, ZERO
            for head in range(heads):
                ends = head_backward(c, r, head, states[b, k, head], states[b, k + 1, head], g.h[b, head])
                rates_backward(p, c, r, g, b, begin, steps, head, ends)
            projections_backward(c, r)
            unconvolve(p, c, r, g, b, begin, steps)


@njit
def put(part, y, b, begin, steps, first):
    """Rows of a chunk to their place in a sequence, y (B, T, .), from column ``first`` on."""
    for t in range(steps):
        for i in range(0, part.shape[1], WIDTH):
            store(y, (b, begin + t, first + i), load(part, (t, i)))


@njit
def convolve_chunk(p, c, b, begin, steps):
    """x, B and C of a chunk, and the slopes of their silu; zero beyond its ``steps``."""
    projected, history, inputs = p.projected, p.history, c.inputs
    first, past = len(p.gain), history.shape[1]
    for t in range(steps + past):
        i = begin + t - past
        for e in range(0, inputs.shape[1], WIDTH):
            store(inputs, (t, e), load(projected, (b, i, first + e)) if i >= 0 else load(history, (b, past + i, e)))
    inputs[steps + past :] = ZERO
    E, N = c.x.shape[1], c.B.shape[1]
    convolve(p, c, steps, 0, c.x)
    convolve(p, c, steps, E, c.B)
    convolve(p, c, steps, E + N, c.C)


@njit
def convolve(p, c, steps, first, y):
    """``convolve_chunk`` of the channels from ``first`` on, as many as y (Q, .) has; four steps share a weight."""
    weight, bias, inputs, slopes = p.weight, p.bias, c.inputs, c.slopes
    for column in range(0, y.shape[1], WIDTH):
        e = first + column
        for t in range(0, CHUNK, 4):
            s0 = s1 = s2 = s3 = load(bias, (e,))
            for k in range(len(weight)):
                w = load(weight, (k, e))
                s0, s1 = fma(w, load(inputs, (t + k, e)), s0), fma(w, load(inputs, (t + 1 + k, e)), s1)
                s2, s3 = fma(w, load(inputs, (t + 2 + k, e)), s2), fma(w, load(inputs, (t + 3 + k, e)), s3)
            put_silu(s0, y, slopes, t, column, e)
            put_silu(s1, y, slopes, t + 1, column, e)
            put_silu(s2, y, slopes, t + 2, column, e)
            put_silu(s3, y, slopes, t + 3, column, e)
    y[steps:] = ZERO
    slopes[steps:, first : first + y.shape[1]] = ZERO


@njit
def put_silu(s, y, slopes, t, column, e):
    sigma = sigmoid(s)
    v = s * sigma
    store(y, (t, column), v)
    store(slopes, (t, e), fma(v, splat(ONE) - sigma, sigma))


@njit
def rates(p, c, b, begin, steps):
    """dt of a chunk, the slope of its softplus, and the sums of log a. Zero, or NaN where a dt is no number."""
    projected, bias, A, dt, slope, l = p.projected, p.dt_bias, p.A, c.dt, c.dt_slope, c.l  # noqa: E741
    first, watch = projected.shape[2] - len(A), ZERO
    for head in range(len(A)):
        for t in range(CHUNK):
            dt[head, t] = projected[b, begin + t, first + head] + bias[head] if t < steps else ZERO
        for t in range(0, CHUNK, WIDTH):
            v = load(dt, (head, t))
            store(slope, (head, t), sigmoid(v))
            store(dt, (head, t), softplus(v))
        sum_of_logs = ZERO
        for t in range(CHUNK):
            if t >= steps:
                dt[head, t] = ZERO
            sum_of_logs += dt[head, t] * A[head] * LOG2_E
            l[head, t] = sum_of_logs
            watch += dt[head, t] * ZERO
    return watch


@njit
def rates_backward(p, c, r, g, b, begin, steps, head, ends):
    """From the gradient of u to those of x and dt of a head. ``ends``: of the sum of log a, from its last state.

    That of l_t is g_t . (y_t - D x_t) - grad u_t . u_t, and log a_t counts in all those l_t that follow.
    """
    D, A, x, dt, slope = p.D[head], p.A[head], c.x, c.dt, c.dt_slope
    grad_y, grad_u, along, sums, grad_projected = r.y, r.u, r.along, r.sums, g.projected
    P, place, following, grad_bias, grad_A, grad_D = (
        grad_u.shape[1],
        p.projected.shape[2] - len(p.A),
        ends,
        ZERO,
        ZERO,
        ZERO,
    )
    for t in range(steps - 1, -1, -1):
        direct, from_u, step = splat(ZERO), splat(ZERO), splat(dt[head, t])
        for i in range(0, P, WIDTH):
            v, from_y, of_u = load(x, (t, head * P + i)), load(grad_y, (head, t, i)), load(grad_u, (t, i))
            direct, from_u = fma(from_y, v, direct), fma(of_u, v, from_u)
            store(sums, (t, head * P + i), fma(of_u, step, from_y * splat(D)))
        along_x, along_u = total(direct), total(from_u)
        following += along[head, t] - D * along_x - along_u * dt[head, t]
        grad_dt = (along_u + following * A) * slope[head, t]
        grad_projected[b, begin + t, place + head] = grad_dt
        grad_bias += grad_dt
        grad_A += following * dt[head, t]
        grad_D += along_x
    g.dt_bias[b, head] += grad_bias
    g.A[b, head] += grad_A
    g.D[b, head] += grad_D


@njit
def gate(p, b, begin, steps, y, out):
    """out = v / rms(v) gain, v = y silu(z), of a chunk."""
    projected, gain = p.projected, p.gain
    E = len(gain)
    for t in range(begin, begin + steps):
        s = splat(ZERO)
        for e in range(0, E, WIDTH):
            z = load(projected, (b, t, e))
            v = load(y, (b, t, e)) * z * sigmoid(z)
            s = fma(v, v, s)
            store(out, (b, t, e), v)
        scale = splat(ONE / np.sqrt(total(s) / np.float32(E) + p.eps))
        for e in range(0, E, WIDTH):
            store(out, (b, t, e), load(out, (b, t, e)) * scale * load(gain, (e,)))


@njit
def ungate(p, b, begin, steps, y, grad_out, g, r):
    """The gradients of y, z and gain from that of ``out``, of a chunk; and of y, its product with y of each head."""
    projected, gain, grad_projected, grad_gain, grads, along = p.projected, p.gain, g.projected, g.gain, r.y, r.along
    E, (heads, _, P), rows = len(gain), grads.shape, r.rows
    for k in range(steps):
        t, s, dot = begin + k, splat(ZERO), splat(ZERO)
        for e in range(0, E, WIDTH):
            z = load(projected, (b, t, e))
            sigma = sigmoid(z)
            silu = z * sigma
            v = load(y, (b, t, e)) * silu
            s, dot = fma(v, v, s), fma(load(grad_out, (b, t, e)) * load(gain, (e,)), v, dot)
            store(rows, (0, e), silu)
            store(rows, (1, e), fma(silu, splat(ONE) - sigma, sigma))
        inverse = ONE / np.sqrt(total(s) / np.float32(E) + p.eps)
        scale, back = splat(inverse), splat(-total(dot) * inverse * inverse * inverse / np.float32(E))
        for head in range(heads):
            sum_along = splat(ZERO)
            for i in range(0, P, WIDTH):
                e = head * P + i
                v, silu, wanted = load(y, (b, t, e)), load(rows, (0, e)), load(grad_out, (b, t, e)) * scale
                gated = v * silu
                store(grad_gain, (b, e), fma(wanted, gated, load(grad_gain, (b, e))))
                grad = fma(gated, back, wanted * load(gain, (e,)))
                store(grad_projected, (b, t, e), grad * v * load(rows, (1, e)))
                grad = grad * silu
                sum_along = fma(grad, v, sum_along)
                store(grads, (head, k, i), grad)
            along[head, k] = total(sum_along)
    grads[:, steps:] = ZERO


@njit
def unconvolve(p, c, r, g, b, begin, steps):
    """From the gradients of x (in r.sums already), B and C to those of the convolution's inputs, weight and bias."""
    (E, N), past, sums, slopes = (c.x.shape[1], c.B.shape[1]), p.history.shape[1], r.sums, c.slopes
    copy(r.B, sums, E)
    copy(r.C, sums, E + N)
    weight, grad_bias, grad_history, grad_projected = p.weight, g.bias, g.history, g.projected
    for e in range(0, E + 2 * N, WIDTH):
        bias = load(grad_bias, (b, e))
        for t in range(CHUNK):
            grad = load(sums, (t, e)) * load(slopes, (t, e))
            store(sums, (t, e), grad)
            bias = bias + grad
        store(grad_bias, (b, e), bias)
        for i in range(-past if begin == 0 else 0, steps):  # an input counts for its own step and the K - 1 after it
            grad = splat(ZERO)
            for k in range(max(0, -i), past + 1):
                grad = fma(load(weight, (past - k, e)), load(sums, (i + k, e)), grad)
            if i < 0:
                store(grad_history, (b, past + i, e), grad)
            else:
                store(grad_projected, (b, begin + i, E + e), grad)
    unconvolve_weight(c.inputs, sums, g.weight, b)
    for k in range(past):
        sums[CHUNK + k] = sums[k]


@njit
def copy(x, y, first):
    """x to the columns of y from ``first`` on."""
    for t in range(len(x)):
        for i in range(0, x.shape[1], WIDTH):
            store(y, (t, first + i), load(x, (t, i)))


@njit
def unconvolve_weight(inputs, sums, grad_weight, b):
    """A chunk's part of the gradient of the convolution's weight, four sums side by side."""
    for e in range(0, sums.shape[1], WIDTH):
        for k in range(grad_weight.shape[1]):
            s0 = s1 = s2 = s3 = splat(ZERO)
            for t in range(0, CHUNK, 4):
                s0 = fma(load(sums, (t, e)), load(inputs, (t + k, e)), s0)
                s1 = fma(load(sums, (t + 1, e)), load(inputs, (t + 1 + k, e)), s1)
                s2 = fma(load(sums, (t + 2, e)), load(inputs, (t + 2 + k, e)), s2)
                s3 = fma(load(sums, (t + 3, e)), load(inputs, (t + 3 + k, e)), s3)
            store(grad_weight, (b, k, e), load(grad_weight, (b, k, e)) + ((s0 + s1) + (s2 + s3)))
