"""Looking into a model from outside: evaluation mode, no gradients, and hooks that are gone when the block ends."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel


@contextmanager
def reading(model: LanguageModel) -> Iterator[None]:
    """Inside the block the model is in evaluation mode and records no gradients; its mode is given back."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@contextmanager
def inputs_of(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """The first argument of each call of one of the ``modules`` inside the block, in order; never a copy."""
    seen: list[Tensor] = []
    handles = [module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0])) for module in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def ids_for(model: LanguageModel, sequence: Sequence[int] | np.ndarray) -> Tensor:
    """One sequence of token ids as a batch (1, T), where the model is."""
    return torch.as_tensor(np.asarray(sequence, np.int64), device=model.device)[None]


def check_sequences(sequences: Sequence) -> None:
    """Refuse to read nothing."""
    if not len(sequences):
        raise InputError("there is no sequence to read: give at least one story in tokens")
