"""A tokenizer in as few bytes as it takes, since it counts in a model's size.

One of ours is its merges alone, two numbers each: 11.8 KB at 4,096 tokens, where its ``tokenizer.json``, compressed
as well, has 37 KB (of which 23 are the vocabulary, which the merges say already).
"""

import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pn_lib.data.tokenizer import Coder, Tokenizer, tokenizer_of
from pn_lib.errors import InputError, one_line
from pn_lib.models.llama2c_tokenizer import Llama2cTokenizer

LARGEST = 1 << 26  # bytes unpacked: a few damaged ones could otherwise ask for all memory


def pack_tokenizer(tokenizer: Coder) -> tuple[str, bytes]:
    """What kind it is, and what ``unpack_tokenizer`` makes it from."""
    if isinstance(tokenizer, Llama2cTokenizer):
        tokens = zip(tokenizer.scores, tokenizer.pieces, strict=True)
        plain = b"".join(struct.pack("<fi", score, len(piece)) + piece for score, piece in tokens)
        return "llama2c", zlib.compress(struct.pack("<i", max(map(len, tokenizer.pieces))) + plain, 9)
    text, merges = tokenizer.to_json(), merges_of(tokenizer)
    if tokenizer.vocab_size <= 1 << 16 and _is_ours(text, merges):
        return "merges", zlib.compress(np.array(merges, "<u2").tobytes(), 9)
    return "json", zlib.compress(json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode(), 9)


def merges_of(tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """The pairs of ids that it merges, in the order in which they were learned (see ``tokenizer_of``)."""
    model = json.loads(tokenizer.to_json())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]


def _is_ours(text: str, merges: list[tuple[int, int]]) -> bool:
    try:
        return tokenizer_of(merges).to_json() == text
    except InputError:
        return False


def unpack_tokenizer(kind: str, data: bytes, vocab_size: int, where: str) -> Coder:
    """The tokenizer, of ``vocab_size`` tokens; ``where`` names the file in errors.

    Raises:
        InputError: an unknown kind, or damaged data.
    """
    kinds: dict[str, Callable[[bytes], Coder]] = {
        "merges": _from_merges,
        "json": lambda plain: Tokenizer.from_json(plain, "its table"),
        "llama2c": lambda plain: _from_llama2c(plain, vocab_size),
    }
    if kind not in kinds:
        raise InputError(f"{where} has a tokenizer of an unknown kind, {kind!r}; known are {', '.join(kinds)}")
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(data, LARGEST)
    except zlib.error:
        plain = b""
    if not unpacker.eof or unpacker.unused_data:
        raise InputError(f"the tokenizer in {where} is damaged; fetch the file again")
    try:
        tokenizer = kinds[kind](plain)
    except InputError as error:
        raise InputError(f"the tokenizer in {where} is damaged ({one_line(error)}); fetch the file again") from None
    if tokenizer.vocab_size != vocab_size and not (
        isinstance(tokenizer, Tokenizer) and tokenizer.vocab_size > vocab_size and tokenizer.cut(vocab_size)
    ):
        raise InputError(f"the tokenizer in {where} has {tokenizer.vocab_size:,} tokens, its model {vocab_size:,}")
    return tokenizer


def _from_merges(plain: bytes) -> Tokenizer:
    if len(plain) % 4:
        raise InputError("half a merge")
    return tokenizer_of([tuple(pair) for pair in np.frombuffer(plain, "<u2").reshape(-1, 2).tolist()])


def _from_llama2c(plain: bytes, vocab_size: int) -> Llama2cTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.bin"
        path.write_bytes(plain)
        try:
            return Llama2cTokenizer(path, vocab_size)
        except InputError:  # which names a file that nobody knows
            raise InputError(f"no {vocab_size:,} tokens of llama2.c") from None
