"""Weights to and from the ``transformers`` library: Llama, Qwen3, GPT-2, GPT-Neo, Mamba and Mamba-2.

Works on that library's config dictionaries and state dicts and does not import it. In and out:

    config, state = to_transformers(model)
    LlamaForCausalLM(LlamaConfig(**config)).load_state_dict(state)
    model = from_transformers(theirs.config.to_dict(), theirs.state_dict())

The logits are the same up to rounding. Dropout, which no weight depends on, is not carried over: it is 0 on arrival.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.huggingface_families import FAMILIES
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.mamba2 import Mamba2Config
from pn_lib.models.shell import Damaged, make_model

PREFIXES = ("model.", "transformer.", "backbone.")
# Mamba-2's time_step_limit where it limits nothing: left out, as transformers has it, and as its config.json spells it
UNLIMITED = (None, (0.0, math.inf), [0.0, math.inf], [0.0, {"__float__": "Infinity"}])
# Parts that names have of a model saved inside DistributedDataParallel, compiled, sharded (FSDP) or checkpointed.
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


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
    try:  # what lacks some weights is told which, below
        stored = sum(weight.numel() for weight in state.values())
        model = make_model(FAMILIES[kind].model, _our_config(kind, config), stored, slack=10)
    except Damaged as error:
        raise InputError(f"the weights do not fit the config: {error}") from None
    given, ours = _bare_state(state), {}
    for our_name, their_names in _names(kind, model.config.n_layers):
        parts = [_take(given, name) for name in their_names]
        if len({part.shape[1:] for part in parts}) > 1 or not all(part.ndim for part in parts):
            raise InputError(f"the weights do not fit the config: {' and '.join(their_names)} have unlike shapes")
        ours[our_name] = _turned(torch.cat(parts), our_name, kind)
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
    if kind == "mamba2" and theirs.get("time_step_limit") not in UNLIMITED:
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
