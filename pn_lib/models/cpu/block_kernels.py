"""Kernels of what stands between a Transformer's matrix products, for float32 on CPUs, in Numba.

Norms, heads, SwiGLU and the softmax of the loss do little arithmetic on much data: an operation of PyTorch's each takes
as long as the data need to come from memory and go back. Here each is one pass; ``fused_blocks`` calls them.

Rows are worked on in tasks of a fixed number, whatever the number of threads, so that sums do not depend on that.
"""

import numpy as np
from numba import njit, prange

from pn_lib.models.cpu.simd import ONE, WIDTH, ZERO, exp2, fma, highest, load, maximum, sigmoid, splat, store, total

ROWS = 64  # of a task
LOG2_E = np.float32(np.log2(np.e))


@njit
def inverse_rms(x, row, width, count, eps):
    """1 / sqrt(mean(x^2) + eps) of a row of x: of ``count`` numbers, with zeros up to ``width``."""
    s = splat(ZERO)
    for i in range(0, width, WIDTH):
        v = load(x, (row, i))
        s = fma(v, v, s)
    return ONE / np.sqrt(total(s) / np.float32(count) + eps)


@njit(cache=True, parallel=True)
def rms_norm_forward(x, gain, eps, y, scale):
    """x (N, D), gain (D,) -> y = x gain / rms(x) (N, D), and scale = 1 / rms(x) (N,)."""
    N, D = x.shape
    for task in prange((N + ROWS - 1) // ROWS):
        for r in range(task * ROWS, min(N, (task + 1) * ROWS)):
            scale[r] = inverse_rms(x, r, D, D, eps)
            for i in range(0, D, WIDTH):
                store(y, (r, i), load(x, (r, i)) * splat(scale[r]) * load(gain, (i,)))


@njit(cache=True, parallel=True)
def rms_norm_backward(x, gain, scale, grad_y, grad_x, grad_gain):
    """The gradients of x (N, D) and, in parts to be summed that are zero at first, of gain (tasks, D)."""
    N, D = x.shape
    for task in prange(len(grad_gain)):
        for r in range(task * ROWS, min(N, (task + 1) * ROWS)):
            s = splat(ZERO)
            for i in range(0, D, WIDTH):
                s = fma(load(grad_y, (r, i)) * load(gain, (i,)), load(x, (r, i)), s)
            a, c = splat(scale[r]), splat(-total(s) * scale[r] * scale[r] * scale[r] / np.float32(D))
            for i in range(0, D, WIDTH):
                v, g = load(x, (r, i)), load(grad_y, (r, i)) * a
                store(grad_gain, (task, i), fma(g, v, load(grad_gain, (task, i))))
                store(grad_x, (r, i), fma(v, c, g * load(gain, (i,))))


@njit(cache=True, parallel=True)
def swiglu_forward(x, y):
    """x (N, 2 F), the gate and then the values -> y = silu(gate) values (N, F)."""
    N, F = y.shape
    for task in prange((N + ROWS - 1) // ROWS):
        for r in range(task * ROWS, min(N, (task + 1) * ROWS)):
            for i in range(0, F, WIDTH):
                gate = load(x, (r, i))
                store(y, (r, i), gate * sigmoid(gate) * load(x, (r, F + i)))


@njit(cache=True, parallel=True)
def swiglu_backward(x, grad_y, grad_x):
    N, F = grad_y.shape
    for task in prange((N + ROWS - 1) // ROWS):
        for r in range(task * ROWS, min(N, (task + 1) * ROWS)):
            for i in range(0, F, WIDTH):
                gate, value, g = load(x, (r, i)), load(x, (r, F + i)), load(grad_y, (r, i))
                s = sigmoid(gate)
                store(grad_x, (r, i), g * value * s * fma(gate, splat(ONE) - s, splat(ONE)))
                store(grad_x, (r, F + i), g * gate * s)


@njit(cache=True, parallel=True)
def cross_entropy(logits, targets, nats, gradients):
    """nats (N,) = -log softmax(logits)[target] of logits (N, V), which are given up: with ``gradients`` they become
    those of the summed nats, softmax minus one at the target.

    V need not be whole registers; the last numbers of a row are worked on one by one.
    """
    N, V = logits.shape
    whole = V // WIDTH * WIDTH
    for task in prange((N + ROWS - 1) // ROWS):
        for r in range(task * ROWS, min(N, (task + 1) * ROWS)):
            tops, score = splat(logits[r, 0]), logits[r, targets[r]]
            for i in range(0, whole, WIDTH):
                tops = maximum(load(logits, (r, i)), tops)
            top = highest(tops)
            for i in range(whole, V):
                top = max(top, logits[r, i])
            sums, rest, shift = splat(ZERO), ZERO, -top * LOG2_E
            for i in range(0, whole, WIDTH):
                p = exp2(fma(load(logits, (r, i)), splat(LOG2_E), splat(shift)))
                store(logits, (r, i), p)
                sums = sums + p
            for i in range(whole, V):
                logits[r, i] = np.exp(logits[r, i] - top)
                rest += logits[r, i]
            s = total(sums) + rest
            nats[r] = top + np.log(s) - score
            if not gradients:
                continue
            for i in range(0, whole, WIDTH):
                store(logits, (r, i), load(logits, (r, i)) * splat(ONE / s))
            for i in range(whole, V):
                logits[r, i] /= s
            logits[r, targets[r]] -= ONE


@njit
def turn(head, width, d, cos, sin, t):
    """head (1, .) holds d numbers x, then zeros. They become x cos + (x, its halves swapped) sin: see ``rotate``."""
    for i in range(d):
        head[0, d + i] = head[0, i]
    for i in range(0, width, WIDTH):  # what is read at i + d / 2 is written to only afterwards
        store(head, (1, i), fma(load(head, (0, i)), load(cos, (t, i)), load(head, (0, i + d // 2)) * load(sin, (t, i))))


@njit(cache=True, parallel=True)
def split_heads(qkv, gains, eps, cos, sin, d, q, k, v):
    """qkv (B, T, (H + 2 K) d) -> q (B, H, T', d'), k and v (B, K, T', d'), d padded with zeros to d' whole registers.

    Queries and keys are divided by their root mean square and multiplied by gains (2, d'), one for queries and one for
    keys, unless that is empty; and rotated by cos and sin (T, d'). T' may exceed T; what lies there is not touched.
    """
    B, T, H, K, width = len(qkv), qkv.shape[1], q.shape[1], k.shape[1], q.shape[3]
    for task in prange((B * T + ROWS - 1) // ROWS):
        head = np.zeros((2, 2 * d + width), np.float32)
        for row in range(task * ROWS, min(B * T, (task + 1) * ROWS)):
            b, t = row // T, row % T
            for h in range(H + 2 * K):
                if h >= H + K:
                    for i in range(d):
                        v[b, h - H - K, t, i] = qkv[b, t, h * d + i]
                    for i in range(d, width):
                        v[b, h - H - K, t, i] = ZERO
                    continue
                for i in range(d):
                    head[0, i] = qkv[b, t, h * d + i]
                for i in range(d, width):
                    head[0, i] = ZERO
                if len(gains) > 0:
                    scale = inverse_rms(head, 0, width, d, eps)
                    for i in range(0, width, WIDTH):
                        store(head, (0, i), load(head, (0, i)) * splat(scale) * load(gains, (0 if h < H else 1, i)))
                turn(head, width, d, cos, sin, t)
                for i in range(0, width, WIDTH):
                    if h < H:
                        store(q, (b, h, t, i), load(head, (1, i)))
                    else:
                        store(k, (b, h - H, t, i), load(head, (1, i)))


@njit(cache=True, parallel=True)
def join_heads(qkv, gains, eps, cos, back, d, grad_q, grad_k, grad_v, grad_qkv, grad_gains):
    """The gradients of qkv and, in parts to be summed that are zero at first, of gains (tasks, 2, d').

    The transpose of a rotation is one by the negative angle: ``back`` is sin with its halves swapped.
    """
    B, T, H, K, width = len(qkv), qkv.shape[1], grad_q.shape[1], grad_k.shape[1], grad_q.shape[3]
    for task in prange(len(grad_gains)):
        head, x = np.zeros((2, 2 * d + width), np.float32), np.zeros((1, width), np.float32)
        for row in range(task * ROWS, min(B * T, (task + 1) * ROWS)):
            b, t = row // T, row % T
            for h in range(H + 2 * K):
                if h >= H + K:
                    for i in range(d):
                        grad_qkv[b, t, h * d + i] = grad_v[b, h - H - K, t, i]
                    continue
                for i in range(0, width, WIDTH):
                    store(head, (0, i), load(grad_q, (b, h, t, i)) if h < H else load(grad_k, (b, h - H, t, i)))
                turn(head, width, d, cos, back, t)
                if len(gains) > 0:
                    for i in range(d):
                        x[0, i] = qkv[b, t, h * d + i]
                    normalise_back(x, gains, 0 if h < H else 1, eps, d, head, grad_gains, task)
                for i in range(d):
                    grad_qkv[b, t, h * d + i] = head[1, i]


@njit
def normalise_back(x, gains, kind, eps, d, head, grad_gains, task):
    """The gradient head[1] of a normed head becomes that of the head x (1, d') before."""
    width, scale, s = x.shape[1], inverse_rms(x, 0, x.shape[1], d, eps), splat(ZERO)
    for i in range(0, width, WIDTH):
        s = fma(load(head, (1, i)) * load(gains, (kind, i)), load(x, (0, i)), s)
    a, c = splat(scale), splat(-total(s) * scale * scale * scale / np.float32(d))
    for i in range(0, width, WIDTH):
        v, g = load(x, (0, i)), load(head, (1, i)) * a
        store(grad_gains, (task, kind, i), fma(g, v, load(grad_gains, (task, kind, i))))
        store(head, (1, i), fma(v, c, g * load(gains, (kind, i))))
