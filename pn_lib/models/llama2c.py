"""Models and tokenizers in the file formats of llama2.c (github.com/karpathy/llama2.c), in and out.

A model is its legacy ``.bin``: seven little-endian int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size,
seq_len; a negative vocab_size says that the output layer is a matrix of its own), then float32 tensors, each stacked
over the layers. A tokenizer is a ``.bin`` of an int32, the longest token's bytes, and for each token a float32 score,
an int32 length, and the bytes.
"""

import re
import struct
from dataclasses import asdict, replace
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pn_lib.data.tokenizer import Tokenizer
from pn_lib.errors import InputError
from pn_lib.files import atomic
from pn_lib.models.attention import rotary_table
from pn_lib.models.base import LanguageModel, check_tokenizer
from pn_lib.models.transformer import Transformer, TransformerConfig


def load_llama2c(path: Path | str) -> Transformer:
    """Read a legacy llama2.c model; in evaluation mode, on the CPU.

    Raises:
        InputError: the file is missing, is no such model, or is cut short.
    """
    path = Path(path)
    data = _read(path)
    config, tied = _read_header(path, data)
    shapes = _shapes(config, tied)
    expected = 28 + 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    if len(data) != expected:
        raise InputError(f"{path} has {len(data)} bytes where its header makes {expected}: it is damaged, get it anew")
    numbers, start, tensors = np.frombuffer(data, "<f4", offset=28), 0, {}
    for name, shape in shapes.items():
        end = start + int(np.prod(shape))
        tensors[name] = torch.tensor(numbers[start:end]).view(shape)
        start = end
    model = Transformer(config)
    model.load_state_dict(_state(tensors, config))
    return model.eval()


