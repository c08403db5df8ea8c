"""Stories in datasets, always a thousand or so at a time, so that a corpus may be larger than the memory.

They are kept as a ``datasets.Dataset`` with a ``text`` column, in memory or in an Arrow file mapped from disk, and
handed from notebook to notebook in Parquet files.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from pn_lib import files
from pn_lib.data.text_groups import BATCH, batches
from pn_lib.errors import InputError, one_line

SCHEMA = pa.schema([("text", pa.string())])


def read_stories(path: Path) -> Iterator[str]:
    """The stories of a Parquet file with a ``text`` column, such as ``write_parquet`` writes, in bounded memory.

    Raises:
        InputError: a missing or damaged file.
    """
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=["text"]):
                yield from batch.column("text").to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:  # the last: no such column
        raise InputError(f"{path} is no Parquet file of stories, or a damaged one ({one_line(error)})") from None


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
