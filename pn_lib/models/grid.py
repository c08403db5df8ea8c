"""A weight matrix as small integers times scales, symmetric about zero, by rounding."""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.nn import functional as F

from pn_lib.config import config_class
from pn_lib.errors import InputError

Integers = Literal["int8", "int4", "ternary"]
LARGEST = {"int8": 127, "int4": 7, "ternary": 1}
# Scales that are tried, as shares of the one that reaches the largest weight. The fewer the integers, the better it is
# to cut off the largest weights in favor of the many small ones.
SHARES = {
    "int8": [1.0],
    "int4": [1 - 0.025 * i for i in range(13)],  # 1 to 0.7
    "ternary": [0.85 - 0.05 * i for i in range(14)],  # 0.85 to 0.2
}


@config_class
class Grid:
    """What a weight may be: an integer of -n..n, n = 127, 7 or 1, times the scale that it shares with its group."""

    integers: Integers
    group: PositiveInt | None = 32  # neighbors in a row that share a scale, its rest being one too; None: the whole row

    @property
    def largest(self) -> int:
        return LARGEST[self.integers]

    def length(self, inputs: int) -> int:
        """Of the groups in a row of so many weights."""
        return inputs if self.group is None else min(self.group, inputs)


@dataclass(frozen=True)
class QuantizedMatrix:
    """A weight matrix on a grid."""

    integers: Tensor  # (out, in), int8
    scales: Tensor  # (out, groups), float16
    grid: Grid

    def dequantized(self) -> Tensor:
        """The weights as float32, (out, in)."""
        inputs = self.integers.shape[1]
        return self.integers * self.scales.float().repeat_interleave(self.grid.length(inputs), 1)[:, :inputs]


def fit_scale(weight: Tensor, grid: Grid) -> Tensor:
    """For each row of (rows, n) the scale (rows, 1), as float16 keeps it, that rounds it with the least squared error.

    Raises:
        InputError: a weight is not finite, or so large that its scale has no float16.
    """
    reach = weight.abs().amax(1, keepdim=True) / grid.largest
    if not reach.half().isfinite().all():
        raise InputError(
            "a weight is NaN, infinite or too large for a scale in float16: this model cannot be quantized"
        )
    best, least = torch.zeros_like(reach), torch.full_like(reach, torch.inf)
    for share in SHARES[grid.integers]:
        scale = (reach * share).half().to(weight.dtype)
        error = (nearest(weight, scale, grid) * scale - weight).square().sum(1, keepdim=True)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def nearest(weight: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """The integers nearest to weight / scale, as floats; 0 where the scale is 0."""
    return (weight / scale.where(scale > 0, 1)).round().clamp(-grid.largest, grid.largest)


def round_matrix(weight: Tensor, grid: Grid) -> QuantizedMatrix:
    """Each weight of (out, in) to the nearest point of the grid. Raises InputError as ``fit_scale`` does."""
    (out, inputs), length = weight.shape, grid.length(weight.shape[1])
    groups = F.pad(weight.detach().float(), (0, -inputs % length)).view(-1, length)
    scales = fit_scale(groups, grid)
    integers = nearest(groups, scales, grid).to(torch.int8).view(out, -1)[:, :inputs]
    return QuantizedMatrix(integers.contiguous(), scales.view(out, -1).half(), grid)
