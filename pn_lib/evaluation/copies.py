"""What a text has copied from the training stories: an index of all of them, on disk, for corpora of any size.

The stories become one stream of word numbers with a border, 0, after each. It is cut between stories into shards, and
each shard has its suffix array (Manber & Myers 1993): the places of all its words, in the order of what stands there up
to the story's end. All places where some run of words occurs are then neighbours and found by binary search, however
long and however common the run is. Nothing crosses stories, so shards are searched one after another and need no
merging; building takes the memory of one shard.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pn_lib import files
from pn_lib.errors import InputError
from pn_lib.evaluation.diversity import ngrams, words
from pn_lib.key import code, keep, kept, make_key, read_kept
from pn_lib.progress import progress

MANIFEST = "index.json"  # written last: without it there is no index
# Of every shard, one after another: word numbers and borders; where each suffix begins in the shard; and its story.
ARRAYS = {"words.bin": np.uint32, "suffixes.bin": np.uint32, "stories.bin": np.uint16}
BORDER = bytes(4)
SHARD_WORDS = 1 << 23  # about 60 bytes of memory each while they are sorted
SHARD_STORIES = 1 << 16  # as many as uint16 can number
CHUNKS = 1 << 19  # remembered while stories are read, about 150 bytes each


class Span(NamedTuple):
    """Words of a text that stand in a row in story number ``story`` too; no words, and story -1, if none are known."""

    words: list[str]
    story: int


class StoryIndex:
    """Finds which words, 2-grams, and longest runs of words a text shares with the training stories.

    Stories have the numbers of their order, from 0. Words are those of ``diversity.words``. All answers are exact.

    Attributes:
        stories: how many there are.
        words: how many words they have together.
        vocabulary: the number of each word, from 1 on in the order of their first use.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.vocabulary = {word: number for number, word in enumerate(manifest["vocabulary"], 1)}
        places, suffixes = np.array(manifest["shards"], np.int64).T  # of each shard: words and borders, words alone
        self.words, self.stories = int(suffixes.sum()), int((places - suffixes).sum())
        self._first_story = np.concatenate([[0], np.cumsum(places - suffixes)])
        arrays = [np.memmap(folder / name, dtype, "r").view(np.ndarray) for name, dtype in ARRAYS.items()]
        ends = [np.cumsum(places)[:-1], np.cumsum(suffixes)[:-1], np.cumsum(suffixes)[:-1]]
        self._shards = list(zip(*map(np.split, arrays, ends), strict=True))

    @classmethod
    def open(cls, folder: Path | str) -> "StoryIndex":
        """The finished index in ``folder``. Its files are read once, to see that they are whole, and then mapped.

        Raises:
            InputError: there is none, or one of its files is missing or damaged.
        """
        folder = Path(folder)
        manifest = read_kept(folder / MANIFEST)
        if "digest" not in manifest:
            raise InputError(
                f"{folder / MANIFEST} has no digest of itself; delete {folder} and index the stories again"
            )
        for name, digest in manifest["digests"].items():
            if not (folder / name).is_file() or files.sha256(folder / name) != digest:
                raise InputError(f"{folder / name} is missing or damaged; delete {folder} and index the stories again")
        return cls(folder, manifest)

    @classmethod
    def build(cls, stories: Iterable[str], folder: Path | str, key: str | None = None) -> "StoryIndex":
        """Index ``stories``, read once and in bounded memory, in ``folder``: about 10 bytes of disk a word.

        An index that was finished in ``folder`` under the same ``key`` (such as ``data.stories.fingerprint`` of the
        stories) by the same code is opened instead. A build that was interrupted leaves no index.

        Raises:
            InputError: there are no stories, or none has a word; or the index that is there already is damaged.
        """
        folder = Path(folder)
        manifest = folder / MANIFEST
        made_of = make_key([key, code({__name__})])
        if key is not None and kept(manifest, made_of) is not None:
            return cls.open(folder)
        folder.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
        files.remove_unfinished(folder)
        record = _write_arrays(progress(stories, "Indexing stories", unit="story"), folder)
        keep(manifest, made_of, record)
        return cls(folder, record)

    def known_words(self, text: str) -> float:
        """Share of the words of ``text`` that occur in the training stories; 1 for a text of no words."""
        found = [word in self.vocabulary for word in words(text)]
        return sum(found) / len(found) if found else 1.0

    def nearest(self, text: str) -> tuple[int, float]:
        """The training story with most distinct 2-grams of ``text`` (the first of equals), and their share of all
        distinct 2-grams of the text: ROUGE-2 precision, TinyStories' measure of memorisation (Eldan & Li 2023).

        (-1, 0.0) if no story shares any.
        """
        grams = sorted(set(ngrams(text, 2)))
        pairs = self._numbers([word for gram in grams for word in gram]).reshape(-1, 2)
        story, most = -1, 0
        for (first, end), shard in zip(pairwise(self._first_story), self._shards, strict=True):
            shared = _shared(*shard, pairs, end - first)
            if shared.max() > most:
                story, most = int(first + shared.argmax()), int(shared.max())
        return story, most / len(grams) if grams else 0.0

    def longest_copied_span(self, text: str) -> Span:
        """The longest run of words of ``text`` found word for word in some training story, and the first such story;
        of equally long runs the first in the text."""
        numbers = self._numbers(words(text))
        lengths = [_matches(stream, suffixes, numbers) for stream, suffixes, _ in self._shards]
        longest = np.max(lengths, axis=0)  # (n,), from each word on
        if not longest.any():
            return Span([], -1)
        begin = int(longest.argmax())
        span = slice(begin, begin + int(longest[begin]))
        shard = next(i for i, found in enumerate(lengths) if found[begin] == longest[begin])
        stream, suffixes, stories = self._shards[shard]
        low, high = _interval(stream, suffixes, numbers[span])
        return Span(words(text)[span], int(self._first_story[shard] + stories[low:high].min()))

    def _numbers(self, sequence: list[str]) -> np.ndarray:
        """The number of each word, int64 (n,); one that occurs nowhere for those that training lacks."""
        unknown = len(self.vocabulary) + 1
        return np.array([self.vocabulary.get(word, unknown) for word in sequence], np.int64)


