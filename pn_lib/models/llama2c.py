"""Models in the file formats of llama2.c (github.com/karpathy/llama2.c): in all its versions, out in the first and in
version 2.

A legacy ``.bin`` is seven little-endian int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; a
negative vocab_size says that the output layer is a matrix of its own), then float32 tensors, each stacked over the
layers. Versions 1 and 2 (its export.py) have a header of 256 bytes: "ak42" as an integer, the version, the seven
int32, a byte that says whether the output layer is shared, and in version 2 the size of a group. The norms come first.
In version 2, which its ``runq`` runs, all other tensors are int8, with one float32 scale for every group of neighbors
(Q8_0); here they become the numbers that these stand for.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pn_lib.data.tokenizer import Tokenizer
from pn_lib.errors import InputError, one_line
from pn_lib.files import atomic
from pn_lib.models.attention import rotary_table
from pn_lib.models.base import LanguageModel, check_tokenizer
from pn_lib.models.foreign import read_llama2c
from pn_lib.models.grid import Grid, round_matrix
from pn_lib.models.transformer import Transformer, TransformerConfig

MAGIC, HEADER_BYTES = 0x616B3432, 256  # "ak42"; of the versions that have a header
# Neighbors that share a scale, as llama2.c has them, and the fewest that are worth it: 1.5 bytes a weight.
GROUP, LEAST_GROUP = 64, 8
Shapes = dict[str, tuple[int, ...]]


def load_llama2c(path: Path | str) -> Transformer:
    """Read a llama2.c model: legacy, version 1, or version 2, dequantized; in evaluation mode, on the CPU.

    Raises:
        InputError: the file is missing, is no such model, or is cut short.
    """
    path = Path(path)
    data = read_llama2c(path)
    header = _read_header(path, data)
    shapes = _shapes(header.config, header.config.tied_embeddings)
    if header.version:
        shapes = _as_later(shapes)
    expected = header.size + _body_bytes(shapes, header.group)
    if len(data) != expected:
        raise InputError(f"{path} has {len(data)} bytes where its header makes {expected}: it is damaged, get it anew")
    if header.group:
        tensors = _dequantized(path, data[header.size :], shapes, header.group)
    else:
        tensors = _cut(np.frombuffer(data, "<f4", offset=header.size), shapes)
    model = Transformer(header.config)
    model.load_state_dict(_state(tensors, header.config))
    return model.eval()


def save_llama2c(model: LanguageModel, path: Path | str) -> None:
    """Write a model as ``load_llama2c`` and llama2.c's programs read it: the same logits, in float32.

    Raises:
        InputError: the model has what llama2.c has not.
    """
    _check_fits(model)
    c, tensors = model.config, _tensors(model)
    vocab_size = c.vocab_size if c.tied_embeddings else -c.vocab_size
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<7i", *_inner_sizes(c), vocab_size, c.context))
        for name in _shapes(c, c.tied_embeddings):
            file.write(_floats(tensors[name]))


def save_llama2c_int8(model: LanguageModel, path: Path | str) -> None:
    """Write a model in version 2, as ``load_llama2c`` and llama2.c's ``runq`` read it: its matrices are rounded as
    ``quantize`` rounds them to int8, in groups of 64, or of the largest power of two below that divides its widths.

    Raises:
        InputError: the model has what llama2.c has not, or widths that no such group divides.
    """
    _check_fits(model)
    c, tensors = model.config, _tensors(model)
    group = math.gcd(GROUP, c.d_model, c.ff_width)
    if group < LEAST_GROUP:
        raise InputError(
            f"llama2.c's int8 shares each scale among {LEAST_GROUP} neighbors or more, which must divide "
            f"d_model={c.d_model} and d_ff={c.ff_width}: export this model in 32 bits"
        )
    sizes = (*_inner_sizes(c), c.vocab_size, c.context)
    header = struct.pack("<Ii7iBi", MAGIC, 2, *sizes, c.tied_embeddings, group)
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(header.ljust(HEADER_BYTES, b"\0"))
        for name in _as_later(_shapes(c, c.tied_embeddings)):
            file.write(_floats(tensors[name]) if name.startswith("rms") else _rounded(tensors[name], group))


def export_llama2c(model: LanguageModel, tokenizer: Tokenizer, folder: Path | str, bits: Literal[32, 8] = 32) -> None:
    """Write ``model.bin`` and ``tokenizer.bin``, with which llama2.c's program tells stories of our model; in 8 bits
    (see ``save_llama2c_int8``) that program is ``runq``:

        run model.bin -z tokenizer.bin -t 0.8 -i "Once upon a time"

    The tokens are numbered anew (see ``_numbering``), the rows of the embedding and the output layer with them; no
    token is added, so that each keeps its probability. The output layer is written out even where it is tied.

    Where its text differs from ours: ``run`` prints no byte over 127 that is a token by itself (rare letters and emoji
    come out in part), nor a space that a story begins with; and it may cut a prompt otherwise, because it joins any
    neighbours that make a token, not only learnt merges within a word.

    Raises:
        InputError: the model has what llama2.c has not, or the tokenizer is not its own or has fewer than two merges;
            or the model's widths do not fit 8 bits.
    """
    _check_fits(model)
    check_tokenizer(model, tokenizer)
    numbering, state = _numbering(tokenizer), model.state_dict()
    rows = state["embedding.weight"][numbering]
    head = rows.clone() if model.config.tied_embeddings else state["head.weight"][numbering]
    rows[0] = rows[1]  # read, token 0 is the separator; written, it remains what never comes
    renumbered = Transformer(replace(model.config, tied_embeddings=False))
    renumbered.load_state_dict({**state, "embedding.weight": rows, "head.weight": head})
    {32: save_llama2c, 8: save_llama2c_int8}[bits](renumbered, Path(folder) / "model.bin")
    _write_tokenizer(tokenizer, numbering, Path(folder) / "tokenizer.bin")


def _inner_sizes(c: TransformerConfig) -> tuple[int, ...]:
    """With which each header begins; the vocabulary and the context follow."""
    return c.d_model, c.ff_width, c.n_layers, c.n_heads, c.kv_heads


def _floats(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().float().numpy().astype("<f4").tobytes()


def _rounded(matrices: Tensor, group: int) -> bytes:
    """(..., out, in), of one layer after another: int8 numbers, then the scales of their groups."""
    parts = []
    for matrix in matrices.detach().cpu().view(-1, *matrices.shape[-2:]):
        rounded = round_matrix(matrix, Grid("int8", group))
        parts += [rounded.integers.numpy().tobytes(), _floats(rounded.scales)]
    return b"".join(parts)


@dataclass(frozen=True)
class _Header:
    version: int  # 0: legacy
    size: int  # in bytes
    config: TransformerConfig
    group: int  # int8 numbers that share a scale; 0: all tensors are float32


def _read_header(path: Path, data: bytes) -> _Header:
    if len(data) < 28:
        raise InputError(f"{path} has {len(data)} bytes, too few for the header of a llama2.c model")
    magic, version = struct.unpack_from("<Ii", data)
    if magic != MAGIC:
        sizes = struct.unpack_from("<7i", data)
        return _Header(0, 28, _config(path, sizes, tied=sizes[5] > 0), group=0)
    if len(data) < HEADER_BYTES:
        raise InputError(f"{path} has {len(data)} bytes, too few for the header of a llama2.c model of version 1 or 2")
    if version not in (1, 2):
        raise InputError(
            f"{path} is llama2.c's version {version}, and only the legacy format and versions 1 and 2 can be read; "
            "export it again (llama2.c's export.py --version 1)"
        )
    *sizes, tied, group = struct.unpack_from("<7iBi", data, 8)
    config = _config(path, sizes, bool(tied))
    if version == 2 and not (group > 0 and config.d_model % group == 0):
        raise InputError(f"{path} says that {group} numbers share a scale, which must divide its width; get it anew")
    return _Header(version, HEADER_BYTES, config, group if version == 2 else 0)


def _config(path: Path, sizes: Sequence[int], tied: bool) -> TransformerConfig:
    dim, hidden, layers, heads, kv_heads, vocab_size, context = sizes
    try:
        return TransformerConfig(abs(vocab_size), context, dim, layers, heads, kv_heads, hidden, tied_embeddings=tied)
    except ValueError as error:
        raise InputError(f"{path} is no llama2.c model ({one_line(error)})") from None


def _as_later(shapes: Shapes) -> Shapes:
    """The tensors in the order of versions 1 and 2: the norms come first, and no rotary tables."""
    norms = ("rms_att", "rms_ffn", "rms_final")
    rest = [name for name in shapes if name not in norms and not name.startswith("freq_cis")]
    return {name: shapes[name] for name in (*norms, *rest)}


def _body_bytes(shapes: Shapes, group: int) -> int:
    """Bytes behind the header."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    return sum(4 * n if not group or name.startswith("rms") else n + 4 * (n // group) for name, n in sizes.items())


