"""Our models and the transformers library's compute the same, with the same weights, in both directions."""

import json

import pytest
import torch
import transformers
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.huggingface import from_transformers, to_transformers
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.mamba2 import Mamba2, Mamba2Config
from pn_lib.models.transformer import Transformer, TransformerConfig

CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
    "gpt_neo": (transformers.GPTNeoConfig, transformers.GPTNeoForCausalLM),
    "mamba": (transformers.MambaConfig, transformers.MambaForCausalLM),
    "mamba2": (transformers.Mamba2Config, transformers.Mamba2ForCausalLM),
}
LLAMA = {"vocab_size": 61, "context": 24, "d_model": 32, "n_layers": 2, "n_heads": 4, "rope_theta": 500.0}
GPT2 = {**LLAMA, "position": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
GPT2.pop("rope_theta")
NEO = {**GPT2, "attention_scale": False, "qkv_bias": False}  # 24 tokens are longer than the windows below
MAMBA = {"vocab_size": 61, "d_model": 32, "n_layers": 2, "d_state": 8}
MODELS = {
    "llama": TransformerConfig(**LLAMA),
    "llama, grouped": TransformerConfig(**LLAMA, n_kv_heads=2, tied_embeddings=False),
    "llama, multi-query": TransformerConfig(**LLAMA, n_kv_heads=1, d_ff=48, norm_eps=1e-3),
    "qwen3": TransformerConfig(**LLAMA, qk_norm=True),
    "qwen3, grouped": TransformerConfig(
        **LLAMA, qk_norm=True, n_kv_heads=2, tied_embeddings=False, initialisation="zero"
    ),
    "gpt2": TransformerConfig(**GPT2),
    "gpt2, untied": TransformerConfig(**GPT2, tied_embeddings=False, d_ff=40, norm_eps=1e-3),
    "gpt_neo": TransformerConfig(**NEO, window=5, window_layers="alternate"),
    "gpt_neo, three layers, untied": TransformerConfig(
        **{**NEO, "n_layers": 3}, window=6, window_layers="alternate", tied_embeddings=False, d_ff=40, norm_eps=1e-3
    ),
    "gpt_neo, all local": TransformerConfig(**NEO, window=1),
    "gpt_neo, all global": TransformerConfig(**NEO),
    "mamba": MambaConfig(**MAMBA),
    "mamba, untied": MambaConfig(**MAMBA, tied_embeddings=False, dt_rank=3, expand=3, d_conv=3),
}
MODELS |= {
    "mamba2": Mamba2Config(**MAMBA, head_dim=16),
    "mamba2, untied": Mamba2Config(**MAMBA, head_dim=8, tied_embeddings=False, expand=3, d_conv=3, norm_eps=1e-3),
}
OURS = {TransformerConfig: Transformer, MambaConfig: Mamba, Mamba2Config: Mamba2}
X = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(1))


def randomise(model: torch.nn.Module) -> None:
    """Every parameter random: a norm's weight of one, or a bias of zero, would hide a weight in the wrong place."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)


def theirs(config: dict, state: dict) -> torch.nn.Module:
    config_class, model_class = CLASSES[config["model_type"]]
    model = model_class(config_class(**config)).eval()
    model.load_state_dict(state)
    return model


def pair(config) -> tuple[torch.nn.Module, torch.nn.Module]:
    ours = OURS[type(config)](config).eval()
    randomise(ours)
    return ours, theirs(*to_transformers(ours))


models = pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())


@models
def test_logits_and_gradients_are_equal(config):
    ours, other = pair(config)
    y = X.roll(-1, 1)
    logits, expected = ours(X), other(X).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    for result in (logits, expected):
        F.cross_entropy(result.flatten(0, 1), y.flatten()).backward()
    gradients = dict(other.named_parameters())
    # carry our gradients over as if they were weights, and compare
    holder = type(ours)(config)
    holder.load_state_dict({**{k: v.grad for k, v in ours.named_parameters()}})
    for name, gradient in to_transformers(holder)[1].items():
        if name in gradients:
            torch.testing.assert_close(gradient, gradients[name].grad, rtol=1e-3, atol=1e-5, msg=name)


@models
def test_their_model_comes_back(config):
    _, other = pair(config)
    randomise(other)
    again = from_transformers(other.config.to_dict(), other.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(X), other(X).logits, rtol=0, atol=1e-4)
    assert to_transformers(again)[0] == to_transformers(type(again)(config))[0]  # all options came back


def test_published_names_without_the_prefix():
    """gpt2's own file lacks the prefix and the output layer, and holds its causal masks."""
    ours, other = pair(MODELS["gpt2"])
    state = {k.removeprefix("transformer."): v for k, v in other.state_dict().items() if k != "lm_head.weight"}
    state["h.0.attn.bias"] = torch.ones(1, 1, 24, 24).tril()
    again = from_transformers(other.config.to_dict(), state)
    assert torch.equal(again(X), ours(X))


