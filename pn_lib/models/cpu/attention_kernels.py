"""Kernels of causal softmax attention for float32 on CPUs, in Numba; ``fused_blocks`` calls them from PyTorch.

The scores of a few queries at a time, with all the keys that these see, stay in the processor's cache from the first
product to the last, and half of the pairs, the future, is never computed: FlashAttention's idea (Dao et al., 2022), on
a CPU. The forward pass keeps, of each query's softmax, the logarithm of its sum; the backward pass computes the weights
anew from it.

All products are made of one small one, ``four_rows``, whose sums stay in registers. d' is the head width d, padded with
zeros to whole registers. A query t sees the keys from first[b, t], which never falls as t grows, to t.
"""

import numpy as np
from numba import njit, prange

from pn_lib.models.cpu.simd import ONE, WIDTH, ZERO, exp2, fma, highest, load, maximum, splat, spread, store, total

LOG2_E = np.float32(np.log2(np.e))
LOWEST = np.float32(-1e30)  # a score that no softmax sees, and that arithmetic survives
QUERIES = 16  # in a block of the backward pass; a multiple of four, and few enough for the first cache


@njit
def four_rows(A, row, begin, end, B, first_column, last_column, C, C_row, add):
    """C = A B, or C += that, for four rows: of A (., n) those from ``row``, of C from ``C_row``; n from begin to end;
    the columns of B and C from first_column to last_column, whole registers of them."""
    column = first_column
    while column + 2 * WIDTH <= last_column:
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = splat(ZERO)
        for n in range(begin, end):
            b0, b1 = load(B, (n, column)), load(B, (n, column + WIDTH))
            a = spread(A, (row, n))
            s0, s1 = fma(a, b0, s0), fma(a, b1, s1)
            a = spread(A, (row + 1, n))
            s2, s3 = fma(a, b0, s2), fma(a, b1, s3)
            a = spread(A, (row + 2, n))
            s4, s5 = fma(a, b0, s4), fma(a, b1, s5)
            a = spread(A, (row + 3, n))
            s6, s7 = fma(a, b0, s6), fma(a, b1, s7)
        put_four(C, C_row, column, s0, s2, s4, s6, add)
        put_four(C, C_row, column + WIDTH, s1, s3, s5, s7, add)
        column += 2 * WIDTH
    if column < last_column:
        s0 = s1 = s2 = s3 = splat(ZERO)
        for n in range(begin, end):
            b = load(B, (n, column))
            s0, s1 = fma(spread(A, (row, n)), b, s0), fma(spread(A, (row + 1, n)), b, s1)
            s2, s3 = fma(spread(A, (row + 2, n)), b, s2), fma(spread(A, (row + 3, n)), b, s3)
        put_four(C, C_row, column, s0, s1, s2, s3, add)


@njit
def put_four(C, row, column, s0, s1, s2, s3, add):
    if add:
        s0, s1 = s0 + load(C, (row, column)), s1 + load(C, (row + 1, column))
        s2, s3 = s2 + load(C, (row + 2, column)), s3 + load(C, (row + 3, column))
    store(C, (row, column), s0)
    store(C, (row + 1, column), s1)
    store(C, (row + 2, column), s2)
    store(C, (row + 3, column), s3)


@njit
def padded(length):
    return (length + WIDTH - 1) // WIDTH * WIDTH


@njit
def transposed(x):
    """x (T', d') -> (d', T'), T' in whole registers"""
    y = np.empty((x.shape[1], len(x)), np.float32)
    for t in range(len(x)):
        for i in range(x.shape[1]):
            y[i, t] = x[t, i]
    return y


@njit
def fill(x, row, begin, end, value):
    for i in range(begin, end):
        x[row, i] = value


@njit
def softmax(scores, r, begin, low, high, end):
    """Row r of ``scores`` (., T'), times log2(e), becomes its softmax over low to high, not yet divided by the sum, and
    0 from ``begin`` to ``low`` and from ``high`` to ``end``. The highest score, and the sum."""
    fill(scores, r, begin, low, LOWEST)
    fill(scores, r, high, end, LOWEST)
    tops = splat(LOWEST)
    for c in range(begin, end, WIDTH):
        tops = maximum(tops, load(scores, (r, c)))
    top, s = highest(tops), splat(ZERO)
    for c in range(begin, end, WIDTH):
        p = exp2(load(scores, (r, c)) - splat(top))
        store(scores, (r, c), p)
        s = s + p
    fill(scores, r, begin, low, ZERO)  # exp2 gives the smallest number there
    fill(scores, r, high, end, ZERO)
    return top, total(s)


