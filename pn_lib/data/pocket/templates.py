"""Story templates with a memory: the small language in which the plots of the Pocket stories are written.

A template is plain text with three kinds of marks:

    [red|big|tiny]   one of these, the earlier the likelier; brackets nest, and an option may be empty
    {place.to}       a fact: drawn from its word list where it is first spelled, the same ever after
    <greeting>       another template by its name

``{Place}`` is capitalised, ``{a colour}`` has its article, ``{hero.his}`` is another form of the same fact. Facts are
drawn only when they are spelled, so that whoever scores a text (``chooser.Reader``) sees at once which fact it was.
A line break is a space; an empty line is the fact ``{break}``: a new paragraph in some stories, a space in others.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from pn_lib.data.pocket.chooser import Chooser
from pn_lib.errors import InputError

Record = Mapping[str, str]  # the forms of one fact: "name", and others such as "his" or "to"
Facts = dict[str, Record]

_MARKS = re.compile(r"([\[\]|]|\{[^{}]*\}|<\w+>)")
_MENTION = re.compile(r"\{(?:([aA]) )?(\w+)(?:\.(\w+))?\}")


def words(text: str) -> tuple[Record, ...]:
    """Records from comma-separated names."""
    return tuple({"name": " ".join(name.split())} for name in text.split(","))


@dataclass(frozen=True)
class Pool:
    """The word list of a fact: `options[""]`, or, `by` another fact, `options[that fact's name]`.

    What the facts named in `unlike` have taken is left out: the friend is not the hero.
    """

    options: Mapping[str, tuple[Record, ...]]
    by: str = ""
    unlike: tuple[str, ...] = ()

    def given(self, facts: Facts) -> tuple[Record, ...]:
        """Return the records that may still be drawn, likeliest first."""
        records = self.options[facts[self.by]["name"] if self.by else ""]
        taken = [facts[slot] for slot in self.unlike if slot in facts]
        return tuple(record for record in records if record not in taken) if taken else records

    @property
    def smallest(self) -> int:
        """The fewest records that there may be to draw from."""
        return min(map(len, self.options.values())) - len(self.unlike)

    def cut(self, size: int) -> "Pool":
        """Return the same pool with at most `size` records to draw from."""
        size += len(self.unlike)
        return replace(self, options={key: records[:size] for key, records in self.options.items()})


@dataclass(frozen=True)
class Mention:
    """A place where a fact is spelled."""

    slot: str
    form: str = "name"
    article: bool = False
    capital: bool = False

    def spell(self, record: Record) -> str:
        text = record[self.form]
        if self.article:
            text = ("an " if text[0].lower() in "aeiou" else "a ") + text
        return text[0].upper() + text[1:] if self.capital else text


@dataclass(frozen=True)
class Choice:
    """Paraphrases, likeliest first."""

    alternatives: tuple["Parts", ...]


Parts = tuple[str | Mention | Choice, ...]


class Telling:
    """One story being told: what has been settled so far, and where settled facts were repeated."""

    def __init__(self, pools: Mapping[str, Pool], chooser: Chooser):
        self.pools = pools
        self.chooser = chooser
        self.facts: Facts = {}
        self.length = 0  # characters written
        self.mentions: list[tuple[int, Mention]] = []  # position and mention, in the story's order

    def tell(self, parts: Parts) -> None:
        for part in parts:
            if isinstance(part, str):
                self.write(part)
            elif isinstance(part, Mention):
                record = self.facts.get(part.slot) or self.draw(part)
                self.mentions.append((self.length, part))
                self.write(part.spell(record))
            else:
                alternatives = part.alternatives
                index = self.chooser.choose(len(alternatives), lambda i, those=alternatives: self.opening(those[i]))
                self.tell(alternatives[index])

    def write(self, text: str) -> None:
        self.length += len(text)
        self.chooser.write(text)

    def draw(self, mention: Mention) -> Record:
        records = self.pools[mention.slot].given(self.facts)
        index = self.chooser.choose(len(records), lambda i: mention.spell(records[i]))
        self.facts[mention.slot] = records[index]
        return records[index]

    def opening(self, parts: Parts) -> str:
        """The text that `parts` write first, up to the first thing that is not settled yet."""
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
            elif isinstance(part, Mention) and part.slot in self.facts:
                text += part.spell(self.facts[part.slot])
            else:
                break
        return text


class Language:
    """A template with its word lists: a program over a chooser (call it with one)."""

    def __init__(self, templates: Mapping[str, str], pools: Mapping[str, Pool], start: str = "story"):
        self.pools = dict(pools)
        self.templates = dict(templates)
        self._parsed: dict[str, Parts] = {}
        self.parts = self._template(start)

    def __call__(self, chooser: Chooser) -> Telling:
        telling = Telling(self.pools, chooser)
        telling.tell(self.parts)
        return telling

    def _template(self, name: str) -> Parts:
        if name not in self._parsed:
            if name not in self.templates:
                raise InputError(f"a story template uses <{name}>, but there is no template of that name.")
            text = re.sub(r"\s*\n\s*\n\s*", "{break}", self.templates[name].strip("\n"))
            marks = [mark for mark in _MARKS.split(text.replace("\n", " ")) if mark]
            self._parsed[name] = self._parse(marks, name)
            if marks:
                raise InputError(f"story template <{name}>: no [ opens what ends at {''.join(marks)[:40]!r}.")
        return self._parsed[name]

    def _parse(self, marks: list[str], name: str) -> Parts:
        """Take parts from `marks` up to the end, or to a | or ] of the bracket that this is inside."""
        parts: list[str | Mention | Choice] = []
        while marks and marks[0] not in ("|", "]"):
            mark = marks.pop(0)
            if mark == "[":
                parts.append(self._choice(marks, name))
            elif mark[0] == "<":
                parts.extend(self._template(mark[1:-1]))
            else:
                parts.append(self._mention(mark, name) if mark[0] == "{" else mark)
        return tuple(parts)

    def _choice(self, marks: list[str], name: str) -> Choice:
        alternatives = []
        while True:
            alternatives.append(self._parse(marks, name))
            if not marks:
                raise InputError(f"story template <{name}>: a [ is never closed.")
            if marks.pop(0) == "]":
                return Choice(tuple(alternatives))

    def _mention(self, mark: str, name: str) -> Mention:
        match = _MENTION.fullmatch(mark)
        article, slot, form = match.groups() if match else ("", "", "")
        capital = slot[:1].isupper() or article == "A"
        slot, form = slot[:1].lower() + slot[1:], form or "name"
        pool = self.pools.get(slot)
        if pool is None or not all(form in record for records in pool.options.values() for record in records):
            raise InputError(f"story template <{name}>: no word list holds {mark}.")
        return Mention(slot, form, bool(article), capital)

    def words_range(self) -> tuple[int, int]:
        """Return bounds on the words of a story: none has fewer than the first or more than the second."""
        fewest, most = self._gaps(self.parts)
        return fewest + 1, most + 1

    def _gaps(self, parts: Parts) -> tuple[int, int]:
        """Bounds on the gaps between words in `parts`; unlike words, gaps add up where texts are joined."""
        fewest = most = 0
        for part in parts:
            if isinstance(part, str):
                found = [len(re.findall(r"\s+", part))]
            elif isinstance(part, Mention):
                pool = self.pools[part.slot].options.values()
                found = [len(re.findall(r"\s+", part.spell(record))) for records in pool for record in records]
            else:
                found = [gaps for alternative in part.alternatives for gaps in self._gaps(alternative)]
            fewest, most = fewest + min(found), most + max(found)
        return fewest, most

    def count(self) -> int:
        """Return a lower bound on the number of ways to tell a story: sequences of choices, each of some text.

        Exact where every word list has one size and every alternative draws the same facts.
        """
        ways, slots = self._ways(self.parts, frozenset())
        return ways * prod(self.pools[slot].smallest for slot in slots)

    def _ways(self, parts: Parts, known: frozenset[str]) -> tuple[int, frozenset[str]]:
        """The ways to tell `parts` but for the facts that every one of them draws, and those facts."""
        ways, drawn = 1, frozenset[str]()
        for part in parts:
            if isinstance(part, Mention) and part.slot not in known:
                drawn, known = drawn | {part.slot}, known | {part.slot}
            elif isinstance(part, Choice):
                each = [self._ways(alternative, known) for alternative in part.alternatives]
                common = frozenset.intersection(*(slots for _, slots in each))
                ways *= sum(n * prod(self.pools[slot].smallest for slot in slots - common) for n, slots in each)
                drawn |= common
                known = known.union(*(slots for _, slots in each))  # may be drawn: never counted again
        return ways, drawn
