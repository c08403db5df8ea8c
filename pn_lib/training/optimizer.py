"""Which parameters are moved how: Muon for matrices, AdamW for the rest, decay where decay belongs."""

from typing import Any

import torch
from torch import nn

from pn_lib.training.config import TrainingConfig
from pn_lib.training.muon import Muon


class Optimizers:
    """Several optimizers that take one step together, each group of parameters at its own peak learning rate."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]):
        self.optimizers = optimizers
        for group in self.param_groups:
            group["peak"] = group["lr"]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, factor: float = 1.0) -> None:
        """Move the parameters by one step at ``factor`` times the peak learning rates."""
        for group in self.param_groups:
            group["lr"] = factor * group["peak"]
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def make_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    matrix_learning_rate: float | None = None,
) -> Optimizers:
    """AdamW (Loshchilov & Hutter, 2019) for all, or, with a ``matrix_learning_rate``, Muon for the hidden matrices.

    ``weight_decay`` acts on the groups "matrices" and "kernels" of ``parameter_groups`` only.
    """
    groups = parameter_groups(model)
    muon = matrix_learning_rate is not None and groups["matrices"]
    optimizers = [Muon(groups.pop("matrices"), matrix_learning_rate, weight_decay)] if muon else []
    options = [
        {"params": parameters, "weight_decay": 0.0 if name == "spared" else weight_decay}
        for name, parameters in groups.items()
        if parameters
    ]
    # fused: one pass over the parameters instead of a dozen, on CPU and GPU alike
    return Optimizers([*optimizers, torch.optim.AdamW(options, lr=learning_rate, betas=betas, fused=True)])


def optimizer_for(model: nn.Module, config: TrainingConfig) -> Optimizers:
    """``make_optimizer`` as a training's settings say."""
    matrix_rate = config.matrix_learning_rate if config.optimizer == "muon" else None
    return make_optimizer(model, config.learning_rate, config.weight_decay, config.betas, matrix_rate)


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trainable parameters as "matrices", "kernels" and "spared", each tensor once.

    matrices: the weights of linear layers between the embedding and the output; what Muon is for, and decayed.
    kernels: other weights of two or more dimensions, such as convolutions; decayed.
    spared: what decay leaves alone. Embedding tables and the output layer (a rare token's row would be shrunk at every
    step, though its token seldom comes to pull it back), everything of fewer than two dimensions (biases, norm gains,
    Mamba's D), and what its module marks with ``_no_weight_decay = True`` (Mamba's A_log, a matrix of rates).
    """
    ends = {id(m.weight) for name, m in model.named_modules() if isinstance(m, nn.Embedding) or name == "head"}
    hidden = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)} - ends
    groups: dict[str, list[nn.Parameter]] = {"matrices": [], "kernels": [], "spared": []}
    for parameter in model.parameters():  # shared tensors come once
        if parameter.requires_grad:
            spared = parameter.ndim < 2 or id(parameter) in ends or getattr(parameter, "_no_weight_decay", False)
            name = "spared" if spared else "matrices" if id(parameter) in hidden else "kernels"
            groups[name].append(parameter)
    return groups
