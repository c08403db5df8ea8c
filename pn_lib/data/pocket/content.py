"""What the Pocket stories are made of: word lists, people and plots, read from three TOML files.

Each list becomes a ``Pool`` of records, likeliest first; a record holds every form of a fact that a template may ask
for. The heads of ``words.toml``, ``cast.toml`` and ``plots.toml`` say how to add a word or a plot.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pn_lib.data.pocket.templates import Pool, Record, words
from pn_lib.errors import InputError

PRONOUNS = {"she": {"he": "she", "him": "her", "his": "her"}, "he": {"he": "he", "him": "him", "his": "his"}}


def _read(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"pn_lib/data/pocket/{name} is not valid TOML: {error}") from None


def records(name: str, entry: Mapping[str, Any]) -> tuple[Record, ...]:
    """The records of the list ``name``: words separated by commas, or lines of cells that its ``forms`` name."""
    if "forms" not in entry:
        return words(entry["words"])
    forms = entry["forms"].split()
    rows = [[cell.strip() for cell in line.split("/")] for line in entry["words"].strip().splitlines()]
    for cells in rows:
        if len(cells) != len(forms):
            raise InputError(f"list [{name}] of the Pocket stories: {' / '.join(cells)!r} must have {len(forms)} cells")
    return tuple(_with_pronouns(dict(zip(forms, cells, strict=True)), name) for cells in rows)


def _with_pronouns(record: Record, name: str) -> Record:
    """The record of somebody who is she or he, with all pronouns; what has no cell "he" is as it was."""
    if "he" not in record:
        return record
    if record["he"] not in PRONOUNS:
        raise InputError(f"list [{name}] of the Pocket stories: {record['name']} must be she or he, not {record['he']}")
    return {**record, **PRONOUNS[record["he"]]}


def _pool(name: str, lists: Mapping[str, Mapping[str, Any]]) -> Pool:
    entry = lists[name]
    same = lists[entry.get("same_as", name)]
    options = {head: words(text) for head, text in same["words"].items()} if "by" in same else {"": records(name, same)}
    return Pool(options, same.get("by", ""), tuple(entry.get("unlike", ())))


def _pools(lists: Mapping[str, Mapping[str, Any]]) -> dict[str, Pool]:
    """The list of every fact: those of ``words.toml``, and those that follow from them and from who there is."""
    pools = {name: _pool(name, lists) for name in lists}
    places = tuple({"name": at, "at": at, "to": "to " + at.split(" ", 1)[1]} for at in pools["spot"].options)
    lacks = {dish["name"]: words(dish["lacks"]) for dish in pools["dish"].options[""]}
    friends = {hero["name"]: ANIMALS if hero in ANIMALS else CHILDREN for hero in HEROES}
    return pools | {
        "break": Pool({"": ({"name": " "}, {"name": "\n\n"})}),
        "hero": Pool({"": HEROES}),
        "friend": Pool(friends, by="hero", unlike=("hero",)),
        "giver": Pool({"": FAMILY}),
        "helper": Pool({"": NEIGHBORS}),
        "place": Pool({"": places}),
        "missing": Pool(lacks, by="dish"),
    }


def _children() -> tuple[Record, ...]:
    """A girl and a boy by turns; ``full`` is how a friend is introduced."""
    girls, boys = _PEOPLE["girls"], _PEOPLE["boys"]
    if len(girls) != len(boys):
        raise InputError(f"pn_lib/data/pocket/cast.toml has {len(girls)} girls and {len(boys)} boys; it needs as many")
    kinds = (("girl", PRONOUNS["she"]), ("boy", PRONOUNS["he"]))
    return tuple(
        {"name": child["name"], "kind": kind, "full": child["name"], **pronouns}
        for pair in zip(girls, boys, strict=True)
        for child, (kind, pronouns) in zip(pair, kinds, strict=True)
    )


_PEOPLE = {name: records(name, entry) for name, entry in _read("cast.toml").items()}
CHILDREN = _children()
ANIMALS = tuple({**animal, "full": f"{animal['name']} the {animal['kind']}"} for animal in _PEOPLE["animals"])
# Three children, then an animal, and so on: both sorts are common.
HEROES = tuple(hero for i, animal in enumerate(ANIMALS) for hero in (*CHILDREN[3 * i : 3 * i + 3], animal))
FAMILY, NEIGHBORS = _PEOPLE["family"], _PEOPLE["neighbors"]
POOLS = _pools(_read("words.toml"))
TEMPLATES: dict[str, str] = _read("plots.toml")
