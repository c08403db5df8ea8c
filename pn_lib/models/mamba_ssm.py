"""Mamba in the format of its authors' package (github.com/state-spaces/mamba), as transformers' format.

Their config.json has ``d_model``, ``n_layer``, ``vocab_size`` and ``ssm_cfg``, which holds only what differs from their
defaults; so the sizes inside a block are read off the weights. Their names for the weights are transformers' but for
the embedding's; its table may be padded to a multiple of ``pad_vocab_size_multiple``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.models.huggingface import bare

NORM_EPS = 1e-5  # theirs; no config says another
SIZES = {"d_state": "state_size", "d_conv": "conv_kernel", "expand": "expand", "dt_rank": "time_step_rank"}


def is_mamba_ssm(config: Mapping[str, Any]) -> bool:
    return "model_type" not in config and {"d_model", "n_layer"} <= config.keys()


def to_transformers_format(
    config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config dictionary and state dict as ``from_transformers`` takes them.

    Raises:
        InputError: a Mamba-2, one with attention or another norm, weights that are missing, or a config that says
            other sizes than the weights have.
    """
    _check(config)
    for name in ("d_model", "n_layer"):
        if not (isinstance(config[name], int) and config[name] > 0):
            raise InputError(f"the config of this mamba_ssm model says {name}={config[name]!r}; fetch the model again")
    given = {bare(name): weight for name, weight in state.items()}
    try:
        table = given.pop("embedding.weight")
        channels, d_state = given["layers.0.mixer.A_log"].shape
        d_conv = given["layers.0.mixer.conv1d.weight"].shape[-1]
        rank = given["layers.0.mixer.dt_proj.weight"].shape[-1]
    except (KeyError, ValueError) as error:
        raise InputError(f"these are no weights of a Mamba in mamba_ssm's format: they lack {error}") from None
    given["embeddings.weight"] = table
    sizes = {"d_state": d_state, "d_conv": d_conv, "expand": channels // config["d_model"], "dt_rank": rank}
    for name, found in sizes.items():
        said = (config.get("ssm_cfg") or {}).get(name, found)
        if said not in (found, "auto"):
            raise InputError(f"the config of this mamba_ssm model says {name}={said}, its weights have {found}")
    head = given.get("lm_head.weight")
    theirs = {
        "model_type": "mamba",
        "vocab_size": len(table),
        "hidden_size": config["d_model"],
        "num_hidden_layers": config["n_layer"],
        "layer_norm_epsilon": NORM_EPS,
        "tie_word_embeddings": head is None or torch.equal(head, table),
        "time_step_min": 1e-3,  # of the initialization, which the weights have behind them
        "time_step_max": 1e-1,
        **{SIZES[name]: size for name, size in sizes.items()},
    }
    return theirs, given


def _check(config: Mapping[str, Any]) -> None:
    options = config.get("ssm_cfg") or {}
    wrong = [
        what
        for what, found in (
            (f"layer {options.get('layer')}", options.get("layer", "Mamba1") != "Mamba1"),
            ("attention layers", bool(config.get("attn_layer_idx"))),
            ("MLP layers", bool(config.get("d_intermediate"))),
            ("LayerNorm", not config.get("rms_norm", True)),
            ("biases", options.get("bias", False) or not options.get("conv_bias", True)),
        )
        if found
    ]
    if wrong:
        raise InputError(f"a mamba_ssm model with {', '.join(wrong)} has no equal here, only a plain Mamba (Mamba-1)")
