"""One file of stories, whatever its kind: what it holds, how that was found, and the stories themselves."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pn_lib.data.corpus_paths import COLUMNS, FOUND, ROWS, SPLITS, TEXTS, Naming, ending
from pn_lib.data.records import (
    SAMPLE,
    Damaged,
    column_rows,
    csv_rows,
    csv_shape,
    find_field,
    getter,
    json_rows,
    likely_delimiter,
)
from pn_lib.data.text_files import find_encoding, is_text, open_text, read_head, told
from pn_lib.data.units import SAMPLE as TEXT_SAMPLE
from pn_lib.data.units import are_single_stories, find_unit, front_matter, named_unit, split_text
from pn_lib.errors import NoStoriesError

_FIRST_NAME = re.compile(r'\s*\{\s*"(\w+)"\s*:\s*\[')  # of an object around rows
EXAMPLES = 3  # bad rows that are shown


@dataclass
class StoryFile:
    """A file that was opened for its stories.

    Attributes:
        kind: JSON, CSV, Parquet, Arrow or text.
        unit: what a story is in it, in words.
        remarks: what was guessed, and should be looked at.
        bad: number of rows without a story, by what is wrong with them, as far as they were read.
        examples: the first of them.
    """

    path: Path
    kind: str
    unit: str
    remarks: list[str] = field(default_factory=list)
    bad: Counter = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    _rows: Any = None
    _get: Any = None

    def stories(self) -> Iterator[str | None]:
        """The stories in order; None stands for a row without one, for cleaning to count.

        Raises:
            InputError: damage that ends the reading.
        """
        self.bad.clear()
        self.examples.clear()
        with told(self.path):
            for number, row in enumerate(self._rows(), 1):
                yield self._story(row, number)

    def _story(self, row: Any, number: int) -> str | None:
        where, why = f"{'story' if self.kind == 'text' else 'row'} {number}", None
        if isinstance(row, Damaged):
            where, why = row.where, row.why
        else:
            try:
                text = self._get(row)
            except KeyError:
                text, why = None, "has no such field"
            if why is None and not is_text(text):
                why = (
                    "is empty (null)"
                    if text is None
                    else "is not whole Unicode text"
                    if isinstance(text, str)
                    else f"is not text but {type(text).__name__}"
                )
        if why is None:
            return text
        self.bad[why.partition(" (")[0] if isinstance(row, Damaged) else why] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{self.path.name}, {where} {why}"[:200])
        return None


def open_stories(path: Path, naming: Naming = FOUND) -> StoryFile:
    """Look at the beginning of a file and find out what its stories are.

    Raises:
        InputError: unreadable, damaged, not what it seems, or nothing tells its stories.
    """
    head = read_head(path)
    if path.suffix.lower() in COLUMNS or head.startswith(b"PAR1"):
        return _open_columns(path, naming)
    encoding, remark = find_encoding(path, head)
    with told(path), open_text(path, encoding) as file:
        sample = file.read(TEXT_SAMPLE)
        whole = not file.read(1)
    kind, remarks = _kind(path, sample), [remark] if remark else []
    if kind != "text":
        return _open_rows(path, naming, kind, encoding, sample, remarks)
    if front := front_matter(sample):
        remarks.append(f"{path.name} begins with lines between '---' that tell about it; they are left out")
    sample = sample[len(front) :]
    unit = named_unit(naming.unit, naming.separator, sample) or find_unit(path, sample, whole)

    def pieces() -> Iterator[str]:
        with open_text(path, encoding) as file:
            file.read(len(front))
            yield from split_text(file, unit, path)

    return StoryFile(path, kind, unit.name, remarks, _rows=pieces, _get=getter(None))


def _open_columns(path: Path, naming: Naming) -> StoryFile:
    name = _field(path, column_rows(path), naming)
    column = name if name in next(column_rows(path)) else name.partition(".")[0]
    kind = "Arrow" if path.suffix.lower() == ".arrow" else "Parquet"
    return StoryFile(path, kind, f"a row's {name!r}", _rows=partial(column_rows, path, [column]), _get=getter(name))


def _open_rows(path: Path, naming: Naming, kind: str, encoding: str, sample: str, remarks: list[str]) -> StoryFile:
    read = partial(json_rows, path=path)
    if kind == "CSV":
        delimiter, quotes = csv_shape(sample) or (
            "\t" if ending(path) in (".tsv", ".tab") else likely_delimiter(sample),
            True,
        )
        read = partial(csv_rows, path=path, delimiter=delimiter, quotes=quotes)

    def rows() -> Iterator[Any]:
        with open_text(path, encoding) as file:
            yield from read(file)

    if ROWS.get(ending(path)) != kind:
        remarks = [*remarks, f"{path.name} holds {kind}, read as such"]
    if kind == "JSON" and (match := _FIRST_NAME.match(sample)) and match[1] in SPLITS:
        remarks = [
            *remarks,
            f"{path.name} holds splits, which are read as one; save each in a file of its own to keep them",
        ]
    name = _field(path, rows(), naming)
    return StoryFile(
        path, kind, "a row" if name is None else f"a row's {name!r}", remarks, _rows=rows, _get=getter(name)
    )


def _field(path: Path, rows: Iterator[Any], naming: Naming) -> str | None:
    """The field of the stories by the first rows."""
    with told(path):
        first = list(islice(rows, SAMPLE))
    if not first:
        raise NoStoriesError(f"{path} holds no stories: it has no rows")
    return find_field(first, naming.field, path)


def holds_single_stories(files: list[Path]) -> bool:
    """Whether the texts among the files of a folder are one story each, by forty of them.

    Raises:
        InputError: one of these is no text.
    """
    texts = [path for path in files if ending(path) in TEXTS]
    samples = []
    for path in texts[:: max(1, len(texts) // 40)]:
        try:
            head = read_head(path)
        except NoStoriesError:
            continue
        with told(path), open_text(path, find_encoding(path, head)[0]) as file:
            sample = file.read(TEXT_SAMPLE)
            samples.append(sample[len(front_matter(sample)) :])
    return are_single_stories(samples)


def _kind(path: Path, sample: str) -> str:
    """What a text holds: by the ending of its name, but for JSON and tables that are named .txt or like nothing."""
    named = ROWS.get(ending(path))
    begin = sample.lstrip("\ufeff \t\r\n")
    if named is None and ending(path) != ".md":
        if begin.startswith(('{"', "{\n", "[{", '["')):
            return "JSON"
        if csv_shape(begin):
            return "CSV"
    return named or "text"
