"""Models and tokenizers in the file formats of llama2.c (github.com/karpathy/llama2.c).

A model is its legacy ``.bin``: seven little-endian int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size,
seq_len; a negative vocab_size says that the output layer is a matrix of its own), then float32 tensors, each stacked
over the layers. A tokenizer is a ``.bin`` of an int32, the longest token's bytes, and for each token a float32 score,
an int32 length, and the bytes.
"""

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pn_lib.errors import InputError
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


class Llama2cTokenizer:
    """llama2.c's tokenizer: SentencePiece's BPE, merging by score, with single bytes for what it does not know.

    Raises:
        InputError: the file is missing or does not hold ``vocab_size`` tokens.
    """

    bos_id = 1  # also what stands between two stories
    eos_id = 2
    first_byte_id = 3  # <0x00>; the 256 bytes follow one another

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
        ids = []
        for character in " " + text if text else "":
            known = self.ids.get(character.encode())
            ids += [known] if known is not None else [byte + self.first_byte_id for byte in character.encode()]
        while (best := self._best_merge(ids)) is not None:
            at, merged = best
            ids[at : at + 2] = [merged]
        return ids

    def decode(self, ids: list[int]) -> str:
        """Ids -> text, without the space that ``encode`` put first; bos and eos give no text."""
        data = b"".join(self._bytes(token) for token in ids)
        return data.removeprefix(b" ").decode(errors="replace")

    def _best_merge(self, ids: list[int]) -> tuple[int, int] | None:
        """Position of the first of the neighbours whose union scores best, and the union's id."""
        best, found = -float("inf"), None
        for at in range(len(ids) - 1):
            merged = self.ids.get(self.pieces[ids[at]] + self.pieces[ids[at + 1]])
            if merged is not None and self.scores[merged] > best:
                best, found = self.scores[merged], (at, merged)
        return found

    def _bytes(self, token: int) -> bytes:
        if token in (self.bos_id, self.eos_id):
            return b""
        byte = token - self.first_byte_id
        return bytes([byte]) if 0 <= byte < 256 else self.pieces[token]