def _cut(numbers: np.ndarray, shapes: Shapes) -> dict[str, Tensor]:
    """One tensor after another."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = zip(shapes.items(), np.split(numbers, ends[:-1]), strict=True)
    return {name: torch.tensor(part).view(shape) for (name, shape), part in parts}


def _dequantized(path: Path, body: bytes, shapes: Shapes, group: int) -> dict[str, Tensor]:
    """Version 2: float32 norms, then int8 numbers, each times the scale of its group. The scales follow each layer's
    matrix or, as the first export.py of that version wrote them, all matrices."""
    norms = {name: shape for name, shape in shapes.items() if name.startswith("rms")}
    others = {name: shape for name, shape in shapes.items() if name not in norms}
    start = 4 * sum(math.prod(shape) for shape in norms.values())
    counts = [math.prod(shape[-2:]) for shape in others.values() for _ in range(math.prod(shape[:-2]))]
    for layout in (_scales_beside, _scales_last):
        numbers, scales = (np.concatenate(parts) for parts in zip(*layout(body[start:], counts, group), strict=True))
        if np.isfinite(scales).all() and (scales >= 0).all():  # of int8 numbers read as scales, half are negative
            values = numbers.reshape(-1, group) * scales[:, None]
            return _cut(np.frombuffer(body[:start], "<f4"), norms) | _cut(values.ravel(), others)
    raise InputError(f"{path} has scales that are negative or infinite: it is damaged, get it anew")


def _scales_beside(data: bytes, counts: list[int], group: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    at = 0
    for n in counts:
        yield np.frombuffer(data, "i1", n, at), np.frombuffer(data, "<f4", n // group, at + n)
        at += n + 4 * (n // group)


def _scales_last(data: bytes, counts: list[int], group: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    n = sum(counts)
    yield np.frombuffer(data, "i1", n), np.frombuffer(data, "<f4", n // group, n)


def _check_fits(model: LanguageModel) -> None:
    """Only what the header can say may differ from our defaults, which are Llama's choices too."""
    if not isinstance(model, Transformer):
        raise InputError(f"llama2.c runs Transformers, not a {model.name}")
    c = model.config
    sizes = (c.vocab_size, c.context, c.d_model, c.n_layers, c.n_heads, c.kv_heads, c.ff_width)
    plain = asdict(
        TransformerConfig(
            *sizes,
            tied_embeddings=c.tied_embeddings,
            qkv_bias=False,
            dropout=c.dropout,
            initialisation=c.initialisation,
        )
    )
    has = asdict(c) | {"n_kv_heads": c.kv_heads, "d_ff": c.ff_width, "qkv_bias": c.has_qkv_bias}
    wrong = [f"{key}={has[key]!r} (only {plain[key]!r})" for key in plain if has[key] != plain[key]]
    if wrong:
        raise InputError(f"llama2.c has no {', '.join(wrong)}")


