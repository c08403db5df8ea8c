"""A decoder-only Transformer (Vaswani et al., 2017) with the choices made since, each a field of its config."""

from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.config import config_class
from pn_lib.errors import InputError
from pn_lib.models.attention import KVCache, LinearAttention, LinearCache, Rotation, SoftmaxAttention, rotary_table
from pn_lib.models.base import Decoder, LanguageModel, check_ids
from pn_lib.models.cpu.availability import can_fuse, can_step_fused
from pn_lib.models.dropout import Dropout
from pn_lib.models.loss import linear_cross_entropy, token_nats
from pn_lib.models.norm import RMSNorm


@config_class
class TransformerConfig:
    """The architecture. The defaults are Llama's choices (Touvron et al., 2023) at a laptop's size.

    Raises:
        InputError (a ValueError): values that no Transformer can have; the sentence names the field.
    """

    vocab_size: PositiveInt
    context: PositiveInt = 256  # the longest sequence, in tokens
    d_model: PositiveInt = 128
    n_layers: PositiveInt = 4
    n_heads: PositiveInt = 4
    n_kv_heads: PositiveInt | None = None  # None: n_heads; fewer: grouped-query; 1: multi-query
    d_ff: PositiveInt | None = None  # None: 4 d_model, or for swiglu, which has a third matrix, 8/3 d_model
    position: Literal["rope", "learned", "sinusoidal", "none"] = "rope"
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_position: Literal["pre", "post"] = "pre"  # post: the original paper's, and then no final norm
    activation: Literal["swiglu", "gelu", "relu", "relu2"] = "swiglu"  # gelu: the tanh form, as GPT-2's; relu2: squared
    attention: Literal["softmax", "linear"] = "softmax"
    qk_norm: bool = False  # each query and key head is divided by its root mean square, times a learned gain
    attention_scale: bool = True  # softmax attention divides q.k by the root of the head width; GPT-Neo does not
    window: PositiveInt | None = None  # a token sees itself and the window - 1 before it; None: all before it
    window_layers: Literal["all", "alternate"] = "all"  # alternate: the second, fourth, ...; the others see everything
    tied_embeddings: bool = True  # the output layer is the embedding table
    initialisation: Literal["gpt2", "zero"] = "gpt2"  # zero: each block begins as the identity
    bias: bool = False  # in all linear layers but the output, and in LayerNorm
    qkv_bias: bool | None = None  # in the projections to queries, keys and values; None: as ``bias`` says
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rope_theta: PositiveFloat = 10000.0
    norm_eps: PositiveFloat = 1e-5

    def __post_init__(self) -> None:
        """What no field can say alone."""
        softmax = self.attention == "softmax"
        for possible, sentence in (
            (self.d_model % self.n_heads == 0, f"n_heads ({self.n_heads}) must divide d_model ({self.d_model})"),
            (self.n_heads % self.kv_heads == 0, f"n_kv_heads ({self.kv_heads}) must divide n_heads ({self.n_heads})"),
            (
                self.position != "rope" or self.head_dim % 2 == 0,
                f"rope turns pairs of channels: d_model / n_heads must be even, not {self.head_dim}",
            ),
            (
                self.position != "sinusoidal" or self.d_model % 2 == 0,
                f"sinusoidal positions pair channels: d_model must be even, not {self.d_model}",
            ),
            (
                self.window is None or softmax,
                "window needs softmax attention: linear attention keeps sums and cannot forget single tokens",
            ),
            (
                self.attention_scale or softmax,
                "attention_scale=False needs softmax attention: linear attention has no scale to leave out",
            ),
            (
                not self.qk_norm or softmax,
                "qk_norm needs softmax attention: linear attention normalises its weights already",
            ),
            (
                self.window_layers == "all" or self.window is not None,
                f"window_layers={self.window_layers!r} needs a window",
            ),
            (
                self.window is None or self.window <= self.context,
                f"window ({self.window}) must not exceed the context ({self.context})",
            ),
        ):
            if not possible:
                raise ValueError(sentence)

    @property
    def kv_heads(self) -> int:
        return self.n_heads if self.n_kv_heads is None else self.n_kv_heads

    @property
    def has_qkv_bias(self) -> bool:
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    def window_of(self, layer: int) -> int | None:
        """The window of a layer, counted from 0; None: it has none."""
        return None if self.window_layers == "alternate" and layer % 2 == 0 else self.window

    @property
    def ff_width(self) -> int:
        """Width of the hidden layer; for swiglu 8/3 d_model, rounded up to a multiple of 16."""
        if self.d_ff is not None:
            return self.d_ff
        return -(-8 * self.d_model // 48) * 16 if self.activation == "swiglu" else 4 * self.d_model


def sinusoidal_table(context: int, d_model: int) -> Tensor:
    """Positions (context, D) of Vaswani et al., 2017, section 3.5: sines in even channels, cosines in odd ones."""
    position = torch.arange(context, dtype=torch.float32)
    frequency = 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float32) / d_model)
    angle = torch.outer(position, frequency)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


