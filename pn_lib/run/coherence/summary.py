"""What the experiments of the study of coherence say together: thresholds, the cheapest models, and the law."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pn_lib.evaluation.intervals import Interval, over_seeds, wilson_interval
from pn_lib.evaluation.leak import crossing, fit_leak, steady_share
from pn_lib.run.results.coherence_results import (
    Cell,
    CoherenceResult,
    CoherenceTimings,
    CoherentModel,
    Dialect,
    Leak,
    Least,
    Memory,
    Recalled,
    Threshold,
    Told,
)
from pn_lib.run.stages import REPOSITORY

PUBLISHED = Path("results", "published", "coherence")  # the experiments
STUDY = Path("results", "published", "reference")  # where lies what they say together
LEVELS = (0.1, 0.5, 0.9)  # shares of valid stories
SURE = 0.95  # of the times that a fact comes back, it is right
TIMES = 20  # that a model's stories come back to a fact, below which its share of right ones says too little


@dataclass(frozen=True)
class Group:
    """Models that differ by their seed alone."""

    models: list[CoherentModel]

    @property
    def first(self) -> CoherentModel:
        return self.models[0]

    @property
    def architecture(self) -> str:
        return self.first.settings["architecture"]

    @property
    def dialect(self) -> Dialect:
        return Dialect(plots=self.first.settings["plots"], words=self.first.settings["words"])

    def told(self, index: int) -> list[Told]:
        """What each told in one way: 0 is at temperature 1, weights not rounded."""
        return [model.told[index] for model in self.models]

    def valid(self, index: int = 0) -> Interval:
        """The share of valid stories of all seeds."""
        return wilson_interval(sum(map(_valid, self.told(index))), sum(told.stories for told in self.told(index)))

    @property
    def coolest(self) -> int:
        """Index of what was told at the lowest temperature."""
        ways = self.first.told
        return min(range(len(ways)), key=lambda i: (ways[i].integers is not None, ways[i].temperature))

    def costs(self) -> dict[str, float]:
        return {
            name: float(np.mean([getattr(model, name) for model in self.models]))
            for name in ("parameters", "tokens", "flops", "seconds")
        }


def read_experiments(paths: Iterable[Path]) -> dict[str, CoherentModel]:
    """The experiments of these files, by the files' names, in their order."""
    ordered = sorted(paths, key=lambda path: path.stem)
    return {path.stem: CoherentModel.model_validate_json(path.read_text(encoding="utf-8")) for path in ordered}


def smallest(experiments: dict[str, CoherentModel]) -> list[tuple[str, Told]]:
    """The files of the easiest language that write 90 % of their stories without a fault or, if none does, half of
    them: the experiment of each, and what it told. The smallest is first; of equals that which writes most of them."""
    easiest = grouped(experiments.values())[0].dialect
    own = {name: model for name, model in experiments.items() if Group([model]).dialect == easiest}
    files = [(name, told) for name, model in own.items() for told in model.told if told.integers]
    level = 0.9 if any(told.valid.value >= 0.9 for _, told in files) else 0.5
    well = [(name, told) for name, told in files if told.valid.value >= level]
    return sorted(well, key=lambda file: (file[1].file_bytes, -file[1].valid.value))


def other_seeds(experiments: dict[str, CoherentModel], name: str) -> list[str]:
    """The experiments that differ from one by their seed alone."""
    own = experiments[name].settings | {"seed": None}
    return [each for each, model in experiments.items() if each != name and model.settings | {"seed": None} == own]


def published() -> dict[str, CoherentModel]:
    """The experiments that come with the repository, by the names of their files."""
    return read_experiments((REPOSITORY / PUBLISHED).glob("*.json"))


