"""Weights to and from the ``transformers`` library: Llama, Qwen3, GPT-2, GPT-Neo, Mamba and Mamba-2.

Works on that library's config dictionaries and state dicts and does not import it. In and out:

    config, state = to_transformers(model)
    LlamaForCausalLM(LlamaConfig(**config)).load_state_dict(state)
    model = from_transformers(theirs.config.to_dict(), theirs.state_dict())

The logits are the same up to rounding. Dropout, which no weight depends on, is not carried over: it is 0 on arrival.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.mamba2 import Mamba2, Mamba2Config
from pn_lib.models.transformer import Transformer

# Our name of a weight, and the names there of the matrices whose rows it stacks. {i} is the layer. A prefix "model.",
# "transformer." or "backbone." is the part of their model that carries all but the output layer.
LLAMA = {
    "embedding.weight": ("model.embed_tokens.weight",),
    "blocks.{i}.attention_norm.weight": ("model.layers.{i}.input_layernorm.weight",),
    "blocks.{i}.attention.qkv.weight": tuple(f"model.layers.{{i}}.self_attn.{x}_proj.weight" for x in "qkv"),
    "blocks.{i}.attention.out.weight": ("model.layers.{i}.self_attn.o_proj.weight",),
    "blocks.{i}.mlp_norm.weight": ("model.layers.{i}.post_attention_layernorm.weight",),
    "blocks.{i}.mlp.up.weight": ("model.layers.{i}.mlp.gate_proj.weight", "model.layers.{i}.mlp.up_proj.weight"),
    "blocks.{i}.mlp.down.weight": ("model.layers.{i}.mlp.down_proj.weight",),
    "norm.weight": ("model.norm.weight",),
}
QWEN3 = LLAMA | {  # a Llama whose query and key heads are normed
    f"blocks.{{i}}.attention.{x}_norm.weight": (f"model.layers.{{i}}.self_attn.{x}_norm.weight",) for x in "qk"
}
_BOTH_GPT = {
    "embedding.weight": ("transformer.wte.weight",),
    "positions.weight": ("transformer.wpe.weight",),
    **{
        f"{ours}.{kind}": (f"transformer.{theirs}.{kind}",)
        for ours, theirs in (
            ("blocks.{i}.attention_norm", "h.{i}.ln_1"),
            ("blocks.{i}.mlp_norm", "h.{i}.ln_2"),
            ("blocks.{i}.mlp.up", "h.{i}.mlp.c_fc"),
            ("blocks.{i}.mlp.down", "h.{i}.mlp.c_proj"),
            ("norm", "ln_f"),
        )
        for kind in ("weight", "bias")
    },
}
GPT2 = _BOTH_GPT | {
    f"blocks.{{i}}.attention.{ours}.{kind}": (f"transformer.h.{{i}}.attn.{theirs}.{kind}",)
    for ours, theirs in (("qkv", "c_attn"), ("out", "c_proj"))
    for kind in ("weight", "bias")
}
_NEO = "transformer.h.{i}.attn.attention."
GPT_NEO = _BOTH_GPT | {
    "blocks.{i}.attention.qkv.weight": tuple(f"{_NEO}{x}_proj.weight" for x in "qkv"),
    "blocks.{i}.attention.out.weight": (f"{_NEO}out_proj.weight",),
    "blocks.{i}.attention.out.bias": (f"{_NEO}out_proj.bias",),
}
MAMBA = {
    "embedding.weight": ("backbone.embeddings.weight",),
    "norms.{i}.weight": ("backbone.layers.{i}.norm.weight",),
    **{
        f"blocks.{{i}}.{ours}": (f"backbone.layers.{{i}}.mixer.{theirs}",)
        for ours, theirs in (
            ("A_log", "A_log"),
            ("D", "D"),
            ("in_proj.weight", "in_proj.weight"),
            ("conv.weight", "conv1d.weight"),
            ("conv.bias", "conv1d.bias"),
            ("x_proj.weight", "x_proj.weight"),
            ("dt_proj.weight", "dt_proj.weight"),
            ("dt_proj.bias", "dt_proj.bias"),
            ("out_proj.weight", "out_proj.weight"),
        )
    },
    "norm.weight": ("backbone.norm_f.weight",),
}
MAMBA2 = {
    "embedding.weight": ("backbone.embeddings.weight",),
    "norms.{i}.weight": ("backbone.layers.{i}.norm.weight",),
    **{
        f"blocks.{{i}}.{ours}": (f"backbone.layers.{{i}}.mixer.{theirs}",)
        for ours, theirs in (
            ("A_log", "A_log"),
            ("D", "D"),
            ("dt_bias", "dt_bias"),
            ("in_proj.weight", "in_proj.weight"),
            ("conv.weight", "conv1d.weight"),
            ("conv.bias", "conv1d.bias"),
            ("norm.weight", "norm.weight"),
            ("out_proj.weight", "out_proj.weight"),
        )
    },
    "norm.weight": ("backbone.norm_f.weight",),
}
PREFIXES = ("model.", "transformer.", "backbone.")
# Parts that names have of a model saved inside DistributedDataParallel, compiled, sharded (FSDP) or checkpointed.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


@dataclass(frozen=True)
class Family:
    """One architecture of theirs: its names for our config's fields, what else its config must say, its weights."""

    model: type[LanguageModel]
    architecture: str  # their class
    fields: dict[str, str]  # our field: their key
    options: dict[str, Any]  # what our config must say to be one of this family
    fixed: dict[str, Any]  # what theirs must say to have an equal here
    defaults: dict[str, Any]  # theirs, for keys that a config may leave out
    names: dict[str, tuple[str, ...]]


