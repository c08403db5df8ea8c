"""Is there room for the model that a file describes? Asked before any is taken, since a damaged number can be huge."""

from dataclasses import asdict
from typing import Any

import torch

from pn_lib.models.base import LanguageModel

# What the number of weights does not bound: a layer costs time before its weights are missed, a position costs memory.
MOST = {"n_layers": 1000, "context": 1 << 20}


class Damaged(Exception):
    """What is wrong with the numbers of a file."""


def make_shell(cls: type[LanguageModel], config: Any, stored: int) -> LanguageModel:
    """The model on PyTorch's meta device, where its weights have shapes and take no memory; ``stored`` is how many
    weights the file can hold at most.

    Raises:
        Damaged: a size of the config is larger than any that so many weights allow.
    """
    for name, value in asdict(config).items():
        most = MOST.get(name, stored)
        if isinstance(value, int) and value > most:
            raise Damaged(f"{name} is {value:,}, and its {stored:,} numbers allow no more than {most:,}")
    try:
        with torch.device("meta"):
            return cls(config)
    except RuntimeError:  # a size beyond 2^63
        raise Damaged("its config makes tensors larger than any memory") from None


def make_model(cls: type[LanguageModel], config: Any, stored: int, slack: int = 1) -> LanguageModel:
    """The model itself, with random weights, if it has no more than ``slack`` times ``stored``.

    Raises:
        Damaged: as ``make_shell``, or it has more.
    """
    weights = make_shell(cls, config, stored).n_parameters()
    if weights > slack * stored:
        raise Damaged(f"its config makes {weights:,} weights, and its file holds {stored:,} at most")
    return cls(config)
