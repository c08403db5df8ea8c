"""Every method of the selective scan against the equations: values, all gradients, extremes, bad input."""

import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pn_lib.errors import InputError
from pn_lib.models.cpu.availability import why_no_kernels
from pn_lib.models.scan import CHUNK, METHODS, choose_method, selective_scan

HERE = [m for m in METHODS if m != "mamba-ssm"]  # that one runs on a GPU only
DOUBLE = ("reference", "torch")  # these work in float64 too


def random_inputs(batch, length, channels, n, dtype=torch.float64, seed=0, full=True):
    """Inputs by name; ``full``: with a gate, and dt before its softplus; else dt is the step size itself."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    sequence = (batch, length, channels)
    inputs = {
        "x": normal(*sequence),
        "dt": normal(*sequence),
        "A": -torch.exp(normal(channels, n)),
        "B": normal(batch, length, n),
        "C": normal(batch, length, n),
        "D": normal(channels),
        "initial_state": normal(batch, channels, n),
    }
    if full:
        inputs |= {"z": normal(*sequence), "dt_bias": normal(channels) - 1}
    else:
        inputs["dt"] = F.softplus(inputs["dt"] - 1)
    return {name: v.to(dtype).requires_grad_() for name, v in inputs.items()}


def exact(inputs):
    """The same numbers in float64."""
    return {name: v.detach().double().requires_grad_() for name, v in inputs.items()}


def values_and_gradients(inputs, method):
    """y, the last state, and the gradients of a loss in which every element of both counts differently."""
    y, state = selective_scan(**inputs, method=method)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    loss = (y * weight).sum() + (state * state.detach().sin()).sum()
    return y, state, *torch.autograd.grad(loss, list(inputs.values()))


def assert_all_close(inputs, found, expected, tolerance=1e-5):
    """To float32's accuracy, relative to the largest element of each."""
    for name, got, want in zip(("y", "state", *inputs), found, expected, strict=True):
        atol = tolerance * max(1.0, want.abs().max().item())
        torch.testing.assert_close(
            got.double(), want, rtol=10 * tolerance, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    length=st.sampled_from([1, 2, 7, 8, 9, 15, 16, 17, 37, 100]),
    channels=st.sampled_from([1, 3, 16, 20, 32, 150]),
    n=st.sampled_from([1, 2, 5, 16, 17]),
    seed=st.integers(0, 10**6),
    full=st.booleans(),
    method=st.sampled_from(["torch", "fused"]),
)
def test_values_and_every_gradient_equal_the_reference(batch, length, channels, n, seed, full, method):
    inputs = random_inputs(batch, length, channels, n, torch.float32, seed, full)
    expected = values_and_gradients(exact(inputs), "reference")
    assert_all_close(inputs, values_and_gradients(inputs, method), expected)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("method", DOUBLE)
def test_gradients_equal_finite_differences(method, full):
    inputs = random_inputs(2, CHUNK + 3, 2, 3, full=full)

    def scan(*tensors):
        return selective_scan(**dict(zip(inputs, tensors, strict=True)), method=method)

    assert torch.autograd.gradcheck(scan, list(inputs.values()))


@pytest.mark.parametrize("method", HERE)
def test_sequences_in_bfloat16(method):
    """They are widened before anything is computed: the same as float32 with numbers that bfloat16 can hold."""
    sequences = ("x", "dt", "B", "C", "z")
    inputs = random_inputs(2, 21, 20, 4, torch.float32)
    short = {k: v.detach().bfloat16().requires_grad_() if k in sequences else v for k, v in inputs.items()}
    wide = {k: v.detach().double().requires_grad_() for k, v in short.items()}
    found = values_and_gradients(short, method)
    assert found[0].dtype == torch.bfloat16 and found[1].dtype == torch.float32
    assert [g.dtype for g in found[2:]] == [v.dtype for v in short.values()]
    assert_all_close(inputs, found, values_and_gradients(wide, "reference"), tolerance=1e-2)


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


@pytest.mark.parametrize("method", HERE)
@pytest.mark.parametrize("dt", [1e-8, 50.0])
def test_extreme_steps(method, dt):
    """Steps so small that nothing decays, and so large that exp(dt A) is 0: exact, and never NaN."""
    inputs = random_inputs(2, 40, 3, 4, torch.float32, full=False)
    inputs["dt"] = torch.full_like(inputs["dt"], dt, requires_grad=True)
    assert_all_close(inputs, values_and_gradients(inputs, method), values_and_gradients(exact(inputs), "reference"))


@pytest.mark.parametrize("method", HERE)
@pytest.mark.parametrize("shift", [-80.0, -15.0, 60.0])
def test_extremes_of_the_softplus_and_the_gate(method, shift):
    inputs = random_inputs(2, 40, 3, 4, torch.float32)
    for name in ("dt", "z"):
        inputs[name] = (inputs[name] + shift).detach().requires_grad_()
    assert_all_close(inputs, values_and_gradients(inputs, method), values_and_gradients(exact(inputs), "reference"))


