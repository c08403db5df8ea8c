"""State-space duality on one chunk of one sequence, for float32 on CPUs: what ``mamba2_kernels`` is made of.

The equations are those of ``ssd._ChunkedSSD``; the letters too, and Q = ``CHUNK`` steps. Every product is made of
``four_rows``, whose sums stay in registers, and reads what fits in the processor's first cache: a chunk of one head,
and its state. A chunk always has Q steps: those beyond the end of a sequence are zero, dt too, and change nothing.

States are (N, P), the transpose of ``ssd``'s: neighbors are channels. Logarithms are to base two.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pn_lib.models.cpu.attention_kernels import four_rows, padded
from pn_lib.models.cpu.simd import WIDTH, ZERO, exp2, fma, load, maximum, splat, store, total, transpose

CHUNK = 32  # Q: steps of a chunk; whole registers


class Chunk(NamedTuple):
    """A chunk of all heads, and room for what both passes compute of it."""

    inputs: np.ndarray  # (Q + K - 1, E + 2 N), of the convolution: those of the K - 1 steps before the chunk come first
    x: np.ndarray  # (Q, E)
    B: np.ndarray  # (Q, N)
    C: np.ndarray  # (Q, N)
    slopes: np.ndarray  # (Q, E + 2 N), the derivative of the convolution's silu
    dt: np.ndarray  # (H, Q)
    dt_slope: np.ndarray  # (H, Q), the derivative of its softplus
    l: np.ndarray  # (H, Q), the sums of log a from the chunk's beginning  # noqa: E741
    scores: np.ndarray  # (Q, Q), C B^T for s <= t, else 0
    L: np.ndarray  # (Q, Q), of a head; right for s <= t only
    M: np.ndarray  # (Q, Q), L o C B^T
    since: np.ndarray  # (Q,), e^(l_t) of a head
    until: np.ndarray  # (Q,), e^(l_Q - l_s)
    u: np.ndarray  # (Q, P), dt x of a head
    y: np.ndarray  # (Q, P)
    BT: np.ndarray  # (N, Q)


class Room(NamedTuple):
    """Room for the gradients of a chunk; those of u and y in two layouts, as products want them."""

    y: np.ndarray  # (H, Q, P), of y before the gate, g
    along: np.ndarray  # (H, Q), g . y
    y_since: np.ndarray  # (Q, P), e^(l_t) g of a head
    yT: np.ndarray  # (P, Q), g, and then e^(l_t) g
    uT: np.ndarray  # (P, Q), u itself, and then e^(l_Q - l_s) u
    u: np.ndarray  # (Q, P)
    M: np.ndarray  # (Q, Q)
    scores: np.ndarray  # (Q, Q), all heads
    BT: np.ndarray  # (N, Q), all heads
    CT: np.ndarray  # (N, Q)
    B: np.ndarray  # (Q, N)
    C: np.ndarray  # (Q, N)
    rows: np.ndarray  # (2, E), of one step
    sums: (
        np.ndarray
    )  # (Q + K - 1, E + 2 N), of what goes into the silu; below, the first rows of the chunk that follows


@njit
def empty(*shape):
    return np.empty(shape, np.float32)


@njit
def make_chunk(heads, P, N, past):
    Q, E = CHUNK, heads * P
    return Chunk(
        empty(Q + past, E + 2 * N),
        empty(Q, E),
        empty(Q, N),
        empty(Q, N),
        empty(Q, E + 2 * N),
        empty(heads, Q),
        empty(heads, Q),
        empty(heads, Q),
        empty(Q, Q),
        empty(Q, Q),
        empty(Q, Q),
        empty(Q),
        empty(Q),
        empty(Q, P),
        empty(Q, P),
        empty(N, Q),
    )


@njit
def make_room(heads, P, N, past):
    Q = CHUNK
    sums = np.zeros((Q + past, heads * P + 2 * N), np.float32)
    return Room(
        empty(heads, Q, P),
        empty(heads, Q),
        empty(Q, P),
        empty(P, Q),
        empty(P, Q),
        empty(Q, P),
        empty(Q, Q),
        empty(Q, Q),
        empty(N, Q),
        empty(N, Q),
        empty(Q, N),
        empty(Q, N),
        empty(2, heads * P),
        sums,
    )


@njit
def turned(x, y):
    """y = x^T; both in whole registers."""
    for i in range(0, len(x), WIDTH):
        for j in range(0, len(y), WIDTH):
            transpose(x, (i, j), y, (j, i))


@njit
def scale_rows(x, factors, begin, end):
    for i in range(begin, end):
        for j in range(0, x.shape[1], WIDTH):
            store(x, (i, j), load(x, (i, j)) * splat(factors[i]))


@njit
def scale_columns(x, factors):
    for i in range(len(x)):
        for j in range(0, x.shape[1], WIDTH):
            store(x, (i, j), load(x, (i, j)) * load(factors, (j,)))


@njit
def clear_future(x):
    for t in range(len(x)):
        for s in range(t + 1, len(x)):
            x[t, s] = ZERO


@njit
def score(c):
    """C B^T, of what has been: the same for all heads."""
    C, BT, scores = c.C, c.BT, c.scores
    turned(c.B, BT)
    for t in range(0, CHUNK, 4):
        four_rows(C, t, 0, len(BT), BT, 0, padded(t + 4), scores, t, False)
    clear_future(scores)


@njit
def decay(c, head):
    """L and M of a head, and how far each step is decayed since the chunk's beginning and until its end; and u."""
    l, scores, L, M, since, until = c.l, c.scores, c.L, c.M, c.since, c.until  # noqa: E741
    end = splat(l[head, CHUNK - 1])
    for i in range(0, CHUNK, WIDTH):
        store(since, (i,), exp2(load(l, (head, i))))
        store(until, (i,), exp2(end - load(l, (head, i))))
    for t in range(CHUNK):
        now = splat(l[head, t])
        for s in range(0, t + 1, WIDTH):  # beyond the diagonal the exponent is held at 0, lest it overflow
            a = exp2(splat(ZERO) - maximum(splat(ZERO), load(l, (head, s)) - now))
            store(L, (t, s), a)
            store(M, (t, s), a * load(scores, (t, s)))
    x, dt, u = c.x, c.dt, c.u
    for t in range(CHUNK):
        for i in range(0, u.shape[1], WIDTH):
            store(u, (t, i), load(x, (t, head * u.shape[1] + i)) * splat(dt[head, t]))


