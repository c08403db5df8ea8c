"""AdamW with decay where decay belongs, and the learning rate of every step."""

import math

import torch
from torch import nn

SCHEDULES = ("cosine", "linear", "constant")


def decay_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split the trainable parameters into those that weight decay shrinks and those that it leaves alone.

    Decay is for matrices and convolution kernels. It spares embedding tables (a rare token's row would be shrunk at
    every step, though its token seldom comes to pull it back; a tied output matrix is such a table), everything of
    fewer than two dimensions (biases, norm gains, Mamba's D), and whatever its module marks with
    ``_no_weight_decay = True`` (Mamba's A_log, a matrix of rates).
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed, spared = [], []
    for parameter in model.parameters():  # shared tensors come once
        if parameter.requires_grad:
            spare = parameter.ndim < 2 or id(parameter) in tables or getattr(parameter, "_no_weight_decay", False)
            (spared if spare else decayed).append(parameter)
    return decayed, spared


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float,
                   betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019): decay acts on the weights themselves, apart from the gradient."""
    decayed, spared = decay_groups(model)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    # fused: one pass over the parameters instead of a dozen, on CPU and GPU alike
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, betas=betas, fused=True)


def learning_rate(step: int, steps: int, peak: float, warmup_steps: int = 0, schedule: str = "cosine",
                  min_ratio: float = 0.1) -> float:
    """The learning rate of update ``step`` (0 to steps - 1).

    It rises in a line to ``peak`` over the first ``warmup_steps`` updates, then follows the schedule towards
    ``min_ratio * peak``: half a cosine (Loshchilov & Hutter 2017, equation 5, without restarts), a line, or
    ``constant``, which stays at the peak.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, steps - warmup_steps)  # 0 at the end of the warm-up, below 1 at the last step
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}[schedule]
    return peak * (min_ratio + (1 - min_ratio) * left)
