"""The reference run beside the reader's own: what the same measurement found with more tokens, seeds, and stories.

A run of minutes often shows the opposite of what a longer one finds. So wherever a notebook draws a conclusion from
its numbers, the reference's stands beside it, in the same words, made from the committed results.
"""

from collections.abc import Callable, Hashable, Mapping

import pandas as pd

from pn_lib.run.results.result import Result
from pn_lib.run.run import Run
from pn_lib.run.stages import REFERENCE, is_as_large


def beside(run: Run, say: Callable[..., str], *found: Result) -> str:
    """What ``say`` makes of the results ``found`` of ``run``, and of the same results of the reference run, as two
    points of a Markdown list; the first alone where the run is as large, or the reference was made before there were
    such results.

    Raises:
        InputError: a result of the reference run is damaged.
    """
    own = say(*found)
    if is_as_large(run.profile.name) or not all((REFERENCE / each.FILE).exists() for each in found):
        return own[0].upper() + own[1:]
    theirs = say(*(type(each).read(REFERENCE) for each in found))
    return f"\n  - *Your run:* {own}\n  - *The reference run ({REFERENCE.name}):* {theirs}"


def beside_column(
    run: Run, name: str, kind: type[Result], values: Callable[[Result], Mapping[Hashable, object]]
) -> dict[str, pd.Series]:
    """A column ``name`` for a table of ``run``: ``values`` of the reference's result, by the table's index; no column
    where `beside` shows one run alone.

    Raises:
        InputError: the result is damaged.
    """
    if is_as_large(run.profile.name) or not (REFERENCE / kind.FILE).exists():
        return {}
    return {name: pd.Series(values(kind.read(REFERENCE)))}
