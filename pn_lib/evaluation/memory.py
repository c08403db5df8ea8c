"""How far back a model's past reaches: what an exchanged token still changes, and how fast Mamba's states fade."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.evaluation.intervals import bootstrap_interval
from pn_lib.models.base import LanguageModel
from pn_lib.models.hooks import check_sequences, ids_for, inputs_of, reading
from pn_lib.models.mamba import Mamba

RESAMPLES = 500  # of ``dt_table``, which has an interval for each layer and group


def effective_memory(
    model: LanguageModel, sequences: Sequence[Sequence[int]], distances: Sequence[int], places: int = 8, seed: int = 0
) -> pd.DataFrame:
    """How much exchanging a token changes what the model expects some tokens later: a row a distance.

    In each sequence ``places`` tokens, never the first, are exchanged, one at a time, for another token drawn from all
    the sequences, as often as it comes in them. ``bits`` is the Kullback-Leibler divergence KL(p || q) of the
    expectations p without and q with the exchange, for the token ``distance`` places after it (1: the next), averaged
    over places and sequences, with the bootstrap interval over sequences, ``low`` and ``high``. The places are the same
    at all distances and for all models. An n-gram of order n has exactly 0 from distance n on. A mean over all places:
    a fact that is needed once in a hundred tokens hardly shows in it.

    Raises:
        InputError: a sequence too short to have that many places with room for the longest distance behind them, or
            longer than the model's context.
    """
    check_sequences(sequences)
    distances, rng = np.asarray(distances), np.random.default_rng(seed)
    if not len(distances) or distances.min() < 1:
        raise InputError(f"distances must be at least 1, and at least one be given, not {distances.tolist()}")
    stock = np.concatenate([np.asarray(sequence[1:], np.int64) for sequence in sequences])
    if len(set(stock.tolist())) < 2:
        raise InputError("the sequences hold a single token over and over: there is nothing to exchange it for")
    changes = [
        _changes(
            model, *_exchanged(np.asarray(sequence, np.int64), int(distances.max()), places, stock, rng), distances
        )
        for sequence in sequences
    ]
    rows = [
        (int(distance), *bootstrap_interval(values))
        for distance, values in zip(distances, np.stack(changes, 1), strict=True)
    ]
    return pd.DataFrame(rows, columns=["distance", "bits", "low", "high"])


def _exchanged(
    sequence: np.ndarray, longest: int, places: int, stock: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The sequence and, below it, its copies with one token exchanged, (1 + places, T); and those places (places,)."""
    candidates = np.arange(1, len(sequence) - longest + 1)
    if len(candidates) < places:
        raise InputError(
            f"a sequence of {len(sequence)} tokens is too short for {places} places with {longest} tokens "
            f"behind each: it needs {longest + places}, or choose shorter distances"
        )
    where = np.sort(rng.choice(candidates, places, replace=False))
    rows = np.tile(sequence, (places + 1, 1))
    for row, place in zip(rows[1:], where, strict=True):
        while row[place] == sequence[place]:
            row[place] = rng.choice(stock)
    return rows, where


