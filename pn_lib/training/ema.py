"""An exponential moving average of a model's weights, for validation and for the model in the end."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pn_lib.training.checkpoint import weights_hash


class Average:
    """Weights W' <- d W' + (1 - d) W after each update (Polyak & Juditsky, 1992, with forgetting); none if d is 0.

    Early on d is smaller, (step + 1) / (step + 10), so that the random weights of the beginning are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay = model, decay
        self.weights = [p.detach().clone() for p in model.parameters()] if decay else []

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update ``step``, counted from 0."""
        if self.weights:
            decay = min(self.decay, (step + 1) / (step + 10))
            torch._foreach_lerp_(self.weights, list(self.model.parameters()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        latest = [p.detach().clone() for p in self.model.parameters()] if self.weights else []
        self.take_over()
        try:
            yield
        finally:
            self._copy(latest)

    def take_over(self) -> None:
        """Give the model the averaged weights for good."""
        self._copy(self.weights)

    @torch.no_grad()
    def _copy(self, weights: list[Tensor]) -> None:
        for p, value in zip(self.model.parameters(), weights, strict=bool(weights)):
            p.copy_(value)

    def hash_of(self, weights: list[Tensor]) -> str:
        """``weights_hash`` of the model, had it these weights; "" if there are none."""
        if not weights:
            return ""
        names = {name: value for (name, _), value in zip(self.model.named_parameters(), weights, strict=True)}
        shared = {id(p): names[name] for name, p in self.model.named_parameters()}
        return weights_hash(
            {name: shared.get(id(value), value) for name, value in self.model.state_dict(keep_vars=True).items()}
        )

    def state_dict(self) -> list[Tensor]:
        return self.weights

    def load_state_dict(self, weights: list[Tensor]) -> None:
        self.weights = weights
