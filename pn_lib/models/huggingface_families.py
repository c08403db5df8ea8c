"""The architectures of ``transformers`` that have an equal here: their names for our fields and weights, what their
config must say, and what ours must."""

from dataclasses import dataclass
from typing import Any

from pn_lib.models.base import LanguageModel
from pn_lib.models.mamba import Mamba
from pn_lib.models.mamba2 import Mamba2
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


def _mamba(*weights: str) -> dict[str, tuple[str, ...]]:
    """The names of a stack of mixers that have these weights; what is conv here is conv1d there."""
    mixer = "backbone.layers.{i}.mixer."
    return {
        "embedding.weight": ("backbone.embeddings.weight",),
        "norms.{i}.weight": ("backbone.layers.{i}.norm.weight",),
        **{f"blocks.{{i}}.{name}": (mixer + name.replace("conv", "conv1d"),) for name in weights},
        "norm.weight": ("backbone.norm_f.weight",),
    }


_CONV = ("conv.weight", "conv.bias")
_DT = ("x_proj.weight", "dt_proj.weight", "dt_proj.bias")
MAMBA = _mamba("A_log", "D", "in_proj.weight", *_CONV, *_DT, "out_proj.weight")
MAMBA2 = _mamba("A_log", "D", "dt_bias", "in_proj.weight", *_CONV, "norm.weight", "out_proj.weight")


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
