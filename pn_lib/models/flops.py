"""What a model costs, from its config alone: parameters, and floating-point operations.

FLOPs are counted as the field does (Kaplan et al., 2020, and the PaLM paper, appendix B): a product of (m, k) and
(k, n) is 2 m k n; the backward pass is twice the forward. Attention counts all T x T pairs, as most implementations
compute them, though half are masked. Not counted: whatever is done element by element (norms, activations, softmax,
rotary positions, residuals, gates) and looking up embeddings. The one exception is Mamba's scan, which does all its
work element by element: 7 operations for each token and each of its E N state elements.
"""

from dataclasses import dataclass

from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig

NeuralConfig = TransformerConfig | MambaConfig
EMBEDDINGS = ("token embedding", "position embedding")
SCAN_OPERATIONS = 7  # dt A, its exp, that times the state, (dt x) B, added to it, times C, summed


@dataclass(frozen=True)
class ParameterCount:
    """Number of parameters; a tied output layer is the token embedding, and counted there."""

    total: int
    non_embedding: int  # without the token and position tables
    by_part: dict[str, int]  # adds up to the total; parts that the model has not are left out


def parameter_count(config: NeuralConfig) -> ParameterCount:
    """Parameters of a Transformer or a Mamba, equal to the model's own ``n_parameters``."""
    parts = _mamba_parameters(config) if isinstance(config, MambaConfig) else _transformer_parameters(config)
    parts = {name: number for name, number in parts.items() if number}
    total = sum(parts.values())
    return ParameterCount(total, total - sum(parts.get(name, 0) for name in EMBEDDINGS), parts)


def _transformer_parameters(c: TransformerConfig) -> dict[str, int]:
    D, L, V = c.d_model, c.n_layers, c.vocab_size
    projected = D + 2 * c.kv_heads * c.head_dim  # queries, keys, values
    up = c.ff_width * (2 if c.activation == "swiglu" else 1)
    norm = D * (2 if c.norm == "layernorm" and c.bias else 1)
    return {
        "token embedding": V * D,
        "position embedding": c.context * D if c.position == "learned" else 0,
        "attention": L * (D * projected + D * D + c.has_qkv_bias * projected + c.bias * D),
        "mlp": L * (D * up + c.ff_width * D + c.bias * (up + D)),
        "norms": norm * (2 * L + (c.norm_position == "pre")) + c.qk_norm * L * 2 * c.head_dim,
        "output": 0 if c.tied_embeddings else V * D,
    }


def _mamba_parameters(c: MambaConfig) -> dict[str, int]:
    D, E, N, R, L, V = c.d_model, c.d_inner, c.d_state, c.rank, c.n_layers, c.vocab_size
    return {
        "token embedding": V * D,
        "projections": L * (D * 2 * E + E * D),  # in and out
        "convolution": L * (E * c.d_conv + E),
        "selection": L * (E * (R + 2 * N) + R * E + E),  # to dt, B and C, and dt's own projection
        "state": L * (E * N + E),  # A and D
        "norms": D * (L + 1),
        "output": 0 if c.tied_embeddings else V * D,
    }


def flops_by_part(config: NeuralConfig, length: int) -> dict[str, int]:
    """FLOPs of the parts of a forward pass over one sequence of ``length`` tokens."""
    c, T = config, length
    output = {"output": 2 * T * c.d_model * c.vocab_size}
    if isinstance(c, MambaConfig):
        D, E, N, R = c.d_model, c.d_inner, c.d_state, c.rank
        layer = {
            "projections": 2 * T * (D * 2 * E + E * D),
            "convolution": 2 * T * E * c.d_conv,
            "selection": 2 * T * (E * (R + 2 * N) + R * E),
            "scan": SCAN_OPERATIONS * T * E * N,
        }
    else:
        D, up = c.d_model, c.ff_width * (2 if c.activation == "swiglu" else 1)
        layer = {
            "attention projections": 2 * T * (D * (D + 2 * c.kv_heads * c.head_dim) + D * D),
            "attention scores and values": 2 * 2 * T * T * D,
            "mlp": 2 * T * (D * up + c.ff_width * D),
        }
    return {name: c.n_layers * flops for name, flops in layer.items()} | output


def forward_flops(config: NeuralConfig, length: int) -> int:
    """FLOPs of a forward pass over one sequence of ``length`` tokens, logits at each position included."""
    return sum(flops_by_part(config, length).values())


def training_flops_per_token(config: NeuralConfig, length: int | None = None) -> float:
    """FLOPs to train on one token of sequences of ``length`` (None: the context): three forward passes."""
    length = length or config.context
    return 3 * forward_flops(config, length) / length
