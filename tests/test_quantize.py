"""Weights on a grid: rounding, error compensation against the paper's formula, and the straight-through gradient."""

from dataclasses import replace

import pytest
import torch
from training_example import CONFIG, make_model, scorer

from pn_lib.errors import InputError
from pn_lib.models.gptq import DAMPING, compensate, gram
from pn_lib.models.grid import Grid, fit_scale, nearest, round_matrix
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.ngram import NGram, NGramConfig
from pn_lib.models.quantize import matrices, quantize, quantized_of, rounded
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.training.loop import train

GRIDS = [Grid(kind, group) for kind in ("int8", "int4", "ternary") for group in (None, 8)]
STORIES = [[1, 5, 9, 2, 7, 7, 3], [4, 4, 8, 1]]


def transformer(**options) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(23, context=12, d_model=16, n_layers=2, n_heads=2, **options)).eval()


def mamba() -> Mamba:
    torch.manual_seed(0)
    return Mamba(MambaConfig(23, d_model=16, n_layers=2, d_state=4)).eval()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rounding_takes_the_nearest_point_of_the_grid(grid):
    torch.manual_seed(0)
    weight = torch.randn(5, 19)  # 8, 8 and a rest of 3
    matrix = round_matrix(weight, grid)
    assert matrix.integers.shape == weight.shape and matrix.integers.abs().max() == grid.largest
    assert matrix.scales.shape == (5, 1 if grid.group is None else 3) and matrix.scales.dtype == torch.float16
    scale = matrix.scales.float().repeat_interleave(grid.length(19), 1)[:, :19]
    points = torch.arange(-grid.largest, grid.largest + 1) * scale.unsqueeze(2)
    assert torch.allclose(
        (matrix.dequantized() - weight).abs(), (points - weight.unsqueeze(2)).abs().amin(2), atol=1e-6
    )


def test_what_lies_on_the_grid_stays_there():
    scale = torch.tensor([[0.5], [0.25]])
    for grid in (Grid("int8", None), Grid("int4", None)):
        integers = torch.tensor([[grid.largest, -3, 0, 1], [-grid.largest, 2, 5, 0]])
        assert torch.equal(round_matrix(integers * scale, grid).integers.int(), integers.int())


def test_a_row_of_zeros_and_the_axis_of_the_scale():
    weight = torch.tensor([[0.0, 0.0, 0.0], [100.0, -50.0, 1.0], [0.01, 0.02, -0.01]])
    matrix = round_matrix(weight, Grid("int8", None))
    assert matrix.integers[0].tolist() == [0, 0, 0] and matrix.scales[0].item() == 0
    # an outlier in one row costs no other row anything
    assert torch.allclose(matrix.dequantized()[2], weight[2], atol=1e-4)


def test_the_scale_is_the_best_of_many():
    torch.manual_seed(0)
    weight = torch.randn(40, 64)
    for kind, better in (("int4", 0.95), ("ternary", 0.5)):
        grid = Grid(kind, None)

        def error(scale, grid=grid):
            return ((nearest(weight, scale, grid) * scale - weight) ** 2).mean()

        assert error(fit_scale(weight, grid)) < better * error(weight.abs().amax(1, keepdim=True) / grid.largest)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e7])
def test_what_has_no_scale_is_refused(value):
    with pytest.raises(InputError, match="too large for a scale"):
        round_matrix(torch.tensor([[1.0, value]]), Grid("int4"))


def test_what_computes_no_number_is_refused_by_compensation_too():
    model = transformer()
    with torch.no_grad():
        model.embedding.weight[5, 0] = torch.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        quantize(model, Grid("int4"), STORIES)


def test_inputs_that_are_all_zero_leave_nothing_to_compensate():
    model = transformer()
    with torch.no_grad():
        model.blocks[1].mlp.up.weight.zero_()
    down = model.blocks[1].mlp.down.weight
    assert torch.equal(
        quantize(model, Grid("int4"), STORIES).blocks[1].mlp.down.weight, round_matrix(down, Grid("int4")).dequantized()
    )