def _write_arrays(stories: Iterable[str], folder: Path) -> dict[str, Any]:
    """Write ``ARRAYS``, shard by shard; returns what the manifest says of them, and the vocabulary."""
    vocabulary: dict[str, int] = {}
    shards = []
    with ExitStack() as stack:
        temporary = {name: stack.enter_context(files.atomic(folder / name)) for name in ARRAYS}
        outputs = [stack.enter_context(path.open("wb")) for path in temporary.values()]
        for stream in _streams(stories, vocabulary):
            arrays = (stream, *_sorted_suffixes(stream))
            for output, array in zip(outputs, arrays, strict=True):
                output.write(np.ascontiguousarray(array).data)  # tofile hides that the disk is full
            shards.append([len(array) for array in arrays[:2]])
        if not vocabulary:
            raise InputError(f"there are no stories with words to index into {folder}")
        for output in outputs:
            output.flush()
        digests = {name: files.sha256(path) for name, path in temporary.items()}
    return {"shards": shards, "digests": digests, "vocabulary": list(vocabulary)}


class _Chunks(dict[str, bytes]):
    """The numbers (uint32) of the words in the text between two spaces. A word holds no space, so that the words of
    a text are those of its chunks; and remembering chunks is twice as fast as looking for words."""

    def __init__(self, vocabulary: dict[str, int]):
        super().__init__()
        self.vocabulary = vocabulary

    def __missing__(self, chunk: str) -> bytes:
        numbers = [self.vocabulary.setdefault(word, len(self.vocabulary) + 1) for word in words(chunk)]
        code = np.array(numbers, np.uint32).tobytes()
        if len(self) < CHUNKS:
            self[chunk] = code
        return code


def _streams(stories: Iterable[str], vocabulary: dict[str, int]) -> Iterator[np.ndarray]:
    """The word numbers of each shard's stories, a border after each: uint32 (n,). New words join ``vocabulary``."""
    chunks = _Chunks(vocabulary)
    stream, count = bytearray(), 0
    for story in stories:
        stream += b"".join(map(chunks.__getitem__, story.split())) + BORDER
        count += 1
        if count == SHARD_STORIES or len(stream) >= 4 * SHARD_WORDS:
            yield np.frombuffer(stream, np.uint32)
            stream, count = bytearray(), 0
    if count:
        yield np.frombuffer(stream, np.uint32)


