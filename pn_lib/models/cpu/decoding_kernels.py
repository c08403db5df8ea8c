"""One decoding step of a whole model as one kernel, for CPUs, in Numba; ``fused_decoding`` calls it from PyTorch.

At one token for each sequence the arithmetic of a small model takes less time than starting its hundred operations one
by one, and then reading its weights is what costs. So a step is one call here; groups of eight sequences are worked on
in parallel, each through all layers, and never wait for one another.

The W lanes of a register hold neighbouring outputs of a matrix product, channels of a state, or, in attention, moments
of time (see ``simd``). Matrices are float32 or small integers, blocked for that (see ``products``).
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from pn_lib.models.cpu.products import product
from pn_lib.models.cpu.simd import ONE, WIDTH, ZERO, exp2, fma, load, maximum, sigmoid, softplus, splat, store, total

LOG2_E = np.float32(np.log2(np.e))
ROWS = 8  # sequences that one task takes through all layers
LOWEST = np.float32(-1e30)  # a score that no softmax sees, and that arithmetic survives
GELU_1, GELU_3 = np.float32(2 * np.sqrt(2 / np.pi)), np.float32(2 * np.sqrt(2 / np.pi) * 0.044715)
SWIGLU, GELU, RELU, RELU2 = 0, 1, 2, 3


@njit
def normalise(x, rows, gain, eps, centred, y):
    """RMSNorm of each row of x, or LayerNorm where ``centred``; gain (2, D) holds the weight and the bias."""
    D = x.shape[1]
    for r in range(rows):
        mean = ZERO
        if centred:
            s = splat(ZERO)
            for i in range(0, D, WIDTH):
                s = s + load(x, (r, i))
            mean = total(s) / np.float32(D)
        s = splat(ZERO)
        for i in range(0, D, WIDTH):
            v = load(x, (r, i)) - splat(mean)
            s = fma(v, v, s)
        scale = ONE / np.sqrt(total(s) / np.float32(D) + eps)
        for i in range(0, D, WIDTH):
            v = (load(x, (r, i)) - splat(mean)) * splat(scale)
            store(y, (r, i), fma(v, load(gain, (0, i)), load(gain, (1, i))))


class TransformerWeights(NamedTuple):
    """All layers stacked, matrices blocked (see ``products``); swiglu's gate and value padded to whole registers."""

    attention_norm: np.ndarray  # (L, 2, D)
    qkv: np.ndarray
    qkv_scales: np.ndarray
    qkv_bias: np.ndarray
    qk_norm: np.ndarray  # (L, 2, d), the gains for query and key heads
    out: np.ndarray
    out_scales: np.ndarray
    out_bias: np.ndarray
    mlp_norm: np.ndarray  # (L, 2, D)
    up: np.ndarray
    up_scales: np.ndarray
    up_bias: np.ndarray
    down: np.ndarray
    down_scales: np.ndarray
    down_bias: np.ndarray
    norm: np.ndarray  # (2, D)
    head: np.ndarray
    head_scales: np.ndarray
    head_bias: np.ndarray  # zeros
    group: int  # inputs that share a scale


class TransformerOptions(NamedTuple):
    heads: int
    kv_heads: int
    head_dim: int
    scale: float  # of the scores
    eps: float
    centred: bool  # LayerNorm instead of RMSNorm
    pre: bool  # norms before attention and MLP instead of after them
    rope: bool
    activation: int  # SWIGLU, GELU, RELU or RELU2
    qk_norm: bool


