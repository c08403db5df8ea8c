"""Mamba: equal to transformers' of the same weights, causal, the same with and without its state, initialised right."""

import pytest
import torch
import torch.nn.functional as F

from pn_lib.errors import InputError
from pn_lib.models.base import load_model
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.mamba_interchange import from_transformers, to_transformers

TINY = {"vocab_size": 50, "d_model": 32, "n_layers": 2, "d_state": 4}


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return Mamba(MambaConfig(**TINY | changes))


def random_ids(batch, length, seed=1):
    return torch.randint(0, TINY["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


def loss_of(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.fixture(scope="module")
def hf():
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scan", ["torch", "reference"])
def test_equals_transformers_in_logits_and_gradients(hf, tied, scan):
    model = make(tied_embeddings=tied, scan=scan)
    config, state = to_transformers(model)
    theirs = hf.MambaForCausalLM(hf.MambaConfig(**config))
    theirs.load_state_dict(state)
    ids = random_ids(2, 19)
    logits, expected = model(ids), theirs(ids).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    loss_of(logits, ids).backward()
    loss_of(expected, ids).backward()
    _, names = to_transformers(model)  # their names, in the order of ours
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for (ours, parameter), name in zip(model.state_dict(keep_vars=True).items(), names, strict=False):
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-5, msg=ours)


@pytest.mark.parametrize("tied", [True, False])
def test_weights_come_from_transformers_and_go_back(hf, tied):
    torch.manual_seed(0)
    settings = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "state_size": 5, "conv_kernel": 3}
    theirs = hf.MambaForCausalLM(hf.MambaConfig(**settings, time_step_rank=3, tie_word_embeddings=tied)).eval()
    model = from_transformers(theirs.config.to_dict(), theirs.state_dict())
    ids = random_ids(2, 11)
    torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=0, atol=1e-4)
    config, state = to_transformers(model)
    assert hf.MambaConfig(**config).to_dict().items() >= {**settings, "time_step_rank": 3}.items()
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in theirs.state_dict().items())


def test_what_cannot_be_converted_is_refused():
    config, state = to_transformers(make())
    with pytest.raises(InputError, match="use_bias must be False"):
        from_transformers(config | {"use_bias": True}, state)
    with pytest.raises(InputError, match="lacks hidden_size"):
        from_transformers({k: v for k, v in config.items() if k != "hidden_size"}, state)
    with pytest.raises(InputError, match="do not fit"):
        from_transformers(config | {"state_size": 8}, state)
    with pytest.raises(InputError, match="do not fit"):
        from_transformers(config, {k: v for k, v in state.items() if "A_log" not in k})


@pytest.mark.parametrize("position", [0, 3, 10])
def test_no_position_sees_the_future(position):
    model, ids = make(), random_ids(1, 12)
    changed = ids.clone()
    changed[:, position + 1 :] = (changed[:, position + 1 :] + 1) % TINY["vocab_size"]
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, : position + 1], after[:, : position + 1])
    assert not torch.allclose(before[:, position + 1 :], after[:, position + 1 :])


def test_every_position_sees_the_far_past():
    model, ids = make(), random_ids(1, 40)
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % TINY["vocab_size"]
    assert not torch.equal(model(ids)[:, -1], model(changed)[:, -1])


@pytest.mark.parametrize(
    "changes", [{}, {"scan": "reference"}, {"d_conv": 1}, {"d_conv": 6}, {"tied_embeddings": False}]
)
def test_with_the_state_kept_equals_without(changes):
    """Prefill of every length, the ones shorter than the convolution too, then token by token."""
    model, ids = make(**changes).eval(), random_ids(3, 14)
    with torch.no_grad():
        expected = model(ids)
        for k in range(1, ids.shape[1] + 1):
            logits, state = model.prefill(ids[:, :k])
            torch.testing.assert_close(logits, expected[:, k - 1], rtol=0, atol=1e-5)
            for t in range(k, ids.shape[1]):
                logits, state = model.step(ids[:, t], state)
                torch.testing.assert_close(logits, expected[:, t], rtol=0, atol=1e-5)


def test_the_state_has_the_same_size_whatever_the_length():
    model = make()
    E, N, K = model.config.d_inner, model.config.d_state, model.config.d_conv
    for length in (1, 2, 100):
        state = model.prefill(random_ids(3, length))[1]
        assert model.state_bytes(state) == 4 * TINY["n_layers"] * 3 * (E * (K - 1) + E * N)
        # nothing larger is kept alive behind it
        assert all(v.untyped_storage().nbytes() == v.nbytes for layer in state for v in (layer.conv, layer.ssm))


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


def test_what_decay_must_spare_is_marked():
    for name, parameter in make().named_parameters():
        assert getattr(parameter, "_no_weight_decay", False) == name.endswith("A_log")


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
    """30 steps on a task that needs memory: y_t = x_{t-1}."""
    model = make(d_model=64, n_layers=1, vocab_size=8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(30):
        ids = torch.randint(0, 8, (16, 32), generator=generator)
        loss = F.cross_entropy(model(ids)[:, 1:].flatten(0, 1), ids[:, :-1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.9  # ln 8 = 2.08
    assert losses[-1] < 0.5


def test_under_autocast_the_scan_stays_in_float32():
    model, ids = make(), random_ids(2, 20)
    expected = model(ids)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids)
        state = model.prefill(ids)[1]
    assert logits.dtype == torch.bfloat16
    assert all(layer.ssm.dtype == torch.float32 for layer in state)
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
        ({"scan": "warp"}, "scan must be one of"),
    ],
)
def test_impossible_configs_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        MambaConfig(**TINY | changes)


@pytest.mark.parametrize("ids", [torch.tensor([[50]]), torch.tensor([[-1]]), torch.zeros(1, 0, dtype=torch.int64)])
def test_bad_ids_are_refused(ids):
    with pytest.raises(InputError):
        make()(ids)