class MLP(nn.Module):
    """The position-wise network: down(relu(up(x))), with gelu or relu squared (So et al., 2021) in relu's place; with
    swiglu, down(silu(gate(x)) * up(x)) (Shazeer, 2020)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.activation = config.activation
        # swiglu's gate and up projections are one matrix: the first half of its rows is the gate
        width = config.ff_width * (2 if config.activation == "swiglu" else 1)
        self.up = nn.Linear(config.d_model, width, bias=config.bias)
        self.down = nn.Linear(config.ff_width, config.d_model, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)"""
        if self.activation == "swiglu" and can_fuse(x):
            from pn_lib.models.cpu.fused_blocks import can_split, swiglu  # needs Numba, which need not be there

            if can_split(self.down.in_features):
                return self.down(swiglu(self.up(x)))
        if self.activation == "swiglu" and torch.is_grad_enabled():
            # Two products, where cutting the result of one in two would cost copies in the backward pass.
            biases = (None, None) if self.up.bias is None else self.up.bias.chunk(2)
            gate, x = (F.linear(x, W, b) for W, b in zip(self.up.weight.chunk(2), biases, strict=True))
            return self.down(F.silu(gate) * x)
        x = F.linear(x, self.up.weight, self.up.bias)
        if self.activation == "swiglu":
            gate, x = x.chunk(2, dim=-1)
            x = F.silu(gate) * x
        else:
            x = F.gelu(x, approximate="tanh") if self.activation == "gelu" else F.relu(x)
            x = x * x if self.activation == "relu2" else x
        return F.linear(x, self.down.weight, self.down.bias)


class Block(nn.Module):
    """Attention, then the MLP, each with a residual connection and a norm before (pre) or after it (post)."""

    def __init__(self, config: TransformerConfig, layer: int):
        super().__init__()
        c = config
        self.pre = c.norm_position == "pre"
        self.attention_norm = make_norm(c)
        options = (c.d_model, c.n_heads, c.kv_heads, c.bias, c.has_qkv_bias)
        if c.attention == "softmax":
            qk_norm_eps = c.norm_eps if c.qk_norm else None
            self.attention = SoftmaxAttention(*options, c.window_of(layer), c.attention_scale, qk_norm_eps)
        else:
            self.attention = LinearAttention(*options)
        self.mlp_norm = make_norm(c)
        self.mlp = MLP(c)
        self.dropout = Dropout(c.dropout)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None,
        cache: KVCache | LinearCache | None = None,
        stories: Tensor | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D)"""
        if self.pre:
            x = x + self.dropout(self.attention(self.attention_norm(x), rotation, cache, stories))
            return x + self.dropout(self.mlp(self.mlp_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, rotation, cache, stories)))
        return self.mlp_norm(x + self.dropout(self.mlp(x)))

    def step(self, x: Tensor, rotation: Rotation | None, cache: KVCache | LinearCache) -> Tensor:
        """One more token, x (B, D) -> (B, D), as ``forward`` in evaluation. Methods are called directly, because at one
        token the hooks that PyTorch looks for around each module take longer than its arithmetic."""
        norm, mlp_norm, mlp = self.attention_norm.forward, self.mlp_norm.forward, self.mlp.forward
        if self.pre:
            x = x + self.attention.step(norm(x), rotation, cache)
            return x + mlp(mlp_norm(x))
        x = norm(x + self.attention.step(x, rotation, cache))
        return mlp_norm(x + mlp(x))

    def attention_weights(self, x: Tensor, rotation: Rotation | None) -> Tensor:
        """What this block's attention weighs the values with: (B, H, T, T), row = query."""
        return self.attention.weights(self.attention_norm(x) if self.pre else x, rotation)


