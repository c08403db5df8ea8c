"""Scaling laws are found again where they are known."""

import numpy as np
import pytest

from pn_lib.errors import InputError
from pn_lib.evaluation.scaling import ScalingLaw, bootstrap_laws, fit_scaling_law

LAW = ScalingLaw(E=0.4, A=30.0, alpha=0.36, B=90.0, beta=0.42)
N, D = (values.ravel() for values in np.meshgrid([1e5, 3e5, 1e6, 3e6], [2e5, 8e5, 3.2e6, 1.28e7]))


def test_a_known_law_is_found():
    found = fit_scaling_law(N, D, LAW.loss(N, D))
    assert found.alpha == pytest.approx(LAW.alpha, abs=0.02) and found.beta == pytest.approx(LAW.beta, abs=0.02)
    assert pytest.approx(LAW.E, abs=0.03) == found.E
    np.testing.assert_allclose(found.loss(N, D), LAW.loss(N, D), rtol=2e-3)
    assert found.loss(1e7, 1e8) == pytest.approx(LAW.loss(1e7, 1e8), rel=0.03)  # beyond what was seen


def test_noise_widens_the_bootstrap_and_covers_the_truth():
    rng = np.random.default_rng(0)
    noisy = LAW.loss(N, D) * (1 + 0.004 * rng.standard_normal(len(N)))
    laws = bootstrap_laws(N, D, noisy, samples=60)
    low, high = np.quantile([law.E for law in laws], [0.01, 0.99])
    assert low < LAW.E < high and high - low > 0.01
    assert laws == bootstrap_laws(N, D, noisy, samples=60)
    exact = bootstrap_laws(N, D, LAW.loss(N, D), samples=20)
    assert np.ptp([law.E for law in exact]) < 0.1


def test_nothing_becomes_negative():
    rising = fit_scaling_law(N, D, 1 + 0.1 * np.log(N) / 10)  # larger is worse: no A >= 0 can say that
    assert pytest.approx(0.0, abs=1e-6) == rising.A and min(rising.E, rising.B) >= 0
    no_floor = fit_scaling_law(N, D, ScalingLaw(0.0, 30.0, 0.3, 90.0, 0.4).loss(N, D))
    assert pytest.approx(0.0, abs=0.05) == no_floor.E


def test_best_size_is_the_minimum():
    C = 1e14
    sizes = np.geomspace(1e4, 1e8, 4001)
    best = sizes[LAW.loss(sizes, C / 6 / sizes).argmin()]
    assert LAW.best_size(C) == pytest.approx(best, rel=0.01)
    assert LAW.best_size(C, flops_per_parameter=12.0) < LAW.best_size(C)


def test_too_few_trainings_are_refused():
    for keep in (N < 5e5, D < 5e5, np.arange(len(N)) < 4):
        with pytest.raises(InputError, match="three sizes, three budgets and five"):
            fit_scaling_law(N[keep], D[keep], LAW.loss(N, D)[keep])
    with pytest.raises(InputError, match="three sizes"):
        bootstrap_laws(N[:3], D[:3], [1.0, 1.0, 1.0])
