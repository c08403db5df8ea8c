"""Checks for the exercises of notebook 03."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from pn_lib.course.checks import expect, expect_equal, hints, run_check
from pn_lib.course.checks.inspector import diagnose
from pn_lib.models.transformer import Transformer, TransformerConfig

__all__ = ["attend_in_one_pass", "cache_bytes", "causal_attention", "diagnose", "window_mask"]


@hints(
    "Two conditions must hold at once: the key is not later than the query, and it is fewer than `window` places "
    "earlier. Each of them cuts a triangle off the table.",
    "Start with a table of True. tril cuts off the future. triu cuts off the other corner: with a negative "
    "diagonal it keeps some diagonals below the main one. How many must stay? With a window of 1, only the main "
    "diagonal does.",
)
def window_mask(answer: Callable) -> bool:
    """Exercise 3.1: the mask of local attention."""
    return run_check("3.1", answer, _small_window, _whole_window, _narrowest_window)


def _mask(answer: Callable, T: int, window: int) -> Tensor:
    """The learner's mask, once it is a boolean tensor of the right shape."""
    mask = answer(T, window)
    expect(
        isinstance(mask, Tensor) and mask.dtype == torch.bool,
        "Return a tensor of dtype torch.bool: True and False, not numbers.",
    )
    expect(tuple(mask.shape) == (T, T), f"{T} tokens need a mask of shape ({T}, {T}), not {tuple(mask.shape)}.")
    return mask


def _small_window(answer: Callable) -> None:
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    mask = _mask(answer, 4, 2)
    expect(
        not torch.equal(mask, ~torch.tensor(expected).bool()),
        "Your mask is True where it should be False, and vice versa: True means may see.",
    )
    expect(not mask.triu(1).any(), "Your mask shows the future: no query may see a key to its right.")
    expect(bool(mask.diagonal().all()), "Every token must see itself.")
    most = int(mask.sum(1).max())
    expect(
        most != 1,
        "With window=2 a token sees itself and one before it; yours sees only itself. Count again: the "
        "window includes the token.",
    )
    expect(
        most <= 2,
        f"With window=2 no token sees more than two, itself included; yours sees {most}. "
        "Does your band start one token too early?",
    )
    expect_equal(mask.int().tolist(), expected, "4 tokens, window 2", "Row t sees t - 1 and t.")


def _whole_window(answer: Callable) -> None:
    expect_equal(
        _mask(answer, 5, 9).int().sum(1).tolist(),
        [1, 2, 3, 4, 5],
        "tokens seen by each row, 5 tokens, window 9",
        "A window longer than the text hides no past.",
    )


def _narrowest_window(answer: Callable) -> None:
    expect_equal(
        _mask(answer, 3, 1).int().tolist(),
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "3 tokens, window 1",
        "A token then sees only itself.",
    )


@hints(
    "Begin with section 3.5's attention, and ask only what changes when there are fewer queries than keys. The "
    "scores have shape (S, T). At which key does the last row end, and at which the row before it?",
    "Query i may see the keys up to T − S + i, so the triangle is shifted to the right by T − S: tril takes that "
    "as its diagonal. Swap only the last two axes of k, so that batch and heads stay where they are; divide by "
    "the root of d; set hidden scores to minus infinity; softmax over the keys; multiply by v.",
)
def causal_attention(answer: Callable) -> bool:
    """Exercise 3.2: attention of the newest tokens, against PyTorch's own."""
    return run_check("3.2", answer, _full_square, _newest_tokens, _by_hand, _batch_and_heads, _inputs_untouched)


def _attend(q: Tensor, k: Tensor, v: Tensor, **options) -> Tensor:
    """PyTorch's attention; rows of zeros stand in for the queries of the tokens before the newest ones."""
    older = q.new_zeros(*q.shape[:-2], k.shape[-2] - q.shape[-2], q.shape[-1])
    y = F.scaled_dot_product_attention(torch.cat((older, q), dim=-2), k, v, is_causal=True, **options)
    return y[..., older.shape[-2] :, :]


def _output(answer: Callable, q: Tensor, k: Tensor, v: Tensor, case: str) -> Tensor:
    got = answer(q.clone(), k.clone(), v.clone())
    expect(isinstance(got, Tensor), f"Return a tensor, not a {type(got).__name__}.")
    expect(
        got.shape == q.shape,
        f"{case}: expected shape {tuple(q.shape)}, one row for each query, got {tuple(got.shape)}.",
    )
    expect(
        not got.isnan().any(),
        f"{case}: some results are not numbers. A query that sees no key at all gives 0/0: "
        "each must see at least itself.",
    )
    return got


def _full_square(answer: Callable) -> None:
    """As many queries as keys: the mistakes of notebook 03, each recognized by the numbers it produces."""
    case = "6 tokens, 6 queries"
    q, k, v = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    got = _output(answer, q, k, v, case)
    for message, wrong in _mistakes(q, k, v).items():
        expect(not torch.allclose(got[1:], wrong[1:], atol=1e-5), message)  # the first row can be right by chance
    expect_equal(got, _attend(q, k, v), case, "Scores, scale, mask, softmax over the keys, average of the values.")


