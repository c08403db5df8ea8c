"""Models in 8, 4 or 1.58 bits a weight: by rounding, by rounding with error compensation, and by training for it.

Quantized are the weights of all linear layers and embeddings. All else, the gains of norms, biases, and Mamba's A_log,
D and convolution, is kept in float16: a few percent of the numbers, and among them those that set how long a state
remembers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.gptq import compensate, gram
from pn_lib.models.grid import Grid, QuantizedMatrix, round_matrix


def matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are quantized, by their names in the state dict."""
    layers = (nn.Linear, nn.Embedding)
    return {f"{name}.weight": m.weight for name, m in model.named_modules() if isinstance(m, layers)}


def quantize(model: LanguageModel, grid: Grid, stories: Sequence[Sequence[int]] = ()) -> LanguageModel:
    """A copy of the model with its weights on the grid, for evaluation: by rounding or, with ``stories`` (token ids) to
    measure the effect of each error on, by rounding with error compensation (see ``gptq``), layer after layer.

    Raises:
        InputError: the model has no weights, or one that cannot be quantized.
    """
    copy = deepcopy(model).eval()
    if not matrices(copy):
        raise InputError(f"a {model.name} has no weights to quantize: give a neural model")
    found = {}
    with torch.no_grad():
        for name, weight in matrices(copy).items():
            seen = gram(copy, weight, stories) if stories else None
            found[name] = round_matrix(weight, grid) if seen is None else compensate(weight, seen, grid)
            weight.copy_(found[name].dequantized())
        others = {name: p.half() for name, p in copy.named_parameters() if name not in found}
    if not all(value.isfinite().all() for value in others.values()):
        raise InputError("a weight is NaN, infinite or too large for float16: this model cannot be quantized")
    return fill(copy, found, others)


@torch.no_grad()
def fill(model: LanguageModel, quantized: dict[str, QuantizedMatrix], others: dict[str, Tensor]) -> LanguageModel:
    """Give the model these weights for good: no longer trained, and decoded from the integers (``quantized_of``)."""
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name in others:
            parameter.copy_(others[name])
        else:
            parameter.copy_(quantized[name].dequantized())
            parameter.quantized = quantized[name], parameter._version
    return model.eval()


def quantized_of(weight: Tensor) -> QuantizedMatrix | None:
    """The integers and scales that ``weight`` was made from; None if there are none, or it has been changed since."""
    matrix, version = getattr(weight, "quantized", (None, None))
    return matrix if matrix is not None and weight._version == version else None


@contextmanager
def rounded(model: nn.Module, grid: Grid | None) -> Iterator[None]:
    """Inside, the weights are the rounded ones, if there is a grid; after it they are again those from before.

    A forward and a backward pass inside give the straight-through gradient (Bengio et al., 2013; Courbariaux et al.,
    2015, algorithm 1): that of the loss with respect to the rounded weights, which the optimizer outside applies to
    the real ones.
    """
    weights = [] if grid is None else list(matrices(model).values())
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight.copy_(round_matrix(weight, grid).dequantized())
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, kept, strict=True):
                weight.copy_(value)