def _changes(model: LanguageModel, rows: np.ndarray, where: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Mean KL in bits at each distance, (distances,), over the exchanged copies ``rows[1:]`` of ``rows[0]``."""
    with reading(model):
        logits = model(torch.cat([ids_for(model, row) for row in rows]))  # (1 + places, T, V)
        at = torch.as_tensor(where[:, None] + distances - 1, device=logits.device)  # (places, distances)
        copies = torch.arange(1, len(rows), device=logits.device)[:, None]
        true, changed = (part.double().log_softmax(-1) for part in (logits[0, at], logits[copies, at]))
    return F.kl_div(changed, true, reduction="none", log_target=True).sum(-1).mean(0).cpu().numpy() / math.log(2)


def memory_reach(curve: pd.DataFrame, share: float = 0.01) -> int | None:
    """The first distance of an ``effective_memory`` from which on the change stays under ``share`` of that at the
    shortest distance; None if it does not within the distances measured."""
    small = (curve["bits"] < share * curve["bits"].iloc[0]).to_numpy()
    tail = int(np.argmin(small[::-1])) if not small.all() else len(small)  # how many at the end are small
    return int(curve["distance"].iloc[-tail]) if tail else None


def step_sizes(model: LanguageModel, ids: Tensor) -> list[Tensor]:
    """Mamba's step sizes dt on token ids (B, T): for each layer (B, T, E), after the softplus.

    Raises:
        InputError: the model is no Mamba.
    """
    if not isinstance(model, Mamba):
        raise InputError(f"a {model.name} has no step sizes: give a Mamba")
    with reading(model):
        with inputs_of(block.x_proj for block in model.blocks) as convolved:  # (B, T, E) each
            model(ids)
        return [
            F.softplus(block.dt_proj(block.x_proj(x)[..., : model.config.rank]))
            for block, x in zip(model.blocks, convolved, strict=True)
        ]


def dt_table(model: LanguageModel, sequences: Sequence[Sequence[int]], groups: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Mamba's step sizes by layer and by group of tokens (``token_groups``): a row for each (layer, group).

    A large dt lets the state take in the token and forget what was there, a small one passes it by (Gu & Dao 2023,
    section 3.5.2). As dt spreads over orders of magnitude, its means are geometric: ``dt``, over the channels and the
    group's ``tokens``; ``ratio`` to that of all tokens of the layer, with the bootstrap interval over sequences,
    ``low`` and ``high``. Most channels may ignore what a few react to: ``extreme`` is the ratio of the ``channel`` that
    is furthest from 1. ``half_life``, in tokens: were each token of this group, half of the slowest state element of
    the median channel would be left after so many. dt depends on a token and on those before it in the convolution.

    Raises:
        InputError: the model is no Mamba, or the groups do not fit the tokens.
    """
    check_sequences(sequences)
    labels = np.array([label for row in groups for label in row])
    story = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    if len(labels) != len(story):
        raise InputError(f"{len(story)} tokens but {len(labels)} group labels: give one for each token")
    read = [step_sizes(model, ids_for(model, sequence)) for sequence in sequences]
    rows = []
    for layer, block in enumerate(model.blocks):
        log_dt = torch.cat([one[layer][0] for one in read]).double().log().cpu().numpy()  # (tokens, E)
        slowest = block.A_log.detach().double().exp().amin(1).cpu().numpy()  # |A| of each channel, (E,)
        for group in sorted(set(labels.tolist())):
            mine = labels == group
            row = {"layer": layer, "group": group, "tokens": int(mine.sum())}
            rows.append(row | _group_dt(log_dt, mine, story) | _half_life(log_dt[mine], slowest))
    return pd.DataFrame(rows).set_index(["layer", "group"])


def _group_dt(log_dt: np.ndarray, mine: np.ndarray, story: np.ndarray) -> dict[str, float]:
    """dt of the tokens ``mine`` (tokens,), beside that of all, from log_dt (tokens, E)."""
    by_channel = log_dt[mine].mean(0) - log_dt.mean(0)
    channel = int(np.abs(by_channel).argmax())
    deviation = log_dt[mine].mean(1) - log_dt.mean()
    counts = np.bincount(story[mine])
    sums, counts = np.bincount(story[mine], deviation)[counts > 0], counts[counts > 0]
    several = len(counts) > 1  # one story has a mean but no interval
    ratio = bootstrap_interval(sums, counts, resamples=RESAMPLES) if several else (deviation.mean(), np.nan, np.nan)
    return {
        "dt": np.exp(log_dt[mine].mean()),
        **dict(zip(("ratio", "low", "high"), np.exp(ratio), strict=True)),
        "extreme": np.exp(by_channel[channel]),
        "channel": channel,
    }


def _half_life(log_dt: np.ndarray, slowest: np.ndarray) -> dict[str, float]:
    """exp(dt A) is what a token leaves of a state: half is left after ln 2 / (dt |A|) tokens."""
    return {"half_life": float(np.median(math.log(2) / (np.exp(log_dt.mean(0)) * slowest)))}
