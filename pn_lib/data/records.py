"""Rows of files that have rows: JSON in its shapes, CSV and TSV, Parquet and Arrow; and which field is the story.

A row is whatever the file holds, a dictionary as a rule, or ``Damaged``: one bad row is no reason to lose the others.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pn_lib.data.corpus_paths import SPLITS
from pn_lib.errors import InputError, NoStoriesError, one_line

BATCH = 1000  # rows of a column file held as Python objects at a time
SAMPLE = 100  # rows by which the field of the stories is found
USUAL_FIELDS = ("text", "story", "content", "stories", "body", "document", "article", "passage", "completion")
CHATS = ("messages", "conversations", "conversation", "chat", "turns")
LONG = 50  # characters that a column has on average, at least, to be taken for stories
LONGEST_VALUE = 64_000_000  # characters of one JSON value
DELIMITERS = ",\t;|"
EXCEL_LINE = r"\Asep=.\s*"  # by which Excel is told the delimiter

# Integers of thousands of digits, in fields that nobody reads, are no fault.
_decoder = json.JSONDecoder(parse_int=float)
csv.field_size_limit(LONGEST_VALUE)


@dataclass(frozen=True)
class Damaged:
    """A row that cannot be read: where it stands, and why."""

    where: str
    why: str


# --- JSON ---------------------------------------------------------------------------------------------------------


def json_rows(file: TextIO, path: Path) -> Iterator[Any]:
    """The values of JSON Lines, of one array, of an object around an array, or of values one after the other.

    Raises:
        InputError: the file ends within a value, or is no JSON.
    """
    head = list(islice(file, 5))  # a line may be a whole array; it is kept in memory once
    lines = [line for line in head if line.strip()]
    values = [_value(line) for line in lines]
    a_line_each = len(values) > 1 and all(isinstance(value, list) for value in values)
    if a_line_each or (lines and lines[0].lstrip()[0] != "[" and any(isinstance(v, dict | str) for v in values)):
        rows = _json_lines(chain(head, file), path)
    else:
        rows = _json_values("".join(head), file, path)
    first = list(islice(rows, SAMPLE))
    if first and all(isinstance(row, list) for row in first):
        yield from _rows_of_lists(first, rows)
    else:
        yield from (_rows_within(first[0]) or first if len(first) == 1 else first)  # only a single value holds rows
        yield from rows


def _rows_of_lists(first: list[list], rows: Iterator[Any]) -> Iterator[Any]:
    """Lists of one length are rows with columns, by their numbers; those of any length hold a story in each place."""
    widths = {len(row) for row in first}
    for row in chain(first, rows):
        if not isinstance(row, list) or len(widths) > 1:
            yield from row if isinstance(row, list) else [row]
        elif widths == {1}:
            yield row[0] if len(row) == 1 else row
        else:
            yield {f"column {number}": cell for number, cell in enumerate(row, 1)}


def _value(line: str) -> Any:
    """The JSON value that is all of a line, a comma at its end apart; ``ValueError`` as a value if it is none."""
    text = line.strip().removesuffix(",")
    try:
        value, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError) as error:
        return error
    return value if end == len(text) else ValueError(f"more text after {text[: min(end, 20)]!r}")


def _json_lines(lines: Iterable[str], path: Path) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _value(line)
        if isinstance(value, Exception):
            if not line.endswith("\n") and line.lstrip().startswith("{"):
                raise InputError(
                    f"{path} ends within line {number}, as half a download does; fetch it again, or delete that line"
                )
            value = Damaged(f"line {number}", f"is not JSON ({value})")
        yield value


def _json_values(buffer: str, file: TextIO, path: Path) -> Iterator[Any]:
    """Values between white space, commas and the brackets of one array around them."""
    between, place = re.compile(r"[\s,\]]*"), len(buffer) - len(buffer.lstrip().removeprefix("["))
    ended = False
    while True:
        place = between.match(buffer, place).end()
        if place < len(buffer):
            try:
                value, end = _decoder.raw_decode(buffer, place)
            except (ValueError, RecursionError) as error:
                if ended or len(buffer) - place > LONGEST_VALUE:
                    raise InputError(
                        f"{path} is not JSON, or not to its end ({one_line(error)}); "
                        "if it was downloaded, fetch it again"
                    ) from None
            else:
                yield value
                place = end
                continue
        elif ended:
            return
        more = file.read(max(1 << 20, len(buffer) - place))  # twice as much each time: a long value is not parsed often
        buffer, place, ended = buffer[place:] + more, 0, not more


def _rows_within(value: Any) -> list | None:
    """The rows of an object that is no row itself: ``{"data": [row, ...]}``, ``{"12": row, ...}`` by their names,
    those of all splits, ``{"train": [row, ...], "validation": [row, ...]}``, or a table by its columns."""
    if not isinstance(value, dict):
        return None
    if (table := _rows_of_columns(value)) is not None:
        return table
    if value and value.keys() <= SPLITS.keys() and all(isinstance(rows, list) for rows in value.values()):
        return list(chain.from_iterable(value.values()))
    if len(value) == 1 and isinstance(inner := next(iter(value.values())), dict):
        return _rows_within(inner)
    named = list(value.values())
    if len(named) > 2 and (
        all(isinstance(v, str) and len(v) >= LONG for v in named)
        or (all(isinstance(v, dict) for v in named) and len({tuple(v) for v in named}) == 1)
    ):
        return named
    if any(isinstance(v, str) and len(v) >= LONG for v in named):
        return None
    lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict | str)]
    return lists[0] if len(lists) == 1 and (isinstance(lists[0][0], dict) or len(lists[0][0]) >= LONG) else None


def _rows_of_columns(value: dict) -> list | None:
    """The rows of a table whose columns are lists, ``{"title": [...], "text": [...]}``, or objects by the rows'
    numbers, as pandas writes them, ``{"text": {"0": ..., "1": ...}}``, or apart from their names, ``{"columns": [...],
    "data": [[...]]}``; or of the Hub's viewer, ``{"rows": [{"row": {...}}]}``. None: it is none."""
    columns, data, rows = (value.get(key) for key in ("columns", "data", "rows"))
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        return [dict(zip(map(str, columns), row, strict=False)) for row in data]
    if isinstance(rows, list) and rows and all(isinstance(row, dict) and "row" in row for row in rows):
        return [row["row"] for row in rows]
    first, *others = cells = list(value.values()) or [None]
    if not others or value.keys() <= SPLITS.keys():
        return None
    numbered = isinstance(first, dict) and first and all(key.isdecimal() for key in first)
    if numbered and all(isinstance(cell, dict) and cell.keys() == first.keys() for cell in others):
        return [{name: column[key] for name, column in value.items()} for key in first]
    even = all(isinstance(cell, list) for cell in cells) and len({len(cell) for cell in cells}) == 1
    if even and not any(isinstance(item, dict | list) for cell in cells for item in cell):
        return [dict(zip(value, row, strict=True)) for row in zip(*cells, strict=True)]
    return None