@njit(cache=True, parallel=True)
def attention_forward(q, k, v, first, scale, y, logsum):
    """y (B, T, H d) = softmax(scale q k^T) v, and log2 of each softmax's sum, logsum (B, H, T).

    q (B, H, T', d'), k and v (B, K, T', d'), with T' at least T, in whole registers, and zeros beyond T; first (B, T).
    """
    B, H, width = q.shape[0], q.shape[1], q.shape[3]
    T, d = y.shape[1], y.shape[2] // H
    for task in prange(B * H):
        b, h = task // H, task % H
        key_head = h // (H // k.shape[1])
        keys, values = transposed(k[b, key_head]), v[b, key_head]
        queries, out = np.zeros((4, width), np.float32), np.empty((4, width), np.float32)
        scores = np.empty((4, keys.shape[1]), np.float32)
        for t in range(0, T, 4):
            rows = min(4, T - t)
            begin, end = first[b, t] // WIDTH * WIDTH, padded(t + rows)
            for r in range(rows):
                for i in range(0, width, WIDTH):
                    store(queries, (r, i), load(q, (b, h, t + r, i)) * splat(scale * LOG2_E))
            four_rows(queries, 0, 0, width, keys, begin, end, scores, 0, False)
            for r in range(rows):
                top, s = softmax(scores, r, begin, first[b, t + r], t + r + 1, end)
                logsum[b, h, t + r] = top + np.log2(s)
                for c in range(begin, end, WIDTH):
                    store(scores, (r, c), load(scores, (r, c)) * splat(ONE / s))
            four_rows(scores, 0, begin, end, values, 0, width, out, 0, False)
            for r in range(rows):
                for i in range(d):
                    y[b, t + r, h * d + i] = out[r, i]


@njit(cache=True, parallel=True)
def attention_backward(q, k, v, first, scale, y, logsum, grad_y, grad_q, grad_k, grad_v):
    """The gradients of q, k and v, which are zero at first, from that of y; shapes as ``attention_forward``.

    With weights P and a gradient g of y, the scores' gradient is P (g v^T - the sum of g y over d): FlashAttention's
    backward pass (Dao et al., 2022, appendix B.4).
    """
    B, H, length, width = q.shape
    K = k.shape[1]
    for task in prange(B * K):
        b, key_head = task // K, task % K
        keys, values = transposed(k[b, key_head]), transposed(v[b, key_head])
        P, dP = np.empty((QUERIES, length), np.float32), np.empty((QUERIES, length), np.float32)
        queries, grads = np.empty((QUERIES, width), np.float32), np.empty((QUERIES, width), np.float32)
        sums = np.empty(QUERIES, np.float32)
        for h in range(key_head * (H // K), (key_head + 1) * (H // K)):
            for t in range(0, y.shape[1], QUERIES):
                rows, begin = min(QUERIES, y.shape[1] - t), first[b, t] // WIDTH * WIDTH
                fetch(q, y, grad_y, b, h, t, rows, scale, queries, grads, sums)
                for r in range(0, rows, 4):
                    weigh_again(queries, grads, sums, keys, values, first, logsum, b, h, t, r, rows, begin, P, dP)
                    four_rows(dP, r, begin, padded(t + r + 4), k[b, key_head], 0, width, grad_q[b, h], t + r, False)
                for j in range(begin, t + rows, 4):  # four keys, which only the queries from j on see
                    n = max(0, j // 4 * 4 - t)
                    four_rows(dP.T, j, n, rows, queries, 0, width, grad_k[b, key_head], j, True)
                    four_rows(P.T, j, n, rows, grads, 0, width, grad_v[b, key_head], j, True)
                for r in range(rows):
                    for i in range(0, width, WIDTH):
                        store(grad_q, (b, h, t + r, i), load(grad_q, (b, h, t + r, i)) * splat(scale))


@njit
def fetch(q, y, grad_y, b, h, t, rows, scale, queries, grads, sums):
    """A block of queries, scaled, of y's gradients, and of the sums of gradient times y over d; zeros below."""
    d = y.shape[2] // q.shape[1]
    for r in range(len(queries)):
        fill(grads, r, 0, q.shape[3], ZERO)
        sums[r] = ZERO
        if r >= rows:
            fill(queries, r, 0, q.shape[3], ZERO)
            continue
        for i in range(0, q.shape[3], WIDTH):
            store(queries, (r, i), load(q, (b, h, t + r, i)) * splat(scale))
        for i in range(d):
            grads[r, i] = grad_y[b, t + r, h * d + i]
            sums[r] += grads[r, i] * y[b, t + r, h * d + i]


@njit
def weigh_again(queries, grads, sums, keys, values, first, logsum, b, h, t, r, rows, begin, P, dP):
    """The weights P of four queries from the r-th of the block on, and the gradients dP of their scores."""
    end = min(padded(t + r + 4), keys.shape[1])
    four_rows(queries, r, 0, len(keys), keys, begin, end, P, r, False)
    four_rows(grads, r, 0, len(keys), values, begin, end, dP, r, False)
    for i in range(r, r + 4):
        if i >= rows:
            fill(P, i, begin, end, ZERO)
            fill(dP, i, begin, end, ZERO)
            continue
        low, high = first[b, t + i], t + i + 1
        for c in range(begin, end, WIDTH):
            p = exp2(fma(load(P, (i, c)), splat(LOG2_E), splat(-logsum[b, h, t + i])))
            store(P, (i, c), p)
            store(dP, (i, c), p * (load(dP, (i, c)) - splat(sums[i])))
        for x in (P, dP):  # what the query does not see
            fill(x, i, begin, low, ZERO)
            fill(x, i, high, end, ZERO)