COMMON = {"vocab_size": "vocab_size", "tied_embeddings": "tie_word_embeddings"}
ALL = {"norm_position": "pre", "attention": "softmax", "qk_norm": False}
PLAIN = ALL | {"attention_scale": True, "window": None}
GPT = ALL | {"position": "learned", "norm": "layernorm", "activation": "gelu"}
LLAMA_FIELDS = COMMON | {
    "context": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "d_ff": "intermediate_size",
    "norm_eps": "rms_norm_eps",
    "rope_theta": "rope_theta",
}
LLAMA_OPTIONS = PLAIN | {
    "position": "rope",
    "norm": "rmsnorm",
    "activation": "swiglu",
    "bias": False,
    "qkv_bias": False,
}
FAMILIES = {
    "llama": Family(
        Transformer,
        "LlamaForCausalLM",
        LLAMA_FIELDS,
        LLAMA_OPTIONS,
        {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "rope_type": "default"},
        {"num_key_value_heads": None, "rope_theta": 10000.0, "tie_word_embeddings": False},
        LLAMA,
    ),
    "qwen3": Family(
        Transformer,
        "Qwen3ForCausalLM",
        LLAMA_FIELDS,
        LLAMA_OPTIONS | {"qk_norm": True},
        {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False, "rope_type": "default"},
        {"num_key_value_heads": None, "rope_theta": 10000.0, "tie_word_embeddings": False},
        QWEN3,
    ),
    "gpt2": Family(
        Transformer,
        "GPT2LMHeadModel",
        COMMON
        | {
            "context": "n_positions",
            "d_model": "n_embd",
            "n_layers": "n_layer",
            "n_heads": "n_head",
            "d_ff": "n_inner",
            "norm_eps": "layer_norm_epsilon",
        },
        PLAIN | GPT | {"bias": True, "qkv_bias": True},
        {"activation_function": "gelu_new", "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False},
        {"n_inner": None, "tie_word_embeddings": True},
        GPT2,
    ),
    "gpt_neo": Family(
        Transformer,
        "GPTNeoForCausalLM",
        COMMON
        | {
            "context": "max_position_embeddings",
            "d_model": "hidden_size",
            "n_layers": "num_layers",
            "n_heads": "num_heads",
            "d_ff": "intermediate_size",
            "norm_eps": "layer_norm_epsilon",
        },
        GPT | {"attention_scale": False, "bias": True, "qkv_bias": False},
        {"activation_function": "gelu_new"},
        {
            "intermediate_size": None,
            "tie_word_embeddings": True,
            "attention_types": [[["global", "local"], 12]],
            "window_size": 256,
        },
        GPT_NEO,
    ),
    "mamba": Family(
        Mamba,
        "MambaForCausalLM",
        COMMON
        | {
            "d_model": "hidden_size",
            "n_layers": "num_hidden_layers",
            "d_state": "state_size",
            "expand": "expand",
            "d_conv": "conv_kernel",
            "dt_rank": "time_step_rank",
            "dt_min": "time_step_min",
            "dt_max": "time_step_max",
            "norm_eps": "layer_norm_epsilon",
        },
        {},
        {"hidden_act": "silu", "use_bias": False, "use_conv_bias": True},
        {"tie_word_embeddings": True},
        MAMBA,
    ),
    "mamba2": Family(
        Mamba2,
        "Mamba2ForCausalLM",
        COMMON
        | {
            "d_model": "hidden_size",
            "n_layers": "num_hidden_layers",
            "d_state": "state_size",
            "head_dim": "head_dim",
            "expand": "expand",
            "d_conv": "conv_kernel",
            "dt_min": "time_step_min",
            "dt_max": "time_step_max",
            "norm_eps": "layer_norm_epsilon",
        },
        {},
        {"hidden_act": "silu", "n_groups": 1, "use_bias": False, "use_conv_bias": True},
        {"tie_word_embeddings": False},
        MAMBA2,
    ),
}


def to_transformers(model: LanguageModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config dictionary (its ``model_type`` says which class it is for) and the state dict for transformers.

    Raises:
        InputError: transformers has no class for this combination of options.
    """
    kind = _kind(model)
    ours, theirs = model.state_dict(), {}
    for our_name, their_names in _names(kind, model.config.n_layers):
        parts = _unstack(_turned(ours[our_name], our_name, kind), len(their_names), model.config)
        theirs |= {name: part.clone() for name, part in zip(their_names, parts, strict=True)}
    table = "embedding.weight" if model.config.tied_embeddings else "head.weight"
    theirs["lm_head.weight"] = ours[table].clone()
    return _their_config(kind, model.config), theirs


def from_transformers(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> LanguageModel:
    """A Transformer, Mamba or Mamba-2 with these weights, in evaluation mode.

    ``config`` is what ``config.to_dict()`` gives or config.json holds; ``state`` the state dict, its names with or
    without the prefix of the inner model.

    Raises:
        InputError: an architecture or option that has no equal here, or weights that do not fit the config.
    """
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise InputError(f"model_type {kind!r} has no equal here; known are {', '.join(FAMILIES)}")
    quantized = config.get("quantization_config")
    if quantized:
        raise InputError(
            f"this {kind} is quantized ({quantized.get('quant_method', 'unknown')}); write it in full, in Python, with "
            "transformers: AutoModelForCausalLM.from_pretrained(FOLDER).dequantize().save_pretrained('full')"
        )
    model = FAMILIES[kind].model(_our_config(kind, config))
    given, ours = _bare_state(state), {}
    for our_name, their_names in _names(kind, model.config.n_layers):
        ours[our_name] = _turned(torch.cat([_take(given, name) for name in their_names]), our_name, kind)
    if not model.config.tied_embeddings:
        ours["head.weight"] = _take(given, "lm_head.weight")
    # a tied output layer, and buffers that older files hold: causal masks and rotary frequencies
    masks = (".attn.bias", ".attn.masked_bias", ".attn.attention.bias", ".attn.attention.masked_bias")
    known = ("lm_head.weight", "rotary_emb.inv_freq", *masks)
    unknown = [name for name in given if not name.endswith(known)]
    if unknown:
        raise InputError(f"a {kind} of this config has no place for the weight {unknown[0]}")
    try:
        model.load_state_dict(ours)
    except RuntimeError as error:
        raise InputError(f"the weights do not fit the config: {str(error).splitlines()[-1].strip()}") from None
    return model.eval()


def _kind(model: LanguageModel) -> str:
    """The family that our model belongs to."""
    reasons = []
    for kind, family in FAMILIES.items():
        if isinstance(model, family.model):
            has, wanted = _resolved(model.config), dict(family.options)
            if kind in ("gpt2", "gpt_neo"):  # they have no grouped-query attention
                wanted["n_kv_heads"] = has["n_heads"]
            wrong = [f"{key}={has[key]!r}" for key in wanted if has[key] != wanted[key]]
            if not wrong:
                return kind
            reasons.append(f"{kind} has no {', '.join(wrong)}")
    raise InputError(f"transformers has no class for this {model.name}" + "".join(f"; {r}" for r in reasons))


def _resolved(config: NeuralConfig) -> dict[str, Any]:
    """Our options, with what None stands for in its place."""
    if isinstance(config, MambaConfig):
        return asdict(config) | {"dt_rank": config.rank}
    if isinstance(config, Mamba2Config):
        return asdict(config)
    meant = {"n_kv_heads": config.kv_heads, "d_ff": config.ff_width, "qkv_bias": config.has_qkv_bias}
    return asdict(config) | meant


def _their_config(kind: str, config: NeuralConfig) -> dict[str, Any]:
    ours = _resolved(config)
    theirs = {key: ours[field] for field, key in FAMILIES[kind].fields.items()} | FAMILIES[kind].fixed
    if kind in ("llama", "qwen3"):  # version 4 of transformers looks for rope_theta outside
        theirs["rope_parameters"] = {"rope_type": theirs.pop("rope_type"), "rope_theta": theirs["rope_theta"]}
    if kind == "qwen3":  # its own default is 128 whatever the width
        theirs["head_dim"] = config.head_dim
    if kind == "mamba2":
        theirs["num_heads"] = config.n_heads
    if kind == "gpt2":  # its own default is 0.1
        theirs |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    if kind == "gpt_neo":
        layers = ["global" if config.window_of(i) is None else "local" for i in range(config.n_layers)]
        theirs |= {"attention_types": [[layers, 1]], "window_size": config.window or config.context}
    names = {"model_type": kind, "architectures": [FAMILIES[kind].architecture]}
    # their defaults are ids of the published models' vocabularies
    return {**names, **theirs, **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))}


def _our_config(kind: str, config: Mapping[str, Any]) -> Any:
    family = FAMILIES[kind]
    # Llama's rotary settings moved about between versions: flat, rope_scaling, rope_parameters
    theirs = family.defaults | dict(config) | (config.get("rope_scaling") or {}) | (config.get("rope_parameters") or {})
    missing = [key for key in family.fields.values() if key not in theirs]
    if missing:
        raise InputError(f"the config of this {kind} lacks {', '.join(missing)}")
    fixed = dict(family.fixed)
    if kind == "mamba2" and list(theirs.get("time_step_limit", (0.0, math.inf))) != [0.0, math.inf]:
        raise InputError(f"mamba2 with time_step_limit={theirs['time_step_limit']!r} has no equal here, only with none")
    if kind in ("llama", "qwen3") and theirs.get("head_dim") is not None:
        fixed["head_dim"] = theirs["hidden_size"] // theirs["num_attention_heads"]
    for key, value in fixed.items():
        if theirs.get(key, value) != value:
            raise InputError(f"{kind} with {key}={theirs[key]!r} has no equal here, only with {value!r}")
    options = {field: theirs[key] for field, key in family.fields.items()} | family.options
    if kind == "gpt_neo":
        options |= _window(theirs)
    return family.model.Config(**options)


def _window(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """What GPT-Neo says of each layer, global or local, as our window and the layers that have it."""
    layers = [layer for layers, times in theirs["attention_types"] for _ in range(times) for layer in layers]
    window, n_layers = min(theirs["window_size"], theirs["max_position_embeddings"]), theirs["num_layers"]
    for pattern, option in (
        (["global"], {"window": None}),
        (["local"], {"window": window}),
        (["global", "local"], {"window": window, "window_layers": "alternate"}),
    ):
        if layers == (pattern * n_layers)[:n_layers]:
            return option
    raise InputError(
        f"gpt_neo with {n_layers} layers and attention_types={theirs['attention_types']!r} has no equal here, "
        "only with all layers global, all local, or global and local in turn"
    )


def _names(kind: str, n_layers: int) -> list[tuple[str, tuple[str, ...]]]:
    """(our name, their names) of every weight but the output layer's."""
    return [
        (ours.format(i=i), tuple(name.format(i=i) for name in theirs))
        for ours, theirs in FAMILIES[kind].names.items()
        for i in (range(n_layers) if "{i}" in ours else [0])
    ]


def _unstack(weight: Tensor, parts: int, config: Any) -> tuple[Tensor, ...]:
    if parts == 3:  # queries, keys, values: fewer rows for the keys and values of grouped-query attention
        return weight.split([n * config.head_dim for n in (config.n_heads, config.kv_heads, config.kv_heads)])
    return weight.chunk(parts)


def _turned(weight: Tensor, our_name: str, kind: str) -> Tensor:
    """GPT-2 in transformers stores its linear layers' matrices as (in, out), nn.Linear as (out, in)."""
    matrix = kind == "gpt2" and our_name.startswith("blocks") and weight.ndim == 2
    return weight.T.contiguous() if matrix else weight


def bare(name: str) -> str:
    """A weight's name without what trainers and compilers put into it, and without the prefix of the inner model."""
    name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
    while name.startswith(PREFIXES):
        name = name.partition(".")[2]
    return name


def _bare_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    given: dict[str, Tensor] = {}
    for name, weight in state.items():
        if bare(name) in given:
            raise InputError(f"the state dict has more than one weight that may be {bare(name)}; keep one model in it")
        given[bare(name)] = weight
    return given


def _take(given: dict[str, Tensor], name: str) -> Tensor:
    """Remove a weight from those given, so that what nobody wanted remains."""
    if bare(name) not in given:
        raise InputError(f"the state dict lacks {name}")
    weight = given.pop(bare(name))
    if not weight.is_floating_point():
        raise InputError(f"{name} holds {weight.dtype}, as of a quantized model; save the model in float32 or bfloat16")
    return weight
