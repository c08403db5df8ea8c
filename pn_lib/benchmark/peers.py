"""Others' models behind the calls of ours: transformers' Llama and GPT-2, and mambapy's Mamba.

Import this only where it is wanted: the packages are the optional extra ``peers``.
"""

import importlib.util

import torch
from torch import Tensor, nn

from pn_lib.errors import InputError
from pn_lib.models.architectures import build_model
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.huggingface import to_transformers
from pn_lib.models.loss import linear_cross_entropy
from pn_lib.models.mamba import MambaConfig

PACKAGES = ("transformers", "mambapy")


def check_installed() -> None:
    """Refuse at once, with what to do, where a package is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the benchmark's peers need {' and '.join(missing)}: pip install -e .[peers]")


check_installed()
from mambapy import mamba as mambapy  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, logging  # noqa: E402

logging.set_verbosity_error()


class HuggingFace(nn.Module):
    """transformers' model of a config of ours (Llama, GPT-2 or Mamba-2), with the weights that ours has."""

    def __init__(self, config: NeuralConfig):
        super().__init__()
        settings, weights = to_transformers(build_model(config))
        self.model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings))
        self.model.load_state_dict(weights)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy in nats, as transformers computes it; ids and targets (B, T)."""
        # their own way of moving the labels by one would drop the last target
        return self.model(input_ids=ids, labels=targets, shift_labels=targets, use_cache=False).loss

    def generate(self, ids: Tensor, new_tokens: int, temperature: float) -> Tensor:
        """ids (B, T) and ``new_tokens`` more of each row; none ends early."""
        choice = (
            {"do_sample": False} if temperature == 0 else {"do_sample": True, "temperature": temperature, "top_k": 0}
        )
        with torch.inference_mode():
            return self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                eos_token_id=None,
                pad_token_id=0,
                **choice,
            )


class MambaPy(nn.Module):
    """mambapy's blocks with its parallel scan, between an embedding and a loss as ours has them."""

    def __init__(self, config: MambaConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = mambapy.Mamba(
            mambapy.MambaConfig(
                d_model=config.d_model,
                n_layers=config.n_layers,
                d_state=config.d_state,
                expand_factor=config.expand,
                d_conv=config.d_conv,
                pscan=True,
            )
        )
        self.norm = nn.RMSNorm(config.d_model, config.norm_eps)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy in nats; ids and targets (B, T)."""
        hidden = self.norm(self.blocks(self.embedding(ids)))
        return linear_cross_entropy(hidden, self.embedding.weight, targets)


def mambapy_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """mambapy's parallel scan with what it needs before and after; arguments and y as of ``selective_scan``."""
    return mambapy.MambaBlock.selective_scan(None, x, dt, A, B, C, D)