def grouped(models: Iterable[CoherentModel]) -> list[Group]:
    """By language, architecture, size and budget, in this order, the small ones first."""
    found = defaultdict(list)
    for model in models:
        s = {name: value for name, value in model.settings.items() if name != "seed"}
        order = s["plots"] or np.inf, s["words"] or np.inf, s["architecture"], s["parameters"], s["tokens"]
        found[order, str(sorted(s.items()))].append(model)
    return [Group(found[key]) for key in sorted(found)]


def summarize(models: Mapping[str, CoherentModel]) -> tuple[CoherenceResult, CoherenceTimings]:
    """The results of all these experiments, by the names of their files."""
    groups = grouped(models.values())
    told = [told for model in models.values() for told in model.told]
    whole = [t.new_pairs for g in groups if g.dialect == Dialect(plots=None, words=None) for t in g.told(0)]
    new = [share for share in whole if share is not None]
    result = CoherenceResult(
        cool=groups[0].first.told[groups[0].coolest].temperature,
        cells=[_cell(group) for group in groups],
        thresholds=thresholds(groups),
        least=least(groups, ("parameters", "tokens", "flops", "bytes")),
        leaks=leaks(groups),
        memories=memories(models),
        told=sum(t.stories for t in told),
        copies=sum(t.copies for t in told),
        new_pairs=float(np.mean(new)) if new else None,
    )
    made = [
        {"name": name, "seconds": model.seconds, "cpu": model.cpu, "commit": model.commit}
        for name, model in sorted(models.items())
    ]
    return result, CoherenceTimings(least=least(groups, ("seconds",)), made=made)


def _cell(group: Group) -> Cell:
    first, told = group.first, group.told(0)
    words = float(np.mean([t.words for t in told]))
    return Cell(
        architecture=group.architecture,
        dialect=group.dialect,
        parameters=first.parameters,
        tokens=first.tokens,
        seeds=len(group.models),
        flops=first.flops,
        excess=over_seeds(np.array([model.excess.value for model in group.models])),
        excess_bits=float(np.mean([model.excess_bits for model in group.models])),
        valid=group.valid(),
        cooler=group.valid(group.coolest),
        words=words,
        steady=steady_share(group.valid().value, words, first.story_words),
        slots=dict(sum((Counter(t.slots) for t in told), Counter()).most_common()),
        recalled=[
            Recalled(back=same[0].back, repeated=sum(r.repeated for r in same), broken=sum(r.broken for r in same))
            for same in zip(*(t.recalled for t in told), strict=True)
        ],
    )


def memories(models: Mapping[str, CoherentModel]) -> list[Memory]:
    """What each model does with each fact that its stories come back to ``TIMES`` times or more: the small models
    first, of one size those that read less."""
    found = [
        Memory(
            experiment=name,
            architecture=model.settings["architecture"],
            dialect=Group([model]).dialect,
            parameters=model.parameters,
            tokens=model.tokens,
            seed=model.settings["seed"],
            valid=model.told[0].valid.value,
            **fact.model_dump(),
        )
        for name, model in models.items()
        for fact in model.told[0].facts or ()
        if fact.repeated >= TIMES
    ]
    return sorted(found, key=lambda memory: (memory.parameters, memory.tokens, memory.seed))


def counted(found: CoherenceResult) -> dict[str, list[Memory]]:
    """The facts of each model of the easiest language whose facts were counted, by the name of its experiment."""
    facts, easiest = defaultdict(list), found.cells[0].dialect
    for memory in found.memories:
        if (memory.dialect.plots, memory.dialect.words) == (easiest.plots, easiest.words):
            facts[memory.experiment].append(memory)
    return dict(facts)


def unsure(facts: Mapping[str, list[Memory]]) -> list[Memory]:
    """Those that come back right less often than ``SURE``."""
    return [memory for own in facts.values() for memory in own if memory.right < SURE]