def _mistakes(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
    """What typical mistakes produce, by PyTorch's attention with rows shifted, reversed, or swapped."""
    attention, eye, none = F.scaled_dot_product_attention, torch.eye(len(k)), q[:1] * 0
    by_query = attention(k.flip(0), q.flip(0), eye.flip(0), is_causal=True).flip(0).mT
    return {
        "Every query sees every key: the mask is missing.": attention(q, k, v),
        "Each query sees one token of the future: your mask is off by one.": attention(
            torch.cat((none, q)), k, v, is_causal=True
        )[1:],
        "The mask hides a token from itself: it is off by one, in the other direction.": torch.cat(
            (none, attention(q[1:], k[:-1], v[:-1], is_causal=True))
        ),
        "The scores are not divided by the root of d.": attention(q, k, v, is_causal=True, scale=1.0),
        "The scores are divided by d itself. Their variance grows with d, their size with its root.": attention(
            q, k, v, is_causal=True, scale=1 / q.shape[-1]
        ),
        "The softmax runs over the queries. Each query's weights over the keys must sum to one.": by_query @ v,
        "The weights of a query sum to less than one: hide scores before the softmax, not weights after it.": attention(
            q, k, eye
        ).tril()
        @ v,
        "Your mask is reversed: each query sees itself and the future, but not the past.": attention(
            q.flip(0), k.flip(0), v.flip(0), is_causal=True
        ).flip(0),
    }


def _newest_tokens(answer: Callable) -> None:
    case = "6 tokens, the newest 2 ask"
    q, k, v = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1))
    q = q[-2:]
    got = _output(answer, q, k, v, case)
    first = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # PyTorch lets the first query see the first key
    expect(
        not torch.allclose(got, first, atol=1e-5),
        f"{case}: your first query sees only the first key, as if it were at position 0. It is at T - S.",
    )
    expect(
        not torch.allclose(got, F.scaled_dot_product_attention(q, k, v), atol=1e-5),
        f"{case}: both queries see all keys. The older of the two must not see the newest token.",
    )
    expect_equal(got, _attend(q, k, v), case, "Query i is at position T - S + i.")


def _by_hand(answer: Callable) -> None:
    v = torch.tensor([[3.0], [6.0], [9.0]])
    got = _output(answer, torch.zeros(2, 1), torch.ones(3, 1), v, "queries of zeros")
    expect_equal(got, torch.tensor([[4.5], [6.0]]), "queries of zeros, values 3, 6, 9", "Visible keys weigh the same.")


def _batch_and_heads(answer: Callable) -> None:
    case = "2 sequences, 3 heads, 5 tokens, 4 queries"
    q, k, v = torch.randn(3, 2, 3, 5, 4, generator=torch.Generator().manual_seed(2))
    got = _output(answer, q[..., -4:, :], k, v, case)
    expect_equal(
        got,
        _attend(q[..., -4:, :], k, v),
        case,
        "Use only the last two axes: `.mT` and `shape[-2]`, not `.T` and `shape[0]`, which mean other axes.",
    )


def _inputs_untouched(answer: Callable) -> None:
    q, k, v = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(3))
    before = [t.clone() for t in (q, k, v)]
    answer(q, k, v)
    expect(
        all(torch.equal(a, b) for a, b in zip((q, k, v), before, strict=True)),
        "Your function changes the tensors that it was given, as `/=` and operations with a trailing underscore do.",
    )


@hints(
    "Count numbers first; turn them into bytes at the end. How many numbers does *one* token leave in *one* "
    "layer? Which heads are kept, those of the queries or those of the keys?",
    "One token leaves kv_heads times head_dim numbers as its key, and as many as its value. Multiply by the "
    "layers, by the bytes, and by the tokens kept: all T, or the window if there is one and T is larger. "
    "`config.window` is None where there is none.",
)
def cache_bytes(answer: Callable) -> bool:
    """Exercise 3.3: the size of the KV cache, against the cache that the model really builds."""
    return run_check("3.3", answer, _full_heads, _grouped_heads, _half_precision, _windowed)


def _bytes(answer: Callable, *arguments) -> int:
    got = answer(*arguments)
    expect(isinstance(got, (int, float)), f"Return a number of bytes, not a {type(got).__name__}.")
    return got


def _full_heads(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4)
    got, held = _bytes(answer, config, 16), _held(config)
    expect(2 * got != held, "That is half of what the model keeps: it stores keys and values.")
    expect(config.n_layers * got != held, "Every layer has a cache of its own.")
    expect(
        4 * got != held,
        "That is a quarter of what the model keeps: do you count numbers, which take bytes_per_number "
        "bytes each, or only one of the heads?",
    )
    expect_equal(got, held, "3 layers, width 32, 16 tokens", "Count keys and values, layers, heads and their width.")


def _grouped_heads(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4, n_kv_heads=1)
    got, held = _bytes(answer, config, 16), _held(config)
    expect(
        got != 4 * held,
        "With one key/value head for four query heads, the cache is a quarter of the size: "
        "count config.kv_heads, not config.n_heads.",
    )
    expect_equal(got, held, "the same with one key/value head", "Only key/value heads are kept.")


