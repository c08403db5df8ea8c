"""Hybrids: one stack whose layers are named by a pattern, a few of attention among recurrent ones.

Attention finds exactly what it looks for, and keeps everything; a recurrence keeps a state of constant size, and
forgets. Jamba (Lieber et al., 2024), Samba (Ren et al., 2024) and Nemotron-H (NVIDIA, 2025) mix both. So do we, with a
letter for each mixer:

    S  Mamba, a selective scan        M  Mamba-2        D  Gated DeltaNet
    A  attention, of all that came before or of a window        F  feed-forward: the MLP of a Transformer

``"MMMAF"`` is repeated until there are L layers. As in Jamba there are no positions: the recurrent layers tell the
order, and no length is too long.
"""

import math
from functools import partial
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from pn_lib.config import config_class
from pn_lib.models.attention import KVCache, SoftmaxAttention
from pn_lib.models.delta import DeltaNetBlock, DeltaNetConfig
from pn_lib.models.mamba import MambaBlock, MambaConfig
from pn_lib.models.mamba2 import Mamba2Block, Mamba2Config
from pn_lib.models.stack import Stack
from pn_lib.models.transformer import MLP, TransformerConfig


@config_class
class HybridConfig:
    """The architecture; options of a mixer that the pattern does not name change nothing.

    Raises:
        InputError (a ValueError): values that no hybrid can have; the sentence names the field.
    """

    vocab_size: PositiveInt
    context: PositiveInt = 256  # the training length only: neither forward nor step has a limit
    d_model: PositiveInt = 128  # D
    n_layers: PositiveInt = 8  # L, each of one mixer
    pattern: Annotated[str, Field(pattern="^[SMDAF]+$")] = "MMMA"  # repeated until there are L layers
    n_heads: PositiveInt = 4  # of attention
    n_kv_heads: PositiveInt | None = None  # None: n_heads
    window: PositiveInt | None = None  # of attention: a token sees itself and the window - 1 before it; None: all
    d_ff: PositiveInt | None = None  # of the MLP, a SwiGLU; None: 8/3 d_model
    d_state: PositiveInt = 64  # N of Mamba-2
    head_dim: PositiveInt = 64  # P of Mamba-2
    scan_state: PositiveInt = 16  # N of Mamba
    delta_heads: PositiveInt = 4  # of Gated DeltaNet, and
    delta_dim: PositiveInt = 32  # the width of their keys
    tied_embeddings: bool = True
    norm_eps: PositiveFloat = 1e-5

    def __post_init__(self) -> None:
        for letter in set(self.pattern):
            self.mixer(letter)  # says what is impossible

    @property
    def layers(self) -> str:
        """The letter of each layer."""
        return (self.pattern * self.n_layers)[: self.n_layers]

    def mixer(self, letter: str) -> MambaConfig | Mamba2Config | DeltaNetConfig | TransformerConfig:
        """The config that the mixer of a letter takes."""
        shared = {name: getattr(self, name) for name in ("vocab_size", "context", "d_model", "n_layers", "norm_eps")}
        match letter:
            case "S":
                return MambaConfig(**shared, d_state=self.scan_state)
            case "M":
                return Mamba2Config(**shared, d_state=self.d_state, head_dim=self.head_dim)
            case "D":
                return DeltaNetConfig(**shared, n_heads=self.delta_heads, head_dim=self.delta_dim)
        heads = {name: getattr(self, name) for name in ("n_heads", "n_kv_heads", "window", "d_ff")}
        return TransformerConfig(**shared | {"context": max(self.context, self.window or 1)}, **heads, position="none")


class GrowingCache(KVCache):
    """Keys and values with no limit: where no room is left, those that can still be seen move to twice as much."""

    def __init__(self, window: int | None):
        super().__init__(context=0)
        self.window = window

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Take the k and v (B, K, T, d) of a whole beginning."""
        self.context = k.shape[2]
        return super().extend(k, v)

    def append(self, k: Tensor, v: Tensor) -> None:
        if self.length == self.context:
            kept = self.length if self.window is None else min(self.length, self.window)
            keys, values = self.keys[:, :, self.length - kept :], self.values[:, :, self.length - kept :]
            self.context, self.length, self.keys, self.values = 2 * kept, 0, None, None
            KVCache.extend(self, keys, values)
        super().append(k, v)


class AttentionMixer(nn.Module):
    """Attention as a layer of a stack, without positions. Its state is the keys and values of the past."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.attention = SoftmaxAttention(config.d_model, config.n_heads, config.kv_heads, False, window=config.window)
        nn.init.normal_(self.attention.qkv.weight, std=0.02)
        nn.init.normal_(self.attention.out.weight, std=0.02 / math.sqrt(config.n_layers))

    def initial_state(self, batch: int) -> KVCache:
        return GrowingCache(self.config.window)

    def forward(self, x: Tensor, state: KVCache | None = None) -> tuple[Tensor, KVCache | None]:
        """x (B, T, D), from the beginning -> (B, T, D); the state, empty so far, takes the keys and values."""
        return self.attention(x, cache=state), state

    def step(self, x: Tensor, state: KVCache) -> tuple[Tensor, KVCache]:
        """One token for each row, x (B, D), behind those in the state -> (B, D)."""
        return self.attention.step(x, None, state), state


class FeedForward(nn.Module):
    """A Transformer's MLP as a layer of a stack: it keeps nothing of the past."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.mlp = MLP(config)
        nn.init.normal_(self.mlp.up.weight, std=0.02)
        nn.init.normal_(self.mlp.down.weight, std=0.02 / math.sqrt(config.n_layers))

    def initial_state(self, batch: int) -> None:
        return None

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.mlp(x), None

    def step(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.mlp.forward(x), None


MIXERS = {"S": MambaBlock, "M": Mamba2Block, "D": DeltaNetBlock, "A": AttentionMixer, "F": FeedForward}


class Hybrid(Stack):
    """L layers, each of the mixer that the pattern names; sequences of any length."""

    name = "hybrid"
    Config = HybridConfig

    def __init__(self, config: HybridConfig):
        super().__init__(config, [partial(MIXERS[letter], config.mixer(letter)) for letter in config.layers])
