"""Mamba's weights to and from Hugging Face's ``MambaForCausalLM``: the same numbers under other names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.models.mamba import Mamba, MambaConfig

# (our field, theirs) where the value is the same
FIELDS = (
    ("vocab_size", "vocab_size"),
    ("d_model", "hidden_size"),
    ("n_layers", "num_hidden_layers"),
    ("d_state", "state_size"),
    ("expand", "expand"),
    ("d_conv", "conv_kernel"),
    ("dt_min", "time_step_min"),
    ("dt_max", "time_step_max"),
    ("norm_eps", "layer_norm_epsilon"),
    ("tied_embeddings", "tie_word_embeddings"),
)

# Options that this Mamba does not have: any other value would give other logits, so it is refused.
FIXED = {"model_type": "mamba", "hidden_act": "silu", "use_bias": False, "use_conv_bias": True}


def from_transformers(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Mamba:
    """Make a Mamba from what ``hf.config.to_dict()`` and ``hf.state_dict()`` give, in evaluation mode.

    Raises:
        InputError: an option that this Mamba does not have, or weights that do not fit the config.
    """
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise InputError(f"cannot convert this Mamba: {key} must be {value!r}, not {config[key]!r}")
    missing = [theirs for _, theirs in FIELDS if theirs not in config]
    if missing:
        raise InputError(f"this is no whole config of a Mamba: it lacks {', '.join(missing)}")
    rank = config.get("time_step_rank", "auto")
    settings = {ours: config[theirs] for ours, theirs in FIELDS}
    model = Mamba(MambaConfig(**settings, dt_rank=None if rank == "auto" else rank))
    names = _names(model)
    try:
        model.load_state_dict({ours: state[theirs] for ours, theirs in names.items()})
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"the weights do not fit the config of this Mamba: {reason}") from None
    return model.eval()


def to_transformers(model: Mamba) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the weights for ``MambaForCausalLM(MambaConfig(**config)).load_state_dict(state)``."""
    config = {theirs: getattr(model.config, ours) for ours, theirs in FIELDS}
    config |= FIXED | {"time_step_rank": model.config.rank, "architectures": ["MambaForCausalLM"]}
    own = model.state_dict()
    state = {theirs: own[ours] for ours, theirs in _names(model).items()}
    state.setdefault("lm_head.weight", own["embedding.weight"])  # tied there too, yet listed
    return config, state


def _names(model: Mamba) -> dict[str, str]:
    """Our name of every tensor -> theirs."""
    return {name: _rename(name) for name in model.state_dict()}


def _rename(name: str) -> str:
    part, _, rest = name.partition(".")
    if part in ("norms", "blocks"):
        layer, _, rest = rest.partition(".")
        theirs = "norm" if part == "norms" else "mixer"
        return f"backbone.layers.{layer}.{theirs}.{rest.replace('conv.', 'conv1d.')}"
    return {"embedding": "backbone.embeddings", "norm": "backbone.norm_f", "head": "lm_head"}[part] + f".{rest}"
