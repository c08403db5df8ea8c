"""What a model costs, from its config alone: parameters, and floating-point operations.

FLOPs are counted as the field does (Kaplan et al., 2020, and the PaLM paper, appendix B): a product of (m, k) and
(k, n) is 2 m k n; the backward pass is twice the forward. Attention counts all T x T pairs, as most implementations
compute them, though half are masked; Mamba-2 and Gated DeltaNet count theirs within a chunk, the last one whole. Not
counted: whatever is done element by element (norms, activations, softmax, rotary positions, residuals, gates, decays)
and looking up embeddings. The one exception is Mamba's scan, which does all its work element by element: 7 operations
for each token and each of its E N state elements.
"""

from collections import Counter
from dataclasses import dataclass

from pn_lib.models import delta, ssd
from pn_lib.models.delta import DeltaNetConfig
from pn_lib.models.hybrid import HybridConfig
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.mamba2 import Mamba2Config
from pn_lib.models.transformer import TransformerConfig

NeuralConfig = TransformerConfig | MambaConfig | Mamba2Config | DeltaNetConfig | HybridConfig
EMBEDDINGS = ("token embedding", "position embedding")
SCAN_OPERATIONS = 7  # dt A, its exp, that times the state, (dt x) B, added to it, times C, summed


@dataclass(frozen=True)
class ParameterCount:
    """Number of parameters; a tied output layer is the token embedding, and counted there."""

    total: int
    non_embedding: int  # without the token and position tables
    by_part: dict[str, int]  # adds up to the total; parts that the model has not are left out

    @property
    def in_layers(self) -> int:
        """Without the tables and the output layer, which grow with the vocabulary and not with depth."""
        return self.non_embedding - self.by_part.get("output", 0)


def parameter_count(config: NeuralConfig) -> ParameterCount:
    """Parameters of a model of this config, equal to the model's own ``n_parameters``."""
    c, D, V, transformer = config, config.d_model, config.vocab_size, isinstance(config, TransformerConfig)
    layers = _layers(c)
    norm = D * (2 if transformer and c.norm == "layernorm" and c.bias else 1)
    last = not transformer or c.norm_position == "pre"
    parts = Counter(
        {
            "token embedding": V * D,
            "position embedding": c.context * D if transformer and c.position == "learned" else 0,
            "norms": norm * (len(layers) + last),
            "output": 0 if c.tied_embeddings else V * D,
        }
    )
    for letter, layer in layers:
        parts.update(LAYERS[letter][0](layer))
    found = {name: number for name, number in parts.items() if number}
    total = sum(found.values())
    return ParameterCount(total, total - sum(found.get(name, 0) for name in EMBEDDINGS), found)


def flops_by_part(config: NeuralConfig, length: int) -> dict[str, int]:
    """FLOPs of the parts of a forward pass over one sequence of ``length`` tokens."""
    parts = Counter({"output": 2 * length * config.d_model * config.vocab_size})
    for letter, layer in _layers(config):
        parts.update(LAYERS[letter][1](layer, length))
    return dict(parts)


def _layers(c: NeuralConfig) -> list[tuple[str, NeuralConfig]]:
    """The letter of each residual layer (see ``hybrid``), and the config that it is made from."""
    match c:
        case HybridConfig():
            return [(letter, c.mixer(letter)) for letter in c.layers]
        case TransformerConfig():
            return [("A", c), ("F", c)] * c.n_layers
    letter = {MambaConfig: "S", Mamba2Config: "M", DeltaNetConfig: "D"}[type(c)]
    return [(letter, c)] * c.n_layers


def _attention_parameters(c: TransformerConfig) -> dict[str, int]:
    D, projected = c.d_model, c.d_model + 2 * c.kv_heads * c.head_dim  # queries, keys, values
    attention = D * projected + D * D + c.has_qkv_bias * projected + c.bias * D
    return {"attention": attention, "norms": c.qk_norm * 2 * c.head_dim}


def _attention_flops(c: TransformerConfig, T: int) -> dict[str, int]:
    D = c.d_model
    return {
        "attention projections": 2 * T * (D * (D + 2 * c.kv_heads * c.head_dim) + D * D),
        "attention scores and values": 2 * 2 * T * T * D,
    }


def _mlp_parameters(c: TransformerConfig) -> dict[str, int]:
    D, up = c.d_model, c.ff_width * (2 if c.activation == "swiglu" else 1)
    return {"mlp": D * up + c.ff_width * D + c.bias * (up + D)}


