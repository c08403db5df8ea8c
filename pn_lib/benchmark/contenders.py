"""Who is measured and at which sizes: the same shapes for our models and for those of others."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from pn_lib.models.architectures import build_model
from pn_lib.models.base import LanguageModel
from pn_lib.models.delta import DeltaNetConfig
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.hybrid import HybridConfig
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.mamba2 import Mamba2Config
from pn_lib.models.transformer import Transformer, TransformerConfig


@dataclass(frozen=True)
class Scale:
    """Every size of the benchmark. Lengths and contexts are in tokens."""

    vocab_size: int = 2048
    d_model: int = 128
    layers: int = 4
    equal_layers: int = 7  # with which a Mamba or Mamba-2 has as many parameters as a Transformer of ``layers``
    delta_layers: int = 6  # the same for a Gated DeltaNet
    hybrid_layers: int = 8  # and for three of Mamba-2 and one of attention, repeated
    large_width: int = 512  # of a Transformer of 30 million parameters, and its layers
    large_layers: int = 9
    tokens: int = 4096  # of a batch, whatever the length of its sequences
    lengths: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    peer_length: int = 256  # at which others train
    reference_length: int = 512  # the longest for which the plain loop is timed
    contexts: tuple[int, ...] = (64, 256, 1024, 4096, 8192)
    batches: tuple[int, ...] = (1, 32)  # sequences decoded at once
    new_tokens: int = 200
    rounds: int = 7
    limit: float = 10.0  # seconds, see ``alternate``
    compiled: bool = True
    matrix_size: int = 1024

    def tiny(self) -> "Scale":
        """The same models at a width and a batch that take next to no memory."""
        return replace(self, vocab_size=64, d_model=32, tokens=16)


FULL = Scale()
QUICK = Scale(
    vocab_size=64,
    d_model=32,
    layers=1,
    equal_layers=2,
    delta_layers=2,
    hybrid_layers=4,
    large_width=64,
    large_layers=1,
    tokens=64,
    lengths=(16, 32),
    peer_length=32,
    reference_length=16,
    contexts=(64, 80),
    batches=(1, 2),
    new_tokens=8,
    rounds=2,
    compiled=False,
    matrix_size=128,
)
LLAMA, GPT2, MAMBA2 = "transformers Llama", "transformers GPT-2", "transformers Mamba-2"


@dataclass(frozen=True)
class Entrant:
    """A kind of model: its config for sequences of so many tokens, and how it is built from one."""

    config: Callable[[int], NeuralConfig]
    build: Callable[[NeuralConfig], nn.Module]

    def model(self, context: int) -> nn.Module:
        return self.build(self.config(context))


def mamba_name(layers: int) -> str:
    return f"Mamba, {layers} layers"


def mixer_names(scale: Scale) -> list[str]:
    """Of the newer mixers, each with as many parameters as the Transformer."""
    return [
        mamba2_name(scale),
        f"Gated DeltaNet, {scale.delta_layers} layers",
        f"Hybrid, {scale.hybrid_layers} layers",
    ]


def mamba2_name(scale: Scale) -> str:
    return f"Mamba-2, {scale.equal_layers} layers"


def mambapy_name(layers: int) -> str:
    return f"mambapy Mamba, {layers} layers"


def ours(scale: Scale) -> dict[str, Entrant]:
    """Our models by name: the Transformer; Mamba with as many parameters, and with as many layers; ``mixer_names``."""
    found = {"Transformer": Entrant(lambda context: _transformer(scale, context), Transformer)}
    for layers in (scale.equal_layers, scale.layers):
        found[mamba_name(layers)] = Entrant(lambda context, layers=layers: _mamba(scale, layers, context), Mamba)
    configs = (
        lambda context: Mamba2Config(scale.vocab_size, context, scale.d_model, scale.equal_layers),
        lambda context: DeltaNetConfig(scale.vocab_size, context, scale.d_model, scale.delta_layers),
        lambda context: HybridConfig(scale.vocab_size, context, scale.d_model, scale.hybrid_layers, "MMMA"),
    )
    return found | {
        name: Entrant(config, build_model) for name, config in zip(mixer_names(scale), configs, strict=True)
    }


def others(scale: Scale) -> dict[str, Entrant]:
    """Models of transformers and mambapy, of the shapes of ours.

    Raises:
        InputError: one of the packages is not installed.
    """
    from pn_lib.benchmark import peers

    gpt2 = {"position": "learned", "norm": "layernorm", "activation": "gelu", "bias": True}
    return {
        LLAMA: Entrant(lambda context: _transformer(scale, context), peers.HuggingFace),
        GPT2: Entrant(lambda context: _transformer(scale, context, **gpt2), peers.HuggingFace),
        MAMBA2: Entrant(ours(scale)[mamba2_name(scale)].config, peers.HuggingFace),
        mambapy_name(scale.layers): Entrant(lambda context: _mamba(scale, scale.layers, context), peers.MambaPy),
    }


def find(name: str, scale: Scale) -> Entrant:
    """Ours, or another's, by name."""
    known = ours(scale)
    return known[name] if name in known else others(scale)[name]


def build_ours(name: str, scale: Scale, context: int) -> LanguageModel:
    """One of our models, with the same weights each time, ready to decode."""
    torch.manual_seed(0)
    return ours(scale)[name].model(context).eval()


def random_ids(scale: Scale, *shape: int) -> torch.Tensor:
    """Token ids, int64, the same each time."""
    return torch.randint(scale.vocab_size, shape, generator=torch.Generator().manual_seed(0))


def _transformer(scale: Scale, context: int, **options) -> TransformerConfig:
    return TransformerConfig(scale.vocab_size, context, scale.d_model, scale.layers, n_heads=4, **options)


def _mamba(scale: Scale, layers: int, context: int) -> MambaConfig:
    return MambaConfig(scale.vocab_size, context, scale.d_model, layers)
