"""The kernels of a Transformer's blocks equal PyTorch's operations, in values and gradients, whatever the shapes."""

import os
import subprocess
import sys
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F

from pn_lib.data.tokens import IGNORED
from pn_lib.models import attention as attention_module
from pn_lib.models import loss, norm, transformer
from pn_lib.models.attention import rotary_table, rotate
from pn_lib.models.cpu import calling, fused_blocks, fused_scan
from pn_lib.models.cpu.availability import can_fuse
from pn_lib.models.cpu.simd import WIDTH
from pn_lib.models.loss import token_nats
from pn_lib.models.transformer import Transformer, TransformerConfig


def value_and_gradients(function, *inputs):
    """The value, and the gradients of a sum of it with random weights."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    y = function(*inputs)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    return y.detach(), *torch.autograd.grad((y * weights).sum(), inputs)


def assert_alike(ours, theirs, *inputs, atol=2e-5):
    for mine, other in zip(value_and_gradients(ours, *inputs), value_and_gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-5, atol=atol * float(other.abs().max().clamp(min=1)))


@pytest.mark.parametrize("channels", [2 * WIDTH, WIDTH + 3])
def test_convolution_of_any_number_of_channels(channels):
    torch.manual_seed(0)
    x, history = torch.randn(2, 21, channels), torch.randn(2, 3, channels)
    weight, bias = torch.randn(channels, 4), torch.randn(channels)

    def plain(x, history, weight, bias):
        padded = torch.cat([history, x], 1).mT
        return F.silu(F.conv1d(padded, weight.unsqueeze(1), bias, groups=channels)).mT

    assert_alike(fused_scan.fused_convolution, plain, x, history, weight, bias)


@pytest.mark.parametrize("shape", [(1, WIDTH), (3, 5, 2 * WIDTH), (200, 3 * WIDTH)])
def test_rms_norm(shape):
    torch.manual_seed(0)
    x, gain = 3 * torch.randn(shape), torch.rand(shape[-1]) + 0.5
    assert_alike(lambda x, g: fused_blocks.rms_norm(x, g, 1e-2), lambda x, g: F.rms_norm(x, g.shape, g, 1e-2), x, gain)


def test_what_is_no_whole_number_of_registers_is_left_to_pytorch():
    x = torch.randn(3, WIDTH + 1)
    torch.testing.assert_close(norm.RMSNorm(WIDTH + 1)(x), torch.nn.RMSNorm(WIDTH + 1)(x))
    assert fused_blocks.can_split(2 * WIDTH) and not fused_blocks.can_split(WIDTH + 1)


@pytest.mark.parametrize("shape", [(1, 2 * WIDTH), (2, 70, 6 * WIDTH)])
def test_swiglu(shape):
    def plain(x):
        gate, value = x.chunk(2, -1)
        return F.silu(gate) * value

    torch.manual_seed(0)
    assert_alike(fused_blocks.swiglu, plain, 3 * torch.randn(shape))


def attention_by_parts(qkv, gains, heads, key_heads, scale, first, eps, rotation):
    """What the kernel says it does, in PyTorch's operations."""
    length = qkv.shape[1]
    q, k, v = qkv.unflatten(-1, (heads + 2 * key_heads, -1)).split((heads, key_heads, key_heads), 2)
    if gains is not None:
        q, k = (F.rms_norm(x, x.shape[-1:], gain, eps) for x, gain in ((q, gains[0]), (k, gains[1])))
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    q, k, v = (
        x.transpose(1, 2)
        for x in (q, k.repeat_interleave(heads // key_heads, 2), v.repeat_interleave(heads // key_heads, 2))
    )
    positions = torch.arange(length)
    seen = (positions <= positions[:, None]) & (positions >= first[:, :, None])
    scores = (scale * q @ k.mT).masked_fill(~seen[:, None], -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("heads", "key_heads", "d", "length"),
    [(2, 2, 32, 64), (4, 2, 16, 37), (3, 1, 24, 33), (2, 2, 8, 1), (1, 1, 5, 7), (4, 4, 40, 100), (2, 1, 64, 130)],
)
@pytest.mark.parametrize("kind", ["plain", "normed and rotated", "window", "stories"])
def test_attention(heads, key_heads, d, length, kind):
    torch.manual_seed(0)
    batch, positions = 2, torch.arange(length)
    qkv, gains = torch.randn(batch, length, (heads + 2 * key_heads) * d), torch.rand(2, d) + 0.5
    first = torch.zeros(batch, length, dtype=torch.int64)
    if kind == "window":
        first = (positions - 4).clamp(min=0).expand(batch, -1)
    elif kind == "stories":
        first = (positions * (torch.rand(batch, length) < 0.1)).cummax(1).values
    rotation = rotary_table(d, length, 100.0) if kind != "plain" and d % 2 == 0 else None
    options = (heads, key_heads, 0.3, first)
    if kind == "normed and rotated":
        assert_alike(
            lambda x, g: fused_blocks.attention(x, *options, g, 1e-3, rotation),
            lambda x, g: attention_by_parts(x, g, *options, 1e-3, rotation),
            qkv,
            gains,
        )
    else:
        assert_alike(
            lambda x: fused_blocks.attention(x, *options, None, 0.0, rotation),
            lambda x: attention_by_parts(x, None, *options, 0.0, rotation),
            qkv,
        )


def test_attention_survives_scores_far_apart():
    torch.manual_seed(0)
    qkv, first = 100 * torch.randn(1, 50, 3 * 16), torch.zeros(1, 50, dtype=torch.int64)
    y = fused_blocks.attention(qkv, 1, 1, 1.0, first)
    assert y.isfinite().all()
    torch.testing.assert_close(y, attention_by_parts(qkv, None, 1, 1, 1.0, first, 0.0, None), rtol=1e-3, atol=1e-2)


def test_no_gradient_comes_from_the_future():
    qkv = torch.randn(1, 40, 3 * 32).requires_grad_()
    y = fused_blocks.attention(qkv, 2, 2, 0.3, torch.zeros(1, 40, dtype=torch.int64))
    y[0, 17].sum().backward()
    assert not qkv.grad[0, 18:].any() and qkv.grad[0, :18].any()


@pytest.mark.parametrize("V", [1, WIDTH, 3 * WIDTH + 5, 1000])
def test_loss_of_tokens(V, monkeypatch):
    monkeypatch.setattr(loss, "SLICE", 40 * V)  # several slices
    torch.manual_seed(0)
    hidden, weight, targets = 5 * torch.randn(2, 60, 8), torch.randn(V, 8), torch.randint(V, (2, 60))
    targets[torch.rand(2, 60) < 0.3] = IGNORED
    wanted = F.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten(), reduction="none")
    found = token_nats(hidden, weight, targets)
    torch.testing.assert_close(found, wanted.view(2, 60), rtol=1e-5, atol=2e-5)
    assert not found[targets == IGNORED].any()


@pytest.mark.parametrize("options", [{}, {"qk_norm": True, "n_kv_heads": 2}, {"window": 9}, {"d_model": 40}], ids=str)
def test_a_model_is_the_same_with_kernels_and_without(options, monkeypatch):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(50, **{"d_model": 64, "n_layers": 2, "n_heads": 4, "context": 64} | options))
    ids, targets = torch.randint(50, (2, 3, 50))
    found = []
    for fuse in (True, False):
        for module in (attention_module, loss, norm, transformer):
            monkeypatch.setattr(module, "can_fuse", can_fuse if fuse else lambda x: False)
        value = model(ids, targets)
        found.append((value.detach(), model(ids).detach(), *torch.autograd.grad(value, list(model.parameters()))))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


