"""Byte-level byte-pair encoding (Sennrich et al. 2016; bytes as in GPT-2), trained with Hugging Face ``tokenizers``.

Every byte is a token, so any text can be encoded and comes back unchanged. One further token, the separator, stands
between stories; no text ever encodes to it, not even one that spells it out.

A tokenizer that somebody else made may do more: normalize a text, or put a space before it. What cuts, pads or adds
tokens is switched off on loading; what changes the text is kept, as its model knows nothing else, and
``pn_lib.models.lossless`` finds it.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from pn_lib import files
from pn_lib.errors import InputError, one_line

SEPARATOR = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # 256 bytes and the separator
# What no honest tokenizer exceeds, and a damaged one of a few bytes would take all memory for: bytes that all tokens of
# merges spell (each merge may double the last), and numbers below the largest that no token has.
SPELLED, GAPS = 1 << 24, 1 << 16


class Coder(Protocol):
    """What is asked of any tokenizer, ours or another."""

    vocab_size: int
    separator_id: int  # stands between stories: read first, written last
    space_before: bool  # puts a space before every text, and takes it away again

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


class Tokenizer:
    """Text to token ids and back, without loss.

    ``space_before`` says whether it puts a space before every text, as some do that others made; ``decode`` takes that
    space away again.
    """

    def __init__(self, backend: tokenizers.Tokenizer, separator: str = SEPARATOR):
        if not is_byte_level(backend):
            raise InputError(
                f"this is another kind of tokenizer ({type(backend.model).__name__}); only byte-level BPE, GPT-2's "
                "kind, can be used here"
            )
        self._take(backend, separator)
        self._bytes = [_token_bytes(backend, i) for i in range(self.vocab_size)]
        once, twice = (b"".join(self._bytes[i] for i in backend.encode(text).ids) for text in ("a", " a"))
        self.space_before = once == b" a"
        self._spares_spaces = self.space_before and twice == b" a"  # a text that begins with one is given no other

    def _take(self, backend: tokenizers.Tokenizer, separator: str) -> None:
        """Keep ``backend``, without whatever cuts, pads or adds tokens."""
        if backend.token_to_id(separator) is None:
            raise InputError(
                f"this tokenizer has no token {separator}, which has to stand between stories; take a model that has it"
            )
        _encode_all_and_nothing_else(backend, separator)
        self._backend, self._separator = backend, separator
        self.vocab_size: int = 1 + max(backend.get_vocab().values())
        self.separator_id: int = backend.token_to_id(separator)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without separators.

        Raises:
            InputError: ``text`` is no string, or holds half of a surrogate pair, which no encoding can store.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, on all cores."""
        try:
            if self._spares_spaces:
                texts = [" " + text if text.startswith(" ") else text for text in texts]
            return [encoding.ids for encoding in self._backend.encode_batch(texts)]
        except (TypeError, AttributeError):
            raise _not_text(texts) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, separators spelled out.

        Bytes that are no UTF-8, which a model may produce, become U+FFFD, the replacement character.

        Raises:
            InputError: an id is outside the vocabulary.
        """
        texts: list[list[int]] = [[]]  # what stands between separators
        for token in ids:
            self._check_id(token)
            if token == self.separator_id:
                texts.append([])
            else:
                texts[-1].append(token)
        return self._separator.join(map(self._text, texts))

    def _text(self, ids: list[int]) -> str:
        data = b"".join(self._bytes[token] for token in ids)
        return (data.removeprefix(b" ") if self.space_before else data).decode("utf-8", errors="replace")

    def _check_id(self, token_id: int) -> None:
        if not 0 <= token_id < self.vocab_size:
            raise InputError(f"token {token_id} is outside the vocabulary of {self.vocab_size:,} tokens")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for, which need not be whole characters."""
        self._check_id(token_id)
        return self._bytes[token_id]

    def cut(self, vocab_size: int) -> bool:
        """Forget the tokens from that number on, which a model without them needs; False if they are not all control
        tokens, as for padding, that no text encodes to."""
        added = self._backend.get_added_tokens_decoder()
        beyond = range(vocab_size, self.vocab_size)
        if self.separator_id in beyond or not all(token in added and added[token].special for token in beyond):
            return False
        self.vocab_size = vocab_size
        return True

    def save(self, folder: Path | str) -> None:
        """Write ``folder``/tokenizer.json, which ``tokenizers`` and ``transformers`` read too."""
        files.write_text(Path(folder) / "tokenizer.json", self.to_json() + "\n")

    def to_json(self) -> str:
        """The text of ``tokenizer.json``."""
        return self._backend.to_str(pretty=True)

    @classmethod
    def load(cls, folder: Path | str) -> "Tokenizer":
        """Read what ``save`` wrote, or another byte-level tokenizer that has the separator.

        Raises:
            InputError: the file is missing, damaged, or another kind of tokenizer.
        """
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise InputError(f"{path} does not exist; train a tokenizer first (notebook 02)")
        return cls.from_json(path.read_bytes(), str(path))

    @classmethod
    def from_json(cls, text: bytes, where: str) -> "Tokenizer":
        """From what ``to_json`` gives, in UTF-8; ``where`` names its source in errors, which are those of ``load``."""
        backend = read_backend(text, where)
        try:
            return cls(backend)
        except InputError as error:
            raise InputError(f"{where} cannot be used: {error}") from None


