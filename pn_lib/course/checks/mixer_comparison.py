"""Checks for the exercises of notebook 10: one function per exercise, with the learner's function's name."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pn_lib.course.checks import close, expect, expect_equal, expect_no_loop, floats, number, run_check
from pn_lib.models.delta import recurrent_delta


def break_even(answer: Callable) -> bool:
    """Exercise 10.1: the number of tokens at which a cache holds as many numbers as Mamba's state."""
    return run_check("10.1", answer, _all_heads, _shared_heads)


def _all_heads(answer: Callable) -> None:
    case = "expand 2, d_state 16, d_conv 4, kv_share 1"
    got = number(answer(2, 16, 4, 1.0), case)
    for wrong, hint in (
        (38.0, "The cache holds two vectors for each token, a key and a value."),
        (16.0, "Mamba also keeps the last K - 1 inputs of its convolution."),
        (20.0, "The convolution needs the K - 1 inputs before the newest one, not K."),
        (9.5, "Mamba has E = expand times D channels, not D."),
    ):
        expect(got != wrong, f"{case}: you give {got:g}. {hint}")
    expect_equal(got, 19.0, case, "Set the numbers of one layer equal and solve for T.")


def _shared_heads(answer: Callable) -> None:
    case = "expand 2, d_state 64, d_conv 4, kv_share 0.25"
    got = number(answer(2, 64, 4, 0.25), case)
    expect(got != 67 * 0.25, f"{case}: you give {got:g}. A smaller cache for each token lasts for *more* tokens.")
    expect_equal(got, 268.0, case, "Shared keys and values make the cache smaller for each token.")


def best_rate(answer: Callable) -> bool:
    """Exercise 10.2: the best rate of a sweep, and whether it lies inside the grid."""
    return run_check("10.2", answer, _inside, _at_the_edge, _diverged)


def _best(answer: Callable, losses: dict[float, float]) -> tuple[float, bool]:
    case, given = f"losses {losses}", dict(losses)
    got = answer(losses)
    expect(isinstance(got, tuple) and len(got) == 2, "Return two things: the best rate, and whether it lies inside.")
    expect(repr(losses) == repr(given), "Your function changed the losses given to it.")
    expect(isinstance(got[1], bool), f"{case}: the second must be True or False, not {got[1]!r}.")
    return number(got[0], case), got[1]


def _inside(answer: Callable) -> None:
    losses = {0.04: 1.3, 0.01: 1.4, 0.02: 1.25}
    rate, inside = _best(answer, losses)
    expect(rate != 1.25, f"losses {losses}: you return the loss; return its rate.")
    expect(rate != 0.01, f"losses {losses}: you return the rate of the highest loss; lower is better.")
    expect_equal(rate, 0.02, f"the best of losses {losses}", "It has the lowest loss.")
    expect(inside, f"losses {losses}: 0.02 lies between 0.01 and 0.04. The rates may come in any order.")


def _at_the_edge(answer: Callable) -> None:
    for losses in ({0.01: 1.4, 0.02: 1.3, 0.04: 1.2}, {0.02: 1.3, 0.04: 1.4, 0.01: 1.2}, {0.02: 1.2}):
        _, inside = _best(answer, losses)
        expect(
            not inside,
            f"losses {losses}: the best rate is the smallest or the largest tried, so a rate beyond it may be better.",
        )


def _diverged(answer: Callable) -> None:
    for losses in ({0.04: math.nan, 0.01: 1.3, 0.02: 1.2}, {0.01: 1.3, 0.02: 1.2, 0.04: math.inf}):
        rate, inside = _best(answer, losses)
        expect(rate == 0.02, f"losses {losses}: a run that diverged cannot be the best; you return {rate:g}.")
        expect(inside, f"losses {losses}: the rate 0.04 was tried and is too large, so 0.02 lies inside.")


def look_back(answer: Callable) -> bool:
    """Exercise 10.3: what followed the last earlier occurrence of each token."""
    return run_check("10.3", answer, _five_tokens, _any_tokens, _without_a_loop)


def _followers(ids: list[int]) -> list[int]:
    return [next((ids[s + 1] for s in reversed(range(t)) if ids[s] == ids[t]), -1) for t in range(len(ids))]


def _looked_back(answer: Callable, ids: list[int]) -> list[int]:
    given = torch.tensor(ids)
    got = answer(given)
    expect(isinstance(got, Tensor), f"Return a tensor, not {type(got).__name__}.")
    expect(tuple(got.shape) == (len(ids),), f"Return one answer for each token, ({len(ids)},), not {tuple(got.shape)}.")
    expect(given.tolist() == ids, "Your function changed the ids given to it.")
    return got.tolist()


