"""Every method of the selective scan against the equations: values, all gradients, extremes, bad input."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pn_lib.errors import InputError
from pn_lib.models.scan import CHUNK, METHODS, selective_scan

NAMES = ("x", "dt", "A", "B", "C", "D", "initial_state")


def random_inputs(batch, length, channels, n, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    dt = F.softplus(normal(batch, length, channels) - 1)
    A = -torch.exp(normal(channels, n))
    inputs = [normal(batch, length, channels), dt, A, normal(batch, length, n), normal(batch, length, n)]
    inputs += [normal(channels), normal(batch, channels, n)]
    return [v.to(dtype).requires_grad_() for v in inputs]


def values_and_gradients(inputs, method):
    """y, the last state, and the gradients of a loss in which every element of both counts differently."""
    y, state = selective_scan(*inputs, method=method)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    loss = (y * weight).sum() + (state * state.detach().sin()).sum()
    return y, state, *torch.autograd.grad(loss, inputs)


def assert_all_close(found, expected):
    """To float32's accuracy, relative to the largest element of each."""
    for name, got, want in zip(("y", "state", *NAMES), found, expected, strict=True):
        atol = 1e-5 * max(1.0, want.abs().max().item())
        torch.testing.assert_close(
            got.double(), want, rtol=1e-4, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    length=st.sampled_from([1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 37]),
    channels=st.integers(1, 5),
    n=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    method=st.sampled_from([m for m in METHODS if m != "reference"]),
)
def test_values_and_every_gradient_equal_the_reference(batch, length, channels, n, seed, method):
    inputs = random_inputs(batch, length, channels, n, torch.float32, seed)
    exact = [v.detach().double().requires_grad_() for v in inputs]
    assert_all_close(values_and_gradients(inputs, method), values_and_gradients(exact, "reference"))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_equal_finite_differences(method):
    inputs = random_inputs(2, CHUNK + 3, 2, 3)
    assert torch.autograd.gradcheck(lambda *tensors: selective_scan(*tensors, method=method), inputs)


def test_the_recurrence_by_hand():
    """Two steps of one channel with one state element, worked out on paper."""
    one = torch.ones(1, 1, 1)
    x, dt = torch.tensor([[[2.0], [3.0]]]), torch.tensor([[[0.5], [1.0]]])
    B = C = one.expand(1, 2, 1)
    y, state = selective_scan(x, dt, -one[0], B, C, torch.tensor([10.0]), method="reference")
    h1 = 0.5 * 2.0
    h2 = torch.tensor(-1.0).exp() * h1 + 1.0 * 3.0
    torch.testing.assert_close(y.flatten(), torch.tensor([h1 + 20.0, h2 + 30.0]))
    torch.testing.assert_close(state.flatten(), h2[None])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dt", [1e-8, 50.0])
def test_extreme_steps(method, dt):
    """Steps so small that nothing decays, and so large that exp(dt A) is 0: exact, and never NaN."""
    inputs = random_inputs(2, 40, 3, 4, torch.float32)
    inputs[1] = torch.full_like(inputs[1], dt, requires_grad=True)
    exact = [v.detach().double().requires_grad_() for v in inputs]
    assert_all_close(values_and_gradients(inputs, method), values_and_gradients(exact, "reference"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [1, CHUNK, CHUNK + 3])
def test_two_halves_with_the_state_carried_equal_the_whole(method, cut):
    x, dt, A, B, C, D, h = random_inputs(2, 2 * CHUNK + 5, 3, 4)
    y, state = selective_scan(x, dt, A, B, C, D, h, method)
    parts = []
    for part in (slice(None, cut), slice(cut, None)):
        part_y, h = selective_scan(x[:, part], dt[:, part], A, B[:, part], C[:, part], D, h, method)
        parts.append(part_y)
    torch.testing.assert_close(torch.cat(parts, 1), y)
    torch.testing.assert_close(h, state)


@pytest.mark.parametrize("method", METHODS)
def test_no_initial_state_means_zeros(method):
    *inputs, h = random_inputs(2, 5, 3, 4)
    for got, want in zip(
        selective_scan(*inputs, method=method), selective_scan(*inputs, torch.zeros_like(h), method), strict=True
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("method", METHODS)
def test_autocast_does_not_lower_the_precision(method):
    inputs = random_inputs(2, 20, 3, 4, torch.float32)
    expected = values_and_gradients(inputs, method)
    with torch.autocast("cpu", torch.bfloat16):
        found = values_and_gradients(inputs, method)
    for got, want in zip(found, expected, strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, want)


def test_only_the_states_between_chunks_are_kept():
    """What autograd saves is a small part of B T E N, the size of all states."""
    batch, length, channels, n = 2, 16 * CHUNK, 8, 32
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.setdefault(t.data_ptr(), t), lambda t: t):
        selective_scan(*random_inputs(batch, length, channels, n, torch.float32))
    # a view would keep the whole storage that it looks into
    assert sum(t.untyped_storage().nbytes() for t in saved.values()) < 4 * batch * length * channels * n / 2


def bad_inputs():
    x, dt, A, B, C, D, h = (v.detach() for v in random_inputs(2, 5, 3, 4, torch.float32))
    not_a_number = dt.clone()
    not_a_number[0, 2, 1] = float("nan")
    good = dict(zip(NAMES, (x, dt, A, B, C, D, h), strict=True))
    return [
        (good | {"method": "warp"}, "unknown scan method 'warp'"),
        (good | {"dt": not_a_number}, "dt holds NaN"),
        (good | {"dt": dt + float("inf")}, "dt holds NaN or infinity"),
        (good | {"B": B[:, :-1]}, "B must have shape"),
        (good | {"D": D[None]}, "D must have shape"),
        (good | {"initial_state": h[:1]}, "initial_state must have shape"),
        (good | {"x": x[0]}, "takes x"),
        (good | {"x": x[:, :0]}, "takes x"),
        (good | {"C": C.double()}, "C is torch.float64"),
        ({k: v.bfloat16() for k, v in good.items()}, "float32 or float64"),
    ]


@pytest.mark.parametrize(("arguments", "message"), bad_inputs())
def test_bad_input_is_one_clear_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        selective_scan(**arguments)
