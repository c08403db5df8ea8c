"""Stories in files and in datasets, always a thousand or so at a time, so that a corpus may be larger than the memory.

Stories come in from Parquet, JSON Lines and plain text; they are kept as a ``datasets.Dataset`` with a ``text`` column,
in memory or in an Arrow file mapped from disk.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from pn_lib import files
from pn_lib.data.tokenizer import SEPARATOR
from pn_lib.errors import InputError

BATCH = 1000  # stories held as Python strings at a time; they come to about 1 MB ...
BATCH_CHARACTERS = 1_000_000  # ... and are fewer where they are longer
LONGEST_STORY = 1_000_000  # characters; a longer one in a text file means that nothing separates its stories
SCHEMA = pa.schema([("text", pa.string())])


def read_stories(path: Path) -> Iterator[str | None]:
    """The stories of one file in order, in bounded memory.

    ``.parquet`` and ``.jsonl`` have them in a ``text`` field (null comes as None, for cleaning to count); ``.txt`` is
    split at ``<|endoftext|>`` or, where the file has none, at blank lines.

    Raises:
        InputError: unknown ending, unreadable or damaged file, no ``text``, not UTF-8 text.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} ends in '{path.suffix}'; stories are read from {', '.join(READERS)} files")
    try:
        yield from reader(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


def _read_parquet(path: Path) -> Iterator[str | None]:
    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow
            if "text" not in columns.names:
                raise InputError(f"{path} has no column 'text', only {', '.join(columns.names) or 'no columns at all'}")
            if columns.field("text").type not in (pa.string(), pa.large_string(), pa.string_view()):
                raise InputError(f"{path}: column 'text' holds {columns.field('text').type}, not strings")
            for batch in file.iter_batches(BATCH, columns=["text"]):
                yield from batch.column("text").to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no Parquet file or a damaged one ({error})") from None


def _read_jsonl(path: Path) -> Iterator[str | None]:
    with _open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is not JSON ({error})") from None
            if not isinstance(record, dict) or "text" not in record:
                raise InputError(f"{path}, line {number} has no field 'text'")
            if not (record["text"] is None or is_text(record["text"])):
                raise InputError(f"{path}, line {number}: 'text' is no string of Unicode characters")
            yield record["text"]


def _read_txt(path: Path) -> Iterator[str]:
    boundary = re.compile(re.escape(SEPARATOR) if _contains(path, SEPARATOR) else r"\n\s*\n")
    rest = ""
    with _open_text(path) as file:
        while chunk := file.read(LONGEST_STORY):
            *pieces, rest = boundary.split(rest + chunk)  # the last may go on, or end in half a boundary
            yield from filter(None, map(str.strip, pieces))
            if len(rest) > LONGEST_STORY:
                raise InputError(
                    f"{path} has a story of over {LONGEST_STORY:,} characters; "
                    f"put {SEPARATOR} or a blank line between stories"
                )
    yield from filter(None, [rest.strip()])


def _contains(path: Path, words: str) -> bool:
    tail = ""
    with _open_text(path) as file:
        while chunk := file.read(LONGEST_STORY):
            if words in tail + chunk:
                return True
            tail = chunk[-len(words) :]
    return False


READERS = {".parquet": _read_parquet, ".jsonl": _read_jsonl, ".txt": _read_txt}


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as file:
        if b"\0" in file.read(1 << 16):
            raise InputError(f"{path} is no text file: it holds zero bytes; save it as UTF-8 text")
    with path.open(encoding="utf-8-sig") as file:  # -sig: a byte order mark is no part of a story
        try:
            yield file
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is no UTF-8 text ({error}); save it as UTF-8") from None


def is_text(value: object) -> bool:
    """Whether ``value`` is a string that UTF-8 can hold (lone surrogates have no bytes)."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def batches(stories: Iterable[str | None]) -> Iterator[list[str | None]]:
    """``stories`` in lists of BATCH, or fewer once they come to BATCH_CHARACTERS."""
    batch, characters = [], 0
    for text in stories:
        batch.append(text)
        characters += len(text or "")
        if len(batch) == BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def to_dataset(stories: Iterable[str | None], file: Path | None = None) -> datasets.Dataset:
    """A dataset of ``stories``: in an Arrow ``file``, written atomically and mapped from disk, or in memory if None."""
    arrow = (pa.record_batch([pa.array(batch, pa.string())], schema=SCHEMA) for batch in batches(stories))
    if file is None:
        return datasets.Dataset(datasets.table.InMemoryTable(pa.Table.from_batches(arrow, SCHEMA)))
    with files.atomic(file) as temporary, pa.ipc.new_stream(str(temporary), SCHEMA) as writer:
        for batch in arrow:
            writer.write_batch(batch)
    return datasets.Dataset.from_file(str(file))


def iterate(dataset: datasets.Dataset) -> Iterator[str | None]:
    """The stories of ``dataset`` in order.

    A dataset that is a whole Arrow file is read as a file, not through its mapping: pages that were touched through a
    mapping count as this process's memory until somebody else needs them.
    """
    table = dataset.data
    whole_file = (
        isinstance(table, datasets.table.MemoryMappedTable)
        and dataset._indices is None
        and all(change == "replace_schema_metadata" for change, *_ in table.replays)
    )
    if whole_file:
        with pa.OSFile(table.path) as file, pa.ipc.open_stream(file) as reader:
            for batch in reader:
                yield from batch.column("text").to_pylist()
    else:
        for batch in dataset.iter(BATCH):
            yield from batch["text"]


def write_parquet(path: Path, stories: Iterable[str]) -> None:
    """Write ``stories`` to a Parquet file with a ``text`` column, atomically; ``read_stories`` reads it back."""
    with files.atomic(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        for batch in batches(stories):
            writer.write_table(pa.table({"text": batch}, schema=SCHEMA))


def fingerprint(*splits: datasets.Dataset) -> str:
    """SHA-256 over the stories of the splits in order: the same stories give the same value on any machine."""
    digest = hashlib.sha256()
    for dataset in splits:
        digest.update(len(dataset).to_bytes(8, "little"))
        for text in iterate(dataset):
            data = b"\xff" if text is None else text.encode()  # 0xff is in no UTF-8 text
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
