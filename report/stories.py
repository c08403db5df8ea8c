"""What the section on stories says beyond the results themselves: orders, extremes, and verdicts of several numbers."""

import math

from sources import Run, Traced
from wording import exactly, order, side_of_zero

from pn_lib.errors import InputError
from pn_lib.evaluation.measures import GROUPS, MEASURES
from pn_lib.files import sha256
from pn_lib.run.results.judge_results import JudgeResult
from pn_lib.run.results.listening_results import ListeningResult
from pn_lib.run.results.stories_results import CompletionsResult

# Of completions.MEASURES, with the words of a table's head and whether it is a share, in per cent
FORM = {
    "ended": ("ended", True),
    "finished": ("last sentence whole", True),
    "quotes_close": ("quotes close", True),
    "loops": ("loops", True),
    "known_words": ("known words", True),
    "grammar_faults": ("faults per 100 words", False),
}
CONTENT = {
    "names_kept": ("names kept", True),
    "words_kept": ("things kept", True),
    "names_new": ("new names", False),
    "distinct_2": ("distinct pairs", True),
    "self_rouge2": ("like another ending", True),
    "memorisation_rouge2": ("like a training story", True),
    "longest_copy": ("longest copy (words)", False),
}
CRITERIA = ("grammar", "creativity", "consistency", "plot")
AGES = {"A": "up to 3", "B": "4–5", "C": "6–7", "D": "8–9", "E": "10–12", "F": "13–16"}  # of the protocol, in years


def stories(run: Run, data: Traced, evaluation: Traced, zoo: Traced) -> dict[str, object]:
    """Everything that the section uses, by name.

    Raises:
        InputError: two files contradict one another.
    """
    if (evaluation.pocket is None) != (data.entropy is None):
        raise InputError("data.json and evaluation.json disagree on whether the source is known; run 01 and 05 again")
    sizes = own_transformers(zoo)
    settings = [label for label in evaluation.sampling if label != "real stories"]
    return {
        "form": FORM,
        "content": CONTENT,
        "sizes": sizes,
        "anchors": [(who, nearest(who, sizes, zoo)) for who in zoo.models if zoo.models[who].published],
        "safest": safest(evaluation.sampling, settings),
        "sharpest": sharpest(evaluation.known_groups),
        "recall": recall(evaluation.recall),
        "shown": shown_probes(evaluation),
        "closed": closed(evaluation.pocket),
        "broken": broken_facts(evaluation.pocket),
        "judges": judges(run),
        "heard": heard(run),
    }


def safest(sampling: Traced, settings: list[str]) -> str | None:
    """The setting that keeps most names; None in a run that did not measure them."""
    kept = {label: sampling[label].kept for label in settings}
    return max(kept, key=lambda label: kept[label].value) if all(kept.values()) else None


def sharpest(known: Traced | None) -> list[tuple[str, str, Traced]]:
    """For each kind of damage, the measure that tells it from the real endings best, where one clearly does."""
    found = []
    for group in known.groups if known else ():
        if group not in GROUPS:
            continue
        told = {key: known.better[key][group] for key in known.better}
        told = {key: one for key, one in told.items() if one and one.low > 0.5}
        if told:
            best = max(told, key=lambda key: told[key].value)
            found.append((known.groups[group], MEASURES[best], told[best]))
    return found


def heard(run: Run) -> dict[str, object]:
    """What a listener heard; ``state`` is "none", or "other" if it heard endings of another run, or "heard"."""
    if not (run.results / ListeningResult.FILE).exists():
        return {"state": "none"}
    found = run.read(ListeningResult)
    if found.completions != sha256(run.results / CompletionsResult.FILE):
        return {"state": "other"}
    return {"state": "heard", "result": found}


def heads(inside: Traced) -> dict[str, object]:
    """How many heads count distances, how many are needed, and which by most."""
    found = list(inside.heads)
    return {
        "number": len(found),
        "distance": sum(head.explained > 0.5 for head in found),
        "needed": sum(head.low > 0 for head in found),
        "dearest": max(found, key=lambda head: head.loss),
    }


def own_transformers(zoo: Traced) -> list[str]:
    """Our Transformers among the tellers, smallest first."""
    ours = [who for who in zoo.models if who.startswith("transformer") and not zoo.models[who].published]
    return sorted(ours, key=lambda who: zoo.models[who].parameters)


def nearest(who: str, among: list[str], zoo: Traced) -> str:
    """Which of ``among`` has about as many parameters, by their ratio."""
    size = zoo.models[who].parameters
    return min(among, key=lambda own: abs(math.log(zoo.models[own].parameters / size)))


def recall(found: Traced) -> dict[str, list[str]]:
    """Which faults made on purpose the grammar checker notices nine times of ten or oftener, and which once or less."""
    shares = {name: noticed / tried for name in found for noticed, tried in [found[name]] if tried}
    return {
        "seen": [name for name, share in shares.items() if share >= 0.9],
        "missed": [name for name, share in shares.items() if share <= 0.1],
    }


def shown_probes(evaluation: Traced) -> dict[str, bool]:
    """By kind of probe: the Transformer knows more than guessing and, probe by probe, than the n-gram."""
    asked, beyond = evaluation.probes.transformer, evaluation.beyond_ngram
    return {
        kind: order(asked[kind], exactly(asked[kind].chance)) > 0 and side_of_zero(beyond[kind]) > 0 for kind in asked
    }


def closed(pocket: Traced | None) -> float | None:
    """The share of the n-gram's excess over the source that the Transformer removes; None if it shows none."""
    if pocket is None:
        return None
    ours, counted = (pocket.excess_bits_per_byte[who] for who in ("transformer", "ngram"))
    return 1 - ours.value / counted.value if order(ours, counted) < 0 < ours.value else None


def broken_facts(pocket: Traced | None) -> list[tuple[str, int]]:
    """The three facts that most of the Transformer's stories break first, with the number of stories."""
    counts = pocket.broken_facts.transformer if pocket else {}
    broken = [(fact, counts[fact]) for fact in counts if fact != "no fact" and counts[fact]]
    return sorted(broken, key=lambda row: (-row[1], row[0]))[:3]


def judges(run: Run) -> dict[str, object]:
    """The judges' tables; ``state`` is "none", or "other" if they graded endings of another run, or "graded"."""
    if not (run.results / JudgeResult.FILE).exists():
        return {"state": "none"}
    found = run.read(JudgeResult)
    if found.completions != sha256(run.results / "completions.json"):
        return {"state": "other"}
    each = [(name, found.judges[name], leanings(found.judges[name])) for name in found.judges]
    return {"state": "graded", "each": each, "agreement": found.between_judges, "criteria": CRITERIA, "age": common_age}


def leanings(judge: Traced) -> dict[str, Traced]:
    """By criterion, points a word, for those whose interval is known."""
    slopes = {criterion: judge.length_bias[criterion].points_per_word for criterion in CRITERIA}
    return {criterion: slope for criterion, slope in slopes.items() if slope and slope.low is not None}


def common_age(teller: Traced) -> str:
    """The age group guessed most often, in years."""
    return AGES[max(AGES, key=lambda group: teller.age_groups[group])] if teller.gradings else "–"
