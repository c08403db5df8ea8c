"""Tokenizers of other kinds than ours, as their tokenizer.json has them: SentencePiece's, WordPiece, words.

Their tokens spell no bytes: what text they stand for is what the file's own decoder makes of them. SentencePiece's with
byte fallback give back any text; WordPiece's lose spaces and rare characters, which ``pn_lib.models.lossless`` finds.
"""

import json
import re
from pathlib import Path
from typing import Any

import tokenizers

from pn_lib.data.tokenizer import SEPARATOR, Tokenizer
from pn_lib.errors import InputError
from pn_lib.files import read_json

BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")  # as SentencePiece spells a byte
# What ends a text in tokenizers whose files do not say it.
NAMES = ("</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<|eos|>", "<EOS>", "<|end_of_story|>", "<|end|>", "[SEP]")


class OtherTokenizer(Tokenizer):
    """A tokenizer that is no byte-level BPE; see ``Tokenizer``."""

    def __init__(self, backend: tokenizers.Tokenizer, separator: str):
        self._take(backend, separator)
        alone, one, two = (backend.encode(text).ids for text in ("a", " a", "  a"))
        self.space_before = bool(alone) and backend.id_to_token(alone[0]).startswith("▁")
        self._bytes = _spelled_bytes(backend)
        self._spares_spaces = self.space_before and alone == one != two

    def _text(self, ids: list[int]) -> str:
        if self._bytes:  # the library's decoder gives up a whole run of bytes for one that is no UTF-8
            return super()._text(ids)
        return self._backend.decode(ids, skip_special_tokens=False)

    def token_bytes(self, token_id: int) -> bytes:
        """What the token alone stands for."""
        self._check_id(token_id)
        return self._bytes[token_id] if self._bytes else self._text([token_id]).encode()


def _spelled_bytes(backend: tokenizers.Tokenizer) -> list[bytes]:
    """What each token of a tokenizer with byte fallback stands for; empty for other tokenizers."""
    if not json.loads(backend.to_str())["model"].get("byte_fallback"):
        return []
    tokens = [backend.id_to_token(i) or "\ufffd" for i in range(1 + max(backend.get_vocab().values()))]
    return [
        bytes([int(token[3:5], 16)]) if BYTE.fullmatch(token) else token.replace("▁", " ").encode() for token in tokens
    ]


def find_separator(backend: tokenizers.Tokenizer, tokenizer: Path, model: Path) -> str:
    """The token that stands between texts: the end of a text by the tokenizer's own files, GPT-2's, the end of a text
    by the model's files, whose number is often a default, or one with a usual name.

    Args:
        tokenizer, model: the folders of both, which are mostly one.

    Raises:
        InputError: there is none.
    """
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        said = _read_optional(tokenizer / name).get("eos_token")
        token = said.get("content") if isinstance(said, dict) else said
        if isinstance(token, str) and backend.token_to_id(token) is not None:
            return token
    if backend.token_to_id(SEPARATOR) is not None:
        return SEPARATOR
    unknown, added = getattr(backend.model, "unk_token", None), backend.get_added_tokens_decoder()
    for name in ("generation_config.json", "config.json"):
        said = _read_optional(model / name).get("eos_token_id")
        number = said[0] if isinstance(said, list) and said else said
        if isinstance(number, int) and number in added and added[number].content != unknown:
            return added[number].content
    for token in NAMES:
        if backend.token_to_id(token) is not None:
            return token
    raise InputError(
        'it has no token that ends a text; name it in a tokenizer_config.json beside it: {"eos_token": "TOKEN"}'
    )


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