# --- CSV ----------------------------------------------------------------------------------------------------------


def csv_shape(sample: str) -> tuple[str, bool] | None:
    """The delimiter of a table as text, and whether quotation marks enclose cells; None if it is no table whose first
    line names a usual field."""
    header = re.sub(EXCEL_LINE, "", sample).split("\n", 1)[0]
    for delimiter in sorted(DELIMITERS, key=header.count, reverse=True):
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if any(name in USUAL_FIELDS for name in names) and all(len(name) <= 40 for name in names):
            return delimiter, _quotes(sample, delimiter, len(names))
    return None


def likely_delimiter(sample: str) -> str:
    """The delimiter of a table by its first line, cells in quotation marks apart: a comma where nothing tells."""
    header = re.sub('"[^"]*"', "", re.sub(EXCEL_LINE, "", sample).split("\n", 1)[0])
    return max(DELIMITERS, key=header.count)


def _quotes(sample: str, delimiter: str, columns: int) -> bool:
    """Whether quotation marks enclose cells: not if every line is a row as it stands, and the marks are a story's."""
    lines = [line for line in sample.split("\n")[:-1] if line]
    plain = all(line.count(delimiter) == columns - 1 for line in lines)
    enclosed = any(re.search(rf'(^|{re.escape(delimiter)})"(?:[^"]|"")+"({re.escape(delimiter)}|$)', x) for x in lines)
    return not plain or enclosed


def csv_rows(file: TextIO, path: Path, delimiter: str, quotes: bool) -> Iterator[Any]:
    """The rows of a table as text, by the names in its first line.

    Raises:
        InputError: the file ends within a cell.
    """
    quoting = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
    lines = (line.replace("\0", "\ufffd") for line in file)
    head = list(islice(lines, SAMPLE))
    sign = re.escape(delimiter)
    doubled = rf'(?<!^)(?<![{sign}"])""|""(?![{sign}"\s])'  # within a cell; a cell that is empty is none
    escaped = quotes and any('\\"' in x for x in head) and not any(re.search(doubled, x) for x in head)  # Spark, MySQL
    reader = csv.reader(
        chain(head, lines),
        delimiter=delimiter,
        quoting=quoting,
        skipinitialspace=quotes and delimiter in "".join(head[:1]),
        doublequote=not escaped,
        escapechar="\\" if escaped else None,
    )
    names: list[str] = next(reader, [])
    if re.fullmatch(EXCEL_LINE, delimiter.join(names)):
        names = next(reader, [])
    if any(len(name) > 60 for name in names):  # no header: a story
        reader = chain([names], reader)
        names = [f"column {number}" for number in range(1, len(names) + 1)]
    try:
        for number, cells in enumerate(reader, 1):
            if len(names) == 1 and cells:  # a table of one column need not quote its commas
                yield {names[0]: delimiter.join(cells)}
            elif len(cells) == len(names):
                yield dict(zip(names, cells, strict=True))
            elif cells:
                yield Damaged(f"row {number}", f"has {len(cells)} cells, not {len(names)}")
    except csv.Error as error:
        raise InputError(
            f"{path} is no table as CSV or TSV ({one_line(error)}); was it downloaded to its end?"
        ) from None