def _mlp_flops(c: TransformerConfig, T: int) -> dict[str, int]:
    D, up = c.d_model, c.ff_width * (2 if c.activation == "swiglu" else 1)
    return {"mlp": 2 * T * (D * up + c.ff_width * D)}


def _mamba_parameters(c: MambaConfig) -> dict[str, int]:
    D, E, N, R = c.d_model, c.d_inner, c.d_state, c.rank
    return {
        "projections": D * 2 * E + E * D,  # in and out
        "convolution": E * c.d_conv + E,
        "selection": E * (R + 2 * N) + R * E + E,  # to dt, B and C, and dt's own projection
        "state": E * N + E,  # A and D
    }


def _mamba_flops(c: MambaConfig, T: int) -> dict[str, int]:
    D, E, N, R = c.d_model, c.d_inner, c.d_state, c.rank
    return {
        "projections": 2 * T * (D * 2 * E + E * D),
        "convolution": 2 * T * E * c.d_conv,
        "selection": 2 * T * (E * (R + 2 * N) + R * E),
        "scan": SCAN_OPERATIONS * T * E * N,
    }


def _mamba2_parameters(c: Mamba2Config) -> dict[str, int]:
    D, E, N, H = c.d_model, c.d_inner, c.d_state, c.n_heads
    return {
        "projections": D * (2 * E + 2 * N + H) + E * D,
        "convolution": (E + 2 * N) * (c.d_conv + 1),
        "state": 3 * H,  # A, D and dt's bias
        "norms": E,
    }


def _mamba2_flops(c: Mamba2Config, T: int) -> dict[str, int]:
    D, E, N, H = c.d_model, c.d_inner, c.d_state, c.n_heads
    Q = min(ssd.CHUNK, T)
    steps = -(-T // Q) * Q
    return {
        "projections": 2 * T * (D * (2 * E + 2 * N + H) + E * D),
        "convolution": 2 * T * (E + 2 * N) * c.d_conv,
        # C B^T and its product with x within a chunk; what is written to the state and read from it
        "duality": 2 * steps * (Q * (N + E) + 2 * N * E),
    }


def _delta_parameters(c: DeltaNetConfig) -> dict[str, int]:
    D, H, channels, values = c.d_model, c.n_heads, sum(c.widths), c.widths[2]
    return {
        "projections": D * (channels + values + 2 * H) + values * D,
        "convolution": channels * (c.d_conv + 1),
        "state": 2 * H,  # A and dt's bias
        "norms": c.value_dim,
    }


def _delta_flops(c: DeltaNetConfig, T: int) -> dict[str, int]:
    D, H, channels, values, N, P = c.d_model, c.n_heads, sum(c.widths), c.widths[2], c.head_dim, c.value_dim
    Q = min(delta.CHUNK, T)
    steps = -(-T // Q) * Q
    return {
        "projections": 2 * T * (D * (channels + values + 2 * H) + values * D),
        "convolution": 2 * T * channels * c.d_conv,
        # k k^T, q k^T and its product with the corrections within a chunk; three products with the state
        "delta rule": 2 * steps * H * (Q * (2 * N + P) + 3 * N * P),
        "triangular system": steps * H * Q * (N + P),
    }


# By the letter of a layer (see ``hybrid``): its parameters, and its FLOPs over T tokens.
LAYERS = {
    "S": (_mamba_parameters, _mamba_flops),
    "M": (_mamba2_parameters, _mamba2_flops),
    "D": (_delta_parameters, _delta_flops),
    "A": (_attention_parameters, _attention_flops),
    "F": (_mlp_parameters, _mlp_flops),
}


def forward_flops(config: NeuralConfig, length: int) -> int:
    """FLOPs of a forward pass over one sequence of ``length`` tokens, logits at each position included."""
    return sum(flops_by_part(config, length).values())


def training_flops_per_token(config: NeuralConfig, length: int | None = None) -> float:
    """FLOPs to train on one token of sequences of ``length`` (None: the context): three forward passes."""
    length = length or config.context
    return 3 * forward_flops(config, length) / length


def training_flops(config: NeuralConfig, tokens: int, length: int | None = None) -> float:
    """FLOPs of a training on so many tokens, in sequences of ``length`` (None: the context)."""
    return training_flops_per_token(config, length) * tokens
