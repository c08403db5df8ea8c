"""People grade endings without knowing whose they are: the sheet, their files, and what these say.

The criteria are those of GPT-Eval (Eldan & Li 2023, arXiv:2305.07759), from 1 (very poor) to 10 (excellent). A page
of the sheet shows one beginning and a few endings, which takes about two minutes. Which model wrote an ending is in the
sheet's key, not on the page that raters get.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pn_lib.data.records import EXCEL_LINE, likely_delimiter
from pn_lib.data.text_files import find_encoding
from pn_lib.errors import InputError, one_line
from pn_lib.evaluation.agreement import krippendorff_alpha, rank_correlations
from pn_lib.evaluation.intervals import Interval
from pn_lib.evaluation.judge import Sample, digest
from pn_lib.evaluation.judge_reply import CRITERIA
from pn_lib.evaluation.judge_summary import clustered_mean

ENDINGS = 3  # on a page
SCALE = (1, 10)
Grade = Annotated[int, Field(ge=SCALE[0], le=SCALE[1])]


class Shown(BaseModel):
    """An ending on the sheet: whose, and which."""

    teller: str
    beginning: int
    ending: int


class Sheet(BaseModel):
    """The key of a sheet: its endings in the order shown, page by page. Their numbers run from 1 through all pages."""

    id: str
    completions: str  # digest of the endings' file
    pages: list[list[Shown]]

    @property
    def endings(self) -> list[Shown]:
        return [shown for page in self.pages for shown in page]


class Rating(BaseModel):
    """A line of a rater's file."""

    model_config = ConfigDict(extra="forbid")

    sheet: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]  # it names a file
    rater: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)]
    ending: Annotated[int, Field(ge=1)]
    grammar: Grade
    creativity: Grade
    consistency: Grade
    plot: Grade


COLUMNS = tuple(Rating.model_fields)


def make_sheet(samples: Sequence[Sample], pages: int, seed: int, completions: str) -> Sheet:
    """Draw the beginnings and, for each, ``ENDINGS`` of the tellers, whose first endings stand in a drawn order; all
    tellers come equally often, give or take one. The same arguments give the same sheet.

    Raises:
        InputError: fewer beginnings than ``pages``.
    """
    first = [sample for sample in samples if sample.ending == 0]
    tellers = list(dict.fromkeys(sample.teller for sample in first))
    beginnings = sorted({sample.beginning for sample in first})
    if not 1 <= pages <= len(beginnings):
        raise InputError(f"--pages must be 1 to {len(beginnings)}, the beginnings of the run, not {pages}")
    rng, shown, made = np.random.default_rng(seed), Counter(), []
    for beginning in rng.choice(beginnings, pages, replace=False).tolist():
        order = rng.permutation(tellers).tolist()
        chosen = rng.permutation(sorted(order, key=shown.__getitem__)[:ENDINGS]).tolist()  # those shown least so far
        shown.update(chosen)
        made.append([Shown(teller=teller, beginning=beginning, ending=0) for teller in chosen])
    return Sheet(id=digest(completions, str(pages), str(seed)), completions=completions, pages=made)


def read_ratings(paths: Sequence[Path]) -> tuple[str, pd.DataFrame]:
    """The sheet's id and all ratings of raters' files: a row each, rater, ending, and the four criteria.

    Raises:
        InputError: a file that cannot be read, other columns, a grade off the scale, files of different sheets, or an
            ending that a rater graded twice.
    """
    found: dict[tuple[str, int], Path] = {}
    rows, sheets = [], {}
    for path in paths:
        for line, rating in _read_file(path):
            sheets.setdefault(rating.sheet, path)
            key = (rating.rater, rating.ending)
            if key in found:
                raise InputError(
                    f"{path}, line {line}: rater {rating.rater!r} graded ending {rating.ending} already, in "
                    f"{found[key]}; two raters need two names, and a rater's last file is enough"
                )
            found[key] = path
            rows.append(rating.model_dump(exclude={"sheet"}))
    if len(sheets) > 1:
        told = ", ".join(f"{path} ({sheet})" for sheet, path in sheets.items())
        raise InputError(f"these files are of different sheets and cannot be counted together: {told}")
    return next(iter(sheets)), pd.DataFrame(rows)


def _read_file(path: Path) -> Iterator[tuple[int, Rating]]:
    """Every rating of a file with the number of its line."""
    try:
        data = path.read_bytes()
        if data.startswith(b"PK"):
            raise InputError(f"{path} is a spreadsheet; save it as CSV from the program that made it")
        text = data.decode(find_encoding(path, data)[0]).removeprefix("\ufeff")
        lines = re.sub(EXCEL_LINE, "", text).splitlines(keepends=True) or [""]
        reader = csv.DictReader(
            lines, restkey="more", restval="", delimiter=likely_delimiter(text), skipinitialspace=True
        )
        columns = reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or []]
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, map(str, row.values())))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as CSV ({one_line(error)}); give the file that the page saved"
        ) from None
    if set(columns) != set(COLUMNS):
        got = ",".join(columns)[:100] or "none"
        raise InputError(
            f"{path} must have the columns {','.join(COLUMNS)}, not {got}; give the file that the page saved"
        )
    if not rows:
        raise InputError(f"{path} holds no ratings; grade at least one ending and save the file again")
    for line, row in rows:
        try:
            yield line, Rating.model_validate_strings({key: str(value) for key, value in row.items()})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InputError(
                f"{path}, line {line}: {first['loc'][0]}: {first['msg']}, got {first['input']!r:.40}"
            ) from None


def summarize(sheet: Sheet, ratings: pd.DataFrame, measures: pd.DataFrame) -> dict[str, Any]:
    """What ``rating.json`` holds, but for the digest of the endings.

    ``ratings`` is of ``read_ratings``. ``measures`` has a row for each ending of the sheet, in its order.
    """
    shown = pd.DataFrame([ending.model_dump() for ending in sheet.endings])
    rated = ratings.merge(shown.drop(columns="ending"), left_on=ratings["ending"] - 1, right_index=True)
    found = {
        "sheet": sheet.id,
        "scale": SCALE,
        "endings": len(shown),
        "raters": sorted(ratings["rater"].value_counts().tolist(), reverse=True),
        "tellers": {teller: _teller(rows) for teller, rows in rated.groupby("teller")},
        "agreement": None,
        "correlations": None,
    }
    if len(found["raters"]) > 1:
        means = ratings.groupby("ending")[list(CRITERIA)].mean()
        places = means.index - 1  # of the endings that somebody graded
        found["agreement"] = {criterion: _agreement(ratings, shown, criterion) for criterion in CRITERIA}
        found["correlations"] = rank_correlations(measures.iloc[places], means, shown["beginning"].iloc[places])
    return found


def _teller(rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "endings": rows["ending"].nunique(),
        "ratings": len(rows),
        "grades": {criterion: clustered_mean(rows[criterion], rows["beginning"]) for criterion in CRITERIA},
    }


def _agreement(ratings: pd.DataFrame, shown: pd.DataFrame, criterion: str) -> Interval | None:
    table = ratings.pivot(index="rater", columns="ending", values=criterion)
    return krippendorff_alpha(table.to_numpy(float), shown["beginning"].iloc[table.columns - 1])
