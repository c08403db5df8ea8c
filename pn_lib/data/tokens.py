"""Token files: a corpus as one flat stream of token ids on disk, mapped into memory, and batches drawn from it.

The stream of n stories is ``SEP story SEP story ... SEP``, so every story has a separator on either side and neighbours
share one.
"""

import hashlib
import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from pn_lib import files
from pn_lib.data.text_groups import batches
from pn_lib.data.tokenizer import Tokenizer
from pn_lib.errors import InputError, one_line
from pn_lib.progress import progress

LARGEST_VOCABULARY = 1 << 16  # what uint16 can count
DAMAGED_ZIP = BadZipFile, zlib.error, ValueError, KeyError, EOFError, OSError, RuntimeError  # the last: encrypted
IGNORED = -100  # a target that counts for nothing; F.cross_entropy's own default


class TokenFile:
    """A token file, opened without reading it.

    Attributes:
        tokens: uint16 (tokens,), the whole stream, mapped from disk.
        offsets: int64 (stories + 1,), where each story's opening separator is; the last is the final separator.
        story_bytes: int64 (stories,), UTF-8 bytes of each story's text.

    Raises:
        InputError: a file is missing or damaged.
    """

    def __init__(self, path_prefix: Path | str):
        stream, index = token_paths(path_prefix)
        if not (stream.is_file() and index.is_file()):
            raise InputError(f"{stream} and {index.name} do not exist; the tokenizer notebook (02) makes them")
        again = "delete it and encode the stories again (notebook 02)"
        try:
            with np.load(index) as arrays:
                self.offsets, self.story_bytes = arrays["offsets"], arrays["story_bytes"]
        except DAMAGED_ZIP as error:
            raise InputError(f"{index} is damaged ({one_line(error)}); {again}") from None
        size, expected = stream.stat().st_size, 2 * (int(self.offsets[-1]) + 1)
        if size != expected or len(self.offsets) != len(self.story_bytes) + 1:
            raise InputError(f"{stream} is damaged: {size:,} bytes where its index says {expected:,}; {again}")
        self.tokens: np.memmap = np.memmap(stream, np.uint16, "r")

    def __len__(self) -> int:
        """Number of stories."""
        return len(self.story_bytes)

    @property
    def separator_id(self) -> int:
        """The token that stands between stories; the stream begins with it."""
        return int(self.tokens[0])

    def digest(self) -> str:
        """SHA-256 of the stream, read piece by piece: of what is mapped, every page would stay in memory."""
        with open(self.tokens.filename, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def story(self, i: int) -> np.ndarray:
        """Token ids (uint16) of story ``i`` from its opening separator to its closing one, both included."""
        return self.tokens[self.offsets[i] : self.offsets[i + 1] + 1]


def write_tokens(path_prefix: Path | str, texts: Iterable[str], tokenizer: Tokenizer) -> TokenFile:
    """Encode ``texts`` into ``<path_prefix>.bin`` and its index ``<path_prefix>.npz``, in bounded memory, atomically.

    Raises:
        InputError: no story, or a vocabulary of more than 65,536 tokens, which uint16 cannot number.
    """
    if tokenizer.vocab_size > LARGEST_VOCABULARY:
        raise InputError(
            f"a vocabulary of {tokenizer.vocab_size:,} tokens does not fit token files; "
            f"{LARGEST_VOCABULARY:,} is the largest that does"
        )
    stream, index = token_paths(path_prefix)
    index.unlink(missing_ok=True)  # a run killed between the two writes must not leave an old index on a new stream
    lengths, story_bytes = array("q"), array("q")
    separator = np.array([tokenizer.separator_id], np.uint16)
    with files.atomic(stream) as temporary, temporary.open("wb") as file:
        file.write(separator.tobytes())
        for text, ids in _encoded(progress(texts, "Encoding stories", unit="story"), tokenizer):
            file.write(np.array([*ids, tokenizer.separator_id], np.uint16).tobytes())
            lengths.append(len(ids) + 1)
            story_bytes.append(len(text.encode()))
        if not lengths:
            raise InputError(f"there are no stories to encode into {stream}")
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    with files.atomic(index) as temporary:
        np.savez(temporary, offsets=offsets, story_bytes=np.array(story_bytes, np.int64))
    return TokenFile(path_prefix)


def batch(token_file: TokenFile, batch_size: int, context: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, each int64 (B, T), of one training step: random windows of the stream, targets one later.

    A pure function of its arguments: no state, so training can resume at any step.

    Raises:
        InputError: the stream has no window of ``context`` tokens and one more.
    """
    starts = len(token_file.tokens) - context
    if starts < 1:
        raise InputError(
            f"the stories come to {len(token_file.tokens):,} tokens, too few for a context of {context:,} "
            "and the token after it; take a shorter context or more stories"
        )
    first = np.random.default_rng((seed, step)).integers(starts, size=batch_size)
    windows = token_file.tokens[first[:, None] + np.arange(context + 1)]  # (B, T + 1)
    windows = torch.from_numpy(windows.astype(np.int64))
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def story_batch(token_file: TokenFile, batch_size: int, context: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """As ``batch``, but each row begins with a random story, and targets beyond its end are ``IGNORED``, so that
    a model which carries a state learns nothing across stories. Of one longer than the context a random part is taken.
    """
    rng = np.random.default_rng((seed, step))
    which = rng.integers(len(token_file), size=batch_size)
    begin, end = token_file.offsets[which], token_file.offsets[which + 1]
    begin = begin + rng.integers(np.maximum(end - begin - context, 0) + 1)
    places = begin[:, None] + np.arange(context + 1)
    windows = token_file.tokens[np.minimum(places, len(token_file.tokens) - 1)].astype(np.int64)
    targets = np.where(places[:, 1:] <= end[:, None], windows[:, 1:], IGNORED)
    return torch.from_numpy(windows[:, :-1].copy()), torch.from_numpy(targets)


def _encoded(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[tuple[str, list[int]]]:
    for group in batches(texts):
        yield from zip(group, tokenizer.encode_batch(group), strict=True)


def token_paths(prefix: Path | str) -> tuple[Path, Path]:
    """The two files of a token file: the stream, and where its stories are."""
    return Path(f"{prefix}.bin"), Path(f"{prefix}.npz")
