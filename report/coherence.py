"""What can be said of the study of coherence, language by language."""

from itertools import groupby

from sources import Figure, Run, Traced
from wording import plural

from pn_lib.course.published_coherence import ALT, PICTURE
from pn_lib.data import pocket
from pn_lib.run.coherence.summary import PUBLISHED, counted, lacks_one, other_seeds, published, smallest, unsure

EXAMPLE_SEED = 0  # of the story that shows a language


def picture() -> Figure:
    """The figure of the published experiments."""
    return Figure(PICTURE, ALT, "Drawn by `python -m pn_lib refresh`")


def smallest_file(run: Run) -> dict[str, object] | None:
    """The smallest published file that writes most of its stories well: its experiment, what it told, and the shares of
    valid stories of the same model with other seeds. None: there is none."""
    experiments = published()
    files = smallest(experiments)
    if not files:
        return None
    (name, told), *_ = files
    way = experiments[name].told.index(told)
    model, *others = (
        Traced(experiments[each], (PUBLISHED / f"{each}.json").as_posix(), "", run.used)
        for each in [name, *other_seeds(experiments, name)]
    )
    return {"model": model, "told": model.told[way], "others": [other.told[way].valid for other in others]}


def coherence(found: Traced, run: Run) -> list[dict[str, object]]:
    """For each language its name, its plots and words in ``short``, an ``example`` of its stories, experiments,
    thresholds by architecture and size, cheapest models, the smallest that writes ``half`` of its stories without a
    fault (None: none does) with the shares ``by_seed``, the least first, and law."""
    languages = []
    for dialect, cells in groupby(found.cells, key=_key):
        cells = list(cells)
        own = [row for row in found.thresholds if _key(row) == dialect]
        languages.append(
            {
                "name": _name(cells[0].dialect),
                "short": [str(part or "all") for part in dialect],
                "example": pocket.sample_stories(1, EXAMPLE_SEED, pocket.dialect(*dialect))[0],
                "cells": cells,
                "best": max(cells, key=lambda cell: cell.valid.value),
                "thresholds": [list(rows) for _, rows in groupby(own, key=lambda r: (r.architecture, r.parameters))],
                "least": (least := [row for row in found.least if _key(row) == dialect]),
                "half": (half := next((row for row in least if (row.level, row.cost) == (0.5, "parameters")), None)),
                "by_seed": [] if half is None else _by_seed(half, run),
                "leaks": [row for row in found.leaks if _key(row) == dialect],
                "far": [_far(cell) for cell in cells],
            }
        )
    return languages


def fewest(language: dict[str, object], threshold: Traced) -> int:
    """The smallest budget that was tried of the architecture and size of a threshold."""
    own = threshold.architecture, threshold.parameters
    return min(cell.tokens for cell in language["cells"] if (cell.architecture, cell.parameters) == own)


def facts(found: Traced) -> dict[str, object]:
    """Of the easiest language: how many ``models`` had their facts counted, how many ``pairs`` of a model and a fact
    that makes, those that it is ``unsure`` of, and whether it ``lacks_one`` (see ``summary``)."""
    of_models = counted(found)
    pairs = sum(map(len, of_models.values()))
    return {
        "models": len(of_models),
        "pairs": pairs,
        "unsure": unsure(of_models),
        "lacks_one": lacks_one(of_models),
    }


def _by_seed(row: Traced, run: Run) -> list[float]:
    """The share of valid stories of each published seed of a model, the least first."""
    own = row.architecture, _key(row), row.parameters, row.tokens
    found = {
        name: model
        for name, model in published().items()
        if (
            model.settings["architecture"],
            (model.settings["plots"], model.settings["words"]),
            model.parameters,
            model.tokens,
        )
        == own
    }
    told = [
        Traced(model, (PUBLISHED / f"{name}.json").as_posix(), "", run.used).told[0] for name, model in found.items()
    ]
    return sorted(way.valid.value for way in told)


def _key(row: Traced) -> tuple[int | None, int | None]:
    return row.dialect.plots, row.dialect.words


def _name(dialect: Traced) -> str:
    if dialect.plots is None and dialect.words is None:
        return "the whole language"
    parts = [] if dialect.plots is None else [plural(dialect.plots, "plot")]
    return ", ".join(parts + ([] if dialect.words is None else [f"at most {dialect.words} words to choose from"]))


def _far(cell: Traced) -> tuple[float | None, float | None]:
    """The share of facts broken among those told less than 100 characters before, and among the others."""
    near, far = ([r for r in cell.recalled if (r.back >= 100) == is_far] for is_far in (False, True))
    return tuple(
        sum(r.broken for r in rows) / times if (times := sum(r.repeated for r in rows)) else None
        for rows in (near, far)
    )
