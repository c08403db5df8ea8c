"""Pocket stories only: the facts a story must come back to, kept or broken by how far back they were told; and what of
a story is new, though each fact of it was in training."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from pn_lib.data import pocket
from pn_lib.data.pocket.templates import Language, Telling
from pn_lib.evaluation.validity import likeliest_telling

Fact = tuple[str, str]  # slot and name


def recalls(stories: Sequence[str], faults: pd.DataFrame, language: Language = pocket.STORIES) -> pd.DataFrame:
    """Each place where a story comes back to a fact, up to its first fault: story, slot, ``back`` and ``kept``.

    ``faults`` are the ``departures`` of the stories. ``back`` is how many characters before the fact was last spelled
    out, in any form but a pronoun; ``kept`` is whether it is the same now. Pronouns are not counted.
    """
    found = {fault.story: fault for fault in faults.itertuples()}
    rows = []
    for number, story in enumerate(stories):
        fault = found.get(number)
        beginning = story[: fault.position] if fault else story
        rows += [(number, slot, back, True) for slot, back in _kept(likeliest_telling(beginning, language), beginning)]
        if fault and fault.slot is not None and not pd.isna(fault.back):
            rows.append((number, fault.slot, fault.back, False))
    return pd.DataFrame(rows, columns=["story", "slot", "back", "kept"]).astype({"back": int, "kept": bool})


def _kept(telling: Telling, beginning: str) -> Iterator[tuple[str, int]]:
    """(slot, back) of each fact that ``beginning`` comes back to, and spells whole."""
    heard: dict[str, int] = {}
    for start, mention in telling.mentions:
        if start + len(mention.spell(telling.facts[mention.slot])) > len(beginning):
            return
        if mention.slot == "break" or mention.form in pocket.PRONOUN_FORMS:
            continue
        if mention.slot in heard:
            yield mention.slot, start - heard[mention.slot]
        heard[mention.slot] = start


def recall_by_distance(table: pd.DataFrame, edges: Sequence[int]) -> pd.DataFrame:
    """Of ``recalls``, how many facts had to be ``repeated`` from how far back, and how many of those were ``broken``:
    a row for each stretch from one of the ``edges`` (characters) up to the next, the last without an end."""
    stretch = np.searchsorted(edges, table["back"], side="right") - 1
    repeated = np.bincount(stretch, minlength=len(edges))
    broken = np.bincount(stretch, ~table["kept"], minlength=len(edges)).astype(int)
    return pd.DataFrame({"back": edges, "repeated": repeated, "broken": broken})


def recall_by_fact(table: pd.DataFrame) -> pd.DataFrame:
    """Of ``recalls``, how many times each fact had to be ``repeated``, and how often it was ``broken``: a row for each
    ``slot``, in the order of their names."""
    found = table.groupby("slot")["kept"].agg(repeated="size", broken=lambda kept: int((~kept).sum()))
    return found.reset_index()


def facts(telling: Telling) -> list[Fact]:
    """What a story tells, but for the breaks between paragraphs."""
    return [(slot, record["name"]) for slot, record in telling.facts.items() if slot != "break"]


def stories_by_fact(tellings: Iterable[Telling]) -> dict[Fact, set[int]]:
    """The numbers of the stories that tell a fact."""
    found: dict[Fact, set[int]] = defaultdict(set)
    for number, telling in enumerate(tellings):
        for fact in facts(telling):
            found[fact].add(number)
    return dict(found)


def novelty(valid: Sequence[str], known: Mapping[Fact, set[int]], language: Language = pocket.STORIES) -> np.ndarray:
    """For each story of the source the share of its pairs of facts that no ``known`` story has: (len(valid),)."""
    shares = []
    for story in valid:
        told = combinations(facts(likeliest_telling(story, language)), 2)
        shares.append(np.mean([known.get(a, set()).isdisjoint(known.get(b, set())) for a, b in told]))
    return np.array(shares)
