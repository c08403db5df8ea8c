"""Muon (Jordan et al., 2024): momentum whose step, for each matrix, is made orthogonal.

A gradient of a weight matrix is often dominated by a few directions. Muon replaces the momentum M = U S V^T by U V^T,
so that every direction moves by the same amount. U V^T comes without a singular value decomposition, from a polynomial
that, applied to a matrix five times, sends all singular values near 1: a handful of matrix products, in whichever type
the hardware multiplies fastest (it need not be exact).

``torch.optim.Muon`` does the same to one matrix after another. Here all matrices of one shape go through each product
together, which on a CPU takes half the time; the result is the same, to rounding (the tests compare).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pn_lib.hardware import matrix_dtype

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan et al.'s: steep at 0, so that small singular values rise fast


def orthogonalise(G: Tensor, iterations: int = 5) -> Tensor:
    """Matrices G (..., m, n) = U S V^T -> about U V^T: singular values between 0.7 and 1.2, in the device's own type.

    Newton-Schulz: with X the matrix divided by its Frobenius norm, X <- (a + b X X^T + c (X X^T)^2) X moves each
    singular value s to a s + b s^3 + c s^5. The products are cheapest where X X^T is the smaller Gram matrix.
    """
    a, b, c = POLYNOMIAL
    tall = G.shape[-2] > G.shape[-1]
    X = (G.mT if tall else G).to(matrix_dtype(G.device))
    shape = X.shape
    X = X.reshape(-1, *shape[-2:])
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        A = X @ X.mT
        X = torch.baddbmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)
    X = X.view(shape)
    return X.mT if tall else X


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised; decay as AdamW's. For weight matrices (m, n) of hidden layers only.

    With momentum buffer M <- mu M + (1 - mu) g and the look-ahead N = (1 - mu) g + mu M, each step is
    W <- (1 - lr decay) W - lr sqrt(max(1, m / n)) orthogonalise(N): the arithmetic of ``torch.optim.Muon``.

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon is for matrices; give vectors and embedding tables to AdamW")

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[p.shape].append(p)
            for matrices in by_shape.values():
                self._step(matrices, **{key: group[key] for key in ("lr", "weight_decay", "momentum")})

    def _step(self, matrices: list[Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        for p in matrices:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        gradients, buffers = [p.grad for p in matrices], [self.state[p]["momentum"] for p in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        updates = orthogonalise(torch.stack(torch._foreach_lerp(gradients, buffers, momentum)))
        m, n = matrices[0].shape
        torch._foreach_mul_(matrices, 1 - lr * weight_decay)
        torch._foreach_add_(matrices, [u.to(matrices[0].dtype) for u in updates], alpha=-lr * max(1, m / n) ** 0.5)
