"""Shapes at equal parameters: counted by the models themselves."""

import pytest

from pn_lib.errors import InputError
from pn_lib.models.architectures import build_model
from pn_lib.models.flops import parameter_count
from pn_lib.models.shapes import DEEP, TOLERANCE, WIDE, aspect, in_layers, nearest, shapes, spread, total

OPTIONS = {
    "transformer": {"qk_norm": True, "tied_embeddings": False},
    "mamba": {"tied_embeddings": False},
    "mamba2": {"d_state": 32},
    "deltanet": {},
    "hybrid": {"pattern": "MMA", "d_state": 32},
}


@pytest.mark.parametrize("budget", [30_000, 100_000, 400_000])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_shape_spends_the_budget_and_no_depth_comes_twice(name, budget):
    found = shapes(name, 300, 16, OPTIONS[name], budget, in_layers)
    depths = [config.n_layers for config in found]
    assert depths == sorted(set(depths)) and len(found) >= 1
    for config in found:
        model = build_model(config)
        tables = [model.embedding, *([] if config.tied_embeddings else [model.head])]
        layers = model.n_parameters() - sum(p.numel() for table in tables for p in table.parameters())
        assert abs(layers / budget - 1) <= TOLERANCE
        assert DEEP <= config.d_model / config.n_layers <= WIDE
        assert name != "hybrid" or set(config.layers) == {"M", "A"}


@pytest.mark.parametrize("pattern", ["DDA", "SA", "AF"])
def test_a_hybrid_without_mamba2_spends_its_budget_too(pattern):
    found = shapes("hybrid", 300, 16, {"pattern": pattern}, 100_000, in_layers)
    assert all(abs(parameter_count(c).in_layers / 100_000 - 1) <= TOLERANCE for c in found)


def test_parameters_in_layers_do_not_depend_on_the_vocabulary():
    few, many = (shapes("mamba", V, 16, OPTIONS["mamba"], 50_000, in_layers) for V in (300, 4000))
    assert [c.d_model for c in few] == [c.d_model for c in many]
    by_total = shapes("mamba", 4000, 16, OPTIONS["mamba"], 400_000, total)
    assert all(abs(parameter_count(c).total / 400_000 - 1) <= TOLERANCE for c in by_total)


def test_spread_goes_from_wide_to_deep():
    found = shapes("mamba", 300, 16, OPTIONS["mamba"], 400_000, in_layers)
    three = spread(found, 3)
    assert len(three) == 3 and aspect(three[0]) > 30 > aspect(three[1]) > 15 > aspect(three[2])
    assert spread(found, 1) == [three[1]]
    assert nearest(found, aspect(three[2])) == three[2]


def test_a_budget_too_small_for_an_architecture_is_an_error_that_names_it():
    with pytest.raises(InputError, match=r"no hybrid of 8 to 64 .* has 2,000 parameters"):
        shapes("hybrid", 300, 16, OPTIONS["hybrid"], 2_000, in_layers)
