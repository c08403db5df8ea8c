"""Scaling laws: the loss of a model of N parameters after D tokens, fitted to a handful of runs.

L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al., 2022, equation 2): the part no model can avoid, the
part a larger model would save, and the part more tokens would save.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pn_lib.errors import InputError

EXPONENTS = np.geomspace(0.05, 2.0, 60)  # tried for alpha and for beta, every pair


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta, in the unit of the losses it was fitted to."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, N: np.ndarray | float, D: np.ndarray | float) -> np.ndarray | float:
        """Of models with N parameters after D tokens."""
        return self.E + self.A * np.float64(N) ** -self.alpha + self.B * np.float64(D) ** -self.beta

    def best_size(self, flops: float, flops_per_parameter: float = 6.0) -> float:
        """The N that gives the lowest loss for a budget C = 6 N D of training (Hoffmann et al., 2022, equation 4)."""
        product = flops / flops_per_parameter  # N D
        ratio = self.alpha * self.A / (self.beta * self.B)
        return float((ratio * product**self.beta) ** (1 / (self.alpha + self.beta)))


def fit_scaling_law(
    N: Sequence[float], D: Sequence[float], losses: Sequence[float], weights: Sequence[float] | None = None
) -> ScalingLaw:
    """The law with the smallest squared relative errors, E, A and B at least 0.

    For given exponents the law is linear in E, A and B, so those are solved for exactly and only the exponents are
    searched, on a grid: the result does not depend on a starting point. ``weights`` say how often each run
    counts (for the bootstrap).

    Raises:
        InputError: fewer than three sizes or three budgets: the law would fit anything.
    """
    N, D, L = (np.asarray(values, np.float64) for values in (N, D, losses))
    w = np.ones_like(L) if weights is None else np.asarray(weights, np.float64)
    if min(len(np.unique(N[w > 0])), len(np.unique(D[w > 0]))) < 3 or (w > 0).sum() < 5:
        raise InputError("a scaling law needs at least three sizes, three budgets and five runs")
    alphas, betas = (grid.ravel() for grid in np.meshgrid(EXPONENTS, EXPONENTS))
    # scaled by their means, so that the three columns are of one size and the systems well-conditioned
    columns = (
        np.stack(
            [np.ones((len(alphas), len(L))), (N / N.mean()) ** -alphas[:, None], (D / D.mean()) ** -betas[:, None]],
            axis=-1,
        )
        / L[:, None]
    )  # (pairs, points, 3)
    coefficients, errors = _nonnegative(columns, np.sqrt(w))
    best = int(errors.argmin())
    alpha, beta, (E, A, B) = alphas[best], betas[best], coefficients[best]
    return ScalingLaw(float(E), float(A * N.mean() ** alpha), float(alpha), float(B * D.mean() ** beta), float(beta))


def _nonnegative(columns: np.ndarray, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each (points, 3) the nonnegative x with the least |roots (columns x - 1)|^2, and that error.

    With three unknowns every set of them that may be positive can be tried; the best nonnegative solution wins.
    """
    X = columns * roots[:, None]
    found, least = np.zeros((len(X), 3)), np.full(len(X), np.inf)
    for chosen in ((0, 1, 2), (1, 2), (0, 1), (0, 2), (0,), (1,), (2,)):
        part = X[:, :, chosen]
        gram = part.transpose(0, 2, 1) @ part + 1e-12 * np.eye(len(chosen))
        x = np.linalg.solve(gram, (part.transpose(0, 2, 1) @ roots)[:, :, None])[:, :, 0]
        errors = ((part @ x[:, :, None])[:, :, 0] - roots) ** 2
        better = (x >= 0).all(1) & (errors.sum(1) < least - 1e-15)
        least[better] = errors.sum(1)[better]
        found[better] = 0.0
        found[np.ix_(better, chosen)] = x[better]
    return found, least


def bootstrap_laws(
    N: Sequence[float], D: Sequence[float], losses: Sequence[float], samples: int = 200, seed: int = 0
) -> list[ScalingLaw]:
    """Laws fitted to resampled runs: how much the law depends on which runs were made.

    A sample with too few different sizes or budgets is drawn again.
    """
    rng, laws = np.random.default_rng(seed), []
    while len(laws) < samples:
        weights = np.bincount(rng.integers(len(losses), size=len(losses)), minlength=len(losses))
        try:
            laws.append(fit_scaling_law(N, D, losses, weights))
        except InputError:
            fit_scaling_law(N, D, losses)  # too few even without resampling: say so
    return laws
