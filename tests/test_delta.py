"""The gated delta rule: chunks are the recurrence in values and all gradients; what it writes is what it looks up."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ssd import assert_all_close, exact, values_and_gradients
from torch.nn import functional as F

from pn_lib.models.delta import chunked_delta, delta_step, recurrent_delta


def random_inputs(batch, length, heads, channels, n, dtype=torch.float64, seed=0):
    """Inputs by name, leaves that want gradients; keys of length one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = {
        "q": normal(batch, length, heads, n),
        "k": F.normalize(normal(batch, length, heads, n), dim=-1),
        "v": normal(batch, length, heads, channels),
        "log_a": -F.softplus(normal(batch, length, heads) - 1),
        "b": normal(batch, length, heads).sigmoid(),
        "S": normal(batch, heads, channels, n),
    }
    return {name: v.to(dtype).requires_grad_() for name, v in inputs.items()}


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 2),
    length=st.sampled_from([1, 2, 7, 8, 9, 17, 37, 130]),
    heads=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 16]),
    n=st.sampled_from([1, 5, 16]),
    chunk=st.sampled_from([1, 4, 8, 64]),
    seed=st.integers(0, 10**6),
)
def test_chunks_equal_the_recurrence_in_values_and_every_gradient(batch, length, heads, channels, n, chunk, seed):
    inputs = random_inputs(batch, length, heads, channels, n, torch.float32, seed)
    expected = values_and_gradients(exact(inputs), recurrent_delta)
    found = values_and_gradients(inputs, lambda **tensors: chunked_delta(**tensors, chunk=chunk))
    assert_all_close(inputs, found, expected, tolerance=5e-5)


def test_a_sequence_in_two_pieces_is_the_whole():
    inputs = random_inputs(2, 29, 2, 3, 4)
    y, state = chunked_delta(**inputs, chunk=8)
    ys, S = [], inputs.pop("S")
    for steps in (slice(0, 11), slice(11, 29)):
        part, S = chunked_delta(**{name: v[:, steps] for name, v in inputs.items()}, S=S, chunk=8)
        ys.append(part)
    torch.testing.assert_close(torch.cat(ys, 1), y)
    torch.testing.assert_close(S, state)


def test_a_value_is_replaced_where_mamba_2_would_add():
    """With a = b = 1 the value last written to a key is what the key looks up, whatever was there."""
    k = F.normalize(torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    S, zero, one = torch.randn(1, 1, 3, 4), torch.zeros(1, 1), torch.ones(1, 1)
    for value in torch.eye(3):
        y, S = delta_step(k, k, value.view(1, 1, 3), zero, one, S)
        torch.testing.assert_close(y.flatten(), value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("log_a", [0.0, -1e-8, -200.0])
def test_extreme_decays(log_a):
    """Nothing fades, or all at once: never NaN."""
    inputs = random_inputs(1, 40, 2, 3, 4, torch.float32)
    inputs["log_a"] = torch.full_like(inputs["log_a"], log_a, requires_grad=True)
    found = values_and_gradients(inputs, chunked_delta)
    assert_all_close(inputs, found, values_and_gradients(exact(inputs), recurrent_delta), tolerance=1e-4)
