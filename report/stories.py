"""What the section on stories speaks of: the zoo, its endings, probes, the exact source, what is inside, the judges."""

import math

from sources import Record, Run
from wording import Estimate, order, verdict

from pn_lib.errors import InputError
from pn_lib.files import sha256

# Of completions.MEASURES, with the words of a table's head and whether it is a share, in per cent
FORM = {
    "ended": ("ended", True),
    "finished": ("last sentence whole", True),
    "quotes_close": ("quotes close", True),
    "loops": ("loops", True),
    "known_words": ("known words", True),
    "grammar_faults": ("faults per 100 words", False),
    "sound": ("sound", True),
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


def interval_of(record: Record, key: str, low: str = "low", high: str = "high") -> Estimate:
    return Estimate(record[key], record.optional(low), record.optional(high))


def stories(run: Run, data: Record, evaluation: Record, zoo: Record) -> dict[str, object]:
    """Everything the section may use, by name.

    Raises:
        InputError: a file or key is missing or damaged, or two files contradict one another.
    """
    names = {who: evaluation.names[who] for who in evaluation.names}
    told = evaluation.completions
    return {
        "names": names,
        "zoo": (rows := [zoo_row(who, zoo.models[who]) for who in zoo.models]),
        "sizes": (ours := sizes(rows, told.tellers)),
        "anchors": [
            row | {"nearest": min(ours, key=lambda own: abs(math.log(own["parameters"] / row["parameters"])))}
            for row in rows
            if row["published"]
        ],
        "beside_mamba": {key: estimate(evaluation.ahead.mamba.optional(key)) for key in ("sound", "names_kept")},
        "sampling": [
            (label, evaluation.sampling[label], estimate(evaluation.sampling[label].sound))
            for label in evaluation.sampling
        ],
        "safest": safest(evaluation.sampling),
        "told": told,
        "form": measure_rows(told, names, FORM),
        "content": measure_rows(told, names, CONTENT),
        "measure": {
            who: {key: estimate(row.optional(key)) for key in row} for who in names for row in [told.tellers[who]]
        },
        "ahead": {
            who: {key: 0 if (one := estimate(rows.optional(key))) is None else verdict(one) for key in rows}
            for who in ("ngram", "human")
            for rows in [evaluation.ahead[who]]
        },
        "copies": evaluation.copies.longest,
        "recall": recall(evaluation.recall),
        "probes": probe_rows(evaluation.probes, evaluation.beyond_ngram),
        "pocket": pocket(data, evaluation),
        "inside": inside(evaluation.inside),
        "judges": judges(run, names),
    }


def estimate(record: Record | None) -> Estimate | None:
    return None if record is None else interval_of(record, "value")


def zoo_row(who: str, model: Record) -> dict[str, object]:
    return {
        "who": who,
        "label": model.label,
        "parameters": model.parameters,
        "loss": estimate(model.bits_per_byte),
        "difference": estimate(model.optional("difference")),
        "published": model.published,
    }


def sizes(zoo: list[dict[str, object]], tellers: Record) -> list[dict[str, object]]:
    """Our Transformers, smallest first, with their shares of sound endings and of names that come again."""
    ours = [
        row | {key: estimate(tellers[row["who"]].optional(key)) for key in ("sound", "names_kept")}
        for row in zoo
        if row["who"].startswith("transformer") and not row["published"]
    ]
    return sorted(ours, key=lambda row: row["parameters"])


def safest(sampling: Record) -> dict[str, object]:
    """The setting whose stories are soundest, beside the real stories."""
    settings = {label: sampling[label] for label in sampling}
    real = settings.pop("real stories")
    label = max(settings, key=lambda name: settings[name].sound.value)
    best = settings[label]
    return {
        "label": label,
        "sound": estimate(best.sound),
        "distinct": best.distinct_2,
        "real": estimate(real.sound),
        "real_ended": real.ended,
        "real_distinct": real.distinct_2,
    }


def measure_rows(told: Record, names: dict[str, str], columns: dict[str, tuple[str, bool]]) -> dict[str, object]:
    """A table's head and, for each teller, its means; whether each is a share stands beside it."""
    rows = [
        (names[who], [(estimate(told.tellers[who].optional(key)), share) for key, (_, share) in columns.items()])
        for who in names
    ]
    return {"header": [words for words, _ in columns.values()], "rows": rows}


def recall(found: Record) -> dict[str, list[str]]:
    """Which faults made on purpose the grammar checker notices nine times of ten or oftener, and which once or less."""
    shares = {}
    for name in found:
        noticed, tried = found[name]
        if tried:
            shares[name] = noticed / tried
    return {
        "seen": [name for name, share in shares.items() if share >= 0.9],
        "missed": [name for name, share in shares.items() if share <= 0.1],
    }


def probe_rows(found: Record, beyond: Record) -> list[dict[str, object]]:
    """A row for each kind of probe: how many, what guessing gives, every model's share of right answers, and whether
    the Transformer's are more than guessing and, probe by probe, more than the n-gram's."""
    kinds = list(found.transformer)
    rows = []
    for kind in kinds:
        rights = {who: interval_of(found[who][kind], "value") for who in found}
        chance = Estimate(found.transformer[kind].chance)
        beyond_both = order(rights["transformer"], chance) > 0 and verdict(interval_of(beyond[kind], "value")) > 0
        rows.append(
            {
                "kind": kind,
                "n": found.transformer[kind].n,
                "chance": chance.value,
                "right": rights,
                "shown": beyond_both,
            }
        )
    return rows


def pocket(data: Record, evaluation: Record) -> dict[str, object] | None:
    """What only a source whose probabilities are known can tell; None for any other corpus."""
    exact = evaluation.optional("pocket")
    if (exact is None) != (data.optional("entropy") is None):
        raise InputError("data.json and evaluation.json disagree on whether the source is known; run 01 and 05 again")
    if exact is None:
        return None
    excess = estimates(exact.excess_bits_per_byte)
    closed = None
    if order(excess["transformer"], excess["ngram"]) < 0 < excess["transformer"].value:
        closed = 1 - excess["transformer"].value / excess["ngram"].value
    told = exact.next_words
    next_words = {who: {kind: next_word(told[who][kind]) for kind in told[who]} for who in told}
    broken = [(fact, n) for fact, n in broken_facts(exact.broken_facts.transformer) if fact != "no fact" and n]
    return {
        "excess": excess,
        "closed": closed,
        "valid": estimates(exact.valid_share),
        "tried": exact.tried,
        "reasons": [tuple(reason) for reason in exact.reasons],
        "broken": broken[:3],
        "places": told.transformer.all.places,
        "words": {who: {"determined": kinds.get("determined")} for who, kinds in next_words.items()},
        "next_words": [
            {"who": who, "kind": kind, **row} for who, kinds in next_words.items() for kind, row in kinds.items()
        ],
    }


def next_word(row: Record) -> dict[str, object]:
    return {
        "places": row.places,
        "kl": interval_of(row.kl, "value"),
        "leak": interval_of(row.leak, "value"),
        "ece": row.ece,
    }


def broken_facts(counts: Record) -> list[tuple[str, int]]:
    """Facts with the number of stories that break them first, the commonest first."""
    return sorted(((fact, counts[fact]) for fact in counts), key=lambda row: (-row[1], row[0]))


def inside(found: Record) -> dict[str, object]:
    """What the section says of heads, copying and memory."""
    heads = list(found.heads)
    most = max(heads, key=lambda head: head.loss)
    copying = found.induction.transformer
    return {
        "heads": len(heads),
        "distance_heads": sum(head.explained > 0.5 for head in heads),
        "needed": sum(head.low > 0 for head in heads),
        "most": most,
        "most_loss": interval_of(most, "loss"),
        "gain": interval_of(copying.gain, "value"),
        "first": copying.first,
        "reach": [(who, found.memory[who].optional("reach")) for who in found.memory],
    }


def estimates(record: Record) -> dict[str, Estimate]:
    return {key: interval_of(record[key], "value") for key in record}


def judges(run: Run, names: dict[str, str]) -> dict[str, object]:
    """The judges' tables; ``state`` is "none", or "other" if they graded endings of another run, or "graded"."""
    found = run.optional_json("judge")
    if found is None:
        return {"state": "none"}
    if found.completions != sha256(run.results / "completions.json"):
        return {"state": "other"}
    each = [judge(name, found.judges[name], names) for name in found.judges]
    agreement = [
        {"judges": list(pair.judges), **{c: pair[c].optional("spearman") for c in CRITERIA}, "stories": pair.plot.pairs}
        for pair in found.between_judges
    ]
    return {"state": "graded", "judges": each, "agreement": agreement}


def judge(name: str, found: Record, names: dict[str, str]) -> dict[str, object]:
    rows = [
        (
            names.get(who, who),
            found.tellers[who].gradings,
            [interval_of(found.tellers[who].grades[c], "value") for c in CRITERIA],
            common_age(found.tellers[who]),
        )
        for who in found.tellers
    ]
    slopes = {c: found.length_bias[c].optional("points_per_word") for c in CRITERIA}
    known = {
        c: estimate(slope) for c, slope in slopes.items() if slope is not None and slope.optional("low") is not None
    }
    leaning = [c for c, slope in known.items() if verdict(slope)]
    return {
        "name": name,
        "model": found.model,
        "host": found.host,
        "judged": found.judged,
        "asked": found.requested,
        "refused": found.refused,
        "invalid": found.invalid,
        "rows": rows,
        "leaning": leaning,
        "slopes": known,
        "lengths_known": len(known) == len(CRITERIA),
        "pairs": [
            {
                "tellers": [names.get(who, who) for who in pair.tellers],
                "n": pair.pairs,
                "flips": interval_of(pair.flips, "value"),
                "first": pair.first_wins,
                "wins": interval_of(pair.win_rate, "value"),
            }
            for pair in found.pairs
        ],
    }


def common_age(teller: Record) -> str:
    """The age group guessed most often, in years."""
    years = {"A": "up to 3", "B": "4–5", "C": "6–7", "D": "8–9", "E": "10–12", "F": "13–16"}
    return years[max(years, key=lambda group: teller.age_groups[group])] if teller.gradings else "–"
