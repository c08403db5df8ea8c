"""Does a measure measure? Endings whose fault is known, because we put it there, against the real endings.

A measure of stories is used only after it has told known groups apart (construct validity by known groups, Cronbach &
Meehl 1955). Each real ending is damaged in one way and set beside itself, behind the same beginning.
"""

import re
from collections.abc import Mapping, Sequence, Set
from random import Random

import numpy as np
import pandas as pd

from pn_lib.evaluation.completions import Ending, cut_at
from pn_lib.evaluation.intervals import Interval, bootstrap_interval
from pn_lib.evaluation.measures import GROUPS, LOWER_IS_BETTER
from pn_lib.evaluation.names import WORD

SENTENCE = re.compile(r"\S.*?(?:[.!?]+[\"'”’]*(?=\s)|\Z)", re.DOTALL)
NEGATED = {
    "was": "was not",
    "were": "were not",
    "is": "is not",
    "are": "are not",
    "could": "could not",
    "can": "cannot",
    "will": "will not",
    "would": "would not",
}
AFFIRMED = {f"{word} not": word for word in NEGATED} | {"cannot": "can", "can't": "can", "won't": "will"}
AFFIRMED |= {f"{word}n't": word for word in NEGATED if word not in ("can", "will")}
_AUXILIARY = re.compile(rf"\b(?:{'|'.join(sorted([*AFFIRMED, *NEGATED], key=len, reverse=True))})\b(?!n['’])")


def shuffled(ending: str, rng: Random) -> str:
    """Its sentences in another order; the white space between them stays in its place."""
    found = list(SENTENCE.finditer(ending))
    order = list(range(len(found)))
    while len(found) > 1 and order == sorted(order):
        rng.shuffle(order)
    pieces, place = [], 0
    for match, taken in zip(found, order, strict=True):
        pieces += [ending[place : match.start()], found[taken][0]]
        place = match.end()
    return "".join([*pieces, ending[place:]])


def renamed(ending: str, names: Set[str], rng: Random) -> str:
    """Every name becomes another, the same one throughout: where there are several they change places; a single one
    becomes any other of ``names``, if there is one."""
    own = sorted(names.intersection(match[1] for match in WORD.finditer(ending)))
    others = sorted(names - set(own))
    another = rng.choice(others) if others and len(own) < 2 else None
    new = [another] if own and another else own[1:] + own[:1]
    changed = dict(zip(own, new, strict=True))
    return WORD.sub(lambda match: match[0].replace(match[1], changed.get(match[1], match[1]), 1), ending)


def negated(ending: str) -> str:
    """Every "was" becomes "was not", every "could not" a "could", and so on with all auxiliaries that are known."""
    return _AUXILIARY.sub(lambda match: AFFIRMED.get(match[0]) or NEGATED[match[0]], ending)


def looping(ending: str) -> str:
    """Its last sentence four times."""
    last = list(SENTENCE.finditer(ending))[-1:]
    return ending + "".join(" " + match[0] for match in last) * 3


def damage(
    endings: Sequence[str], names: Set[str], max_bytes: int, copied: Sequence[str] = (), seed: int = 0
) -> dict[str, list[list[Ending]]]:
    """By group, for each real ending a damaged one of at most so many bytes; none where nothing was there to damage.

    ``names`` are those that take the place of others. ``copied``, endings of as many training stories, make two groups
    more, which only measures of copies and of sameness are for.
    """
    rng, n = Random(seed), len(endings)
    texts: dict[str, Sequence[str]] = {
        "shuffled": [shuffled(text, rng) for text in endings],
        "renamed": [renamed(text, names, rng) for text in endings],
        "another": [endings[(i + 1) % n] for i in range(n)],
        "negated": [negated(text) for text in endings],
        "looping": [looping(text) for text in endings],
    }
    if copied:
        texts |= {"cut": [text[: 2 * len(text) // 3] for text in endings], "same": [endings[0]] * n, "copied": copied}
    real = [cut_at(text, True, max_bytes) for text in endings]
    cut = {group: [cut_at(text, group != "cut", max_bytes) for text in row] for group, row in texts.items()}
    return {
        group: [[] if one.text == own.text else [one] for one, own in zip(row, real, strict=True)]
        for group, row in cut.items()
    }


def known_groups(
    tables: Mapping[str, pd.DataFrame], real: str, tellers: Mapping[str, str], measures: Sequence[str]
) -> dict[str, dict]:
    """How often the real ending is the better one, by measure and group: the fields of a result's ``KnownGroups``.

    ``tables`` hold a row for each ending, with its ``beginning``, by group; ``tellers`` names the models among them.
    """
    groups = {group: label for group, label in (GROUPS | dict(tellers)).items() if group in tables}
    return {
        "groups": groups,
        "better": {key: {group: superiority(tables[real], tables[group], key) for group in groups} for key in measures},
    }


def superiority(first: pd.DataFrame, second: pd.DataFrame, measure: str) -> Interval | None:
    """How often the first group has the better value behind the same beginning, a tie being half a time: 0.5 if the
    measure cannot tell them apart (Vargha & Delaney 2000). Its interval is the bootstrap's over beginnings; None where
    fewer than two beginnings have both."""
    sign = -1 if measure in LOWER_IS_BETTER else 1
    values = [table.dropna(subset=[measure]).groupby("beginning")[measure].apply(np.array) for table in (first, second)]
    both = values[0].index.intersection(values[1].index)
    each = np.array([np.mean((sign * np.sign(values[0][b][:, None] - values[1][b]) + 1) / 2) for b in both])
    return bootstrap_interval(each) if len(each) > 1 else None
