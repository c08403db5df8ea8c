"""What all results have in common: strict parts, estimates with an interval, and files that are read and written whole.

A field's description says what the number means and in which unit; the page ``results`` of the course is made of them.
Keys stand in the file in the order of the fields.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from pn_lib.errors import InputError, one_line
from pn_lib.files import read_json, write_json, write_text
from pn_lib.run.stages import load_stages, maker

# A configuration, such as a model's, as its own file has it: a tuple is a list there
Settings = Annotated[dict[str, JsonValue], BeforeValidator(lambda value: json.loads(json.dumps(value)))]


class Part(BaseModel):
    """A part of a result: every key must be there, no other may, and a number is finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Estimate(Part):
    """A measured value with its 95 % interval; without one (both ends null) where one seed or one story was measured.

    An `Interval`, or any (value, low, high), fills it too.
    """

    value: float = Field(description="the value")
    low: float | None = Field(description="lower end of its 95 % interval")
    high: float | None = Field(description="upper end")

    @model_validator(mode="before")
    @classmethod
    def _from_interval(cls, given: Any) -> Any:
        return dict(zip(cls.model_fields, given, strict=True)) if isinstance(given, tuple) else given

    @model_validator(mode="after")
    def _both_ends_or_none(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"an interval needs both ends or none, got [{self.low}, {self.high}]")
        return self


class Mean(Part):
    """A mean over seeds, or a difference of two models, with its 95 % interval; null ends with one seed."""

    mean: float = Field(description="the mean")
    low: float | None = Field(description="lower end of its 95 % interval")
    high: float | None = Field(description="upper end")

    @property
    def value(self) -> float:
        return self.mean


class Result(Part):
    """A JSON file of a run."""

    FILE: ClassVar[str]  # below results/<run>/

    @classmethod
    def read(cls, results: Path) -> Self:
        """The file of the run in ``results``.

        Raises:
            InputError: it is missing, or damaged; the message names the key and the notebook to run again.
        """
        text = json.dumps(read_json(results / cls.FILE))  # NaN stays NaN, and is refused by the model
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise InputError(_explain(error, results, cls.FILE)) from None

    def write(self, path: Path) -> None:
        write_json(path, self.model_dump(by_alias=True))


class Row(Part):
    """A row of a CSV file of a run; the fields are its columns."""

    FILE: ClassVar[str]

    @classmethod
    def read(cls, results: Path) -> list[Self]:
        """All rows of the file.

        Raises:
            InputError: as `Result.read`, or there are no rows.
        """
        path = results / cls.FILE
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream, restkey="more"))
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; {_remedy(cls.FILE)}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} is damaged ({one_line(error)}); {_remedy(cls.FILE)}") from None
        if not rows:
            raise InputError(f"{path} has no rows; {_remedy(cls.FILE)}")
        found = []
        for number, row in enumerate(rows):
            try:
                found.append(cls.model_validate_strings({key: cell for key, cell in row.items() if cell is not None}))
            except ValidationError as error:
                raise InputError(_explain(error, results, cls.FILE, number)) from None
        return found

    @classmethod
    def write(cls, rows: Sequence[Self], path: Path) -> None:
        table = pd.DataFrame([row.model_dump() for row in rows], columns=list(cls.model_fields))
        write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _explain(error: ValidationError, results: Path, file: str, *row: int) -> str:
    """One sentence on the first thing that is wrong; ``row`` is its number in a table."""
    first, others = error.errors()[0], error.error_count() - 1
    places = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in (*row, *first["loc"])]
    key = "".join(places).lstrip(".")
    problem = {"missing": f"no '{key}'", "extra_forbidden": f"'{key}' is no key of it"}.get(
        first["type"], f"'{key}': {first['msg']}, got {first['input']!r:.60}"
    )
    more = f", and {others} more" if others else ""
    return f"{results / file} is damaged, or of another version: {problem}{more}; {_remedy(file)}"


def _remedy(file: str) -> str:
    notebook = maker(file, load_stages())
    return f"run notebook {notebook.name} again" if notebook else "run `make report` again"