def test_gpt_neo_as_it_is_published():
    """TinyStories-33M's config.json has such entries, and its weights hold causal masks."""
    ours, other = pair(TransformerConfig(**NEO, window=24, window_layers="alternate"))
    config = {k: v for k, v in other.config.to_dict().items() if k != "intermediate_size"}
    config |= {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]}
    state = other.state_dict() | {"transformer.h.0.attn.attention.bias": torch.ones(1, 1, 24, 24).tril()}
    again = from_transformers({**config, "window_size": 256}, state)
    assert torch.equal(again(X), ours(X)) and again.config.window == 24
    layers = {"attention_types": [[["global"], 2], [["local"], 1]], "num_layers": 3}
    with pytest.raises(InputError, match=r"gpt_neo with 3 layers and attention_types=.* has no equal"):
        from_transformers({**config, **layers}, state)
    del config["attention_types"]  # by default there are 24 layers
    with pytest.raises(InputError, match="gpt_neo with 2 layers"):
        from_transformers(config, state)


def test_gpt2_where_it_fits_and_gpt_neo_otherwise():
    kinds = {name: to_transformers(pair(MODELS[name])[0])[0]["model_type"] for name in MODELS}
    assert all(name.startswith(kind) for name, kind in kinds.items())


def test_a_saved_folder_opens_in_transformers(tmp_path):
    ours, other = pair(MODELS["llama, grouped"])
    other.save_pretrained(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(ours(X), again(X).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"norm_position": "post"},
        {"window": 4},
        {"attention": "linear"},
        {"attention_scale": False},
        {"bias": True},
        {"qkv_bias": True},
        {"activation": "relu"},
    ],
    ids=str,
)
def test_what_transformers_has_not_is_refused(options):
    option = next(iter(options))
    with pytest.raises(InputError, match=f"llama has no .*{option}=.*gpt2 has no.*gpt_neo has no"):
        to_transformers(Transformer(TransformerConfig(**LLAMA, **options)))


@pytest.mark.parametrize(("options", "kind"), [(GPT2, "gpt2"), (NEO, "gpt_neo")], ids=["gpt2", "gpt_neo"])
def test_grouped_queries_are_refused_for_gpt(options, kind):
    with pytest.raises(InputError, match=f"{kind} has no n_kv_heads=2(;|$)"):
        to_transformers(Transformer(TransformerConfig(**options, n_kv_heads=2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "bert"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "rope_type='linear'"),
        ({"rope_parameters": None, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_type='dynamic'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 4.0}}, "rope_type='linear'"),
        ({"rope_parameters": None, "rope_scaling": "linear"}, "no JSON object"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"hidden_act": "relu"}, "hidden_act='relu'"),
        ({"head_dim": 16}, "head_dim=16"),
    ],
)
def test_what_we_have_not_is_refused(change, message):
    config, state = to_transformers(Transformer(MODELS["llama"]))
    with pytest.raises(InputError, match=message):
        from_transformers({**config, **change}, state)


def test_mamba2_as_transformers_saves_it(tmp_path):
    ours, other = pair(MODELS["mamba2"])
    other.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))  # which spells infinity as an object
    again = from_transformers(config, other.state_dict())
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in ours.state_dict().items())
    with pytest.raises(InputError, match="time_step_limit"):
        from_transformers(config | {"time_step_limit": [0.0, 0.1]}, other.state_dict())


def test_weights_that_do_not_fit_are_refused():
    config, state = to_transformers(Transformer(MODELS["llama"]))
    with pytest.raises(InputError, match="lacks num_hidden_layers"):
        from_transformers({k: v for k, v in config.items() if k != "num_hidden_layers"}, state)
    with pytest.raises(InputError, match=r"lacks model\.layers\.2"):
        from_transformers({**config, "num_hidden_layers": 3}, state)
    with pytest.raises(InputError, match=r"no place for the weight layers\.1"):
        from_transformers({**config, "num_hidden_layers": 1}, state)
    with pytest.raises(InputError, match="size mismatch"):
        from_transformers({**config, "vocab_size": 60}, state)
