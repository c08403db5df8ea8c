"""Every promise of a stack, for each of its mixers: causal, the same with and without its state, saved, counted."""

from typing import get_args

import pytest
import torch
from decoder_promises import VOCABULARY, assert_causal, assert_state_suffices, random_ids, recall_losses
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.architectures import MODELS
from pn_lib.models.delta import DeltaNet, DeltaNetConfig
from pn_lib.models.flops import LAYERS, NeuralConfig
from pn_lib.models.generation import generate
from pn_lib.models.hybrid import MIXERS, Hybrid, HybridConfig
from pn_lib.models.loading import load_model
from pn_lib.models.mamba2 import Mamba2, Mamba2Config
from pn_lib.models.shapes import HYBRID_SLACK, SLACK, shaped
from pn_lib.models.stack import LayerState
from pn_lib.run.plotting import MODEL_COLOURS
from pn_lib.titles import LETTERS, TITLES, Architecture

SIZES = {"vocab_size": VOCABULARY, "d_model": 32}
HYBRID = {"d_state": 8, "head_dim": 16, "scan_state": 4, "delta_heads": 2, "delta_dim": 8, **SIZES}
CONFIGS = {
    "mamba2": Mamba2Config(**SIZES, n_layers=2, d_state=8, head_dim=16),
    "mamba2, other widths": Mamba2Config(**SIZES, n_layers=2, d_state=5, head_dim=8, expand=1, d_conv=1),
    "mamba2, untied": Mamba2Config(**SIZES, n_layers=1, d_conv=6, tied_embeddings=False),
    "deltanet": DeltaNetConfig(**SIZES, n_layers=2, n_heads=2, head_dim=8),
    "deltanet, other widths": DeltaNetConfig(**SIZES, n_layers=2, n_heads=3, head_dim=5, expand=1, d_conv=1),
    "hybrid": HybridConfig(**HYBRID, n_layers=3, pattern="MMA"),
    "hybrid of all": HybridConfig(**HYBRID, n_layers=6, pattern="SMDAF", n_kv_heads=2),
    "hybrid, window": HybridConfig(**HYBRID, n_layers=3, pattern="AFM", window=3, tied_embeddings=False),
}
CLASSES = {Mamba2Config: Mamba2, DeltaNetConfig: DeltaNet, HybridConfig: Hybrid}
NEURAL = {name: model.Config for name, model in MODELS.items() if model.Config in get_args(NeuralConfig)}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def make(config, scale=0.3):
    """Every parameter random, so that each of them counts."""
    torch.manual_seed(0)
    model = CLASSES[type(config)](config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return model


@configs
@pytest.mark.parametrize("position", [0, 3, 10])
def test_no_position_sees_the_future(config, position):
    assert_causal(make(config), position, tolerance=1e-5)


@configs
def test_with_the_state_kept_equals_without(config):
    assert_state_suffices(make(config), rtol=1e-4, atol=1e-4)


@configs
@torch.no_grad()
def test_in_bfloat16_a_step_follows_a_beginning(config):
    model, ids = make(config, 0.05).bfloat16(), random_ids(2, 9)
    _, state = model.prefill(ids[:, :8])
    logits, _ = model.step(ids[:, 8], state)
    torch.testing.assert_close(logits, model(ids)[:, 8], rtol=0.05, atol=0.05)


@configs
@torch.no_grad()
def test_rows_may_leave_the_batch(config):
    model, x = make(config), random_ids(5, 12)
    kept, (_, state) = torch.tensor([3, 1]), model.prefill(x[:, :3])
    for t in range(3, 12):
        if t == 7:
            x, state = x[kept], model.select(state, kept)
        logits, state = model.step(x[:, t], state)
        torch.testing.assert_close(logits, model(x[:, : t + 1])[:, -1], rtol=1e-4, atol=1e-4)


@configs
def test_batched_generation_equals_one_by_one(config):
    model, prompts = make(config), [[1, 2, 3, 4], [5], [6, 7]]
    together = generate(model, prompts, 9, seed=3)
    assert together == [generate(model, [p], 9, seed=3, rows=[r])[0] for r, p in enumerate(prompts)]


@torch.no_grad()
def test_a_recurrent_state_has_the_same_size_whatever_the_length():
    model = make(CONFIGS["mamba2"])
    E, N, K = 64, 8, 4
    for length in (1, 2, 100):
        _, state = model.prefill(random_ids(3, length))
        assert model.state_bytes(state) == 4 * 2 * 3 * ((E + 2 * N) * (K - 1) + E * N)
        assert all(v.untyped_storage().nbytes() == v.nbytes for layer in state.layers for v in (layer.conv, layer.ssm))


@torch.no_grad()
def test_a_window_bounds_what_a_hybrid_keeps():
    full, window = (make(HybridConfig(**HYBRID, n_layers=1, pattern="A", window=w)) for w in (None, 4))
    kept = []
    for model in (full, window):
        _, state = model.prefill(random_ids(1, 30))
        for t in range(40):
            _, state = model.step(random_ids(1, 40)[:, t], state)
        kept.append(model.state_bytes(state))
    one = 2 * 4 * SIZES["d_model"]  # key and value of a token, in bytes
    assert kept == [120 * one, 8 * one]  # of 70 tokens, in room for 120; of a window, in room for two


@configs
def test_saved_and_loaded_it_is_the_same(config, tmp_path):
    model, ids = make(config), random_ids(2, 9)
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(model) and loaded.config == config
    assert torch.equal(loaded(ids), model(ids))


@pytest.mark.parametrize("name", ["mamba2", "deltanet", "hybrid"])
def test_it_learns_to_recall_the_token_before_last(name):
    torch.manual_seed(0)
    first, last = recall_losses(CLASSES[type(CONFIGS[name])](CONFIGS[name]), steps=60)
    assert first > 3.5 and last < 0.6  # ln 50 = 3.9


@configs
def test_under_autocast_recurrences_stay_in_float32(config):
    model, ids = make(config, scale=0.02), random_ids(2, 20)
    expected = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        logits, loss = model(ids), model(ids, ids)
        state = model.prefill(ids)[1]
    assert logits.dtype == torch.bfloat16
    assert all(layer.ssm.dtype == torch.float32 for layer in state.layers if isinstance(layer, LayerState))
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.02)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_mamba2_begins_as_the_paper_says():
    """Step sizes in [dt_min, dt_max], spread log-uniformly; -A in [1, 16]."""
    model = Mamba2(Mamba2Config(50, d_model=512, n_layers=3, head_dim=4))
    for block in model.blocks:
        dt = F.softplus(block.dt_bias)
        assert dt.min() > 0.999e-3 and dt.max() < 1.001e-1
        assert 0.35 < (dt < 1e-2).float().mean() < 0.65  # half below the geometric mean
        A = block.A_log.exp()
        assert A.min() >= 1 and A.max() <= 16 and abs(A.mean() - 8.5) < 1
        assert torch.equal(block.D, torch.ones(256))
        assert block.out_proj.weight.abs().max() <= 1024**-0.5 / 3**0.5
    assert abs(float(model.embedding.weight.detach().std()) - 0.02) < 1e-3