def _five_tokens(answer: Callable) -> None:
    ids, case = [3, 5, 3, 3, 5], "ids 3 5 3 3 5"
    got = _looked_back(answer, ids)
    expect(got != [-1, -1, 3, 3, 5], f"{case}: you return the token that was found; return the one that followed it.")
    expect(got != [-1, -1, 5, 5, 3], f"{case}: you take the first earlier occurrence; take the last.")
    expect(got[:2] != [5, 3], f"{case}: a token is found at its own place; look only at earlier ones.")
    expect(got[0] == -1 and got[1] == -1, f"{case}: 3 and 5 come for the first time: the first two answers are -1.")
    expect_equal(got, [-1, -1, 5, 3, 3], case, "Which earlier places hold the same token, and what follows the last?")


def _any_tokens(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(5)
    for ids in ([7], [0, 0, 0], torch.randint(6, (60,), generator=generator).tolist()):
        case = f"ids {ids[:8]}, {len(ids)} token(s)"
        expect_equal(_looked_back(answer, ids), _followers(ids), case, "The token 0 counts, too.")


def _without_a_loop(answer: Callable) -> None:
    expect_no_loop(answer, lambda T: (torch.arange(T) % 5,), "Compare all pairs of tokens at once.")


def delta_rule(answer: Callable) -> bool:
    """Exercise 10.4: the delta rule as one triangular system."""
    return run_check("10.4", answer, _one_key_twice, _like_the_recurrence, _gradients_flow, _no_loop)


def _delta_inputs(T: int) -> tuple[Tensor, ...]:
    """q, k (T, 4), v (T, 3), beta (T,); the keys have length one."""
    generator = torch.Generator().manual_seed(13)
    q, k, v = (torch.randn(T, width, generator=generator) for width in (4, 4, 3))
    return q, torch.nn.functional.normalize(k, dim=-1), v, torch.rand(T, generator=generator)


def _recurrence(q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Tensor:
    q, k, v, beta = (tensor[None, :, None] for tensor in (q, k, v, beta))  # a batch of one, with one head
    return recurrent_delta(q, k, v, torch.zeros_like(beta), beta, v.new_zeros(1, 1, v.shape[-1], k.shape[-1]))[0][
        0, :, 0
    ]


def _one_key_twice(answer: Callable) -> None:
    ones, case = torch.ones(3, 1), "one key three times with the values 3, 5, 4 and beta = 1"
    got = floats(answer(ones, ones, torch.tensor([[3.0], [5.0], [4.0]]), torch.ones(3)), (3, 1), "y (T, P)")
    for wrong, hint in (
        ([3, 8, 12], "The values add up, as in linear attention: nothing is corrected."),
        ([0, 3, 5], "The outputs come one token late: y_t reads the state after its own write."),
        ([3, 2, -1], "You return the corrections; the outputs read all of them so far."),
    ):
        expect(not close(got.flatten(), torch.tensor(wrong, dtype=got.dtype)), f"{case}: {hint}")
    expect_equal(got.flatten(), torch.tensor([3.0, 5.0, 4.0]), case, "Each write should replace the value before.")


def _like_the_recurrence(answer: Callable) -> None:
    for length in (1, 7, 40):
        inputs = _delta_inputs(length)
        q, k, v, beta = inputs
        got, expected = floats(answer(*inputs), (length, 3), "y (T, P)"), _recurrence(*inputs)
        whole = _recurrence(q, k, v, torch.ones_like(beta))
        expect(not close(got, whole), "beta is missing: it says how far each value is corrected.")
        expect_equal(
            got,
            expected,
            f"{length} token(s), N = 4, P = 3",
            "Compare with the recurrence, token by token: what does a correction know of earlier ones?",
            tolerance=1e-3,
        )


def _gradients_flow(answer: Callable) -> None:
    mine, theirs = ([v.clone().requires_grad_() for v in _delta_inputs(12)] for _ in range(2))
    got = answer(*mine)
    expect(got.requires_grad, "No gradient flows through your outputs: do not detach, and stay within PyTorch.")
    got.sin().sum().backward()
    _recurrence(*theirs).sin().sum().backward()
    for name, own, other in zip(("q", "k", "v", "beta"), mine, theirs, strict=True):
        expect(own.grad is not None, f"No gradient reaches {name}.")
        expect_equal(own.grad, other.grad, f"gradient of {name}", "Use the inputs themselves.", tolerance=1e-3)


def _no_loop(answer: Callable) -> None:
    expect_no_loop(answer, _delta_inputs, "Solve one triangular system for all corrections.")