@pytest.mark.parametrize("grid", [Grid("int4", 3), Grid("ternary", None)], ids=str)
def test_compensation_equals_the_formula(grid):
    """Equation 3 of Frantar et al., with the inverse of what is left of H taken anew for each column."""
    torch.manual_seed(0)
    weight, x = torch.randn(4, 7), torch.randn(50, 7).double() @ torch.randn(7, 7).double()
    H = x.T @ x
    W, damped = weight.double().clone(), H + DAMPING * H.diagonal().mean() * torch.eye(7)
    expected = torch.zeros_like(W)
    for j in range(7):
        if j % grid.length(7) == 0:
            scale = fit_scale(W[:, j : j + grid.length(7)], grid)
        expected[:, j : j + 1] = nearest(W[:, j : j + 1], scale, grid) * scale
        inverse = torch.linalg.inv(damped[j:, j:])
        W[:, j:] -= (W[:, j : j + 1] - expected[:, j : j + 1]) / inverse[0, 0] * inverse[0]
    found = compensate(weight, H, grid).dequantized().double()
    assert torch.allclose(found, expected, atol=1e-6)
    assert (x @ (found - weight).T).square().sum() < (
        x @ (round_matrix(weight, grid).dequantized() - weight).double().T
    ).square().sum()


@pytest.mark.parametrize(
    "model", [transformer(), transformer(tied_embeddings=False), mamba()], ids=["tied", "untied", "mamba"]
)
def test_the_inputs_of_every_matrix_are_seen(model):
    for name, weight in matrices(model).items():
        found = gram(model, weight, STORIES)
        looked_up = name == "embedding.weight" and not model.config.tied_embeddings
        assert (found is None) == looked_up, name
        assert looked_up or found.shape == (weight.shape[1],) * 2


def test_the_inputs_are_those_of_the_layer():
    model = mamba()
    seen = []
    model.blocks[1].x_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, 1).double()))
    with torch.no_grad():
        model(torch.tensor([STORIES[0]]))
    expected = torch.cat(seen)
    assert torch.allclose(gram(model, model.blocks[1].x_proj.weight, STORIES[:1]), expected.T @ expected)


@pytest.mark.parametrize("stories", [(), STORIES], ids=["rounded", "compensated"])
@pytest.mark.parametrize("make", [transformer, mamba])
def test_a_quantized_model_is_the_plain_model_of_its_dequantized_weights(make, stories):
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = quantize(model, Grid("int4", 8), stories)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())  # the given one is kept
    plain = type(model)(model.config).eval()
    plain.load_state_dict(
        {
            name: quantized_of(p).dequantized() if name in matrices(small) else before[name].half().float()
            for name, p in small.named_parameters()
        }
    )
    ids = torch.tensor([STORIES[0]])
    with torch.no_grad():
        assert torch.allclose(small(ids), plain(ids), atol=1e-5)
        assert not torch.allclose(small(ids), model(ids), atol=1e-5)


def test_integers_are_forgotten_when_the_weight_changes():
    model = quantize(transformer(), Grid("int8"))
    weight = model.blocks[0].mlp.down.weight
    assert quantized_of(weight) is not None
    weight.mul_(2)
    assert quantized_of(weight) is None


def test_a_model_without_weights_is_refused():
    with pytest.raises(InputError, match="no weights to quantize"):
        quantize(NGram(NGramConfig(23)), Grid("int8"))


def test_training_for_the_grid(tokens, straight):
    """From the middle on, losses are those of rounded weights, and the real ones are what is trained and left."""
    grid = Grid("ternary", 8)
    config = replace(CONFIG, quantize="ternary", quantize_group=8, quantize_from=0.5)
    model = make_model()
    history = train(model, tokens, config, validate=scorer(tokens)).history
    plain = straight[1]
    assert history["nats_per_token"][:2].equals(plain["nats_per_token"][:2])
    assert history["step"][2] == config.steps / 2 and history["nats_per_token"][2] != plain["nats_per_token"][2]
    assert scorer(tokens)(model).nats_per_token != history["nats_per_token"].iloc[-1]
    with rounded(model, grid):
        assert scorer(tokens)(model).nats_per_token == history["nats_per_token"].iloc[-1]
    small = scorer(tokens)(quantize(model, grid)).nats_per_token
    assert abs(small - history["nats_per_token"].iloc[-1]) < 1e-2  # the gains are float16


def test_the_straight_through_gradient():
    """That at the rounded weights, for weights that stay as they were."""
    model, grid, ids = transformer(), Grid("ternary", 8), torch.tensor([STORIES[0]])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with rounded(model, grid):
        model(ids[:, :-1], ids[:, 1:]).backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    plain = transformer()
    with torch.no_grad():
        for weight in matrices(plain).values():
            weight.copy_(round_matrix(weight, grid).dequantized())
    plain(ids[:, :-1], ids[:, 1:]).backward()
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad), name