def _shapes(c: TransformerConfig, tied: bool) -> Shapes:
    """The tensors in the order of a legacy file, under llama2.c's names."""
    L, D, F = c.n_layers, c.d_model, c.ff_width
    kv = c.kv_heads * c.head_dim
    shapes = {
        "token_embedding": (c.vocab_size, D),
        "rms_att": (L, D),
        "wq": (L, D, D),
        "wk": (L, kv, D),
        "wv": (L, kv, D),
        "wo": (L, D, D),
        "rms_ffn": (L, D),
        "w1": (L, F, D),
        "w2": (L, D, F),
        "w3": (L, F, D),
        "rms_final": (D,),
        # tables of the rotary angles, which the config gives as well
        "freq_cis_real": (c.context, c.head_dim // 2),
        "freq_cis_imag": (c.context, c.head_dim // 2),
    }
    return shapes if tied else {**shapes, "wcls": (c.vocab_size, D)}


def _state(tensors: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    t = tensors
    state = {"embedding.weight": t["token_embedding"], "norm.weight": t["rms_final"]}
    for i in range(config.n_layers):
        qk = [_half_split(t[name][i], config.head_dim) for name in ("wq", "wk")]
        layer = {
            "attention_norm.weight": t["rms_att"][i],
            "attention.qkv.weight": torch.cat([*qk, t["wv"][i]]),
            "attention.out.weight": t["wo"][i],
            "mlp_norm.weight": t["rms_ffn"][i],
            "mlp.up.weight": torch.cat([t["w1"][i], t["w3"][i]]),
            "mlp.down.weight": t["w2"][i],
        }
        state |= {f"blocks.{i}.{name}": weight for name, weight in layer.items()}
    return state if config.tied_embeddings else {**state, "head.weight": t["wcls"]}


def _half_split(weight: Tensor, head_dim: int) -> Tensor:
    """llama2.c rotates channels 2i and 2i + 1 of a head together, we i and i + d/2: reorder the rows (H * d, D)."""
    return weight.unflatten(0, (-1, head_dim // 2, 2)).transpose(1, 2).flatten(0, 2)


def _tensors(model: Transformer) -> dict[str, Tensor]:
    """The inverse of ``_state``, and the rotary tables, which llama2.c's later versions skip."""
    c, state = model.config, model.state_dict()

    def stacked(name: str) -> Tensor:
        return torch.stack([state[f"blocks.{i}.{name}.weight"] for i in range(c.n_layers)])

    q, k, v = stacked("attention.qkv").split([n * c.head_dim for n in (c.n_heads, c.kv_heads, c.kv_heads)], dim=1)
    gate, up = stacked("mlp.up").chunk(2, dim=1)
    cos, sin = rotary_table(c.head_dim, c.context, c.rope_theta)
    return {
        "token_embedding": state["embedding.weight"],
        "rms_att": stacked("attention_norm"),
        "wq": _interleaved(q, c.head_dim),
        "wk": _interleaved(k, c.head_dim),
        "wv": v,
        "wo": stacked("attention.out"),
        "rms_ffn": stacked("mlp_norm"),
        "w1": gate,
        "w2": stacked("mlp.down"),
        "w3": up,
        "rms_final": state["norm.weight"],
        "freq_cis_real": cos[:, 0, : c.head_dim // 2],
        "freq_cis_imag": sin[:, 0, c.head_dim // 2 :],
        "wcls": state["embedding.weight" if c.tied_embeddings else "head.weight"],
    }


def _interleaved(weight: Tensor, head_dim: int) -> Tensor:
    """The inverse of ``_half_split``, for all layers at once: (L, H * d, D)."""
    return weight.unflatten(1, (-1, 2, head_dim // 2)).transpose(2, 3).flatten(1, 3)


def _numbering(tokenizer: Tokenizer) -> list[int]:
    """Our token for each of llama2.c's numbers, so that its ``run`` reads and writes as our tokenizer does.

    To ``run``, token 1 begins and ends a story: our separator. Byte b is token b + 3. All else is free, but other
    programs stop at token 2, the end: 0 and 2 are given to the bytes 0xC0 and 0xC1, which UTF-8 never has and no model
    writes, and the places of these to the first two merges.
    """
    tokens = {tokenizer.token_bytes(i): i for i in range(tokenizer.vocab_size) if i != tokenizer.separator_id}
    single = [tokens.pop(bytes([b])) for b in range(256)]
    merges = sorted(tokens.values())  # in the order in which they were learnt
    if len(merges) < 2:
        raise InputError(f"a tokenizer of {tokenizer.vocab_size} tokens has no two merges, which llama2.c's needs")
    (first, last), single[0xC0:0xC2] = single[0xC0:0xC2], merges[:2]
    return [first, tokenizer.separator_id, last, *single, *merges[2:]]


def _write_tokenizer(tokenizer: Tokenizer, numbering: list[int], path: Path) -> None:
    """Each token's bytes, with minus our number as the score, so that what was learnt first is merged first.

    ``run`` puts a space before a prompt, which our stories do not begin with. Token 0 is spelt as what then stands
    first, the begin and a space, and scores best: they merge into it, and it is read as the begin alone.
    """
    pieces = [tokenizer.token_bytes(token) for token in numbering]
    scores = [-float(token) for token in numbering]
    pieces[:3], scores[0] = [b"\n<s>\n ", b"\n<s>\n", b"\n</s>\n"], 1.0
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<i", max(map(len, pieces))))
        for piece, score in zip(pieces, scores, strict=True):
            file.write(struct.pack("<fi", score, len(piece)) + piece)