def test_a_pattern_is_repeated_until_there_are_enough_layers():
    config = HybridConfig(**HYBRID, n_layers=5, pattern="MMA")
    assert config.layers == "MMAMM"
    names = [type(block).__name__ for block in Hybrid(config).blocks]
    assert names == ["Mamba2Block", "Mamba2Block", "AttentionMixer", "Mamba2Block", "Mamba2Block"]


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (Mamba2Config, {"head_dim": 7}, r"head_dim \(7\) must divide expand \* d_model \(64\)"),
        (Mamba2Config, {"dt_min": 0.2}, r"dt_min \(0.2\) must not exceed"),
        (Mamba2Config, {"d_state": 0}, "d_state must be greater than 0"),
        (DeltaNetConfig, {"n_heads": 0}, "n_heads must be greater than 0"),
        (HybridConfig, {"pattern": "MXA"}, "pattern"),
        (HybridConfig, {"pattern": "MA", "n_heads": 3}, r"n_heads \(3\) must divide d_model \(32\)"),
    ],
)
def test_impossible_configs_are_named(cls, changes, message):
    with pytest.raises(InputError, match=message):
        cls(**SIZES | changes)


@configs
@pytest.mark.parametrize("ids", [torch.tensor([[50]]), torch.zeros(1, 0, dtype=torch.int64)], ids=["id", "empty"])
def test_bad_ids_are_refused(config, ids):
    with pytest.raises(InputError):
        make(config)(ids)


@pytest.mark.parametrize("name", NEURAL)
def test_an_architecture_is_known_wherever_it_has_to_be(name):
    """The list in ``architectures`` of what a new one needs."""
    assert name in get_args(Architecture) and name in TITLES and name in MODEL_COLOURS
    assert isinstance(shaped(name, VOCABULARY, 16, 32, 2, {}), NEURAL[name])
    assert name == "hybrid" or (name in LETTERS.values() and NEURAL[name] in SLACK)
    for letter in (letter for letter, parent in LETTERS.items() if parent == name):
        assert isinstance(HybridConfig(**HYBRID, pattern=letter).mixer(letter), NEURAL[name])


def test_names_and_letters_are_of_architectures_that_there_are():
    assert set(get_args(Architecture)) == set(TITLES) == set(NEURAL) == set(MODELS) - {"ngram"}
    assert set(LAYERS) == set(MIXERS) == {*LETTERS, "F"} and set(HYBRID_SLACK) <= set(LETTERS)
