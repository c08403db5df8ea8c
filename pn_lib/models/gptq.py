"""Rounding with error compensation: GPTQ (Frantar et al., 2022), which goes back to optimal brain surgery (Hassibi &
Stork, 1993).

A layer's output on x changes by (W' - W) x. Over all x seen, its squared error is a quadratic form in each row's
error, with the matrix H = sum of x x^T. So once a weight has been rounded, the weights of its row that are still free
can make up for part of the error.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.grid import Grid, QuantizedMatrix, fit_scale, nearest
from pn_lib.models.hooks import ids_for, reading

DAMPING = 0.01  # of the mean of H's diagonal, added to the diagonal: some inputs are hardly ever seen


def gram(model: LanguageModel, weight: Tensor, stories: Sequence[Sequence[int]]) -> Tensor | None:
    """H (in, in) of the inputs x that the model multiplies ``weight`` by, float64; None if it never does so (as with
    an embedding that is looked up only), or if all of them are 0, when no error has an effect. Each story (token ids)
    is read up to the model's context.

    Raises:
        InputError: an input is NaN or infinite.
    """
    with reading(model), _Inputs(weight) as inputs:
        for story in stories:
            model(ids_for(model, story[: model.max_length]))
    H = inputs.gram
    if H is not None and not H.isfinite().all():
        raise InputError("on these stories the model computes NaN or infinity: it cannot be quantized")
    return None if H is None or not H.any() else H


class _Inputs(TorchFunctionMode):
    """Sums x x^T over all calls of ``F.linear`` by one weight or a part of its rows, whoever makes them."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight, self.gram = weight, None

    def __torch_function__(self, function, types, arguments=(), named=None):
        if function is F.linear:
            weight = arguments[1]
            if (weight if weight._base is None else weight._base) is self.weight:
                x = arguments[0].detach().flatten(0, -2).double()
                self.gram = x.T @ x if self.gram is None else self.gram + x.T @ x
        return function(*arguments, **(named or {}))


@torch.no_grad()
def compensate(weight: Tensor, gram: Tensor, grid: Grid) -> QuantizedMatrix:
    """``weight`` (out, in) on the grid, column by column, each error passed on to the columns to its right.

    Algorithm 1 of the paper without its batching, which is for GPUs: with U the upper Cholesky factor of the inverse
    of H, row j of U is what equation 3 asks for once the columns before j are fixed. A group's scale is fitted when
    its first column is reached.

    Raises:
        InputError: as ``fit_scale`` does.
    """
    W, inputs = weight.detach().double(), weight.shape[1]
    H = gram + DAMPING * gram.diagonal().mean() * torch.eye(inputs, dtype=gram.dtype, device=gram.device)
    U = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H)), upper=True)
    length, integers, scales = grid.length(inputs), torch.empty_like(W), []
    for j in range(inputs):
        if j % length == 0:
            scales.append(fit_scale(W[:, j : j + length], grid))
        integers[:, j : j + 1] = nearest(W[:, j : j + 1], scales[-1], grid)
        error = (W[:, j : j + 1] - integers[:, j : j + 1] * scales[-1]) / U[j, j]
        W[:, j + 1 :] -= error * U[j, j + 1 :]
    return QuantizedMatrix(integers.to(torch.int8), torch.cat(scales, 1).half(), grid)