def test_threads_change_nothing():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(50, d_model=64, n_layers=2, n_heads=4, context=64, qk_norm=True))
    ids, threads, found = torch.randint(50, (4, 64)), torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            x = model._hidden(ids)  # not the loss, whose products are BLAS's
            found.append((x.detach(), torch.autograd.grad(x.square().sum(), model.norm.weight)[0]))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-6)


FIRST_KERNEL = """
import torch, pn_lib
torch.set_num_threads({threads})
from pn_lib.models.cpu import fused_blocks, fused_decoding
if {decoding}:
    fused_decoding.use_threads({threads})
else:
    fused_blocks.rms_norm(torch.randn(4, 64), torch.ones(64), 1e-5)
print(torch.get_num_threads())
"""


@pytest.mark.parametrize(("decoding", "threads"), [(False, 1), (True, 1), (True, 3)])
def test_the_first_kernel_of_a_process_leaves_pytorch_its_threads(decoding, threads):
    """Numba, told to have two of them, would give them to PyTorch too, and refuses to take three."""
    command = [sys.executable, "-c", FIRST_KERNEL.format(decoding=decoding, threads=threads)]
    answer = subprocess.run(command, env=os.environ | {"NUMBA_NUM_THREADS": "2"}, capture_output=True, text=True)
    assert answer.stdout.split() == [str(threads)], answer.stderr


def test_where_kernels_may_stand_in():
    x = torch.zeros(2)
    assert can_fuse(x)
    assert not can_fuse(x.double()) and not can_fuse(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_fuse(x)


def test_a_kernel_that_is_compiled_says_so_but_not_in_an_executed_notebook(monkeypatch, capsys):
    class Kernel:
        overloads: ClassVar = {}
        __name__ = "example"

        def __call__(self):
            self.overloads[len(self.overloads)] = None

    monkeypatch.setattr(calling, "COMPILED", -1.0)
    for variable in ("CI", "PN_PROGRESS"):
        monkeypatch.delenv(variable, raising=False)
    calling.run_kernel(Kernel(), 1)
    assert "compiled example in" in capsys.readouterr().err
    monkeypatch.setenv("PN_PROGRESS", "status")
    calling.run_kernel(Kernel(), 1)
    assert not capsys.readouterr().err