def read_backend(text: bytes, where: str) -> tokenizers.Tokenizer:
    """A tokenizer.json of any kind, given its ``text``; ``where`` names its source in errors.

    Raises:
        InputError: it is damaged.
    """
    again = "fetch it again, or train it again (notebook 02)"
    try:
        backend = tokenizers.Tokenizer.from_buffer(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(f"{where} is damaged ({one_line(error)}); {again}") from error
    numbers = backend.get_vocab().values()
    if max(numbers, default=0) - len(numbers) > GAPS:
        raise InputError(f"{where} is damaged (it numbers {len(numbers):,} tokens up to {max(numbers):,}); {again}")
    return backend


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn the merges of ``texts``, which are read once and not kept. The same texts give the same tokenizer.

    ``vocab_size`` counts bytes, merges and the separator; a small corpus may run out of pairs to merge before it is
    reached (see ``Tokenizer.vocab_size``).

    Raises:
        InputError: ``vocab_size`` is under 257, or there is no text.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise InputError(
            f"a vocabulary of {vocab_size:,} tokens is too small: 256 bytes and the separator need "
            f"{SMALLEST_VOCABULARY}"
        )
    backend = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[SEPARATOR],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for seen, text in enumerate(texts, 1):  # noqa: B007
            yield text

    try:
        backend.train_from_iterator(counted(), trainer)
    except (TypeError, UnicodeEncodeError) as error:
        raise InputError(
            f"one of the first {seen:,} texts is no Unicode text ({one_line(error)}); clean them first"
        ) from None
    if not seen:
        raise InputError("there are no stories to train a tokenizer on")
    return Tokenizer(backend)


def tokenizer_of(merges: list[tuple[int, int]]) -> Tokenizer:
    """The one that ``train_tokenizer`` made, from the pairs of ids that it merges: the separator is 0, the bytes follow
    in the order of their spelling, and each merge makes the next id.

    Raises:
        InputError: a merge of tokens that are not there yet, or one that makes a token that is; more text than any
            vocabulary has.
    """
    spelled, room = [SEPARATOR, *sorted(_BYTES)], SPELLED
    for left, right in merges:
        if not (0 < left < len(spelled) and 0 < right < len(spelled)):
            raise InputError(f"a merge joins tokens {left} and {right} when there are only {len(spelled)}")
        spelled.append(spelled[left] + spelled[right])
        room -= len(spelled[-1])
        if room < 0:
            raise InputError(f"its tokens spell more than {SPELLED:,} bytes")
    numbers = {token: number for number, token in enumerate(spelled)}
    if len(numbers) < len(spelled):
        raise InputError("two merges make the same token")
    backend = _byte_level(models.BPE(numbers, [(spelled[left], spelled[right]) for left, right in merges]))
    backend.add_special_tokens([SEPARATOR])
    return Tokenizer(backend)


def _byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    return backend


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


def _token_bytes(backend: tokenizers.Tokenizer, token_id: int) -> bytes:
    """What a token stands for: the bytes that it spells or, for one that was added as a text, that text."""
    token = backend.id_to_token(token_id)
    if token is None:
        return b"\xef\xbf\xbd"  # U+FFFD: a number that no token has, which a model may write all the same
    learned = backend.model.token_to_id(token) == token_id
    if learned and all(character in _BYTES for character in token):
        return bytes(_BYTES[character] for character in token)
    return token.encode()


def is_byte_level(backend: tokenizers.Tokenizer) -> bool:
    """Whether its tokens spell bytes, so that we know what text each of them stands for."""
    state = json.loads(backend.to_str())
    model, steps = state["model"], json.dumps([state["pre_tokenizer"], state["normalizer"]])
    affixes = [model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix")]
    return model["type"] == "BPE" and '"type": "ByteLevel"' in steps and not any(affixes)


def _encode_all_and_nothing_else(backend: tokenizers.Tokenizer, separator: str) -> None:
    """Switch off what a file may have kept of its training, and the adding of tokens: truncation and padding to a
    length, templates that begin or end a text, merges left out at random, control tokens that a story spells out."""
    backend.no_truncation()
    backend.no_padding()
    backend.post_processor = None
    if isinstance(backend.model, models.BPE):
        backend.model.dropout = None
    backend.add_special_tokens([separator])  # in some files it is no special token, and a story's would be read as it
    backend.encode_special_tokens = True
