"""Dropout: the right share, the right scale, other elements each time, and the same ones for the same seed."""

import pytest
import torch
from torch.nn import functional as F

from pn_lib.models.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_and_scale(p, dtype):
    torch.manual_seed(0)
    x = torch.ones(401, 997, dtype=dtype, requires_grad=True)  # no multiple of eight
    output = Dropout(p)(x)
    y = output.detach()
    assert y.dtype == dtype and (y == 0).float().mean() == pytest.approx(p, abs=0.004)
    assert y.float().mean() == pytest.approx(1.0, abs=0.005) and y.unique().numel() == 2
    for line in (y[0], y[:, 0], y.flatten()[::8], y.flatten()[7::8]):  # every byte of a draw
        assert (line == 0).float().mean() == pytest.approx(p, abs=0.05)
    output.float().sum().backward()
    assert torch.equal(x.grad, y)  # the gradient goes where the value went


def test_neighbours_are_independent():
    torch.manual_seed(0)
    gone = (Dropout(0.5)(torch.ones(1 << 18)) == 0).float() - 0.5
    for shift in (1, 2, 7, 8, 16):
        assert abs((gone[shift:] * gone[:-shift]).mean()) < 0.003


def test_a_cpu_draws_its_own_numbers(monkeypatch):
    monkeypatch.setattr(F, "dropout", None)
    assert (Dropout(0.5)(torch.ones(64)) == 0).any()


def test_seeds_and_modes():
    x, layer = torch.ones(1000), Dropout(0.3)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(first, layer(x)) and not torch.equal(first, second)
    assert torch.equal(layer.eval()(x), x)
    assert Dropout(0.0)(x) is x
