"""Exercise 3.5 of notebook 03: the functions that the learner's inspector must tell apart."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pn_lib.course.checks import expect, hints, run_check

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
WORDS = ("right", "sees the future", "forgets the past", "wrong scale", "wrong axis", "mixes sequences", "overflows")


@hints(
    "Look for one fault at a time, with an input on which only that fault shows. If all scores are equal and the "
    "values are one-hot, what does the output show you? And if all values are 1?",
    "Six probes, in this order, on 2 sequences, 3 heads, and 64 tokens. Values of 1 must give 1, or the softmax "
    "runs over the wrong axis. Queries and keys a hundred times as large must give finite numbers. New values in "
    "the first sequence must not move the second. Queries and keys of 0 with one-hot values show the weights "
    "themselves: nothing above the diagonal, something everywhere else. Whatever passes all this and still "
    "differs from the reference has the wrong scale.",
)
def diagnose(answer: Callable) -> bool:
    """Exercise 3.5: an inspector of attention functions; easy faults first, then those that hide."""
    return run_check("3.5", answer, *(_case(*line) for line in _lines()))


def _case(attend: Attend, word: str, what: str, hint: str) -> Callable[[Callable], None]:
    def case(answer: Callable) -> None:
        torch.manual_seed(0)
        said = answer(attend)
        expect(
            isinstance(said, str) and said in WORDS,
            f"It must return one of {', '.join(repr(w) for w in WORDS)}, not {str(said)[:40]!r}.",
        )
        expect(said == word, f"A function that {what}: expected {word!r}, got {said!r}. {hint}")

    return case


def _right(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _precise(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _right(q.double(), k.double(), v.double()).to(q.dtype)


def _scaled(power: float) -> Attend:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=q.shape[-1] ** power)


def _one_too_many(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _right(torch.cat((q[..., :1, :] * 0, q), dim=-2), k, v)[..., 1:, :]


def _late_leak(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.cat((_right(q, k, v)[..., :40, :], _one_too_many(q, k, v)[..., 40:, :]), dim=-2)


def _one_head_leaks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    leaking = F.scaled_dot_product_attention(q[:, -1:], k[:, -1:], v[:, -1:])
    return torch.cat((_right(q, k, v)[:, :-1], leaking), dim=1)


def _blind_to_itself(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    later = _right(q[..., 1:, :], k[..., :-1, :], v[..., :-1, :])
    return torch.cat((v[..., :1, :], later), dim=-2)  # the first token has nothing else to see


def _in_pieces(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.cat([_right(*piece) for piece in zip(*(x.split(32, dim=-2) for x in (q, k, v)), strict=True)], dim=-2)


def _by_query(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    eye = torch.eye(k.shape[-2]).flip(0).expand(*k.shape[:-2], -1, -1)
    return _right(k.flip(-2), q.flip(-2), eye).flip(-2).mT @ v  # keys look at queries, from the end


def _neighbour(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _right(q, k, torch.cat((v[:1], (v[1:] + v[:-1]) / 2)))


def _careless(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _right(q, k, v) + 0 * (q @ k.mT / q.shape[-1] ** 0.5).exp().sum(-1, keepdim=True)  # 0 times infinity


def _lines() -> list[tuple[Attend, str, str, str]]:
    """(function, its word, what it does, hint), in the order in which they are tried."""
    future, past = "sees the future", "forgets the past"
    return [
        (_right, "right", "is PyTorch's own", "Does your inspector find fault with everything?"),
        (
            F.scaled_dot_product_attention,
            future,
            "has no mask at all",
            "Change the keys and values of late tokens; the outputs of early ones must not move.",
        ),
        (_one_too_many, future, "sees one token too many", "Change a single token and watch the one just before it."),
        (
            _scaled(0.0),
            "wrong scale",
            "does not divide the scores",
            "The reference takes a `scale`. With keys of zeros, no scale can matter.",
        ),
        (_scaled(-1.0), "wrong scale", "divides the scores by d", "There is more than one wrong scale."),
        (
            _by_query,
            "wrong axis",
            "runs the softmax over the queries",
            "If all values are 1, a weighted average is 1, whatever the weights.",
        ),
        (
            _careless,
            "overflows",
            "takes exp of the raw scores",
            "For scores of ordinary size it is right. Try large ones.",
        ),
        (
            _precise,
            "right",
            "computes in double precision and so differs from the reference in the last digits",
            "Compare to a tolerance, not for equality.",
        ),
        (
            _in_pieces,
            past,
            "starts over at position 32 and sees nothing before it from there on",
            "A short sequence cannot show it. Change the first token of a long one and watch the last.",
        ),
        (
            _blind_to_itself,
            past,
            "hides every token except the first from itself",
            "Change one token's value and watch the same token.",
        ),
        (_one_head_leaks, future, "has no mask in its last head", "Use several heads and look at all of them."),
        (
            _late_leak,
            future,
            "sees one token too many from position 40 on",
            "Watch every position of a long sequence, not only the first.",
        ),
        (
            _neighbour,
            "mixes sequences",
            "takes half of each value from the sequence before it in the batch",
            "Change one sequence of a batch and watch the others.",
        ),
    ]