@pytest.mark.parametrize("method", HERE)
@pytest.mark.parametrize("cut", [1, CHUNK, CHUNK + 3])
def test_two_halves_with_the_state_carried_equal_the_whole(method, cut):
    inputs = random_inputs(2, 2 * CHUNK + 5, 3, 4, torch.float32)
    y, state = selective_scan(**inputs, method=method)
    parts, h = [], inputs["initial_state"]
    for part in (slice(None, cut), slice(cut, None)):
        piece = {k: v[:, part] if k in ("x", "dt", "B", "C", "z") else v for k, v in inputs.items()}
        part_y, h = selective_scan(**piece | {"initial_state": h}, method=method)
        parts.append(part_y)
    torch.testing.assert_close(torch.cat(parts, 1), y)
    torch.testing.assert_close(h, state)


@pytest.mark.parametrize("method", HERE)
def test_no_initial_state_means_zeros(method):
    inputs = random_inputs(2, 5, 3, 4, torch.float32)
    zeros = inputs | {"initial_state": torch.zeros(2, 3, 4)}
    without = {k: v for k, v in inputs.items() if k != "initial_state"}
    for got, want in zip(selective_scan(**without, method=method), selective_scan(**zeros, method=method), strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("method", HERE)
def test_the_initial_state_is_not_overwritten(method):
    inputs = {k: v.detach() for k, v in random_inputs(2, 5, 16, 4, torch.float32).items()}
    before = inputs["initial_state"].clone()
    selective_scan(**inputs, method=method)
    assert torch.equal(inputs["initial_state"], before)


@pytest.mark.parametrize("method", HERE)
def test_autocast_does_not_lower_the_precision(method):
    inputs = random_inputs(2, 20, 3, 4, torch.float32)
    expected = values_and_gradients(inputs, method)
    with torch.autocast("cpu", torch.bfloat16):
        found = values_and_gradients(inputs, method)
    for got, want in zip(found, expected, strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, want)


def test_the_number_of_threads_changes_no_bit():
    inputs, threads = random_inputs(3, 50, 300, 16, torch.float32), torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(values_and_gradients(inputs, "fused"))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("method", ["torch", "fused"])
def test_only_the_states_between_chunks_are_kept(method):
    """What autograd saves is a small part of B T E N, the size of all states."""
    batch, length, channels, n = 2, 256, 16, 32
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.setdefault(t.data_ptr(), t), lambda t: t):
        selective_scan(**random_inputs(batch, length, channels, n, torch.float32), method=method)
    # a view would keep the whole storage that it looks into
    assert sum(t.untyped_storage().nbytes() for t in saved.values()) < 4 * batch * length * channels * n * 0.6


def test_auto_is_the_fused_scan_on_a_cpu_in_float32():
    assert choose_method(torch.device("cpu")) == "fused"
    assert choose_method(torch.device("cpu"), torch.float64) == choose_method(torch.device("cuda")) == "torch"
    inputs = random_inputs(2, 20, 16, 4, torch.float32)
    assert torch.equal(selective_scan(**inputs)[0], selective_scan(**inputs, method="fused")[0])


def test_without_numba_the_torch_scan_is_taken_and_says_so(monkeypatch):
    inputs = random_inputs(2, 20, 16, 4, torch.float32)
    monkeypatch.setitem(sys.modules, "pn_lib.models.cpu.fused_blocks", None)  # importing it now fails
    why_no_kernels.cache_clear()
    try:
        with pytest.warns(UserWarning, match="the fused kernels cannot run here .*pip install numba"):
            y, _ = selective_scan(**inputs)
        assert torch.equal(y, selective_scan(**inputs, method="torch")[0])
        with pytest.raises(InputError, match="pip install numba, or take 'torch'"):
            selective_scan(**inputs, method="fused")
    finally:
        why_no_kernels.cache_clear()


def bad_inputs():
    good = {k: v.detach() for k, v in random_inputs(2, 5, 3, 4, torch.float32).items()}
    x, dt, A, B, C, D, h, z, dt_bias = good.values()
    not_a_number = dt.clone()
    not_a_number[0, 2, 1] = float("nan")
    steps = good | {"dt": dt.abs(), "dt_bias": None}
    return [
        (good | {"method": "warp"}, "unknown scan method 'warp'"),
        *(
            (good | {"dt": bad, "method": m}, "dt holds NaN or infinity")
            for bad in (not_a_number, dt + float("inf"))
            for m in HERE
        ),
        (steps | {"dt": not_a_number}, "NaN or a negative step"),
        (steps | {"dt": -dt.abs()}, "NaN or a negative step"),
        (good | {"A": -A}, "A holds a rate above zero"),
        (good | {"B": B[:, :-1]}, "B must have shape"),
        (good | {"D": D[None]}, "D must have shape"),
        (good | {"z": z[:, :, :-1]}, "z must have shape"),
        (good | {"dt_bias": dt_bias[:-1]}, "dt_bias must have shape"),
        (good | {"initial_state": h[:1]}, "initial_state must have shape"),
        (good | {"x": x[0]}, "takes x"),
        (good | {"x": x[:, :0]}, "takes x"),
        (good | {"C": C.double()}, "C is torch.float64"),
        (good | {"D": D.bfloat16()}, "D is torch.bfloat16"),
        (good | {"z": z.to("meta")}, "z is on meta, x on cpu"),
        ({k: v.bfloat16() for k, v in good.items()}, "float32 or float64"),
        ({k: v.double() for k, v in good.items()} | {"method": "fused"}, "on a CPU in float32"),
        (good | {"method": "mamba-ssm"}, "mamba-ssm"),
    ]


@pytest.mark.parametrize(("arguments", "message"), bad_inputs())
def test_bad_input_is_one_clear_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        selective_scan(**arguments)
