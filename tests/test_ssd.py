"""State-space duality: recurrence, masked product and chunks are one map, in values and all gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models import ssd
from pn_lib.models.ssd import chunked_ssd, decay_mask, masked_ssd, recurrent_ssd


def random_inputs(batch, length, heads, channels, n, dtype=torch.float64, seed=0):
    """Inputs by name, leaves that want gradients."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = {
        "x": normal(batch, length, heads, channels),
        "dt": F.softplus(normal(batch, length, heads) - 1),
        "A": -torch.exp(normal(heads)),
        "B": normal(batch, length, n),
        "C": normal(batch, length, n),
        "D": normal(heads),
        "h": normal(batch, heads, channels, n),
    }
    return {name: v.to(dtype).requires_grad_() for name, v in inputs.items()}


def values_and_gradients(inputs, form):
    """y, the last state, and the gradients of a loss in which every element of both counts differently."""
    y, state = form(**inputs)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    loss = (y * weight).sum() + (state * state.detach().sin()).sum()
    return y, state, *torch.autograd.grad(loss, list(inputs.values()))


def assert_all_close(inputs, found, expected, tolerance):
    """Relative to the largest element of each."""
    for name, got, want in zip(("y", "state", *inputs), found, expected, strict=True):
        atol = tolerance * max(1.0, want.abs().max().item())
        torch.testing.assert_close(
            got.double(), want, rtol=10 * tolerance, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


def exact(inputs):
    """The same numbers in float64."""
    return {name: v.detach().double().requires_grad_() for name, v in inputs.items()}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    length=st.sampled_from([1, 2, 7, 8, 9, 16, 17, 37, 130]),
    heads=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16]),
    n=st.sampled_from([1, 5, 16]),
    chunk=st.sampled_from([1, 4, 8, 64]),
    seed=st.integers(0, 10**6),
)
def test_chunks_equal_the_recurrence_in_values_and_every_gradient(batch, length, heads, channels, n, chunk, seed):
    inputs = random_inputs(batch, length, heads, channels, n, torch.float32, seed)
    expected = values_and_gradients(exact(inputs), recurrent_ssd)
    found = values_and_gradients(inputs, lambda **tensors: chunked_ssd(**tensors, chunk=chunk))
    assert_all_close(inputs, found, expected, tolerance=2e-5)


def test_segments_change_nothing(monkeypatch):
    monkeypatch.setattr(ssd, "SEGMENT", 20)  # two rows of two chunks of four steps at a time
    inputs = random_inputs(2, 37, 2, 3, 4)
    expected = values_and_gradients(inputs, recurrent_ssd)
    assert_all_close(inputs, values_and_gradients(inputs, lambda **t: chunked_ssd(**t, chunk=4)), expected, 1e-9)


def test_gradients_equal_finite_differences():
    inputs = random_inputs(2, 7, 2, 2, 3)
    names = list(inputs)
    assert torch.autograd.gradcheck(
        lambda *tensors: chunked_ssd(**dict(zip(names, tensors, strict=True)), chunk=3), list(inputs.values())
    )


def test_the_masked_product_is_the_recurrence_from_an_empty_state():
    inputs = random_inputs(2, 19, 3, 4, 5)
    inputs["h"] = torch.zeros_like(inputs["h"])
    expected, _ = recurrent_ssd(**inputs)
    del inputs["h"]
    torch.testing.assert_close(masked_ssd(**inputs), expected)


def test_the_mask_by_hand():
    L = decay_mask(torch.tensor([5.0, 0.5, 0.25]).log())
    torch.testing.assert_close(L, torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0.125, 0.25, 1]]))


def test_a_sequence_in_two_pieces_is_the_whole():
    inputs = random_inputs(2, 29, 2, 3, 4)
    y, state = chunked_ssd(**inputs, chunk=8)
    cut = {name: inputs[name] for name in ("A", "D", "h")}
    ys = []
    for steps in (slice(0, 11), slice(11, 29)):
        piece = {name: inputs[name][:, steps] for name in ("x", "dt", "B", "C")}
        part, cut["h"] = chunked_ssd(**piece, **cut, chunk=8)
        ys.append(part)
    torch.testing.assert_close(torch.cat(ys, 1), y)
    torch.testing.assert_close(cut["h"], state)


def test_sequences_in_bfloat16():
    """Products are in bfloat16, decays and states in float32."""
    inputs = random_inputs(2, 150, 2, 16, 8, torch.float32)
    short = {k: v.detach().bfloat16().requires_grad_() if k in ("x", "B", "C") else v for k, v in inputs.items()}
    found = values_and_gradients(short, chunked_ssd)
    assert found[0].dtype == torch.bfloat16 and found[1].dtype == torch.float32
    assert [g.dtype for g in found[2:]] == [v.dtype for v in short.values()]
    assert_all_close(inputs, found, values_and_gradients(exact(short), recurrent_ssd), tolerance=2e-2)


@pytest.mark.parametrize("dt", [0.0, 1e-8, 50.0])
def test_extreme_steps(dt):
    """Steps so small that nothing decays, and so large that a state is forgotten at once: exact, and never NaN."""
    inputs = random_inputs(1, 40, 2, 3, 4, torch.float32)
    inputs["dt"] = torch.full_like(inputs["dt"], dt, requires_grad=True)
    found = values_and_gradients(inputs, chunked_ssd)
    expected = values_and_gradients(exact(inputs), recurrent_ssd)
    place = 2 + list(inputs).index("A")  # its gradient is dt times a difference of sums: as exact as those
    rounding = 1e-6 * dt * expected[0].abs().sum().item()
    torch.testing.assert_close(found[place].double(), expected[place], rtol=1e-4, atol=1e-4 + rounding)
    del inputs["A"]
    rest = [(*tensors[:place], *tensors[place + 1 :]) for tensors in (found, expected)]
    assert_all_close(inputs, *rest, tolerance=1e-4)


def test_a_diverged_model_is_told():
    inputs = random_inputs(1, 4, 1, 2, 2)
    inputs["dt"] = inputs["dt"] * torch.nan
    with pytest.raises(InputError, match="diverged"):
        chunked_ssd(**inputs)
