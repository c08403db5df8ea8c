"""Which parameters are moved how, and how fast: groups, Muon, schedules, averages."""

import math

import pytest
import torch
from torch import nn

from pn_lib.config import parse_config
from pn_lib.errors import InputError
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.training.checkpoint import weights_hash
from pn_lib.training.config import Phase, TrainingConfig
from pn_lib.training.ema import Average
from pn_lib.training.muon import Muon, orthogonalise
from pn_lib.training.optimizer import make_optimizer, parameter_groups
from pn_lib.training.schedule import rate_factor


def transformer(**changes) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(vocab_size=300, context=16, d_model=16, n_layers=2, n_heads=2, **changes))


def named_groups(model: nn.Module) -> dict[str, str]:
    """Name of a parameter -> its group."""
    groups = {id(p): group for group, parameters in parameter_groups(model).items() for p in parameters}
    return {name: groups[id(p)] for name, p in model.named_parameters()}


# --- groups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_groups_of_a_transformer(tied):
    found = named_groups(transformer(tied_embeddings=tied, bias=True, qk_norm=True))
    spared = {name for name, group in found.items() if group == "spared"}
    matrices = {name for name, group in found.items() if group == "matrices"}
    assert matrices == {
        f"blocks.{i}.{name}.weight"
        for i in range(2)
        for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    }
    assert "embedding.weight" in spared and ("head.weight" in spared) == (not tied)
    assert spared | matrices == set(found)


def test_groups_of_a_mamba():
    found = named_groups(Mamba(MambaConfig(vocab_size=300, d_model=16, n_layers=1, d_state=4, tied_embeddings=False)))
    ends = {name.removeprefix("blocks.0."): group for name, group in found.items()}
    assert {ends[name] for name in ("A_log", "D", "dt_proj.bias", "conv.bias", "embedding.weight", "head.weight")} == {
        "spared"
    }
    assert {ends[name] for name in ("in_proj.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight")} == {
        "matrices"
    }
    assert ends["conv.weight"] == "kernels"


def test_each_group_has_its_own_optimizer_rate_and_decay():
    model = Mamba(MambaConfig(vocab_size=300, d_model=16, n_layers=1, d_state=4))
    optimizer = make_optimizer(model, 1e-3, weight_decay=0.3, matrix_learning_rate=0.02)
    assert [type(o) for o in optimizer.optimizers] == [Muon, torch.optim.AdamW]
    assert [(g["peak"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.02, 0.3), (1e-3, 0.3), (1e-3, 0.0)]
    together = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, together)) == sorted(map(id, model.parameters()))
    plain = make_optimizer(model, 1e-3, weight_decay=0.3)
    assert [type(o) for o in plain.optimizers] == [torch.optim.AdamW]
    assert [g["weight_decay"] for g in plain.param_groups] == [0.3, 0.3, 0.0]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    before = model.embedding.weight.detach().clone()
    plain.step(0.5)
    assert [g["lr"] for g in plain.param_groups] == [5e-4] * 3  # the factor is of the peak, however often it is called
    plain.step(0.25)
    assert [g["lr"] for g in plain.param_groups] == [2.5e-4] * 3
    torch.testing.assert_close(before - model.embedding.weight, torch.full_like(before, 7.5e-4), rtol=1e-3, atol=0)


# --- Muon ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24), (3, 12, 8)])
def test_orthogonalise_makes_singular_values_one(shape):
    torch.manual_seed(0)
    G = torch.randn(shape)
    found = orthogonalise(G).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    U, _, Vh = torch.linalg.svd(G, full_matrices=False)
    cosine = torch.cosine_similarity(found.flatten(-2), (U @ Vh).flatten(-2), dim=-1)
    assert cosine.min() > 0.97  # the same singular vectors


def test_muon_equals_torchs():
    torch.manual_seed(0)
    shapes = [(48, 16), (48, 16), (16, 16), (16, 64)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    a, b = Muon(ours, lr=0.02, weight_decay=0.2), torch.optim.Muon(theirs, lr=0.02, weight_decay=0.2)
    for _ in range(6):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        a.step()
        b.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=2e-3)  # a hundredth of what six steps moved, bfloat16's rounding


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match="Muon is for matrices"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.02)