def make_norm(config: TransformerConfig) -> nn.Module:
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, eps=config.norm_eps)
    return nn.LayerNorm(config.d_model, eps=config.norm_eps, bias=config.bias)


class Transformer(LanguageModel):
    """Token embedding, positions, L blocks, a final norm (pre only), and logits over the vocabulary.

    Weights start as GPT-2's do (Radford et al., 2019): normal with standard deviation 0.02, the two projections into
    the residual stream of each block scaled down by sqrt(2 L), biases 0, norms 1. With sinusoidal positions the
    embeddings are multiplied by sqrt(D), as in Vaswani et al., 2017, section 3.4.
    """

    name = "transformer"
    Config = TransformerConfig
    takes_stories = True

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        c = config
        self.embedding = nn.Embedding(c.vocab_size, c.d_model)
        if c.position == "learned":
            self.positions = nn.Embedding(c.context, c.d_model)
        elif c.position == "sinusoidal":
            self.register_buffer("sinusoids", sinusoidal_table(c.context, c.d_model), persistent=False)
        elif c.position == "rope":
            cos, sin = rotary_table(c.head_dim, c.context, c.rope_theta)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        self.dropout = Dropout(c.dropout)
        self.blocks = nn.ModuleList(Block(c, layer) for layer in range(c.n_layers))
        self.norm = make_norm(c) if c.norm_position == "pre" else nn.Identity()
        if not c.tied_embeddings:
            self.head = nn.Linear(c.d_model, c.vocab_size, bias=False)
        self._initialise()

    @property
    def max_length(self) -> int:
        """The most tokens that ``forward``, or ``prefill`` and ``step`` together, take."""
        return self.config.context

    def forward(self, ids: Tensor, targets: Tensor | None = None, stories: Tensor | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V), or with ``targets`` (B, T) the mean cross-entropy in nats.

        With ``stories`` (B, T), the number of each token's story, attention ends at a story's borders.

        Raises:
            InputError: T exceeds the context, or an id is outside the vocabulary.
        """
        self._check(ids)
        x = self._hidden(ids, stories=stories)
        return self._logits(x) if targets is None else linear_cross_entropy(x, self.output_weight(), targets)

    @torch.no_grad()
    def nats(self, ids: Tensor, targets: Tensor) -> Tensor:
        """As ``LanguageModel.nats``, without ever holding the logits of a whole batch."""
        self._check(ids)
        return token_nats(self._hidden(ids), self.output_weight(), targets)

    def prefill(self, ids: Tensor) -> tuple[Tensor, Decoder]:
        """ids (B, T) -> logits after the last token (B, V), and the state. Raises InputError as ``forward`` does."""
        self._check(ids)
        state = self.decoder(len(ids))
        x = self._hidden(ids, state.caches)
        state.length = ids.shape[1]
        return self._logits(x[:, -1]), state

    def decoder(self, batch: int) -> Decoder:
        """One that has seen nothing: by a kernel where that can run, and by PyTorch's operations elsewhere.

        Its ``caches`` take each layer's keys and values from ``prefill``; its ``length`` counts the tokens seen.
        """
        if self.config.attention == "linear" or self.config.d_model % 16 or not can_step_fused(self.embedding.weight):
            return TransformerDecoder(self)
        from pn_lib.models.cpu.fused_decoding import FusedTransformer  # needs Numba, which need not be there

        return FusedTransformer(self, batch)

    def step(self, ids: Tensor, state: Decoder) -> tuple[Tensor, Decoder]:
        """ids (B,) -> logits (B, V), and the state, changed in place.

        Raises:
            InputError: the state holds as many tokens as the context already.
        """
        self._check_length(state.length + 1)
        return state.step(self._embed(ids.unsqueeze(1), state.length).squeeze(1)), state

    def attention_maps(self, ids: Tensor) -> list[Tensor]:
        """For each layer the weights (B, H, T, T) that ``forward`` uses, row = query. Raises InputError as it does.

        Each row sums to one, except for linear attention with rotary positions.
        """
        self._check(ids)
        x, rotation, maps = self._embed(ids, 0), self._rotation(slice(ids.shape[1])), []
        for block in self.blocks:
            maps.append(block.attention_weights(x, rotation))
            x = block(x, rotation)
        return maps

    def _hidden(self, ids: Tensor, caches: list | None = None, stories: Tensor | None = None) -> Tensor:
        """ids (B, T) -> the last block's output (B, T, D), normed; ``caches`` take the tokens."""
        x, rotation = self._embed(ids, 0), self._rotation(slice(ids.shape[1]))
        for i, block in enumerate(self.blocks):
            x = block(x, rotation, None if caches is None else caches[i], stories)
        return self.norm(x)

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        here = slice(start, start + ids.shape[1])
        x = self.embedding(ids)
        if self.config.position == "learned":
            x = x + self.positions.weight[here]
        elif self.config.position == "sinusoidal":
            x = x * self.config.d_model**0.5 + self.sinusoids[here]
        return self.dropout(x)

    def _rotation(self, positions: int | slice) -> Rotation | None:
        return (self.cos[positions], self.sin[positions]) if self.config.position == "rope" else None

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(x, self.output_weight())

    def output_weight(self) -> Tensor:
        """The weight of the output layer, (V, D)."""
        return self.embedding.weight if self.config.tied_embeddings else self.head.weight

    def _check(self, ids: Tensor) -> None:
        if ids.is_cpu:  # elsewhere reading the ids would make the host wait for the device at every call
            check_ids(ids, self.config.vocab_size)
        if ids.ndim != 2 or ids.shape[1] == 0:
            raise InputError(f"token ids must be (B, T) with at least one token a row, not {tuple(ids.shape)}")
        self._check_length(ids.shape[1])

    def _check_length(self, length: int) -> None:
        if length > self.config.context:
            raise InputError(
                f"the sequence is {length} tokens, the model's context is {self.config.context}: "
                "shorten it, or score it in windows"
            )

    def _initialise(self) -> None:
        zero = self.config.initialisation == "zero"
        for name, module in self.named_modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Linear):
                std = module.in_features**-0.5 if zero else 0.02
                if name.endswith((".attention.out", ".mlp.down")) or (zero and name == "head"):
                    std = 0.0 if zero else std / (2 * self.config.n_layers) ** 0.5
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class TransformerDecoder(Decoder):
    """Decoding by PyTorch's operations, block by block: each layer's cache, and how many tokens they have seen."""

    def __init__(self, model: Transformer):
        self.model, self.length = model, 0
        linear, context = model.config.attention == "linear", model.config.context
        self.caches = [LinearCache() if linear else KVCache(context) for _ in model.blocks]

    def step(self, x: Tensor) -> Tensor:
        rotation = self.model._rotation(self.length)
        for block, cache in zip(self.model.blocks, self.caches, strict=True):
            x = block.step(x, rotation, cache)
        self.length += 1
        return self.model._logits(self.model.norm(x))

    def select(self, rows: Tensor) -> None:
        for cache in self.caches:
            cache.select(rows)

    def n_bytes(self) -> int:
        return sum(cache.n_bytes() for cache in self.caches)