@njit
def head_forward(c, head, D, h, h_end):
    """c.y of a head, and its state (N, P) after the chunk, h_end, from that before it, h."""
    (N, P), x, C, M, u, y, since = h.shape, c.x, c.C, c.M, c.u, c.y, c.since
    decay(c, head)
    for t in range(0, CHUNK, 4):
        four_rows(C, t, 0, N, h, 0, P, y, t, False)
        for k in range(t, t + 4):
            for i in range(0, P, WIDTH):
                read = load(y, (k, i)) * splat(since[k])
                store(y, (k, i), fma(load(x, (k, head * P + i)), splat(D), read))
        four_rows(M, t, 0, t + 4, u, 0, P, y, t, True)
    scale_rows(u, c.until, 0, CHUNK)
    kept, BT = splat(since[CHUNK - 1]), c.B.T
    for n in range(0, N, 4):
        for k in range(n, n + 4):
            for i in range(0, P, WIDTH):
                store(h_end, (k, i), load(h, (k, i)) * kept)
        four_rows(BT, n, 0, CHUNK, u, 0, P, h_end, n, True)


@njit
def head_backward(c, r, head, h, h_end, grad_h):
    """Of a head: grad_h (N, P), of the state after the chunk, becomes that of the state before it; r takes the
    gradients of u, B, C and the scores. The product of grad_h and h_end: what log a of the whole chunk counts for."""
    decay(c, head)
    scores_backward(c, r, r.y[head])
    (N, P), yT, uT, CT, BT = h.shape, r.yT, r.uT, r.CT, r.BT
    scale_columns(yT, c.since)
    scale_columns(uT, c.until)
    for n in range(0, N, 4):
        four_rows(h, n, 0, P, yT, 0, CHUNK, CT, n, True)
        four_rows(grad_h, n, 0, P, uT, 0, CHUNK, BT, n, True)
    B, MT, u, g, until = c.B, c.M.T, r.u, r.y[head], c.until
    for s in range(0, CHUNK, 4):
        four_rows(B, s, 0, N, grad_h, 0, P, u, s, False)
        scale_rows(u, until, s, s + 4)
        four_rows(MT, s, s, CHUNK, g, 0, P, u, s, True)
    return carry_back(c, r, g, h_end, grad_h)


@njit
def carry_back(c, r, g, h_end, grad_h):
    """grad_h moves from the end of a chunk to its beginning. The product of h_end and what it was."""
    (N, P), CT, since, y_since, ends = grad_h.shape, c.C.T, c.since, r.y_since, splat(ZERO)
    for t in range(CHUNK):
        for i in range(0, P, WIDTH):
            store(y_since, (t, i), load(g, (t, i)) * splat(since[t]))
    kept = splat(since[CHUNK - 1])
    for n in range(0, N, 4):
        for k in range(n, n + 4):
            for i in range(0, P, WIDTH):
                G = load(grad_h, (k, i))
                ends = fma(G, load(h_end, (k, i)), ends)
                store(grad_h, (k, i), G * kept)
        four_rows(CT, n, 0, CHUNK, y_since, 0, P, grad_h, n, True)
    return total(ends)


@njit
def scores_backward(c, r, g):
    """A head's part of the gradient of the scores, L o g u^T, and the transposes of g and u."""
    L, M, scores, uT = c.L, r.M, r.scores, r.uT
    turned(c.u, uT)
    turned(g, r.yT)
    for t in range(0, CHUNK, 4):
        four_rows(g, t, 0, len(uT), uT, 0, padded(t + 4), M, t, False)
    for t in range(CHUNK):
        for s in range(0, t + 1, WIDTH):
            store(scores, (t, s), fma(load(L, (t, s)), load(M, (t, s)), load(scores, (t, s))))


@njit
def projections_backward(c, r):
    """The gradients of B and C (Q, N): what the states gave, and what the scores of all heads do."""
    scores, from_scores, B, C, grad_B, grad_C = r.scores, r.scores.T, c.B, c.C, r.B, r.C
    turned(r.BT, grad_B)
    turned(r.CT, grad_C)
    clear_future(scores)
    for t in range(0, CHUNK, 4):
        four_rows(scores, t, 0, t + 4, B, 0, B.shape[1], grad_C, t, True)
        four_rows(from_scores, t, t, CHUNK, C, 0, C.shape[1], grad_B, t, True)