# --- schedules ----------------------------------------------------------------------------------------------------


def factors(steps, schedule, **options):
    return [rate_factor(step / steps, (step + 1) / steps, schedule, **options) for step in range(steps)]


def test_schedules_by_hand():
    assert factors(4, "linear") == [1.0, 0.75, 0.5, 0.25]
    assert factors(4, "constant") == [1.0] * 4
    assert factors(8, "linear", warmup=0.5)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors(5, "linear", warmup=0.2) == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.25])
    assert factors(4, "linear", minimum=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert factors(4, "cosine", minimum=0.1)[2] == pytest.approx(0.55)  # half-way down: the mean of 1 and 0.1
    assert factors(4, "cosine")[1] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert factors(10, "wsd", decay=0.4, warmup=0.1) == pytest.approx([1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    noam = factors(100, "inverse_sqrt", warmup=0.04)
    assert noam[:4] == [0.25, 0.5, 0.75, 1.0] and noam[16] == pytest.approx(0.5) and noam[64] == pytest.approx(0.25)
    assert factors(1, "cosine") == [1.0]


def test_budget_is_in_tokens():
    assert TrainingConfig(tokens=1, batch_size=4, context=8).steps == 1
    config = TrainingConfig(tokens=100, batch_size=4, context=8)
    assert config.steps == 3 and config.planned_tokens == 96 and config.eval_steps() == [0, 1, 2, 3]
    assert TrainingConfig(tokens=32 * 100, batch_size=4, context=8, evals=3).eval_steps() == [0, 50, 100]


def test_growth_divides_the_tokens():
    phases = (Phase(0.25, 8, 16), Phase(0.25, 8, 32), Phase(0.5, 16, 32))
    config = TrainingConfig(tokens=128 * 100, context=32, growth=phases, schedule="linear", warmup_fraction=0.0)
    assert config.steps == 25 + 12 + 12
    assert [config.phase_at(step) for step in (0, 24, 25, 36, 37, 48)] == [phases[i] for i in (0, 0, 1, 1, 2, 2)]
    assert [config.tokens_at(step) for step in (25, 26, 49)] == [3200, 3456, config.planned_tokens]
    assert config.rate_at(25) == pytest.approx(1 - 3200 / config.planned_tokens)  # by tokens, not by updates


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"growth": [{"share": 0.5, "batch_size": 4, "context": 256}]}, "add up to 1"),
        ({"growth": [{"share": 1.0, "batch_size": 4, "context": 128}]}, "must end at the context 256"),
        ({"growth": [{"share": 1.0, "batch_size": 4, "contxt": 128}]}, "unknown key 'growth.0.contxt'"),
        ({"growth": [{"share": 0.0, "batch_size": 4, "context": 128}]}, "growth.0.share must be greater than 0"),
        ({"micro_batch": 3, "batch_size": 8}, "must divide the batch size"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"decay_fraction": 0.0}, "decay_fraction"),
    ],
)
def test_impossible_plans_are_named(setting, message):
    with pytest.raises(InputError, match=message):
        parse_config(TrainingConfig, setting, "profile.toml")


# --- the average --------------------------------------------------------------------------------------------------


def test_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average, expected = Average(model, 0.5), 0.0
    for step in range(6):
        nn.init.constant_(model.weight, float(step + 1))
        average.update(step)
        d = min(0.5, (step + 1) / (step + 10))
        expected = d * expected + (1 - d) * (step + 1)
    with average.in_place():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 6.0  # only inside
    average.take_over()
    assert model.weight.item() == pytest.approx(expected)


def test_average_knows_its_own_weights():
    model = transformer()
    average = Average(model, 0.9)
    with torch.no_grad():
        model.embedding.weight.add_(1.0)
    average.update(3)
    told = average.hash_of(average.state_dict())
    average.take_over()
    assert told == weights_hash(model.state_dict())
    assert Average(model, 0.0).hash_of([]) == "" and Average(model, 0.0).state_dict() == []
