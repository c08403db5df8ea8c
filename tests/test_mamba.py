"""Mamba: causal, the same with and without its state, initialised right. (Equal to transformers: test_huggingface.)"""

import pytest
import torch
import torch.nn.functional as F
from decoder_promises import VOCABULARY, assert_causal, assert_state_suffices, random_ids, recall_losses

from pn_lib.errors import InputError
from pn_lib.models.loading import load_model
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.stack import StackDecoder

TINY = {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "d_state": 4}


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return Mamba(MambaConfig(**TINY | changes))


def loss_of(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("position", [0, 3, 10])
def test_no_position_sees_the_future(position):
    assert_causal(make(), position, tolerance=0)


def test_every_position_sees_the_far_past():
    model, ids = make(), random_ids(1, 40)
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % TINY["vocab_size"]
    assert not torch.equal(model(ids)[:, -1], model(changed)[:, -1])


@pytest.mark.parametrize(
    "changes", [{}, {"scan": "reference"}, {"d_conv": 1}, {"d_conv": 6}, {"tied_embeddings": False}]
)
def test_with_the_state_kept_equals_without(changes):
    """With scan "auto" the steps are one kernel each, with "reference" single operations."""
    assert_state_suffices(make(**changes).eval(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"scan": "torch"}, {"dt_rank": 3, "expand": 1, "vocab_size": 51}], ids=str)
@torch.no_grad()
def test_rows_may_leave_the_batch(changes):
    """Eleven rows (more than a kernel's task takes) of which some go on alone: as if they had always been."""
    model, x = make(**changes).eval(), random_ids(11, 12)
    kept, (_, state) = torch.tensor([9, 2, 10]), model.prefill(x[:, :3])
    for t in range(3, 12):
        if t == 7:
            x, state = x[kept], model.select(state, kept)
        logits, state = model.step(x[:, t], state)
        assert isinstance(state, StackDecoder) == (changes.get("scan") == "torch")
        torch.testing.assert_close(logits, model(x[:, : t + 1])[:, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scan", ["auto", "torch"])  # by a kernel, and by single operations
def test_the_state_has_the_same_size_whatever_the_length(scan):
    model = make(scan=scan)
    E, N, K = model.config.d_inner, model.config.d_state, model.config.d_conv
    for length in (1, 2, 100):
        with torch.no_grad():
            state = model.prefill(random_ids(3, length))[1]
            stepped = model.step(random_ids(1, 3)[0], model.prefill(random_ids(3, length))[1])[1]
        assert model.state_bytes(stepped) == model.state_bytes(state)
        assert model.state_bytes(state) == 4 * TINY["n_layers"] * 3 * (E * (K - 1) + E * N)
        # nothing larger is kept alive behind it
        layers = state.layers if scan == "torch" else []
        assert all(v.untyped_storage().nbytes() == v.nbytes for layer in layers for v in (layer.conv, layer.ssm))


def test_no_limit_of_context():
    assert make(context=4)(random_ids(1, 30)).shape == (1, 30, TINY["vocab_size"])


def test_initialisation_survives_construction():
    """The step sizes lie in [dt_min, dt_max], spread log-uniformly, A is -1..-N, and both remain after a save."""
    model = make(d_model=256, n_layers=3, dt_min=1e-3, dt_max=1e-1)
    for block in model.blocks:
        dt = F.softplus(block.dt_proj.bias)
        assert dt.min() > 0.999e-3
        assert dt.max() < 1.001e-1
        assert 0.4 < (dt < 1e-2).float().mean() < 0.6  # half below the geometric mean
        assert block.dt_proj.weight.abs().max() <= 16**-0.5  # R = 256 / 16
        assert block.dt_proj.weight.abs().max() > 0.9 * 16**-0.5
        torch.testing.assert_close(-block.A_log.exp(), -torch.arange(1.0, 5).expand(512, 4))
        assert torch.equal(block.D, torch.ones(512))
        assert block.out_proj.weight.abs().max() <= 512**-0.5 / 3**0.5
    assert abs(float(model.embedding.weight.detach().std()) - 0.02) < 1e-3


def test_saved_and_loaded_it_is_the_same(tmp_path):
    for tied in (True, False):
        model = make(tied_embeddings=tied, dt_rank=3).eval()
        model.save(tmp_path)
        loaded = load_model(tmp_path)
        assert isinstance(loaded, Mamba)
        assert loaded.config == model.config
        ids = random_ids(2, 9)
        assert torch.equal(loaded(ids), model(ids))


def test_it_learns_to_recall_the_token_before_last():
    first, last = recall_losses(make(d_model=64, n_layers=1, vocab_size=8), steps=30)
    assert first > 1.9 and last < 0.5  # ln 8 = 2.08


def test_under_autocast_the_scan_stays_in_float32():
    model, ids = make(), random_ids(2, 20)
    expected = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids)
        state = model.prefill(ids)[1]
    assert logits.dtype == torch.bfloat16
    assert all(layer.ssm.dtype == torch.float32 for layer in state.layers)
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.02)
    loss_of(logits.float(), ids).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_state": 0}, "d_state"),
        ({"n_layers": 1.5}, "n_layers"),
        ({"dt_rank": 0}, "dt_rank"),
        ({"dt_min": 0.2}, "dt_min"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"scan": "warp"}, "scan must be 'auto'"),
    ],
)
def test_impossible_configs_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        MambaConfig(**TINY | changes)


@pytest.mark.parametrize("ids", [torch.tensor([[50]]), torch.tensor([[-1]]), torch.zeros(1, 0, dtype=torch.int64)])
def test_bad_ids_are_refused(ids):
    with pytest.raises(InputError):
        make()(ids)
