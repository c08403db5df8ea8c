"""What can be said of the study of coherence, language by language."""

from itertools import groupby

from sources import Traced
from wording import plural


def coherence(found: Traced | None) -> list[dict[str, object]] | None:
    """For each language its name, experiments, thresholds by architecture and size, cheapest models, and law; None for
    a run older than the study."""
    if found is None:
        return None
    languages = []
    for dialect, cells in groupby(found.cells, key=_key):
        cells = list(cells)
        own = [row for row in found.thresholds if _key(row) == dialect]
        languages.append(
            {
                "name": _name(cells[0].dialect),
                "cells": cells,
                "best": max(cells, key=lambda cell: cell.valid.value),
                "thresholds": [list(rows) for _, rows in groupby(own, key=lambda r: (r.architecture, r.parameters))],
                "least": [row for row in found.least if _key(row) == dialect],
                "leaks": [row for row in found.leaks if _key(row) == dialect],
                "far": [_far(cell) for cell in cells],
            }
        )
    return languages


def _key(row: Traced) -> tuple[int | None, int | None]:
    return row.dialect.plots, row.dialect.words


def _name(dialect: Traced) -> str:
    if dialect.plots is None and dialect.words is None:
        return "the whole language"
    parts = [] if dialect.plots is None else [plural(dialect.plots, "plot")]
    return ", ".join(parts + ([] if dialect.words is None else [f"at most {dialect.words} words a list"]))


def _far(cell: Traced) -> tuple[float | None, float | None]:
    """The share of facts broken among those told less than 100 characters before, and among the others."""
    near, far = ([r for r in cell.recalled if (r.back >= 100) == is_far] for is_far in (False, True))
    return tuple(
        sum(r.broken for r in rows) / times if (times := sum(r.repeated for r in rows)) else None
        for rows in (near, far)
    )
