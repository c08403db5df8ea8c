"""Products of a few rows with a matrix in float32, or in small integers that become float32 on their way into the sum.

A matrix of all layers is "blocked", (L, out / W, in, W): the W lanes of a register hold neighboring outputs, and
weights are read in the order in which they lie. Its type says what it holds: float32; int8, an integer a byte; or
uint8, two, those of inputs 2 i and 2 i + 1 in the low and the high half of a byte, (L, out / W, in / 2, W). Integers
have ``scales`` (L, out / W, groups, W), each of ``group`` inputs of an output, and applied once to their sum: what is
read for each weight is one byte or a half, in place of four.
"""

from numba import njit, types
from numba.extending import overload

from pn_lib.models.cpu.simd import WIDTH, ZERO, fma, load, load_high, load_low, splat, store


@njit
def product(x, rows, W, scales, group, layer, bias, y, add):
    """y = x W + bias for ``rows`` rows of x (., in), or y += that; y (., out), bias of whole registers."""
    for block in range(y.shape[1] // WIDTH):
        o, r = block * WIDTH, 0
        while r + 4 <= rows:
            s0, s1, s2, s3 = four_rows(x, r, W, scales, group, layer, block)
            put(s0, bias, y, r, o, add)
            put(s1, bias, y, r + 1, o, add)
            put(s2, bias, y, r + 2, o, add)
            put(s3, bias, y, r + 3, o, add)
            r += 4
        for r in range(rows - rows % 4, rows):
            put(one_row(x, r, W, scales, group, layer, block), bias, y, r, o, add)


@njit
def put(s, bias, y, r, o, add):
    out = load(bias, (o,)) + s
    store(y, (r, o), out + load(y, (r, o)) if add else out)


def four_rows(x, r, W, scales, group, layer, block):
    """The sums of four rows: a register of weights, once loaded, serves them all."""
    raise NotImplementedError("compiled code only")


def one_row(x, r, W, scales, group, layer, block):
    """The sum of one row."""
    raise NotImplementedError("compiled code only")


@overload(four_rows)
def _four_rows(x, r, W, scales, group, layer, block):
    return _four_floats if W.dtype == types.float32 else _four_integers


@overload(one_row)
def _one_row(x, r, W, scales, group, layer, block):
    return _one_float if W.dtype == types.float32 else _one_integers


def _four_floats(x, r, W, scales, group, layer, block):
    s0 = s1 = s2 = s3 = splat(ZERO)
    for i in range(W.shape[2]):
        w = load(W, (layer, block, i, 0))
        s0, s1 = fma(splat(x[r, i]), w, s0), fma(splat(x[r + 1, i]), w, s1)
        s2, s3 = fma(splat(x[r + 2, i]), w, s2), fma(splat(x[r + 3, i]), w, s3)
    return s0, s1, s2, s3


def _one_float(x, r, W, scales, group, layer, block):
    """Four sums side by side, since each addition to one sum waits for the addition before."""
    s0 = s1 = s2 = s3 = splat(ZERO)
    inputs = W.shape[2]
    for i in range(0, inputs - 3, 4):
        s0 = fma(splat(x[r, i]), load(W, (layer, block, i, 0)), s0)
        s1 = fma(splat(x[r, i + 1]), load(W, (layer, block, i + 1, 0)), s1)
        s2 = fma(splat(x[r, i + 2]), load(W, (layer, block, i + 2, 0)), s2)
        s3 = fma(splat(x[r, i + 3]), load(W, (layer, block, i + 3, 0)), s3)
    for i in range(inputs - inputs % 4, inputs):
        s0 = fma(splat(x[r, i]), load(W, (layer, block, i, 0)), s0)
    return (s0 + s1) + (s2 + s3)


def _four_integers(x, r, W, scales, group, layer, block):
    s0 = s1 = s2 = s3 = splat(ZERO)
    for g in range(scales.shape[2]):
        t0, t1, t2, t3 = four_of_group(x, r, W, group, layer, block, g)
        scale = load(scales, (layer, block, g, 0))
        s0, s1, s2, s3 = fma(t0, scale, s0), fma(t1, scale, s1), fma(t2, scale, s2), fma(t3, scale, s3)
    return s0, s1, s2, s3


def _one_integers(x, r, W, scales, group, layer, block):
    s = splat(ZERO)
    for g in range(scales.shape[2]):
        s = fma(one_of_group(x, r, W, group, layer, block, g), load(scales, (layer, block, g, 0)), s)
    return s


def four_of_group(x, r, W, group, layer, block, g):
    """The sums of four rows over one group, before its scale."""
    raise NotImplementedError("compiled code only")


def one_of_group(x, r, W, group, layer, block, g):
    """The sum of one row over one group, before its scale."""
    raise NotImplementedError("compiled code only")


@overload(four_of_group)
def _four_of_group(x, r, W, group, layer, block, g):
    return _four_pairs if W.dtype == types.uint8 else _four_bytes


@overload(one_of_group)
def _one_of_group(x, r, W, group, layer, block, g):
    return _one_pairs if W.dtype == types.uint8 else _one_bytes


def _four_bytes(x, r, W, group, layer, block, g):
    s0 = s1 = s2 = s3 = splat(ZERO)
    for i in range(g * group, min((g + 1) * group, W.shape[2])):
        w = load(W, (layer, block, i, 0))
        s0, s1 = fma(splat(x[r, i]), w, s0), fma(splat(x[r + 1, i]), w, s1)
        s2, s3 = fma(splat(x[r + 2, i]), w, s2), fma(splat(x[r + 3, i]), w, s3)
    return s0, s1, s2, s3


def _one_bytes(x, r, W, group, layer, block, g):
    s0 = s1 = s2 = s3 = splat(ZERO)
    begin, end = g * group, min((g + 1) * group, W.shape[2])
    for i in range(begin, end - 3, 4):
        s0 = fma(splat(x[r, i]), load(W, (layer, block, i, 0)), s0)
        s1 = fma(splat(x[r, i + 1]), load(W, (layer, block, i + 1, 0)), s1)
        s2 = fma(splat(x[r, i + 2]), load(W, (layer, block, i + 2, 0)), s2)
        s3 = fma(splat(x[r, i + 3]), load(W, (layer, block, i + 3, 0)), s3)
    for i in range(end - (end - begin) % 4, end):
        s0 = fma(splat(x[r, i]), load(W, (layer, block, i, 0)), s0)
    return (s0 + s1) + (s2 + s3)


def _four_pairs(x, r, W, group, layer, block, g):
    s0 = s1 = s2 = s3 = splat(ZERO)
    for p in range(g * group // 2, min((g + 1) * group // 2, W.shape[2])):
        i, low, high = 2 * p, load_low(W, (layer, block, p, 0)), load_high(W, (layer, block, p, 0))
        s0 = fma(splat(x[r, i + 1]), high, fma(splat(x[r, i]), low, s0))
        s1 = fma(splat(x[r + 1, i + 1]), high, fma(splat(x[r + 1, i]), low, s1))
        s2 = fma(splat(x[r + 2, i + 1]), high, fma(splat(x[r + 2, i]), low, s2))
        s3 = fma(splat(x[r + 3, i + 1]), high, fma(splat(x[r + 3, i]), low, s3))
    return s0, s1, s2, s3


def _one_pairs(x, r, W, group, layer, block, g):
    s0 = s1 = s2 = s3 = splat(ZERO)
    begin, end = g * group // 2, min((g + 1) * group // 2, W.shape[2])
    for p in range(begin, end - 1, 2):
        i = 2 * p
        s0 = fma(splat(x[r, i]), load_low(W, (layer, block, p, 0)), s0)
        s1 = fma(splat(x[r, i + 1]), load_high(W, (layer, block, p, 0)), s1)
        s2 = fma(splat(x[r, i + 2]), load_low(W, (layer, block, p + 1, 0)), s2)
        s3 = fma(splat(x[r, i + 3]), load_high(W, (layer, block, p + 1, 0)), s3)
    for p in range(end - (end - begin) % 2, end):
        s0 = fma(splat(x[r, 2 * p]), load_low(W, (layer, block, p, 0)), s0)
        s1 = fma(splat(x[r, 2 * p + 1]), load_high(W, (layer, block, p, 0)), s1)
    return (s0 + s1) + (s2 + s3)