def _half_precision(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4)
    expect_equal(_bytes(answer, config, 16, 2), _held(config) // 2, "two bytes per number", "Use bytes_per_number.")
    expect_equal(
        _bytes(answer, config, 8), _held(config) // 2, "8 tokens", "The cache grows with T, not with the context."
    )


def _windowed(answer: Callable) -> None:
    config = TransformerConfig(vocab_size=10, context=16, d_model=32, n_layers=3, n_heads=4, window=4)
    expect_equal(
        _bytes(answer, config, 16),
        _held(config) // 4,
        "16 tokens, window 4",
        "Keys that no later token looks at need not be kept.",
    )
    expect_equal(
        _bytes(answer, config, 2), _held(config) // 8, "2 tokens, window 4", "It keeps no more tokens than there are."
    )


def _held(config: TransformerConfig) -> int:
    """Bytes that the model's own cache holds for one sequence of a full context."""
    # With gradients on, so that it is PyTorch's cache: the kernel's would round the context up to sixteens.
    with torch.enable_grad():
        _, state = Transformer(config).prefill(torch.zeros(1, config.context, dtype=torch.long))
    return Transformer.state_bytes(state)


@hints(
    "Both sums are measured relative to the largest score so far. If a larger score arrives, every weight so far "
    "was too large by one and the same factor. Which?",
    "For each key: the new largest is the larger of the old one and this score. Multiply both sums by e^(old "
    "largest − new largest). Then add e^(score − new largest) to the first, and that times the value to the "
    "second. Start with a largest of minus infinity, and sums of 0. In the end, divide the second sum by the "
    "first.",
)
def attend_in_one_pass(answer: Callable) -> bool:
    """Exercise 3.4: softmax attention of one query in a single pass."""
    return run_check("3.4", answer, _plain_query, _rising_scores, _large_scores, _one_pass)


def _reference(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q[None], keys, values)[0]


def _row(answer: Callable, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    got = answer(q, keys, values)
    expect(
        isinstance(got, Tensor) and got.shape == q.shape,
        f"Return a tensor of shape {tuple(q.shape)}: one weighted average of the values.",
    )
    return got


def _plain_query(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(0)
    q, keys, values = (torch.randn(*shape, generator=generator) for shape in ((8,), (6, 8), (6, 8)))
    got, expected = _row(answer, q, keys, values), _reference(q, keys, values)
    unscaled = _reference(q * 8**0.5, keys, values)
    expect(not torch.allclose(got, unscaled, atol=1e-5), "The scores are not divided by sqrt(d).")
    ratio = got / expected
    expect(
        torch.allclose(got, expected, atol=1e-5) or not torch.allclose(ratio, ratio[:1].expand(8), atol=1e-4),
        "Every number is right except for one common factor: the weights do not sum to one. What do you divide by at "
        "the end, and do you rescale it like the other sum?",
    )
    expect_equal(
        got,
        expected,
        "6 random keys",
        "Divide the weighted sum of values by the sum of weights. When the largest score rises, the sums so far are "
        "still relative to the old one.",
    )


def _rising_scores(answer: Callable) -> None:
    q, keys, values = torch.tensor([1.0]), torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0], [10.0], [100.0]])
    expect_equal(
        _row(answer, q, keys, values),
        _reference(q, keys, values),
        "scores 0, 1, 2: a rising largest score",
        "When the largest score rises, the sums so far are too large by a factor.",
    )


def _large_scores(answer: Callable) -> None:
    q, keys = torch.tensor([1.0]), torch.tensor([[1000.0], [999.0], [-1000.0]])
    values = torch.tensor([[1.0], [2.0], [3.0]])
    got = _row(answer, q, keys, values)
    expect(
        bool(torch.isfinite(got).all()),
        "Scores near 1000 give an answer that is not finite: exp overflows unless the largest score is subtracted.",
    )
    expect_equal(got, _reference(q, keys, values), "scores 1000, 999, -1000", "Subtract the largest score so far.")
    low = keys - 2000
    expect_equal(
        _row(answer, q, low, values),
        _reference(q, low, values),
        "scores -1000, -1001, -3000",
        "All scores can be negative: with which largest score do you begin?",
    )


class _ReadOnce:
    """Rows that can be iterated over a single time, as a stream would be."""

    def __init__(self, rows: Tensor):
        self.rows = iter(rows)

    def __iter__(self) -> Iterator[Tensor]:
        return self.rows


def _one_pass(answer: Callable) -> None:
    q, keys, values = torch.ones(2), torch.eye(2).repeat(3, 1), torch.arange(12.0).reshape(6, 2)
    try:
        got = answer(q, _ReadOnce(keys), _ReadOnce(values))
    except NotImplementedError:
        raise
    except (TypeError, AttributeError, RuntimeError, ValueError):
        expect(
            False,
            "The values are correct, but not in one pass: walk through `zip(keys, values)` once, without their "
            "length, an index, or a matrix product.",
        )
    expect_equal(
        got,
        _reference(q, keys, values),
        "keys and values that can be read only once",
        "Read each key and value once, together.",
    )
