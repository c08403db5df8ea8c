"""Shapes: the depths and widths at which an architecture has about as many parameters as another.

Two architectures are not alike at equal width and depth: a layer of Mamba has half the parameters of a Transformer's.
So each is given a budget of parameters, and the shapes that spend it follow from the cost formulas (see ``flops``).
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pn_lib.errors import InputError
from pn_lib.models.architectures import MODELS
from pn_lib.models.delta import DeltaNetConfig
from pn_lib.models.flops import NeuralConfig, ParameterCount, parameter_count
from pn_lib.models.hybrid import HybridConfig
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.mamba2 import Mamba2Config
from pn_lib.models.transformer import TransformerConfig

HEADS = 4  # of every mixer that has heads, at every width
TOLERANCE = 0.03  # how far a shape may miss its budget
WIDEST = 4096
WIDE, DEEP = 64, 8  # width over depth: beyond these a model is hardly ever built (Kaplan et al., 2020, figure 5)

# What makes up for the rest of a budget, and in which steps: the MLP's width, the state's size
SLACK = {
    TransformerConfig: ("d_ff", 4),
    MambaConfig: ("d_state", 1),
    Mamba2Config: ("d_state", 4),
    DeltaNetConfig: ("head_dim", 1),
}
HYBRID_SLACK = {"M": ("d_state", 4), "S": ("scan_state", 1), "D": ("delta_dim", 1)}  # of its first layer that has any


def in_layers(count: ParameterCount) -> int:
    """What two architectures have in common that are equal but for how they remember."""
    return count.in_layers


def total(count: ParameterCount) -> int:
    """What a file holds: the embedding table and the output layer too."""
    return count.total


def shaped(
    name: str, vocab_size: int, context: int, d_model: int, n_layers: int, options: dict[str, Any]
) -> NeuralConfig:
    """The config of an architecture at a width and a depth: whatever has heads has ``HEADS``, ``options`` come last.

    Raises:
        InputError: options that the architecture does not have.
    """
    inner, key = 2 * d_model // HEADS, d_model // HEADS  # widths of a head
    heads = {
        "transformer": {"n_heads": HEADS},
        "mamba": {},
        "mamba2": {"head_dim": inner},
        "deltanet": {"n_heads": HEADS, "head_dim": key},
        "hybrid": {"n_heads": HEADS, "head_dim": inner, "delta_heads": HEADS, "delta_dim": key},
    }[name]
    return MODELS[name].Config(
        vocab_size=vocab_size, context=context, d_model=d_model, n_layers=n_layers, **heads | options
    )


def shapes(
    name: str,
    vocab_size: int,
    context: int,
    options: dict[str, Any],
    budget: int,
    count: Callable[[ParameterCount], int],
    most: int | None = None,
) -> list[NeuralConfig]:
    """For each depth a shape whose ``count`` of parameters is ``budget``, within ``TOLERANCE``; the widest first, at
    most so many.

    Widths are multiples of ``HEADS``, of a Transformer twice that, since rotary positions turn pairs of channels. What
    such a step misses, another size of the architecture makes up for (``SLACK``). A hybrid has its whole pattern at
    least once. Shapes whose width is more than ``WIDE`` or less than ``DEEP`` times their depth are left out.

    Raises:
        InputError: there is no such shape.
    """
    step = 2 * HEADS if name == "transformer" else HEADS
    widths = range(step, WIDEST, step)

    def size(config: NeuralConfig) -> int:
        return count(parameter_count(config))

    def at(width: int, depth: int) -> NeuralConfig:
        return shaped(name, vocab_size, context, width, depth, options)

    depths = range(len(options.get("pattern", "")) or 1, WIDEST // DEEP + 1)
    # depths at which even the widest model is far too small are passed over; slack never triples a model
    fewest = bisect_left(depths, budget / 3, key=lambda depth: size(at(widths[-1], depth)))
    found = []
    for depth in depths[fewest:]:
        if len(found) == most:
            break
        wide = partial(at, depth=depth)
        above = bisect_left(widths, budget, key=lambda width: size(wide(width)))
        width = min(widths[max(0, above - 1) : above + 1], key=lambda width: abs(size(wide(width)) - budget))
        config = _filled(wide(width), budget, size)
        if aspect(config) < DEEP:
            break
        if aspect(config) <= WIDE and abs(size(config) / budget - 1) <= TOLERANCE:
            found.append(config)
    if not found:
        raise InputError(
            f"no {name} of {DEEP} to {WIDE} times as many channels as layers has {budget:,} parameters, within "
            f"{TOLERANCE:.0%}; give it {'fewer' if fewest else 'more'} ([mixers] sizes in a profile)"
        )
    return found


def _filled(config: NeuralConfig, budget: int, size: Callable[[NeuralConfig], int]) -> NeuralConfig:
    """The config with as much of its ``SLACK`` as comes nearest to the budget, half to twice the usual."""
    field, step = _slack(config)
    if field is None:
        return config
    usual = config.ff_width if isinstance(config, TransformerConfig) else getattr(config, field)
    price = size(replace(config, **{field: usual + step})) - size(config)
    wanted = usual + step * round((budget - size(config)) / price)
    return replace(config, **{field: min(max(wanted, usual // 2), 2 * usual)})


def _slack(config: NeuralConfig) -> tuple[str | None, int]:
    """The field that makes up for the rest of a budget, and its step; None: there is none."""
    if isinstance(config, HybridConfig):
        return next((HYBRID_SLACK[letter] for letter in config.layers if letter in HYBRID_SLACK), (None, 0))
    return SLACK[type(config)]


def aspect(config: NeuralConfig) -> float:
    """Width over depth."""
    return config.d_model / config.n_layers


def nearest(configs: list[NeuralConfig], ratio: float) -> NeuralConfig:
    """The shape whose ``aspect`` is nearest to ``ratio``, on a log scale."""
    return min(configs, key=lambda config: abs(math.log(aspect(config) / ratio)))


def spread(configs: list[NeuralConfig], number: int) -> list[NeuralConfig]:
    """At most ``number`` of the shapes, evenly spaced between wide and deep on a log scale of ``aspect``."""
    ratios = np.geomspace(WIDE, DEEP, 2 * number + 1)[1::2]
    return list(dict.fromkeys(nearest(configs, ratio) for ratio in ratios))