# --- columns ------------------------------------------------------------------------------------------------------


def column_rows(path: Path, columns: list[str] | None = None) -> Iterator[Any]:
    """The rows of a Parquet or Arrow file (stream or file), with all columns or some.

    Raises:
        InputError: a damaged file.
    """
    try:
        for batch in _batches(path, columns):
            places = {name: i for i, name in reversed([*enumerate(batch.schema.names)])}  # of two with a name the first
            names = columns or dict.fromkeys(batch.schema.names)
            lists = {name: _values(batch.column(places[name])) for name in names}
            for cells in zip(*lists.values(), strict=True):
                yield dict(zip(lists, cells, strict=True))
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "Arrow"
        raise InputError(
            f"{path} is no {kind} file or a damaged one ({one_line(error)}); fetch or make it again"
        ) from None


def _batches(path: Path, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic == b"ARROW1":
        with pa.OSFile(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)
    elif path.suffix.lower() == ".arrow":
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as reader:
            yield from reader
    else:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH, columns=columns)


def _values(column: pa.Array) -> list:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = column.type in (pa.string(), pa.large_string(), pa.string_view())
    if text or column.type in (pa.binary(), pa.large_binary(), pa.binary_view()):
        wide = column.cast(pa.large_string() if text else pa.large_binary()).cast(pa.large_binary())
        return [None if v is None else v.decode("utf-8", "surrogateescape") for v in wide.to_pylist()]
    try:
        return column.to_pylist()
    except (OverflowError, ValueError):  # a time that Python does not know, in a column that holds no stories
        return [None] * len(column)


# --- fields -------------------------------------------------------------------------------------------------------


def find_field(rows: list[Any], field: str | None, path: Path) -> str | None:
    """The name of the field that holds the stories, with dots where it lies in others; None if rows are strings.

    It is ``field`` if that is given, else ``text``, another usual name whatever its capitals, or the only long text.

    Raises:
        NoStoriesError: no row has text, or it cannot be told which field is the stories.
        InputError: there is no such ``field``.
    """
    if not any(isinstance(row, dict) for row in rows):
        if rows and not any(isinstance(row, str) for row in rows):
            bad = next((row for row in rows if isinstance(row, Damaged)), Damaged("row 1", "is no object with fields"))
            raise NoStoriesError(f"{path}, {bad.where} {bad.why}; give an object a line, or .txt")
        return None
    lengths = _text_lengths(rows)
    names = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in _flat(row)))
    known = ", ".join(name if name in lengths else f"{name} (no strings)" for name in names[:10])
    known += f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    if field is not None:
        if field not in lengths:
            raise InputError(f"{path} has no text in a field {field!r}; it has {known or 'no fields'}")
        return field
    usual = {n: lengths[n] for n in lengths if n.rpartition(".")[2].strip().lower() in USUAL_FIELDS}
    best = next((n for n in usual if n.rpartition(".")[2] == "text"), None) or max(usual, key=usual.get, default=None)
    first, second = ([*sorted(lengths, key=lengths.get, reverse=True), None, None])[:2]
    if best is not None and (4 * lengths[best] >= lengths[first] or lengths[first] < LONG):
        return best
    if first is not None and lengths[first] >= LONG and (second is None or 2 * lengths[second] < lengths[first]):
        return first
    if chats := next((n for n in names if n.rpartition(".")[2] in CHATS), None):
        raise NoStoriesError(
            f"{path} holds chats (in its field {chats!r}), not stories; write each story as a row of its own, such "
            'as {"text": "..."}'
        )
    raise NoStoriesError(
        f"{path} has no field 'text' or another that is clearly the stories, only {known or 'no fields'}; "
        'name it in [data] of a profile: field = "..."'
    )


def _text_lengths(rows: list[Any]) -> dict[str, float]:
    """The average length of each field that holds strings."""
    lengths: dict[str, list[int]] = {}
    for row in rows:
        for name, value in _flat(row).items() if isinstance(row, dict) else ():
            if isinstance(value, str):
                lengths.setdefault(name, []).append(len(value))
    return {name: fmean(values) for name, values in lengths.items()}


def _flat(row: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in row.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def getter(field: str | None) -> Callable[[Any], Any]:
    """What takes the story from a row; ``KeyError`` where the row has no such field."""
    if field is None:
        return lambda row: row

    def get(row: Any) -> Any:
        if not isinstance(row, dict):
            raise KeyError(field)
        if field in row:
            return row[field]
        name, _, rest = field.partition(".")
        return getter(rest)(row[name]) if rest else row[name]

    return get
