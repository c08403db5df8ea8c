"""The lanes: the elementary functions keep their stated error, and bfloat16 is read and rounded as PyTorch does."""

import numpy as np
import pytest
import torch
from numba import njit

from pn_lib.models.cpu.simd import (
    WIDTH,
    exp2,
    fma,
    highest,
    load,
    load_high,
    load_low,
    maximum,
    sigmoid,
    softplus,
    splat,
    spread,
    store,
    total,
)


@njit
def apply_all(x, results):
    """Rows of ``results``: exp2, sigmoid, softplus of x (whole registers of numbers)."""
    for i in range(0, len(x), WIDTH):
        v = load(x, (i,))
        store(results, (0, i), exp2(v))
        store(results, (1, i), sigmoid(v))
        store(results, (2, i), softplus(v))


@njit
def halves(x, low, high):
    for i in range(0, len(x), WIDTH):
        store(low, (i,), load_low(x, (i,)))
        store(high, (i,), load_high(x, (i,)))


@njit
def copy(x, y):
    for i in range(0, len(x), WIDTH):
        store(y, (i,), load(x, (i,)))


@njit
def arithmetic(x, y):
    a, b = load(x, (0,)), load(x, (WIDTH,))
    store(y, (0, 0), a + b)
    store(y, (1, 0), a - b)
    store(y, (2, 0), a * b)
    store(y, (3, 0), a / b)
    store(y, (4, 0), fma(a, b, splat(np.float32(2))))
    store(y, (5, 0), maximum(a, b))
    store(y, (6, 0), spread(x[::3], (1,)))
    return total(a), highest(a)


def results_of(x: np.ndarray) -> np.ndarray:
    results = np.empty((3, len(x)), np.float32)
    apply_all(x.astype(np.float32), results)
    return results


def test_elementary_functions_keep_their_stated_error():
    x = np.linspace(-100, 100, 16 * 4000).astype(np.float32)
    exact = x.astype(np.float64)
    wanted = np.exp2(exact), 1 / (1 + np.exp(-exact)), np.logaddexp(0, exact)
    got = results_of(x)
    for name, result, want, error in zip(("exp2", "sigmoid", "softplus"), got, wanted, (3e-7, 5e-7, 5e-7), strict=True):
        meant = want > 1e-37  # below, float32 has no full accuracy, and exp2 stops
        # the exponent x log2(e) of the last two is rounded twice, which counts the more the larger it is
        allowed = error + (name != "exp2") * np.abs(exact) * 2.0**-23
        assert (np.abs(result / want - 1) <= allowed)[meant].all(), name


def test_ends_and_not_a_number():
    x = np.full(WIDTH, np.nan, np.float32)
    x[:4] = -1e30, 1e4, -1e4, 0
    exp2s, sigmoids, softpluses = results_of(np.minimum(x, 127)), results_of(x)[1], results_of(x)[2]
    np.testing.assert_allclose(exp2s[0, [0, 3]], [2.0**-126, 1], rtol=3e-7)
    assert exp2s[0, 3] == 1
    np.testing.assert_allclose(sigmoids[:4], [0, 1, 0, 0.5], rtol=3e-7, atol=1e-37)
    np.testing.assert_allclose(softpluses[:4], [0, 1e4, 0, np.log(2)], rtol=1e-6, atol=1e-37)
    assert np.isnan(results_of(x)[:, 4:]).all()


def test_arithmetic():
    x = np.random.default_rng(0).normal(size=2 * WIDTH).astype(np.float32)
    a, b = x[:WIDTH], x[WIDTH:]
    y = np.empty((7, WIDTH), np.float32)
    assert arithmetic(x, y) == pytest.approx((a.sum(), a.max()), rel=1e-6)
    wanted = (a + b, a - b, a * b, a / b, a * b + 2, np.maximum(a, b), np.full(WIDTH, x[3]))
    for got, want in zip(y, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_bfloat16_as_pytorch_rounds_it():
    x = torch.cat([torch.randn(1024, generator=torch.Generator().manual_seed(0)) * 10.0**e for e in range(-8, 9)])
    x = torch.cat([x, torch.tensor([1.00390625, 1.01171875, -1.00390625, 0.0] * 4)])  # ties, to even
    short = torch.empty(len(x), dtype=torch.bfloat16)
    copy(x.numpy(), short.view(torch.uint16).numpy())
    assert torch.equal(short, x.bfloat16())
    wide = torch.empty(len(x))
    copy(short.view(torch.uint16).numpy(), wide.numpy())
    assert torch.equal(wide, short.float())


def test_integers_of_eight_and_of_four_bits():
    every = np.arange(256).astype(np.uint8)
    found, low, high = (np.empty(256, np.float32) for _ in range(3))
    copy(every.view(np.int8), found)
    assert found.tolist() == every.view(np.int8).tolist()
    halves(every, low, high)
    signed = [*range(8), *range(-8, 0)]
    assert low.tolist() == signed * 16
    assert high.tolist() == [number for number in signed for _ in range(16)]
