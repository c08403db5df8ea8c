"""The kernel between a Mamba-2 layer's projections equals PyTorch's operations around the recurrence, in float64."""

import pytest
import torch
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models import mamba2
from pn_lib.models.cpu.availability import can_fuse
from pn_lib.models.cpu.fused_mamba2 import can_mix, mamba2_mixer
from pn_lib.models.cpu.simd import WIDTH
from pn_lib.models.cpu.ssd_kernels import CHUNK
from pn_lib.models.mamba2 import Mamba2, Mamba2Config
from pn_lib.models.ssd import recurrent_ssd

NAMES = ("y", "state", "projected", "history", "weight", "bias", "dt_bias", "A", "D", "gain", "h")
EPS = 1e-3


def random_inputs(batch, length, heads, P, N, K):
    """Arguments of ``mamba2_mixer`` but eps, in float64."""
    generator, E = torch.Generator().manual_seed(0), heads * P

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    sequences = [normal(batch, length, 2 * E + 2 * N + heads), normal(batch, K - 1, E + 2 * N)]
    convolution = [normal(E + 2 * N, K) / 2, normal(E + 2 * N)]
    rates = [normal(heads), -torch.exp(normal(heads)), normal(heads)]
    return [*sequences, *convolution, *rates, normal(E), normal(batch, heads, P, N)]


def by_recurrence(projected, history, weight, bias, dt_bias, A, D, gain, h):
    E, N, H = len(gain), (len(weight) - len(gain)) // 2, len(A)
    z, xBC, dt = projected.split((E, E + 2 * N, H), -1)
    padded = torch.cat([history, xBC], 1).mT
    x, B, C = F.silu(F.conv1d(padded, weight.unsqueeze(1), bias, groups=len(weight))).mT.split((E, N, N), -1)
    y, h = recurrent_ssd(x.unflatten(-1, (H, -1)), F.softplus(dt + dt_bias), A, B, C, D, h)
    return F.rms_norm(y.flatten(2) * F.silu(z), (E,), gain, EPS), h


def by_kernel(*inputs):
    *rest, h = inputs
    return mamba2_mixer(*rest, EPS, h)


def values_and_gradients(mixer, inputs, dtype):
    """y, the last state, and the gradients of a loss in which every element of both counts differently."""
    inputs = [v.to(dtype).requires_grad_() for v in inputs]
    y, state = mixer(*inputs)
    weight = torch.linspace(-1, 1, y.numel(), dtype=dtype).view_as(y)
    return y, state, *torch.autograd.grad((y * weight).sum() + (state * state.detach().sin()).sum(), inputs)


@pytest.mark.parametrize(
    ("batch", "length", "heads", "P", "N", "K"),
    [
        (1, CHUNK, 1, WIDTH, WIDTH, 4),
        (2, CHUNK + 5, 2, WIDTH, 2 * WIDTH, 4),
        (3, 4 * CHUNK - 1, 3, 3 * WIDTH, WIDTH, 4),
        (2, 1, 2, WIDTH, WIDTH, 1),
        (1, 2, 2, WIDTH, WIDTH, 6),  # shorter than the convolution
        (2, 2 * CHUNK + 1, 4, 64, 64, 4),
    ],
)
def test_the_kernel_equals_the_recurrence_in_values_and_every_gradient(batch, length, heads, P, N, K):
    inputs = random_inputs(batch, length, heads, P, N, K)
    expected = values_and_gradients(by_recurrence, inputs, torch.float64)
    found = values_and_gradients(by_kernel, inputs, torch.float32)
    for name, got, want in zip(NAMES, found, expected, strict=True):
        atol = 2e-5 * max(1.0, want.abs().max().item() if want.numel() else 0.0)
        torch.testing.assert_close(got.double(), want, rtol=2e-4, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


@torch.no_grad()
def test_without_gradients_and_in_two_pieces_it_is_the_same():
    inputs = [v.float() for v in random_inputs(2, 3 * CHUNK + 7, 2, WIDTH, WIDTH, 4)]
    with torch.enable_grad():
        y, last = by_kernel(*inputs)
    assert all(map(torch.equal, by_kernel(*inputs), (y, last)))
    projected, history, *shared, h = inputs
    E, cut = 2 * WIDTH, CHUNK + 3
    first, middle = by_kernel(projected[:, :cut], history, *shared, h)
    history = projected[:, cut - 3 : cut, E : 2 * E + 2 * WIDTH]
    second, end = by_kernel(projected[:, cut:], history, *shared, middle)
    torch.testing.assert_close(torch.cat([first, second], 1), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(end, last, rtol=1e-4, atol=1e-5)


def test_threads_change_nothing():
    inputs, threads, found = random_inputs(5, CHUNK + 9, 2, 2 * WIDTH, WIDTH, 4), torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(values_and_gradients(by_kernel, inputs, torch.float32))
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("shift", [-1e4, 30.0])
def test_extreme_steps(shift):
    """Steps so small that nothing decays, and so large that a state is forgotten at once: never NaN."""
    inputs = random_inputs(1, CHUNK + 9, 2, WIDTH, WIDTH, 4)
    inputs[4] = inputs[4] + shift
    expected = values_and_gradients(by_recurrence, inputs, torch.float64)
    found = values_and_gradients(by_kernel, inputs, torch.float32)
    assert all(v.isfinite().all() for v in found)
    for got, want in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-4 * want.abs().max().item())


def test_a_diverged_model_is_told():
    inputs = [v.float() for v in random_inputs(1, 4, 1, WIDTH, WIDTH, 4)]
    inputs[0][0, 2, -1] = torch.nan
    with pytest.raises(InputError, match="diverged"):
        by_kernel(*inputs)


@pytest.mark.parametrize("sizes", [{}, {"head_dim": WIDTH // 2}], ids=["whole registers", "half a register"])
def test_a_model_is_the_same_with_the_kernel_and_without(sizes, monkeypatch):
    """A head of half a register is left to PyTorch."""
    torch.manual_seed(0)
    config = Mamba2Config(50, d_model=32, n_layers=2, **{"d_state": WIDTH, "head_dim": 2 * WIDTH} | sizes)
    assert can_mix(config.head_dim, config.d_state, config.d_conv) == (not sizes)
    model, (ids, targets), found = Mamba2(config), torch.randint(50, (2, 3, CHUNK + 5)), []
    for fuse in (True, False):
        monkeypatch.setattr(mamba2, "can_fuse", can_fuse if fuse else lambda x: False)
        value = model(ids, targets)
        found.append((value.detach(), model(ids).detach(), *torch.autograd.grad(value, list(model.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