@njit(cache=True, parallel=True)
def transformer_step(x, position, first_seen, cos, sin, keys, values, w, o, logits):
    """One token for each of B sequences, all at ``position``: x (B, D), its embedding, is changed; logits (B, V).

    ``keys`` and ``values`` (L, B, K, context / W, d, W) take one moment more; ``first_seen`` (L,) is the first one
    that each layer sees; cos and sin (context, d / 2) are the rotary tables.
    """
    for group in prange((len(x) + ROWS - 1) // ROWS):
        first = group * ROWS
        rows = min(ROWS, len(x) - first)
        mine = x[first : first + rows]
        normed, y = np.empty_like(mine), np.empty_like(mine)
        heads = np.empty((rows, len(w.qkv_bias[0])), np.float32)
        hidden = np.empty((rows, len(w.up_bias[0])), np.float32)
        scores = np.empty(keys.shape[3] * WIDTH, np.float32)
        for layer in range(len(w.qkv_bias)):
            attend_layer(
                mine, layer, first, position, first_seen[layer], cos, sin, keys, values, w, o, normed, heads, y, scores
            )
            mlp_layer(mine, layer, w, o, normed, hidden)
        if o.pre:
            normalise(mine, rows, w.norm, o.eps, o.centred, mine)
        product(mine, rows, w.head, w.head_scales, w.group, 0, w.head_bias, logits[first : first + rows], False)


@njit
def attend_layer(x, layer, first, position, first_seen, cos, sin, keys, values, w, o, normed, heads, y, scores):
    rows, d = len(x), o.head_dim
    if o.pre:
        normalise(x, rows, w.attention_norm[layer], o.eps, o.centred, normed)
    product(normed if o.pre else x, rows, w.qkv, w.qkv_scales, w.group, layer, w.qkv_bias[layer], heads, False)
    for r in range(rows):
        for h in range(o.heads + o.kv_heads):
            head = heads[r, h * d : (h + 1) * d]
            if o.qk_norm:
                normalise_head(head, w.qk_norm[layer, 0 if h < o.heads else 1], o.eps)
            if o.rope:
                rotate_head(head, cos[position], sin[position])
        for k in range(o.kv_heads):
            for i in range(d):
                at = (layer, first + r, k, position // WIDTH, i, position % WIDTH)
                keys[at] = heads[r, (o.heads + k) * d + i]
                values[at] = heads[r, (o.heads + o.kv_heads + k) * d + i]
        for h in range(o.heads):
            k = h // (o.heads // o.kv_heads)
            attend(
                heads[r, h * d : (h + 1) * d],
                keys[layer, first + r, k],
                values[layer, first + r, k],
                first_seen,
                position + 1,
                o.scale,
                scores,
                y[r, h * d : (h + 1) * d],
            )
    product(y, rows, w.out, w.out_scales, w.group, layer, w.out_bias[layer], x, True)
    if not o.pre:
        normalise(x, rows, w.attention_norm[layer], o.eps, o.centred, x)


@njit
def normalise_head(head, gain, eps):
    """RMSNorm of the few channels of one head."""
    s = ZERO
    for i in range(len(head)):
        s += head[i] * head[i]
    scale = ONE / np.sqrt(s / np.float32(len(head)) + eps)
    for i in range(len(head)):
        head[i] *= scale * gain[i]


@njit
def rotate_head(head, cos, sin):
    half = len(cos)
    for i in range(half):
        a, b = head[i], head[i + half]
        head[i], head[i + half] = a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]


@njit
def attend(q, keys, values, begin, end, scale, scores, y):
    """y (d,) = softmax(scale q . k) v over the moments begin to end; keys and values (context / W, d, W)."""
    first, last, d = begin // WIDTH, (end + WIDTH - 1) // WIDTH, len(q)
    highest = splat(LOWEST)
    for block in range(first, last):
        s = splat(ZERO)
        for i in range(d):
            s = fma(splat(q[i]), load(keys, (block, i, 0)), s)
        store(scores, (block * WIDTH,), s * splat(scale * LOG2_E))
    scores[first * WIDTH : begin] = LOWEST
    scores[end : last * WIDTH] = LOWEST
    for block in range(first, last):
        highest = maximum(highest, load(scores, (block * WIDTH,)))
    top = LOWEST
    lanes = np.empty(WIDTH, np.float32)
    store(lanes, (0,), highest)
    for i in range(WIDTH):
        top = max(top, lanes[i])
    s = splat(ZERO)
    for block in range(first, last):
        p = exp2(load(scores, (block * WIDTH,)) - splat(top))
        store(scores, (block * WIDTH,), p)
        s = s + p
    scale = ONE / total(s)
    weigh(scores, values, first, last, scale, y)


@njit
def weigh(weights, values, first, last, scale, y):
    """y (d,) = scale times the sum of the values, weighted; four channels a time share the loading of the weights."""
    d = len(y)
    for i in range(0, d - 3, 4):
        s0 = s1 = s2 = s3 = splat(ZERO)
        for block in range(first, last):
            p = load(weights, (block * WIDTH,))
            s0, s1 = fma(p, load(values, (block, i, 0)), s0), fma(p, load(values, (block, i + 1, 0)), s1)
            s2, s3 = fma(p, load(values, (block, i + 2, 0)), s2), fma(p, load(values, (block, i + 3, 0)), s3)
        y[i], y[i + 1], y[i + 2], y[i + 3] = total(s0) * scale, total(s1) * scale, total(s2) * scale, total(s3) * scale
    for i in range(d - d % 4, d):
        s = splat(ZERO)
        for block in range(first, last):
            s = fma(load(weights, (block * WIDTH,)), load(values, (block, i, 0)), s)
        y[i] = total(s) * scale


@njit
def mlp_layer(x, layer, w, o, normed, hidden):
    rows = len(x)
    F = hidden.shape[1] // 2 if o.activation == SWIGLU else hidden.shape[1]
    if o.pre:
        normalise(x, rows, w.mlp_norm[layer], o.eps, o.centred, normed)
    product(normed if o.pre else x, rows, w.up, w.up_scales, w.group, layer, w.up_bias[layer], hidden, False)
    for r in range(rows):
        for i in range(0, F, WIDTH):
            v = load(hidden, (r, i))
            if o.activation == SWIGLU:
                v = v * sigmoid(v) * load(hidden, (r, F + i))
            elif o.activation == GELU:  # 0.5 (1 + tanh(u)) = sigmoid(2 u)
                v = v * sigmoid(v * fma(v * v, splat(GELU_3), splat(GELU_1)))
            else:
                v = maximum(splat(ZERO), v)
                if o.activation == RELU2:
                    v = v * v
            store(hidden, (r, i), v)
    product(hidden, rows, w.down, w.down_scales, w.group, layer, w.down_bias[layer], x, True)
    if not o.pre:
        normalise(x, rows, w.mlp_norm[layer], o.eps, o.centred, x)


class MambaWeights(NamedTuple):
    """All layers stacked, matrices blocked (see ``products``)."""

    norms: np.ndarray  # (L, 2, D)
    in_proj: np.ndarray  # to x and the gate z, 2 E
    in_proj_scales: np.ndarray
    conv: np.ndarray  # (L, K, E)
    conv_bias: np.ndarray  # (L, E)
    x_proj: np.ndarray
    x_proj_scales: np.ndarray
    dt_proj: np.ndarray
    dt_proj_scales: np.ndarray
    dt_bias: np.ndarray  # (L, E)
    A: np.ndarray  # (L, E / W, N, W), times log2(e)
    D: np.ndarray  # (L, E)
    out_proj: np.ndarray
    out_proj_scales: np.ndarray
    norm: np.ndarray  # (2, D)
    head: np.ndarray
    head_scales: np.ndarray
    zeros: np.ndarray  # a bias for what has none
    group: int  # inputs that share a scale


@njit(cache=True, parallel=True)
def mamba_step(x, conv, h, w, rank, eps, logits):
    """One token for each of B sequences: x (B, D), its embedding, is changed; logits (B, V).

    ``conv`` (L, B, K-1, E), the last inputs of the convolution, and ``h`` (L, B, E / W, N, W), the states, move on.
    """
    for group in prange((len(x) + ROWS - 1) // ROWS):
        first = group * ROWS
        rows = min(ROWS, len(x) - first)
        mine = x[first : first + rows]
        E = conv.shape[3]
        normed, xz = np.empty_like(mine), np.empty((rows, 2 * E), np.float32)
        chosen = np.empty((rows, (rank + 2 * h.shape[3] + WIDTH - 1) // WIDTH * WIDTH), np.float32)
        dt = np.empty((rows, E), np.float32)
        for layer in range(len(w.norms)):
            normalise(mine, rows, w.norms[layer], eps, False, normed)
            product(normed, rows, w.in_proj, w.in_proj_scales, w.group, layer, w.zeros, xz, False)
            for r in range(rows):
                convolve_row(xz[r], conv[layer, first + r], w.conv[layer], w.conv_bias[layer])
            product(xz, rows, w.x_proj, w.x_proj_scales, w.group, layer, w.zeros, chosen, False)
            product(chosen, rows, w.dt_proj, w.dt_proj_scales, w.group, layer, w.dt_bias[layer], dt, False)
            for r in range(rows):
                scan_row(xz[r], dt[r], chosen[r], rank, h[layer, first + r], w.A[layer], w.D[layer])
            product(xz, rows, w.out_proj, w.out_proj_scales, w.group, layer, w.zeros, mine, True)
        normalise(mine, rows, w.norm, eps, False, mine)
        product(mine, rows, w.head, w.head_scales, w.group, 0, w.zeros, logits[first : first + rows], False)


@njit
def convolve_row(x, past, weight, bias):
    """The first E of x (2 E,) become silu of the convolution with the inputs before, which move on by one."""
    last = len(past)
    for e in range(0, past.shape[1], WIDTH):
        v = load(x, (e,))
        s = fma(load(weight, (last, e)), v, load(bias, (e,)))
        for k in range(last):
            s = fma(load(weight, (k, e)), load(past, (k, e)), s)
        for k in range(last - 1):
            store(past, (k, e), load(past, (k + 1, e)))
        if last > 0:
            store(past, (last - 1, e), v)
        store(x, (e,), s * sigmoid(s))


@njit
def scan_row(x, dt, chosen, rank, h, A, D):
    """One step of the recurrence; the first E of x (2 E,) become its gated output. chosen: dt's waist, B, and C."""
    N = h.shape[1]
    for block in range(len(h)):
        e = block * WIDTH
        dt_e, x_e, z = softplus(load(dt, (e,))), load(x, (e,)), load(x, (len(D) + e,))
        u, y = dt_e * x_e, load(D, (e,)) * x_e
        for n in range(N):
            a = exp2(dt_e * load(A, (block, n, 0)))
            state = fma(a, load(h, (block, n, 0)), u * splat(chosen[rank + n]))
            y = fma(splat(chosen[rank + N + n]), state, y)
            store(h, (block, n, 0), state)
        store(x, (e,), y * z * sigmoid(z))