def _sorted_suffixes(stream: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the suffixes of ``stream`` (n,) begin, in their order, and in which story: uint32 and uint16, of all n
    places but the borders.

    Prefix doubling: what is sorted by its first h words is sorted by 2 h with the ranks of the places h further on.
    Only what is not yet alone in its rank is looked at again (Larsson & Sadakane 2007).
    """
    order, keys, h = _sort_by_first_words(stream)
    rank = np.empty(len(stream), np.int32)  # of each place: the first slot of `order` with what is equal so far
    active = np.arange(len(stream), dtype=np.int32)  # slots that are not final
    while True:
        fresh = np.concatenate([[True], keys[1:] != keys[:-1]])
        firsts = np.flatnonzero(fresh).astype(np.int32)
        rank[order[active]] = active[firsts].repeat(np.diff(firsts, append=len(active)))
        active = active[~(fresh & np.concatenate([fresh[1:], [True]]))]
        if not len(active):
            break
        places = order[active]
        keys = rank[places].astype(np.int64) << 32 | rank[places + h]  # the h words they share hold no border: no end
        by = np.argsort(keys, kind="stable")
        order[active], keys = places[by], keys[by]
        h *= 2
    borders = stream == 0
    order = order[np.count_nonzero(borders) :]  # they come first
    stories = np.cumsum(borders, dtype=np.uint16)
    return order.astype(np.uint32), stories[order]


def _sort_by_first_words(stream: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Places in the order of their first h words, these as one sorted key each, and h: as many as 63 bits hold.

    Borders are the numbers 0, 1, ... here and words come after them, so that no two suffixes are equal."""
    borders = np.flatnonzero(stream == 0)
    symbols = stream.astype(np.int64) + (len(borders) - 1)
    symbols[borders] = np.arange(len(borders))
    bits = max(1, int(symbols.max()).bit_length())
    h = min(63 // bits, len(symbols))
    keys = np.zeros(len(symbols), np.int64)
    for i in range(h):
        keys <<= bits
        keys[: len(symbols) - i] |= symbols[i:]
    order = np.argsort(keys, kind="stable").astype(np.int32)
    return order, keys[order], h


@njit
def _narrow(stream, suffixes, low, high, depth, word):  # type: ignore[no-untyped-def]
    """Of suffixes[low:high], whose first ``depth`` words are the same, those with ``word`` next: (low, high)."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if stream[suffixes[middle] + depth] < word:
            low = middle + 1
        else:
            high = middle
    first, high = low, end
    while low < high:
        middle = (low + high) // 2
        if stream[suffixes[middle] + depth] <= word:
            low = middle + 1
        else:
            high = middle
    return first, low


@njit(cache=True)
def _interval(stream, suffixes, numbers):  # type: ignore[no-untyped-def]
    """The suffixes that begin with all of ``numbers`` (n,): (low, high)."""
    low, high = 0, len(suffixes)
    for depth in range(len(numbers)):
        low, high = _narrow(stream, suffixes, low, high, depth, numbers[depth])
    return low, high


@njit(cache=True)
def _matches(stream, suffixes, numbers):  # type: ignore[no-untyped-def]
    """How many words from each of ``numbers`` (n,) on stand together in some story: int64 (n,)."""
    lengths = np.zeros(len(numbers), np.int64)
    for begin in range(len(numbers)):
        low, high = 0, len(suffixes)
        for depth in range(len(numbers) - begin):
            low, high = _narrow(stream, suffixes, low, high, depth, numbers[begin + depth])
            if low == high:
                break
            lengths[begin] += 1
    return lengths


@njit(cache=True)
def _shared(stream, suffixes, stories, pairs, n):  # type: ignore[no-untyped-def]
    """How many of ``pairs`` (m, 2), all different, each of ``n`` stories has: int64 (n,)."""
    counts, last = np.zeros(n, np.int64), np.full(n, -1)
    for gram in range(len(pairs)):
        low, high = _interval(stream, suffixes, pairs[gram])
        for story in stories[low:high]:
            if last[story] != gram:  # once per story
                last[story] = gram
                counts[story] += 1
    return counts
