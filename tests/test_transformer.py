"""The Transformer: every combination of options is causal, decodes with a cache as without, and shows its weights."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from pn_lib.config import parse_config
from pn_lib.errors import InputError
from pn_lib.models.attention import SoftmaxAttention, rotary_table, rotate
from pn_lib.models.cpu import blocked_attention
from pn_lib.models.loading import load_model
from pn_lib.models.transformer import Transformer, TransformerConfig, TransformerDecoder, sinusoidal_table

SMALL = {"vocab_size": 31, "context": 12, "d_model": 16, "n_layers": 2, "n_heads": 4}
# softmax, softmax in a window shorter than the sequence, GPT-Neo's (unscaled, every second layer in a window), linear:
# crossed with heads, positions, norms, activations
NEO = {"window": 3, "window_layers": "alternate", "attention_scale": False}
ATTENTIONS = ({}, {"window": 3}, NEO, {"attention": "linear"}, {"qk_norm": True})
COMBINATIONS = [
    {**attention, "n_kv_heads": kv, "position": position, "norm": norm, "norm_position": place, "activation": act}
    for attention, kv, position, norm, place, act in itertools.product(
        ATTENTIONS,
        (4, 2, 1),
        ("rope", "learned", "sinusoidal", "none"),
        ("rmsnorm", "layernorm"),
        ("pre", "post"),
        ("swiglu", "gelu", "relu", "relu2"),
    )
]
SWITCHES = [
    {"tied_embeddings": tied, "bias": bias, "qkv_bias": qkv, **attention}
    for tied, bias, qkv, attention in itertools.product((True, False), (True, False), (None, True, False), ATTENTIONS)
]


def make(options: dict, seed: int = 0) -> Transformer:
    """A small model in evaluation mode, its weights large enough that every part changes the logits."""
    torch.manual_seed(seed)
    model = Transformer(TransformerConfig(**{**SMALL, **options})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def ids(rows: int = 2, length: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.randint(31, (rows, length), generator=torch.Generator().manual_seed(seed))


def by_attention(combinations: list[dict]) -> list[tuple[str, list[dict]]]:
    """One test per attention and number of heads: one per combination would say no more and take longer to collect."""
    groups: dict[str, list[dict]] = {}
    for options in combinations:
        window = f"window={options.get('window')} {options.get('window_layers', '')}".strip()
        key = options.get("attention") or ("qk_norm" if "qk_norm" in options else window)
        groups.setdefault(f"{key}, {options.get('n_kv_heads')} kv heads", []).append(options)
    return list(groups.items())


every_combination = pytest.mark.parametrize(
    "combinations",
    [pytest.param(group, id=name) for name, group in by_attention(COMBINATIONS + SWITCHES)],
)


@pytest.fixture(params=["kernel", "torch"])
def way_to_step(request, monkeypatch):
    """Decoding by one kernel for the whole model, and operation by operation."""
    if request.param == "torch":
        monkeypatch.setattr("pn_lib.models.transformer.can_step_fused", lambda weight: False)
    return request.param


@every_combination
@torch.no_grad()
def test_cached_equals_uncached(combinations, way_to_step):
    for options in combinations:
        model, x = make(options), ids()
        close = {"rtol": 1e-4, "atol": 1e-5}
        # In float64, since the registers' width decides a float32's last digits; linear attention's sums are float32
        if way_to_step == "torch" and options.get("attention") != "linear":
            model, close = model.double(), {"rtol": 1e-10, "atol": 1e-10}
        whole = model(x)
        logits, state = model.prefill(x[:, :2])  # fewer than a window holds
        steps = [logits]
        for t in range(2, 12):
            logits, state = model.step(x[:, t], state)
            steps.append(logits)
        torch.testing.assert_close(torch.stack(steps, 1), whole[:, 1:], **close, msg=str(options))


@every_combination
@torch.no_grad()
def test_the_future_does_not_change_the_past(combinations):
    for options in combinations:
        model, x = make(options), ids()
        other = x.clone()
        other[:, 7:] = (other[:, 7:] + 1) % 31
        a, b = model(x), model(other)
        torch.testing.assert_close(a[:, :7], b[:, :7], rtol=1e-6, atol=1e-6, msg=str(options))
        assert (a[:, 7] - b[:, 7]).abs().max() > 1e-3, options


@every_combination
@torch.no_grad()
def test_attention_maps_are_what_forward_uses(combinations):
    for options in combinations:
        model, x = make(options), ids()
        maps = model.attention_maps(x)
        assert len(maps) == 2 and maps[0].shape == (2, 4, 12, 12)
        for block, weights in zip(model.blocks, maps, strict=True):
            assert (weights.triu(1) == 0).all()
            rotary = model.config.position == "rope"
            if not (rotary and model.config.attention == "linear"):
                torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 12), msg=str(options))
            # put the weights to the values by hand: what the block's attention gives on the same input
            seen = capture(model, block.attention, x)
            _, values = block.attention._heads(seen["x"])
            values = values.transpose(1, 2).repeat_interleave(4 // model.config.kv_heads, 1)
            torch.testing.assert_close(
                block.attention._join(weights @ values), seen["y"], rtol=1e-4, atol=1e-5, msg=str(options)
            )


def capture(model, module, x) -> dict:
    """What ``module`` was given, and gave, in a forward pass of the model."""
    seen = {}
    handle = module.register_forward_hook(lambda _, given, gave: seen.update(x=given[0], y=gave))
    model(x)
    handle.remove()
    return seen


@torch.no_grad()
def test_window_hides_what_lies_before_it():
    model = make({"window": 3, "n_layers": 1})
    a, b = ids(1), ids(1)
    b[0, 4] = (b[0, 4] + 1) % 31
    differs = (model(a) - model(b)).abs().amax(-1)[0] > 1e-6
    assert differs.nonzero().flatten().tolist() == [4, 5, 6]


@torch.no_grad()
def test_only_every_second_layer_has_the_window():
    model = make({**NEO, "n_layers": 3})
    for layer, weights in enumerate(model.attention_maps(ids())):
        seen = (weights > 0).sum(-1)[0, 0].tolist()
        assert seen == ([min(t, 3) for t in range(1, 13)] if layer == 1 else list(range(1, 13)))


@torch.no_grad()
def test_unscaled_attention_is_scaled_attention_with_larger_queries():
    scaled, unscaled = make({}), make({"attention_scale": False})
    for block in scaled.blocks:
        block.attention.qkv.weight[:16] *= 2  # the root of the head width, 4; the first D rows make the queries
    torch.testing.assert_close(unscaled(ids()), scaled(ids()))


def test_rotary_scores_depend_on_the_distance_only():
    cos, sin = rotary_table(8, 64, 10000.0)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))

    def score(i: int, j: int) -> float:
        at = lambda x, p: rotate(x.view(1, 1, 1, 8), (cos[p : p + 1], sin[p : p + 1])).flatten()  # noqa: E731
        return float(at(q, i) @ at(k, j))

    assert score(9, 4) == pytest.approx(score(50, 45), abs=1e-5)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-3)
    assert score(0, 0) == pytest.approx(float(q @ k), abs=1e-5)


def test_rotate_keeps_bfloat16():
    x = torch.randn(1, 6, 2, 8).bfloat16()
    assert rotate(x, rotary_table(8, 6, 10000.0)).dtype == torch.bfloat16


def test_sinusoids_are_the_papers():
    table = sinusoidal_table(20, 16)
    for position, i in ((0, 0), (3, 0), (7, 2), (19, 7)):
        angle = position / 10000 ** (2 * i / 16)
        assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-5)
        assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-5)


@torch.no_grad()
def test_sinusoids_are_added_to_embeddings_of_their_size():
    """As in the paper, the embeddings are multiplied by the root of D first."""
    model, x = make({"position": "sinusoidal"}), ids()
    expected = model.embedding(x) * 16**0.5 + sinusoidal_table(12, 16)
    torch.testing.assert_close(capture(model, model.blocks[0], x)["x"], expected)


@torch.no_grad()
def test_softmax_attention_equals_the_equation():
    torch.manual_seed(0)
    attention = SoftmaxAttention(8, 2, 2, bias=False)
    x = torch.randn(1, 5, 8)
    q, k, v = attention.qkv(x)[0].view(5, 3, 2, 4).unbind(1)
    out = torch.zeros(5, 2, 4)
    for t, h in itertools.product(range(5), range(2)):
        weights = torch.stack([q[t, h] @ k[j, h] / 2 for j in range(t + 1)]).softmax(0)
        out[t, h] = sum(w * v[j, h] for j, w in enumerate(weights))
    torch.testing.assert_close(attention(x)[0], attention.out(out.flatten(1)))


@torch.no_grad()
def test_initialisation():
    model = Transformer(TransformerConfig(256, d_model=128, n_layers=8, bias=True, position="learned"))
    block = model.blocks[3]
    assert model.embedding.weight.std() == pytest.approx(0.02, rel=0.05)
    assert block.attention.qkv.weight.std() == pytest.approx(0.02, rel=0.05)
    for into_stream in (block.attention.out, block.mlp.down):
        assert into_stream.weight.std() == pytest.approx(0.02 / 4, rel=0.05)
        assert (into_stream.bias == 0).all()
    logits = model(torch.randint(256, (2, 64)))
    assert F.cross_entropy(logits.flatten(0, 1), torch.randint(256, (128,))) == pytest.approx(math.log(256), rel=0.02)


@torch.no_grad()
def test_initialisation_zero_begins_as_the_identity():
    model = make_fresh(initialisation="zero", d_model=128, n_heads=4, tied_embeddings=False)
    for block in model.blocks:
        assert (block.attention.out.weight == 0).all() and (block.mlp.down.weight == 0).all()
        assert block.attention.qkv.weight.std() == pytest.approx(128**-0.5, rel=0.05)
    torch.testing.assert_close(model._hidden(ids()), model.norm(model.embedding(ids())))
    assert (model(ids()) == 0).all()  # all tokens equally likely
    assert model.embedding.weight.std() == pytest.approx(0.02, rel=0.1)


def make_fresh(**options) -> Transformer:
    torch.manual_seed(0)
    return Transformer(TransformerConfig(**{**SMALL, **options}))


@torch.no_grad()
def test_qk_norm_bounds_the_scores():
    model = make({"qk_norm": True})
    large = make({"qk_norm": True})
    for block in large.blocks:
        block.attention.qkv.weight[:32] *= 50  # queries and keys
    torch.testing.assert_close(large(ids()), model(ids()), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(make({})(ids()), model(ids()), atol=0.1)


@pytest.mark.parametrize(
    "options", [{}, {"window": 3}, {"n_kv_heads": 2}, {"qk_norm": True, "position": "none"}], ids=str
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_within_stories_equals_each_story_alone(options, dtype):
    """Rotary scores depend on distances only: a story in the middle of a window is as good as one at its beginning."""
    model, x = make({"position": "rope", **options}), ids(rows=2)
    stories = torch.tensor([[0] * 5 + [1] * 7, [0] * 3 + [1] * 4 + [2] * 5])
    model.train()  # without dropout no different; gradients are wanted, which chooses the blocked attention
    with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        whole = model._hidden(x, stories=stories)
        for row, lengths in ((0, (5, 7)), (1, (3, 4, 5))):
            alone = [model._hidden(piece[None])[0] for piece in x[row].split(lengths)]
            tolerance = 1e-5 if dtype == torch.float32 else 0.1
            torch.testing.assert_close(whole[row], torch.cat(alone), rtol=tolerance, atol=tolerance)
        assert (whole - model._hidden(x)).abs().max() > 0.3  # it does make a difference
    loss = model(x, x, stories)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_linear_attention_cannot_keep_within_stories():
    with pytest.raises(InputError, match="linear attention cannot keep within stories"):
        make({"attention": "linear"})(ids(), stories=torch.zeros(2, 12))


def test_tied_embeddings_are_one_parameter():
    tied, untied = make({}), make({"tied_embeddings": False})
    assert untied.n_parameters() - tied.n_parameters() == 31 * 16
    assert "head.weight" not in tied.state_dict()


def test_dropout_is_active_in_training_only():
    for options in ATTENTIONS:
        model, x = make({**options, "dropout": 0.5}), ids()
        assert torch.equal(model(x), model(x))
        model.train()
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"d_model": 18}, "n_heads"),
        ({"n_kv_heads": 3}, "n_kv_heads"),
        ({"n_heads": 16}, "rope"),
        ({"d_model": 15, "n_heads": 3, "position": "sinusoidal"}, "sinusoidal"),
        ({"window": 2, "attention": "linear"}, "window"),
        ({"qk_norm": True, "attention": "linear"}, "qk_norm"),
        ({"initialisation": "xavier"}, "initialisation"),
        ({"window": 0}, "window"),
        ({"window_layers": "alternate"}, "window_layers='alternate' needs a window"),
        ({"window": 2, "window_layers": "odd"}, "window_layers"),
        ({"attention_scale": False, "attention": "linear"}, "attention_scale"),
        ({"window": 13}, "window"),
        ({"context": 0}, "context"),
        ({"context": 2.5}, "context"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"n_layers": None}, "n_layers"),
        ({"d_ff": 0}, "d_ff"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"rope_theta": 0.0}, "rope_theta"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"norm": "batchnorm"}, "norm"),
        ({"position": "alibi"}, "position"),
    ],
)
def test_impossible_configs_are_refused(options, word):
    with pytest.raises(ValueError, match=word):
        TransformerConfig(**{**SMALL, **options})


def test_config_from_a_mapping():
    old = {"vocab_size": 9, "window": 3, "bias": True}  # written before there were the fields of GPT-Neo
    assert parse_config(TransformerConfig, old, "config.json") == TransformerConfig(9, window=3, bias=True)
    with pytest.raises(InputError, match=r"profile: .*n_heads \(3\)"):
        parse_config(TransformerConfig, {**SMALL, "n_heads": 3}, "profile")
    with pytest.raises(InputError, match="unknown key 'heads'"):
        parse_config(TransformerConfig, {**SMALL, "heads": 3}, "profile")
    config = parse_config(TransformerConfig, {"vocab_size": 9, "d_model": 128}, "profile")
    assert (config.kv_heads, config.ff_width) == (4, 352)


@torch.no_grad()
def test_context_is_a_limit():
    model = make({})
    with pytest.raises(InputError, match=r"13 tokens.*context is 12"):
        model(ids(1, 13))
    with pytest.raises(InputError, match=r"13 tokens.*context is 12"):
        model.prefill(ids(1, 13))
    _, state = model.prefill(ids(1, 12))
    with pytest.raises(InputError, match=r"13 tokens.*context is 12"):
        model.step(ids(1, 1)[:, 0], state)


def test_bad_ids_are_refused():
    model = make({})
    with pytest.raises(InputError, match=r"0\.\.30"):
        model(torch.tensor([[31]]))
    with pytest.raises(InputError, match="at least one token"):
        model(torch.zeros(2, 0, dtype=torch.int64))


@torch.no_grad()
def test_cache_is_allocated_once(way_to_step):
    model = make({"n_kv_heads": 2})
    _, state = model.prefill(ids(3, 4))
    if way_to_step == "torch":
        assert state.caches[0].keys.shape == (3, 2, 12, 4)
    places = set()
    for length in range(5, 13):
        _, state = model.step(ids(3, 1)[:, 0], state)
        assert isinstance(state, TransformerDecoder) == (way_to_step == "torch") and state.length == length
        places.add(state.caches[0].keys.data_ptr())
    assert len(places) == 1


@pytest.mark.parametrize("options", [*ATTENTIONS, {"d_ff": 21, "bias": True}, {"d_model": 32, "n_heads": 2}], ids=str)
@torch.no_grad()
def test_rows_may_leave_the_batch(options, way_to_step):
    """Eleven rows (more than a kernel's task takes) of which some go on alone: as if they had always been."""
    model, x = make(options), ids(11, 12)
    kept, (_, state) = torch.tensor([9, 2, 10]), model.prefill(x[:, :3])
    for t in range(3, 12):
        if t == 7:
            x, state = x[kept], model.select(state, kept)
        logits, state = model.step(x[:, t], state)
        torch.testing.assert_close(logits, model(x[:, : t + 1])[:, -1], rtol=1e-4, atol=1e-5)


def test_blocked_attention_pays_up_to_a_length():
    def of_length(T, dtype=torch.bfloat16):
        q = torch.empty(1, 2, T, 8, dtype=dtype, requires_grad=True)
        return blocked_attention.pays(q, q)

    assert of_length(blocked_attention.LONGEST) and not of_length(blocked_attention.LONGEST + 1)
    assert not of_length(64, torch.float32)


@pytest.mark.parametrize("options", ATTENTIONS, ids=str)
@torch.no_grad()
def test_bfloat16_autocast_is_near(options):
    model, x = make(options), ids()
    exact = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(x)
        logits, state = model.prefill(x[:, :8])
        for t in range(8, 12):
            logits, state = model.step(x[:, t], state)
    scale = exact.std()
    assert (rough.float() - exact).std() < 0.05 * scale
    assert (logits.float() - exact[:, -1]).std() < 0.05 * scale


@torch.no_grad()
def test_saved_and_loaded(tmp_path):
    for options in (SWITCHES[0], SWITCHES[-1], {"position": "learned"}, {"position": "sinusoidal"}, NEO):
        model = make(options)
        model.save(tmp_path)
        again = load_model(tmp_path)
        assert again.config == model.config
        assert torch.equal(again(ids()), model(ids()))
