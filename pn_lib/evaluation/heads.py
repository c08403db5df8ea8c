"""What attention heads look at, what they do with repeated text, and how much the loss rises without each of them.

Maps are (L, H, T, T): layers, heads, queries, keys; each row sums to 1. Layers and heads are counted from 0.
Olsson et al., "In-context learning and induction heads" (2022); Eldan & Li, "TinyStories" (2023), section 5.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.evaluation.intervals import Interval, bootstrap_interval
from pn_lib.evaluation.names import Span
from pn_lib.models.base import LanguageModel
from pn_lib.models.hooks import check_sequences, ids_for, reading
from pn_lib.models.likelihood import context_of, sequence_nats
from pn_lib.models.transformer import Transformer

FIT_STEPS = 100  # of ``distance_share``: on our models the share is constant to four decimals from 50 on


def attention_maps(model: LanguageModel, sequence: Sequence[int] | np.ndarray) -> Tensor:
    """The weights of all heads on one sequence of token ids, (L, H, T, T) on the CPU.

    Raises:
        InputError: no Transformer; or one whose weights can be negative (linear attention with rotary positions).
    """
    _check_heads(model)
    with reading(model):
        maps = torch.cat(model.attention_maps(ids_for(model, sequence))).float().cpu()
    if maps.min() < 0:
        raise InputError(
            "this model's attention weights can be negative (linear attention with rotary positions), "
            "so they are not shares of attention: choose a model with softmax attention"
        )
    return maps


def head_table(
    model: LanguageModel, sequences: Sequence[Sequence[int]], names: Sequence[Sequence[Span]]
) -> pd.DataFrame:
    """The habits of each head, a row for each (layer, head), every column a mean over stories.

    ``names`` are the ``name_spans`` of each sequence. Columns: ``distance``, tokens back; ``entropy``, bits, of a row;
    ``spread``, the entropy as a share of the uniform head's; the share of weight on the token before (``previous``), on
    the first of all (``first``), on earlier occurrences of the token being read (``same``), where there are any, and on
    what followed those (``induction``), on all tokens of earlier occurrences of the name whose last token is being
    read (``same_name``); ``explained`` by distance, see ``distance_share``; and ``kind``: "distance" where that is more
    than half, else "semantic" (the paper's two kinds of heads). NaN where no story has a place to measure at.
    """
    check_sequences(sequences)
    habits, statistics = [], []
    for sequence, spans in zip(sequences, names, strict=True):
        maps = attention_maps(model, sequence)
        habits.append(_habits(torch.as_tensor(np.asarray(sequence, np.int64)), maps, spans))
        statistics.append(_by_distance(maps))
    values = {key: value.flatten() for key, value in _mean(habits).items()}
    values["explained"] = _explained(statistics).flatten()
    index = pd.MultiIndex.from_product([range(n) for n in maps.shape[:2]], names=["layer", "head"])
    table = pd.DataFrame({key: value.numpy() for key, value in values.items()}, index=index)
    return table.assign(kind=np.where(table["explained"] > 0.5, "distance", "semantic"))


def uniform_head(sequences: Sequence[Sequence[int]], names: Sequence[Sequence[Span]]) -> pd.Series:
    """What ``head_table`` gives for a head that looks at all tokens so far equally: the level to compare with."""
    check_sequences(sequences)
    flat = [torch.ones(1, 1, len(s), len(s)).tril() / torch.arange(1, len(s) + 1)[:, None] for s in sequences]
    ids = [torch.as_tensor(np.asarray(s, np.int64)) for s in sequences]
    habits = _mean(_habits(*story) for story in zip(ids, flat, names, strict=True))
    return pd.Series({key: value.item() for key, value in habits.items()})


def _habits(ids: Tensor, maps: Tensor, spans: Sequence[Span]) -> dict[str, Tensor]:
    """Mean habits on one story, (L, H) each, NaN where it has no place to measure; ids (T,), maps (L, H, T, T)."""
    T = len(ids)
    back = torch.arange(T)[:, None] - torch.arange(T)  # (T, T): tokens from query to key
    twins = ((ids[:, None] == ids) & (back > 0)).float()  # earlier occurrences of the token being read
    followers = torch.zeros(T, T)
    followers[:, 1:] = twins[:, :-1]
    seen = twins.any(-1)  # rows that have any
    named = torch.zeros(T, T)
    for i, (word, _, end) in enumerate(spans):
        for earlier in spans[:i]:
            if earlier.word == word:
                named[end - 1, earlier.start : earlier.end] = 1
    entropy = torch.special.entr(maps).sum(-1)[..., 1:].mean(-1) / np.log(2)
    return {
        "distance": (maps * back).sum(-1)[..., 1:].mean(-1),
        "entropy": entropy,
        "spread": entropy / torch.arange(2, T + 1).log2().mean(),
        "previous": maps.diagonal(-1, -2, -1).mean(-1),
        "first": maps[..., 1:, 0].mean(-1),
        "same": (maps * twins).sum(-1)[..., seen].mean(-1),
        "same_name": (maps * named).sum(-1)[..., named.any(-1)].mean(-1),
        "induction": (maps * followers).sum(-1)[..., seen].mean(-1),
    }


def _mean(habits: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each habit over the stories that have it."""
    habits = list(habits)
    return {key: torch.stack([one[key] for one in habits]).nanmean(0) for key in habits[0]}


def distance_share(maps: Iterable[Tensor]) -> Tensor:
    """How much of what sets each head off from looking everywhere alike its distances alone explain: (L, H), 0 to 1.

    ``maps`` holds (L, H, T, T) for each story. The model of a head without an eye for content is Luce's choice: from
    position t it looks d tokens back with probability w_d / (w_0 + ... + w_t), whatever stands there; the weights w are
    fitted by maximum likelihood (the MM algorithm of Hunter 2004). The share is 1 - KL(head || fit) / KL(head ||
    uniform), the R^2 for Kullback-Leibler divergence of Cameron & Windmeijer (1997), summed over the rows of all
    stories. The first token is left out on both sides, rows counting by what they put elsewhere: a head that rests on
    it, as many do, is judged by the rest of its looks.
    """
    return _explained([_by_distance(m) for m in maps])


def _by_distance(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All that the fit needs of a story, in float64: the weight at each distance (L, H, T - 1), the weight of each row
    (L, H, T - 1), and the rows' negative entropy in nats, each counted by its weight (L, H)."""
    w = maps[..., 1:, 1:].double()
    n = w.shape[-1]
    back = (torch.arange(n)[:, None] - torch.arange(n)).clamp(min=0)  # above the diagonal there is no weight to count
    at_distance = torch.zeros(*w.shape[:2], n, dtype=w.dtype).index_add_(2, back.flatten(), w.flatten(2))
    rows = w.sum(-1)
    return at_distance, rows, torch.special.entr(rows).sum(-1) - torch.special.entr(w).sum((-2, -1))


def _explained(statistics: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    longest = max(rows.shape[-1] for _, rows, _ in statistics)
    W, M = (sum(F.pad(s[i], (0, longest - s[i].shape[-1])) for s in statistics) for i in (0, 1))  # (L, H, longest)
    w = torch.ones_like(W)
    for _ in range(FIT_STEPS):  # each step raises the likelihood, beginning at the uniform head's
        w = W / (M / w.cumsum(-1).clamp(min=1e-30)).flip(-1).cumsum(-1).flip(-1).clamp(min=1e-30)
    negative_entropy = sum(s[2] for s in statistics)
    fit = torch.special.xlogy(W, w).sum(-1) - torch.special.xlogy(M, w.cumsum(-1)).sum(-1)
    uniform = -(M * torch.arange(1, longest + 1, dtype=M.dtype).log()).sum(-1)
    return (1 - (negative_entropy - fit) / (negative_entropy - uniform)).float()


@dataclass(frozen=True)
class Induction:
    """What repeating random tokens does: ``first`` and ``again``, mean nats per token of either half, and ``gain``,
    their difference with the bootstrap interval over sequences, positive if the repetition helps. ``heads`` (L, H), for
    a Transformer, is the mean weight on the token after the earlier occurrence; ``uniform``, a uniform head's."""

    first: float
    again: float
    gain: Interval
    heads: np.ndarray | None
    uniform: float


def induction_score(
    model: LanguageModel, tokens: Sequence[int], separator_id: int, length: int = 50, repeats: int = 16, seed: int = 0
) -> Induction:
    """The standard test for induction (Olsson et al. 2022): ``length`` random different ones of ``tokens``, twice over.

    Nothing but the first half helps to predict the second. The separator stands before them, as before a story. In
    both halves all but the first token are scored: at that one nobody can know yet that a repetition has begun.

    Raises:
        InputError: fewer ``tokens`` than ``length``, or a sequence longer than the model's context.
    """
    if not 2 <= length <= len(set(tokens)):
        raise InputError(f"length must be at least 2 and at most the {len(set(tokens))} different tokens, not {length}")
    rng, choice = np.random.default_rng(seed), np.unique(tokens)
    halves = np.stack([rng.permutation(choice)[:length] for _ in range(repeats)])
    sequences = np.concatenate([np.full((repeats, 1), separator_id), halves, halves], 1)  # (repeats, 1 + 2 length)
    limit = context_of(model)
    first = sequence_nats(model, list(sequences[:, : length + 1]), limit, [2] * repeats) / (length - 1)
    again = sequence_nats(model, list(sequences), max(limit, 2 * length), [length + 2] * repeats) / (length - 1)
    queries = np.arange(length + 1, 2 * length + 1)  # the tokens of the second half
    heads = None
    if isinstance(model, Transformer):
        looks = [attention_maps(model, s)[..., queries, queries - length + 1].mean(-1) for s in sequences]
        heads = torch.stack(looks).mean(0).numpy()
    return Induction(
        float(first.mean()),
        float(again.mean()),
        bootstrap_interval(first - again),
        heads,
        float((1 / (queries + 1)).mean()),
    )


@contextmanager
def ablated(model: LanguageModel, layer: int, head: int) -> Iterator[None]:
    """Inside the block this head adds nothing to the residual stream of ``forward``; the weights are not touched.

    Raises:
        InputError: the model is no Transformer, or has no such head.
    """
    _check_heads(model)
    c = model.config
    if not (0 <= layer < c.n_layers and 0 <= head < c.n_heads):
        raise InputError(f"there is no head {head} in layer {layer}: the model has {c.n_layers} layers of {c.n_heads}")
    kept = torch.ones(c.d_model)
    kept[head * c.head_dim : (head + 1) * c.head_dim] = 0
    out = model.blocks[layer].attention.out  # takes the outputs of all heads side by side, (B, T, H d)
    handle = out.register_forward_pre_hook(lambda _, arguments: (arguments[0] * kept.to(arguments[0]),))
    try:
        yield
    finally:
        handle.remove()


def head_importance(model: LanguageModel, sequences: Sequence[Sequence[int]]) -> pd.DataFrame:
    """What is lost without each head: a row for each (layer, head) with ``loss``, the rise in nats per token, and the
    bootstrap interval over stories, ``low`` and ``high``, paired, for each story is its own control.

    Unlike a head's weights this is causal evidence, of what the head is needed for while all others are there: of two
    heads that do the same work neither seems to matter.
    """
    _check_heads(model)
    c, limit = model.config, context_of(model)
    tokens = np.array([len(sequence) - 1 for sequence in sequences])
    whole = sequence_nats(model, sequences, limit)
    rows = []
    for layer, head in np.ndindex(c.n_layers, c.n_heads):
        with ablated(model, layer, head):
            rise = sequence_nats(model, sequences, limit) - whole
        rows.append((layer, head, *bootstrap_interval(rise, tokens)))
    return pd.DataFrame(rows, columns=["layer", "head", "loss", "low", "high"]).set_index(["layer", "head"])


def _check_heads(model: LanguageModel) -> None:
    if not isinstance(model, Transformer):
        raise InputError(f"a {model.name} has no attention heads: give a Transformer")
