"""The exercise checks of notebook 03: a stub is not attempted, typical mistakes get their own message, answers pass."""

import pytest
import torch

from pn_lib.checks import transformer_construction as check


def stub(*args):
    raise NotImplementedError


def causal(T, window):
    return torch.ones(T, T, dtype=torch.bool).tril()


def mask(T, window):
    row, column = torch.arange(T)[:, None], torch.arange(T)
    return (column <= row) & (row - column < window)


def cache(config, T, bytes_per_number=4):
    tokens = min(T, config.window or T)
    return 2 * config.n_layers * config.kv_heads * config.head_dim * tokens * bytes_per_number


def one_pass(q, keys, values, rescale=True, subtract=True):
    largest, total, mixed = torch.tensor(-1e30), torch.tensor(0.0), torch.tensor(0.0)
    for key, value in zip(keys, values, strict=True):
        score = (q * key).sum() / q.numel() ** 0.5
        new = torch.maximum(largest, score) if subtract else torch.tensor(0.0)
        shrink = (largest - new).exp() if rescale and subtract else 1
        total, mixed = total * shrink + (score - new).exp(), mixed * shrink + (score - new).exp() * value
        largest = new
    return mixed / total


def at_once(q, keys, values):
    return (keys @ q / q.numel() ** 0.5).softmax(0) @ values


@pytest.mark.parametrize("exercise", [check.window_mask, check.cache_bytes, check.attend_in_one_pass])
def test_a_stub_is_not_attempted(exercise, capsys):
    assert exercise(stub) is False
    assert "not attempted yet" in capsys.readouterr().out


@pytest.mark.parametrize(("exercise", "answer"), [
    (check.window_mask, mask), (check.cache_bytes, cache), (check.attend_in_one_pass, one_pass)])
def test_a_right_answer_passes(exercise, answer, capsys):
    assert exercise(answer) is True
    assert "correct" in capsys.readouterr().out


@pytest.mark.parametrize(("exercise", "answer", "hint"), [
    (check.window_mask, lambda T, window: mask(T, window + 1), "one token too early"),
    (check.window_mask, causal, "no token sees more than two"),
    (check.window_mask, lambda T, window: mask(T, window).T, "shows the future"),
    (check.window_mask, lambda T, window: mask(T, window).float(), "torch.bool"),
    (check.cache_bytes, lambda c, T, size=4: cache(c, T, size) // 2, "keys and values"),
    (check.cache_bytes, lambda c, T, size=4: cache(c, T, size) // c.n_layers, "Every layer"),
    (check.cache_bytes, lambda c, T, size=4: cache(c, T, size) * c.n_heads // c.kv_heads, "config.kv_heads"),
    (check.cache_bytes, lambda c, T, size=4: cache(c, c.context, size), "grows with T"),
    (check.cache_bytes, lambda c, T, size=4: 2 * c.n_layers * c.kv_heads * c.head_dim * T * size, "need not be kept"),
    (check.attend_in_one_pass, lambda q, k, v: one_pass(q * q.numel() ** 0.5, k, v), "sqrt(d)"),
    (check.attend_in_one_pass, lambda q, k, v: one_pass(q, k, v, rescale=False), "weights"),
    (check.attend_in_one_pass, lambda q, k, v: one_pass(q, k, v, subtract=False), "overflows"),
    (check.attend_in_one_pass, at_once, "not in one pass"),
])
def test_a_typical_mistake_gets_its_own_message(exercise, answer, hint, capsys):
    assert exercise(answer) is False
    assert hint in capsys.readouterr().out