def save_llama2c(model: LanguageModel, path: Path | str) -> None:
    """Write a model as ``load_llama2c`` and llama2.c's programs read it: the same logits, in float32.

    Raises:
        InputError: the model has what llama2.c has not.
    """
    _check_fits(model)
    c, tensors = model.config, _tensors(model)
    sizes = (c.d_model, c.ff_width, c.n_layers, c.n_heads, c.kv_heads)
    vocab_size = c.vocab_size if c.tied_embeddings else -c.vocab_size
    with atomic(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<7i", *sizes, vocab_size, c.context))
        for name in _shapes(c, c.tied_embeddings):
            file.write(tensors[name].detach().cpu().float().numpy().astype("<f4").tobytes())


def export_llama2c(model: LanguageModel, tokenizer: Tokenizer, folder: Path | str) -> None:
    """Write ``model.bin`` and ``tokenizer.bin``, with which llama2.c's program tells stories of our model:

        run model.bin -z tokenizer.bin -t 0.8 -i "Once upon a time"

    The tokens are numbered anew (see ``_numbering``), the rows of the embedding and the output layer with them; no
    token is added, so that each keeps its probability. The output layer is written out even where it is tied.

    Where its text differs from ours: ``run`` prints no byte over 127 that is a token by itself (rare letters and emoji
    come out in part), nor a space that a story begins with; and it may cut a prompt otherwise, because it joins any
    neighbours that make a token, not only learnt merges within a word.

    Raises:
        InputError: the model has what llama2.c has not, or the tokenizer is not its own or has fewer than two merges.
    """
    _check_fits(model)
    check_tokenizer(model, tokenizer)
    numbering, state = _numbering(tokenizer), model.state_dict()
    rows = state["embedding.weight"][numbering]
    head = rows.clone() if model.config.tied_embeddings else state["head.weight"][numbering]
    rows[0] = rows[1]  # read, token 0 is the separator; written, it remains what never comes
    renumbered = Transformer(replace(model.config, tied_embeddings=False))
    renumbered.load_state_dict({**state, "embedding.weight": rows, "head.weight": head})
    save_llama2c(renumbered, Path(folder) / "model.bin")
    _write_tokenizer(tokenizer, numbering, Path(folder) / "tokenizer.bin")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a .bin file of llama2.c")
    return path.read_bytes()


def _read_header(path: Path, data: bytes) -> tuple[TransformerConfig, bool]:
    if len(data) < 28:
        raise InputError(f"{path} has {len(data)} bytes, too few for the header of a llama2.c model")
    dim, hidden, layers, heads, kv_heads, vocab_size, context = struct.unpack("<7i", data[:28])
    tied = vocab_size > 0
    try:
        config = TransformerConfig(abs(vocab_size), context, dim, layers, heads, kv_heads, hidden, tied_embeddings=tied)
    except ValueError as error:
        raise InputError(f"{path} is no llama2.c model in the legacy format ({error})") from None
    return config, tied


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


def _shapes(c: TransformerConfig, tied: bool) -> dict[str, tuple[int, ...]]:
    """The tensors in the order of the file, under llama2.c's names."""
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


class Llama2cTokenizer:
    """llama2.c's tokenizer: SentencePiece's BPE, merging by score, with single bytes for what it does not know.

    Raises:
        InputError: the file is missing or does not hold ``vocab_size`` tokens.
    """

    bos_id = 1
    separator_id = bos_id  # what stands between two stories
    space_before = True  # as SentencePiece does
    eos_id = 2
    first_byte_id = 3  # the 256 bytes follow one another

    def __init__(self, path: Path | str, vocab_size: int):
        data, at = _read(Path(path)), 4
        self.pieces: list[bytes] = []
        self.scores: list[float] = []
        try:
            for _ in range(vocab_size):
                score, length = struct.unpack_from("<fi", data, at)
                (piece,) = struct.unpack_from(f"<{length}s", data, at + 8)
                self.pieces.append(piece)
                self.scores.append(score)
                at += 8 + length
        except struct.error:
            raise InputError(f"{path} is no llama2.c tokenizer of {vocab_size} tokens, or is cut short") from None
        if at != len(data):
            raise InputError(f"{path} holds more than {vocab_size} tokens: name the vocabulary size of its model")
        self.ids = {piece: token for token, piece in enumerate(self.pieces)}

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Text -> ids, without ``bos_id``. Like SentencePiece, puts a space before the first word."""
        ids = [self.bos_id]  # in the files of ``export_llama2c`` it merges with the space
        for character in " " + text if text else "":
            known = self.ids.get(character.encode())
            ids += [known] if known is not None else [byte + self.first_byte_id for byte in character.encode()]
        return self._merged(ids)[1:]

    def _merged(self, ids: list[int]) -> list[int]:
        """Neighbours joined again and again, those first whose union scores best, of equals the leftmost."""
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))  # the neighbours of each place
        queue: list[tuple[float, int, int, int]] = []  # -score, place on the left, and the two tokens then there

        def consider(at: int) -> None:
            if at >= 0 and after[at] < len(ids):
                pair = ids[at], ids[after[at]]
                merged = self.ids.get(self.pieces[pair[0]] + self.pieces[pair[1]])
                if merged is not None:
                    heappush(queue, (-self.scores[merged], at, *pair))

        for at in range(len(ids)):
            consider(at)
        while queue:
            _, at, left, right = heappop(queue)
            end = after[at]
            if end < len(ids) and (ids[at], ids[end]) == (left, right):  # neither has been joined with another since
                ids[at], ids[end] = self.ids[self.pieces[left] + self.pieces[right]], -1
                after[at] = after[end]
                if after[at] < len(ids):
                    before[after[at]] = at
                consider(before[at])
                consider(at)
        return [token for token in ids if token >= 0]

    def decode(self, ids: list[int]) -> str:
        """Ids -> text, without the space that ``encode`` put first; bos and eos give no text."""
        data = b"".join(self._bytes(token) for token in ids)
        return data.removeprefix(b" ").decode(errors="replace")

    def _bytes(self, token: int) -> bytes:
        if token in (self.bos_id, self.eos_id):
            return b""
        piece = self.pieces[token]
        spelt_out = re.fullmatch(rb"<0x([0-9A-F]{2})>", piece)  # llama2.c's own files have "<0x0A>" for a line feed
        return bytes.fromhex(spelt_out[1].decode()) if spelt_out else piece
