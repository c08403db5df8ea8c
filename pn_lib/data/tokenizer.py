"""Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2), trained with Hugging Face ``tokenizers``.

Every byte is a token, so any text can be encoded and comes back unchanged. One further token, the separator, stands
between stories; no text ever encodes to it, not even one that spells it out.
"""

from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from pn_lib import files
from pn_lib.errors import InputError

SEPARATOR = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # 256 bytes and the separator


class Tokenizer:
    """Text to token ids and back, without loss."""

    def __init__(self, backend: tokenizers.Tokenizer):
        if backend.token_to_id(SEPARATOR) is None:
            raise InputError(f"the tokenizer has no separator {SEPARATOR}")
        backend.encode_special_tokens = True  # a story that spells out the separator gets its characters, not its id
        self._backend = backend
        self.vocab_size: int = backend.get_vocab_size()
        self.separator_id: int = backend.token_to_id(SEPARATOR)
        self._bytes = [_token_bytes(backend.id_to_token(i)) for i in range(self.vocab_size)]

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without separators.

        Raises:
            InputError: ``text`` is no string, or holds half of a surrogate pair, which no encoding can store.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, on all cores."""
        try:
            return [encoding.ids for encoding in self._backend.encode_batch(texts)]
        except TypeError:
            raise _not_text(texts) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, separators spelled out.

        Bytes that are no UTF-8, which a model may produce, become U+FFFD, the replacement character.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, which need not be whole characters."""
        if not 0 <= token_id < self.vocab_size:
            raise InputError(f"token {token_id} is outside the vocabulary of {self.vocab_size:,} tokens")
        return self._bytes[token_id]

    def save(self, folder: Path | str) -> None:
        """Write ``folder``/tokenizer.json, which ``tokenizers`` and ``transformers`` read too."""
        files.write_text(Path(folder) / "tokenizer.json", self._backend.to_str(pretty=True) + "\n")

    @classmethod
    def load(cls, folder: Path | str) -> "Tokenizer":
        """Read what ``save`` wrote.

        Raises:
            InputError: the file is missing, damaged, or no byte-level tokenizer with the separator.
        """
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise InputError(f"{path} does not exist; train a tokenizer first (notebook 02)")
        try:
            return cls(tokenizers.Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception, our constructor KeyError
            raise InputError(f"{path} is damaged or another kind of tokenizer ({error}); train it again") from error


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn the merges of ``texts``, which are read once and not kept. The same texts give the same tokenizer.

    ``vocab_size`` counts bytes, merges and the separator; a small corpus may run out of pairs to merge before it is
    reached (see ``Tokenizer.vocab_size``).

    Raises:
        InputError: ``vocab_size`` is under 257, or there is no text.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise InputError(f"a vocabulary of {vocab_size:,} tokens is too small: 256 bytes and the separator need "
                         f"{SMALLEST_VOCABULARY}")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[SEPARATOR], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for seen, text in enumerate(texts, 1):  # noqa: B007
            yield text

    try:
        backend.train_from_iterator(counted(), trainer)
    except (TypeError, UnicodeEncodeError) as error:
        raise InputError(f"one of the first {seen:,} texts is no Unicode text ({error}); clean them first") from None
    if not seen:
        raise InputError("there are no stories to train a tokenizer on")
    return Tokenizer(backend)


def pre_tokens(text: str) -> list[str]:
    """``text`` cut into GPT-2's pre-tokens, words with the space before them, which no token reaches across."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str(text)
    return [text[start:end] for _, (start, end) in pieces]


def _not_text(texts: list[str]) -> InputError:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return InputError(f"{text[:40]!r} has no UTF-8: character {error.start + 1} is half of a surrogate pair")
        except AttributeError:
            return InputError(f"{text!r} is {type(text).__name__}, not text")
    return InputError("only text can be encoded")


def _byte_characters() -> dict[str, int]:
    """GPT-2's spelling of bytes: a printable Latin-1 character stands for its own byte, the others take the characters
    from U+0100 on, in order, because ``tokenizers`` keeps tokens as strings."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = sorted(set(range(256)) - printable)
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTES = _byte_characters()


def _token_bytes(token: str) -> bytes:
    return bytes(_BYTES[character] for character in token)
