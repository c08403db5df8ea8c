"""Typical wrong answers to the exercises of notebook 03, and a piece of the message that each must get."""

import torch
from torch.nn import functional as F

from pn_lib.course.checks import transformer_construction as checks


def mask(T, window):
    row, column = torch.arange(T)[:, None], torch.arange(T)
    return (column <= row) & (row - column < window)


def attend(q, k, v, shift=0, divisor=None, axis=-1):
    """Causal attention of the newest tokens; a mask shifted by so many tokens, another divisor, another softmax."""
    S, T = q.shape[-2], k.shape[-2]
    scores = q @ k.mT / (divisor or q.shape[-1] ** 0.5)
    visible = torch.ones(S, T, dtype=torch.bool).tril(T - S + shift)
    return scores.masked_fill(~visible, -torch.inf).softmax(axis) @ v


def masked_after_softmax(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).tril(k.shape[-2] - q.shape[-2]) @ v


def mask_turned_over(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5 + torch.full((len(q), len(k)), -torch.inf).tril(-1)).softmax(-1) @ v


def spares_the_first_token(q, k, v):
    later = attend(q, k, v, shift=-1)
    return torch.where(later.isnan(), v[0], later)


def as_if_at_the_start(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def all_for_few(q, k, v):
    return attend(q, k, v) if q.shape == k.shape else attend(q, k, v, shift=99)


def only_two_axes(q, k, v):
    return attend(q, k, v) if q.ndim == 2 else attend(q, k, v) * 2


def changes_its_input(q, k, v):
    result = attend(q, k, v)
    q /= 2
    return result


def cache(config, T, bytes_per_number=4):
    tokens = min(T, config.window or T)
    return 2 * config.n_layers * config.kv_heads * config.head_dim * tokens * bytes_per_number


def cache_without_window(config, T, bytes_per_number=4):
    return 2 * config.n_layers * config.kv_heads * config.head_dim * T * bytes_per_number


def one_pass(q, k, v, rescale=True, subtract=True, first=-1e30):
    largest, total, mixed = torch.tensor(first), torch.tensor(0.0), torch.tensor(0.0)
    for key, value in zip(k, v, strict=True):
        score = (q * key).sum() / q.numel() ** 0.5
        new = torch.maximum(largest, score) if subtract else torch.tensor(0.0)
        shrink = (largest - new).exp() if rescale and subtract else 1
        total, mixed = total * shrink + (score - new).exp(), mixed * shrink + (score - new).exp() * value
        largest = new
    return mixed / total


def at_once(q, k, v):
    return (k @ q / q.numel() ** 0.5).softmax(0) @ v


def undivided(q, k, v):
    return one_pass(q, k, v) * 2


def compare(attend, T=8, H=1, B=1, tolerance=1e-4):
    """An inspector that compares with right and wrong references, for inputs of one size."""
    torch.manual_seed(1)
    q, k, v = torch.randn(3, B, H, T, 8)
    q = 4 * q
    got, right = attend(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if not attend(100 * q, 100 * k, v).isfinite().all():
        return "overflows"
    if torch.allclose(got, right, atol=tolerance, rtol=0):
        return "right"
    eye = torch.eye(T).expand(B, H, T, T)
    weights = attend(0 * eye, eye, eye)
    if not torch.allclose(weights.sum(-1), torch.ones(B, H, T), atol=1e-4):
        return "wrong axis"
    if weights.triu(1).any():
        return "sees the future"
    return "wrong scale" if (weights.tril() > 0).sum() == B * H * T * (T + 1) / 2 else "forgets the past"


def always_right(attend):
    return "right"


def one_wrong_scale(attend):
    q, k, v = torch.randn(3, 1, 1, 8, 4)
    plain = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    verdict = compare(attend)
    if verdict != "wrong scale" or torch.allclose(attend(q, k, v), plain, atol=1e-4):
        return verdict
    return "right"


def first_head_only(attend):
    return compare(lambda *qkv: attend(*(x.repeat(1, 3, 1, 1) for x in qkv))[:, :1], T=64)


def first_sequence_only(attend):
    return compare(attend, T=64, H=3, B=1)


MISTAKES = [
    (checks.window_mask, lambda T, window: mask(T, window + 1), "one token too early"),
    (checks.window_mask, lambda T, window: mask(T, max(1, window - 1)), "the window includes the token"),
    (checks.window_mask, lambda T, window: mask(T, T), "no token sees more than two"),
    (checks.window_mask, lambda T, window: mask(T, window).T, "shows the future"),
    (checks.window_mask, lambda T, window: ~mask(T, window), "True means may see"),
    (checks.window_mask, lambda T, window: mask(T, window + 1) & ~mask(T, 1), "see itself"),
    (checks.window_mask, lambda T, window: mask(T, window).float(), "torch.bool"),
    (checks.window_mask, lambda T, window: mask(T, window)[0], "shape (4, 4)"),
    (checks.window_mask, lambda T, window: None, "returned None"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v, shift=99), "the mask is missing"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v, shift=1), "one token of the future"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v, shift=-1), "at least itself"),
    (checks.causal_attention, spares_the_first_token, "hides a token from itself"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v, divisor=1), "not divided by the root of d"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v, divisor=q.shape[-1]), "divided by d itself"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v, axis=-2), "runs over the queries"),
    (checks.causal_attention, masked_after_softmax, "sum to less than one"),
    (checks.causal_attention, mask_turned_over, "Your mask is reversed"),
    (checks.causal_attention, as_if_at_the_start, "as if it were at position 0"),
    (checks.causal_attention, all_for_few, "both queries see all keys"),
    (checks.causal_attention, only_two_axes, "only the last two axes"),
    (checks.causal_attention, changes_its_input, "changes the tensors"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v).tolist(), "not a list"),
    (checks.causal_attention, lambda q, k, v: attend(q, k, v)[-1], "one row for each query"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, T, size) // 2, "keys and values"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, T, size) // c.n_layers, "Every layer"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, T, size) // size, "bytes_per_number bytes each"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, T, 4), "Use bytes_per_number"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, T, size) * c.n_heads // c.kv_heads, "config.kv_heads"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, c.context, size), "grows with T"),
    (checks.cache_bytes, cache_without_window, "need not be kept"),
    (checks.cache_bytes, lambda c, T, size=4: cache(c, c.window or T, size), "no more tokens than there are"),
    (checks.cache_bytes, lambda c, T, size=4: None, "returned None"),
    (checks.attend_in_one_pass, lambda q, k, v: one_pass(q * q.numel() ** 0.5, k, v), "sqrt(d)"),
    (checks.attend_in_one_pass, lambda q, k, v: one_pass(q, k, v, rescale=False), "relative to the old one"),
    (checks.attend_in_one_pass, lambda q, k, v: one_pass(q, k, v, subtract=False), "overflows"),
    (checks.attend_in_one_pass, lambda q, k, v: one_pass(q, k, v, first=0.0), "with which largest score do you begin"),
    (checks.attend_in_one_pass, undivided, "one common factor"),
    (checks.attend_in_one_pass, at_once, "not in one pass"),
    (checks.attend_in_one_pass, lambda q, k, v: one_pass(q, k, v).sum(), "one weighted average"),
    (checks.diagnose, always_right, "has no mask at all"),
    (checks.diagnose, lambda attend: "wrong", "must return one of"),
    (checks.diagnose, lambda attend: None, "returned None"),
    (checks.diagnose, lambda attend: "forgets the past", "find fault with everything"),
    (checks.diagnose, one_wrong_scale, "more than one wrong scale"),
    (checks.diagnose, lambda attend: compare(attend, tolerance=0.0), "not for equality"),
    (checks.diagnose, compare, "short sequence cannot show it"),
    (checks.diagnose, first_head_only, "look at all of them"),
    (checks.diagnose, lambda attend: compare(attend, T=33, H=3), "every position of a long sequence"),
    (checks.diagnose, first_sequence_only, "Change one sequence of a batch"),
]