def lacks_one(facts: Mapping[str, list[Memory]]) -> bool:
    """Whether models that are unsure of facts lack one each, and are those with the fewest valid stories."""
    lacking = unsure(facts)
    valid = {name: own[0].valid for name, own in facts.items()}
    bad = {memory.experiment for memory in lacking}
    good = valid.keys() - bad
    return bool(bad and good) and len(lacking) == len(bad) and max(map(valid.get, bad)) < min(map(valid.get, good))


def thresholds(groups: Sequence[Group]) -> list[Threshold]:
    """For each architecture and size of each language, and each of ``LEVELS``: where the share of all seeds together
    reaches it, with an interval over those that ran every budget, if there are several and each reaches it."""
    curves = defaultdict(list)
    for group in groups:
        curves[group.dialect.plots, group.dialect.words, group.architecture, group.first.parameters].append(group)
    return [
        Threshold(
            architecture=curve[0].architecture,
            dialect=curve[0].dialect,
            parameters=curve[0].first.parameters,
            level=level,
            tokens=_reached(curve, level),
            most=max(group.first.tokens for group in curve),
        )
        for curve in curves.values()
        for level in LEVELS
    ]


def _reached(curve: list[Group], level: float) -> Interval | None:
    by_seed = [{model.settings["seed"]: model for model in group.models} for group in curve]
    seeds = set.intersection(*(set(models) for models in by_seed))
    tokens = [group.first.tokens for group in curve]
    together = crossing(tokens, [group.valid().value for group in curve], level)
    if together is None:
        return None
    alone = [
        crossing(tokens, [models[seed].told[0].valid.value for models in by_seed], level) for seed in sorted(seeds)
    ]
    several = len(alone) > 1 and None not in alone
    return over_seeds(np.array(alone))._replace(value=together) if several else Interval(together, None, None)


def least(groups: Sequence[Group], costs: Sequence[str]) -> list[Least]:
    """Of each language, for each of ``LEVELS`` that is reached, the cheapest models by each cost."""
    found = []
    for dialect in dict.fromkeys((group.dialect.plots, group.dialect.words) for group in groups):
        own = [group for group in groups if (group.dialect.plots, group.dialect.words) == dialect]
        for level in LEVELS:
            for cost in costs:
                ways = [way for group in own for way in _ways(group, cost) if way["valid"].value >= level]
                if ways:
                    best = min(ways, key=lambda way: (way["value"], -way["valid"].value))
                    found.append(Least(level=level, cost=cost, **best))
    return found


def _ways(group: Group, cost: str) -> list[dict[str, Any]]:
    """The ways in which a group tells at temperature 1: with its weights as they are and, by bytes, rounded too."""
    found = []
    for index, told in enumerate(group.first.told):
        if told.temperature == group.first.told[0].temperature and (cost == "bytes" or index == 0):
            value = (
                float(np.mean([t.file_bytes for t in group.told(index)])) if cost == "bytes" else group.costs()[cost]
            )
            found.append(
                {
                    "dialect": group.dialect,
                    "value": value,
                    "architecture": group.architecture,
                    "parameters": group.first.parameters,
                    "tokens": group.first.tokens,
                    "integers": told.integers,
                    "valid": group.valid(index),
                }
            )
    return found


def leaks(groups: Sequence[Group]) -> list[Leak]:
    """The law of each language, for all architectures together and for each."""
    found = []
    for dialect in dict.fromkeys((group.dialect.plots, group.dialect.words) for group in groups):
        own = [group for group in groups if (group.dialect.plots, group.dialect.words) == dialect]
        for name in ("all", *dict.fromkeys(group.architecture for group in own)):
            models = [model for group in own if name in ("all", group.architecture) for model in group.models]
            told = [model.told[0] for model in models]
            leak = fit_leak([m.excess_bits for m in models], [_valid(t) for t in told], [t.stories for t in told])
            if leak is not None:
                found.append(
                    Leak(architecture=name, dialect=own[0].dialect, models=len(models), leak=leak, half=1 / leak.value)
                )
    return found


def _valid(told: Told) -> int:
    return round(told.valid.value * told.stories)
