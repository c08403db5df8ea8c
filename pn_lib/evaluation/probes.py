"""Probes: beginnings whose right continuation has to be likelier to a model than wrong ones. Nothing is sampled.

Facts, reasoning and the tracking of who has what, after TinyStories (Eldan & Li 2023), where people read what models
wrote; here each item brings its own wrong answers, the foils. Grammar is asked by minimal pairs, after BLiMP (Warstadt
et al. 2020). The items are ours (``probe_data/README.md``); those of Pocket stories are made without end, and the
source itself finds their foils impossible.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd

from pn_lib.config import parse_config
from pn_lib.data import pocket
from pn_lib.data.tokenizer import Coder
from pn_lib.errors import InputError, one_line
from pn_lib.evaluation.intervals import wilson_interval
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import sequence_nats

FOLDER = Path(__file__).parent / "probe_data"
KINDS = ("facts", "reasoning", "tracking", "grammar")

POCKET_FACTS = {  # which facts of a Pocket story each phenomenon is about
    "place": ("place", "spot", "hiding", "nook", "bed", "high"),
    "thing": ("keepsake", "toy", "tool", "treasure", "prize", "craft", "dish", "missing", "baby", "plant"),
    "color": ("colour",),
    "deed": ("trick", "chore", "hobby", "fear", "reason"),
    "day": ("weekday", "other"),
    "hero or friend": ("hero", "friend"),
    "helper": ("giver", "helper", "pet"),
}


@dataclass(frozen=True)
class Probe:
    """A ``beginning`` and what may follow it: the ``answer``, and ``foils`` that must not.

    ``beginning`` ends without a space and the options have none around them: one space joins them, but none does after
    an opening quote, a line break, or an empty beginning (a minimal pair of whole sentences). ``distance`` is how many
    characters ago the fact asked for was last spelled out, where that is known.
    """

    kind: str
    phenomenon: str
    beginning: str
    answer: str
    foils: tuple[str, ...]
    distance: int | None = None

    def __post_init__(self):
        if not self.foils:
            raise InputError(f"the probe for {self.answer!r} has no foil: give it one or more")
        for text in self.options:
            if not text or text != text.strip():
                raise InputError(f"the option {text!r} is empty or has spaces around it: write it without")
        if self.beginning.endswith(" "):
            raise InputError(f"the beginning {self.beginning[-30:]!r} ends with a space: leave it out")
        answer, *foils = (option.lower() for option in self.options)
        if len(set(foils)) < len(foils):
            raise InputError(f"the foils {self.foils} hold one twice: change it")
        if any(foil.startswith(answer) or answer.startswith(foil) for foil in foils):
            raise InputError(f"of the answer {self.answer!r} and the foils {self.foils} one begins another: change one")

    @property
    def options(self) -> tuple[str, ...]:
        """The answer and then the foils."""
        return self.answer, *self.foils

    @property
    def texts(self) -> list[str]:
        """The beginning with each of the options."""
        quoting = self.beginning.endswith('"') and self.beginning.count('"') % 2 == 1
        space = "" if quoting or self.beginning[-1:] in ("", "\n") else " "
        return [self.beginning + space + option for option in self.options]

    @property
    def chance(self) -> float:
        """How often guessing is right."""
        return 1 / len(self.options)


@dataclass(frozen=True)
class MinimalPair:
    """A line of ``grammar.jsonl``: two sentences that differ in what is asked for alone."""

    kind: str
    phenomenon: str
    good: str
    bad: str


def load_probes(kind: str) -> list[Probe]:
    """The probes of one of ``KINDS``, in the order of its file.

    Raises:
        InputError: there is no such kind, or a line of its file is no probe of that kind or is there twice.
    """
    if kind not in KINDS:
        raise InputError(f"there are no probes of kind {kind!r}; known are {', '.join(KINDS)}")
    path = FOLDER / f"{kind}.jsonl"
    probes: dict[tuple[str, str], Probe] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path}, line {number}"
        probe = _parse(line, kind, where)
        if (probe.beginning, probe.answer) in probes:
            raise InputError(f"{where}: this probe is there twice; delete the line")
        probes[probe.beginning, probe.answer] = probe
    return list(probes.values())


def _parse(line: str, kind: str, where: str) -> Probe:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON ({one_line(error)}); write one object a line") from None
    if kind == "grammar":
        pair = parse_config(MinimalPair, fields, where)
        fields = {
            "kind": pair.kind,
            "phenomenon": pair.phenomenon,
            "beginning": "",
            "answer": pair.good,
            "foils": [pair.bad],
        }
    probe = parse_config(Probe, fields, where)
    if probe.kind != kind:
        raise InputError(f"{where} is of kind {probe.kind!r}; put it into the file of that name")
    return probe


def pocket_probes(n: int, seed: int) -> list[Probe]:
    """``n`` probes for a fact of a Pocket story, then ``n`` for a pronoun; the first of each are the same for every n.

    Facts come from ``pocket.fact_gap``, three foils each, their phenomena (``POCKET_FACTS``) by turns. Pronouns come
    from ``pocket.pronoun_gap``, the foil being the pronoun of the other gender.
    """
    facts, pronouns, names = Random(f"facts {seed}"), Random(f"pronouns {seed}"), list(POCKET_FACTS)
    probes = []
    for i in range(n):
        phenomenon = names[i % len(names)]
        probes.append(_of_gap("facts of the story", phenomenon, pocket.fact_gap(facts, POCKET_FACTS[phenomenon], 3)))
    for _ in range(n):
        gap = pocket.pronoun_gap(pronouns)
        phenomenon = "hero or friend" if gap.slot in POCKET_FACTS["hero or friend"] else "helper"
        probes.append(_of_gap("pronouns", phenomenon, gap))
    return probes


def _of_gap(kind: str, phenomenon: str, gap: pocket.Gap) -> Probe:
    return Probe(kind, phenomenon, gap.beginning, gap.right, gap.wrong, gap.distance)


def score_probes(model: LanguageModel, tokenizer: Coder, probes: Sequence[Probe], context: int) -> pd.DataFrame:
    """One row a probe, in their order: kind, phenomenon, correct, margin, chance, distance.

    ``margin`` is in nats: by how much -log p of the likeliest foil exceeds the answer's. It is ``correct`` above 0;
    options found equally likely count as wrong. -log p is summed from the first token in which the options differ: what
    all share adds the same to each, so that for a minimal pair this is the comparison of whole sentences, as in BLiMP.
    A probe longer than ``context`` tokens is read in windows (``sequence_nats``).

    Raises:
        InputError: there is no probe.
    """
    if not probes:
        raise InputError("no probe to score: give at least one")
    sequences, starts = [], []
    for probe in probes:
        # Encoded whole: the last token of the beginning may reach into the option.
        encoded = [[tokenizer.separator_id, *tokenizer.encode(text)] for text in probe.texts]
        sequences += encoded
        starts += [_shared(encoded)] * len(encoded)
    nats = np.split(sequence_nats(model, sequences, context, starts), np.cumsum([len(p.options) for p in probes])[:-1])
    margins = np.array([n[1:].min() - n[0] for n in nats])
    return pd.DataFrame(
        {
            "kind": [probe.kind for probe in probes],
            "phenomenon": [probe.phenomenon for probe in probes],
            "correct": margins > 0,
            "margin": margins,
            "chance": [probe.chance for probe in probes],
            "distance": pd.array([probe.distance for probe in probes], "Int64"),
        }
    )


def _shared(sequences: Sequence[Sequence[int]]) -> int:
    """Number of tokens at the beginning in which all agree; a tokenizer that changes texts may leave no difference."""
    differ = (i for i, tokens in enumerate(zip(*sequences, strict=False)) if len(set(tokens)) > 1)
    return next(differ, min(map(len, sequences)))


def accuracy(scores: pd.DataFrame, by: str = "kind") -> pd.DataFrame:
    """Share of correct probes for each value of column ``by``, in the order of ``scores``, with Wilson's interval.

    Columns: value, low, high, n, and chance, what guessing would give on average.
    """
    rows = {}
    for key, group in scores.groupby(by, sort=False):
        share = wilson_interval(int(group["correct"].sum()), len(group))
        rows[key] = {**share._asdict(), "n": len(group), "chance": group["chance"].mean()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by)
