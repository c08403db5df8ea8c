"""Checks for the exercises of notebook 03."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from pn_lib.checks import expect, expect_equal, run_check
from pn_lib.models.transformer import Transformer, TransformerConfig


def window_mask(answer: Callable) -> bool:
    """Exercise 1: the mask of local attention."""
    return run_check("1", answer, _small_window, _whole_window, _narrowest_window)


def _small_window(answer: Callable) -> None:
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    mask = answer(4, 2)
    expect(isinstance(mask, torch.Tensor) and mask.dtype == torch.bool, "Return a tensor of dtype torch.bool.")
    expect(tuple(mask.shape) == (4, 4), f"Four tokens need a mask of shape (4, 4), not {tuple(mask.shape)}.")
    expect(not mask.triu(1).any(), "Your mask shows the future: no query may see a key to its right.")
    expect(bool(mask.diagonal().all()), "Every token must see itself.")
    expect(mask.sum(1).max() <= 2, f"With window=2 no token sees more than two, itself included; yours sees "
                                   f"{int(mask.sum(1).max())}. Does your band start one token too early?")
    expect_equal(mask.int().tolist(), expected, "4 tokens, window 2", "Row t sees t - 1 and t.")


def _whole_window(answer: Callable) -> None:
    mask = answer(5, 9)
    expect_equal(mask.int().sum(1).tolist(), [1, 2, 3, 4, 5], "tokens seen by each row, 5 tokens, window 9",
                 "A window longer than the text is plain causal attention.")


def _narrowest_window(answer: Callable) -> None:
    expect_equal(answer(3, 1).int().tolist(), [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "3 tokens, window 1",
                 "A token then sees itself only.")


def cache_bytes(answer: Callable) -> bool:
    """Exercise 2: the size of the KV cache, against the cache that the model really makes."""
    return run_check("2", answer, _full_heads, _grouped_heads, _half_precision, _windowed)


def _full_heads(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4)
    got, held = answer(config, 16), _held(config)
    expect(2 * got != held, "Half of what the model keeps: it stores keys and values.")
    expect(config.n_layers * got != held, "Every layer has a cache of its own.")
    expect(4 * got != held, "You count numbers; each takes bytes_per_number bytes.")
    expect_equal(got, held, "3 layers, width 32, 16 tokens", "Count keys and values, layers, heads and their width.")


def _grouped_heads(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4, n_kv_heads=1)
    got, held = answer(config, 16), _held(config)
    expect(got != 4 * held, "With one key/value head for four query heads the cache is four times smaller: "
                            "count config.kv_heads, not config.n_heads.")
    expect_equal(got, held, "the same with one key/value head", "Only key/value heads are kept.")


def _half_precision(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4)
    expect_equal(answer(config, 16, 2), _held(config) // 2, "two bytes a number", "Use bytes_per_number.")
    expect_equal(answer(config, 8), _held(config) // 2, "8 tokens", "The cache grows with T, not with the context.")


def _windowed(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4, window=4)
    expect_equal(answer(config, 16), _held(config) // 4, "16 tokens, window 4",
                 "Keys that no later token looks at need not be kept.")
    expect_equal(answer(config, 2), _held(config) // 8, "2 tokens, window 4", "There is no more to keep than there is.")


def _held(config: TransformerConfig) -> int:
    """Bytes that the model's own cache holds for one sequence of a full context."""
    # With gradients on, so that it is PyTorch's cache: the kernel's would round the context up to sixteens.
    with torch.enable_grad():
        _, state = Transformer(config).prefill(torch.zeros(1, config.context, dtype=torch.long))
    return Transformer.state_bytes(state)


def attend_in_one_pass(answer: Callable) -> bool:
    """Exercise 3: softmax attention of one query in a single pass."""
    return run_check("3", answer, _plain_query, _rising_scores, _large_scores, _one_pass)


def _reference(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q[None], keys, values)[0]


def _plain_query(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(0)
    q, keys, values = (torch.randn(*shape, generator=generator) for shape in ((8,), (6, 8), (6, 3)))
    unscaled = _reference(q * 8**0.5, keys, values)
    got = answer(q, keys, values)
    expect(not torch.allclose(torch.as_tensor(got), unscaled, atol=1e-5), "The scores are not divided by sqrt(d).")
    expect_equal(got, _reference(q, keys, values), "6 random keys", "Weighted sum of values over sum of weights.")


def _rising_scores(answer: Callable) -> None:
    q, keys, values = torch.tensor([1.0]), torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [10.0], [100.0]])
    expect_equal(answer(q, keys, values), _reference(q, keys, values), "scores 0, 1, 2, each larger than the last",
                 "When the largest score rises, what is summed so far is too large by a factor.")


def _large_scores(answer: Callable) -> None:
    q, keys, values = torch.tensor([1.0]), torch.tensor([[1000.0], [999.0], [-1000.0]]), torch.eye(3)
    got = answer(q, keys, values)
    expect(bool(torch.isfinite(torch.as_tensor(got)).all()),
           "Scores near 1000 give an answer that is not finite: exp overflows unless the largest score is subtracted.")
    expect_equal(got, _reference(q, keys, values), "scores 1000, 999, -1000", "Subtract the largest score so far.")


class _ReadOnce:
    """Rows that can be iterated over a single time, as a stream would be."""

    def __init__(self, rows: torch.Tensor):
        self.rows = iter(rows)

    def __iter__(self):
        return self.rows


def _one_pass(answer: Callable) -> None:
    q, keys, values = torch.ones(2), torch.eye(2).repeat(3, 1), torch.arange(12.0).reshape(6, 2)
    try:
        got = answer(q, _ReadOnce(keys), _ReadOnce(values))
    except (TypeError, AttributeError):
        expect(False, "Correct values, but not in one pass: walk through `zip(keys, values)` once, without using their "
                      "length, indexing them, or a matrix product.")
    expect_equal(got, _reference(q, keys, values), "keys and values that can be read only once",
                 "Read each key and value once, together.")
