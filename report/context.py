"""The results by name, and beside them what the text needs of several numbers at once: rows, extremes, verdicts."""

from dataclasses import dataclass

from coherence import coherence, facts, fewest, picture, smallest_file
from mixers import mixers
from people import people
from shipped import shipped
from small import small
from sources import Run, Traced
from stories import heads, own_transformers, stories
from trust import trust
from wording import compare_speed, order

from pn_lib.errors import InputError
from pn_lib.evaluation.enough import too_small
from pn_lib.evaluation.intervals import Judgment
from pn_lib.evaluation.scaling import ScalingLaw
from pn_lib.run.coherence.summary import STUDY, SURE
from pn_lib.run.results.catalogue import CATALOGUE
from pn_lib.run.results.coherence_results import CoherenceResult, CoherenceTimings
from pn_lib.run.results.frontier_results import FrontierResult, FrontierTimings
from pn_lib.run.stages import REPOSITORY
from pn_lib.titles import TITLES

# Figures show the first two, judges read the third, and few runs have the others, for which their sections look
NOT_READ = ("study.csv", "training_curve.csv", "completions.json", "judge.json", "listening.json", "rating.json")
LATER = (FrontierResult, FrontierTimings, CoherenceResult, CoherenceTimings)  # lacking in runs published before


def build_context(run: Run) -> dict[str, object]:
    """Everything the template may use, by name: each result under its own, and what follows from several numbers.

    Raises:
        InputError: a file or key is missing, damaged, or two files contradict one another.
    """
    found = {
        name_of(kind.FILE): run.read(kind) for kind in CATALOGUE if kind.FILE not in NOT_READ and kind not in LATER
    }
    found |= {name_of(kind.FILE): run.read(kind) if (run.results / kind.FILE).exists() else None for kind in LATER}
    own_study = found["coherence"] is not None
    if not own_study:
        study = REPOSITORY / STUDY
        found |= {name_of(kind.FILE): run.shipped(kind, study) for kind in (CoherenceResult, CoherenceTimings)}
    data = found["data"]
    return found | {
        "name": run.name,
        "best_compressor": min(data.compressors, key=lambda name: data.compressors[name]),
        "ladder": (ladder := rungs(found["recipe"], found["recipe_timings"])),
        "largest_rung": max(ladder[1:], key=lambda rung: rung.gain),
        "sprints": list(zip(found["recipe"].sprints, found["recipe_timings"].sprints, strict=True)),
        "branches": branches(found["recipe"], found["recipe_timings"]),
        "recipe_steps": found["recipe"].updates,
        "few_rungs": too_small(updates=found["recipe"].updates, seeds=found["recipe"].seeds),
        "law": law(found["scaling"], found["zoo"]),
        "enough_parameters": next((row.parameters for row in found["language"].sizes if row.valid.value >= 0.5), None),
        "stories": stories(run, data, found["evaluation"], found["zoo"]),
        "heads": heads(found["inside"]),
        "people": people(run),
        "architecture": architecture(found["study"], found["study_timings"]),
        "study_steps": found["study"].baseline.updates,
        "fight": mixers(found["mixers"], found["mixers_timings"], found["decoding_timings"]),
        "memory_tasks": memory_tasks(found["memory"]),
        "coherent": coherence(found["coherence"], run),
        "fewest": fewest,
        "facts": facts(found["coherence"]),
        "sure": SURE,
        "coherent_file": smallest_file(run),
        "threshold_picture": None if own_study else picture(),
        "shipped": shipped(run, data.corpus.title),
        "small": small(found["frontier"], found["frontier_timings"]),
        "trust": trust(run),
        "mamba_rate": min(found["mamba"].rates, key=lambda name: found["mamba"].rates[name]),
        "architecture_titles": TITLES,
        "scan": found["scan_timings"].rows[-1],  # the longest
        "elsewhere": elsewhere(found["machine_timings"], found["stages_timings"]),
    }


def name_of(file: str) -> str:
    """What the template calls a result: training.json is training, timings/training.json is training_timings."""
    return "_".join(reversed(file.rpartition(".")[0].split("/")))


def elsewhere(machine: Traced, times: Traced) -> dict[tuple[str, str], list[str]]:
    """The notebooks that last ran on another processor or from another commit than the run says, by these two."""
    found: dict[tuple[str, str], list[str]] = {}
    for stage in times.stages:
        if stage.cpu and (stage.cpu, stage.commit) != (machine.cpu, machine.commit):
            found.setdefault((stage.cpu, stage.commit), []).append(stage.notebook[:2])
    return found


@dataclass(frozen=True)
class Step:
    """A rung of the ladder with its time, and what it gained over the one below; None and 0 for the first."""

    rung: Traced
    time: Traced
    gain: float | None
    verdict: int


def rungs(recipe: Traced, timings: Traced) -> list[Step]:
    clocks, found = {row.change: row for row in timings.ladder}, []
    for row in recipe.ladder:
        if row.change not in clocks:
            raise InputError(f"timings/recipe.json has no rung '{row.change}', recipe.json has; run notebook 04 again")
        before = found[-1].rung if found else None
        gain = None if before is None else before.bits_per_byte - row.bits_per_byte
        found.append(Step(row, clocks[row.change], gain, 0 if before is None else order(row.loss, before.loss)))
    return found


def branches(recipe: Traced, timings: Traced) -> dict[str, list[str]]:
    """The branches by their verdict at equal tokens, after Holm's correction, and those whose sign is the other in
    equal seconds."""
    sides = {"lowers the loss": -1, "raises the loss": 1}
    judged = {change: sides.get(judgment.verdict, 0) for change, judgment in recipe.judgments.items()}
    seconds = {row.change: row.equal_seconds for row in timings.branches}
    return {
        "turned": [change for change, sign in judged.items() if sign * seconds[change] < 0],
        **{
            word: [change for change, sign in judged.items() if sign == wanted]
            for word, wanted in (("better", -1), ("same", 0), ("worse", 1))
        },
    }


def law(scaling: Traced, zoo: Traced) -> dict[str, object]:
    """What the fitted law says beyond what was trained: of larger budgets, and of the models that write endings, where
    it was ``asked`` for the loss of each smaller than the main one (none of them was fitted)."""
    promised = asked(scaling.law, zoo) if scaling.law else []
    dearest = max((row.off_by_two for row in scaling.best), default=None)
    trained = list(scaling.points)
    sizes = [row.parameters for row in trained]
    most = max(row.parameters * row.tokens for row in trained) * scaling.flops_per_parameter
    outside = [row.flops > 1.001 * most or not min(sizes) <= row.parameters <= max(sizes) for row in scaling.best]
    return {
        "trainings": len(trained),
        "outside": outside,
        "off_by_two": dearest,
        "asked": promised,
    }


def asked(fitted: Traced, zoo: Traced) -> list[tuple[Traced, float]]:
    """The run's own smaller Transformers, and the loss that the law promises for each."""
    own = [zoo.models[who] for who in own_transformers(zoo) if who != "transformer"]
    law = ScalingLaw(**{name: fitted[name].value for name in fitted})
    return [(row, float(law.loss(row.parameters, zoo.tokens))) for row in own]


@dataclass(frozen=True)
class Choice:
    """A variant of the study with its axis and cost, and what can be said of it; nothing of the baseline."""

    axis: str
    result: Traced
    cost: Traced
    judgment: Judgment | None


def architecture(study: Traced, costs: Traced) -> dict[str, object]:
    """The study's variants with speed and memory beside quality, sorted by what can be said of them."""
    judgments, rows = study.judgments, {(row.axis, row.variant): row for row in costs}
    axes = [(axis.axis, choices(axis, rows, judgments)) for axis in study.axes]
    every = [choice for _, chosen in axes for choice in chosen]
    changed = [choice for choice in every if choice.result.difference is not None]
    baseline = next((choice for choice in every if choice.result.difference is None), None)
    if not changed:
        raise InputError("study.json compares no variant with the baseline; run notebook 07 again")
    if baseline is None:
        raise InputError("study.json marks no variant as the baseline (difference: null); run notebook 07 again")
    worse, better, same = (
        [choice for choice in changed if choice.judgment.verdict == verdict]
        for verdict in ("raises the loss", "lowers the loss", "not told apart")
    )
    seeds = min(choice.result.seeds for choice in changed)
    resized = [c for c in changed if abs(c.result.parameters / baseline.result.parameters - 1) > 0.1]
    comparable = [c for c in changed if c.axis != "vocabulary"]  # tokens of another are other amounts of text
    fastest = max(comparable or changed, key=lambda choice: choice.cost.tokens_per_second)
    return {
        "axes": axes,
        "changed": changed,
        "baseline": baseline,
        "seeds": seeds,
        "few": too_small(updates=study.baseline.updates, seeds=seeds),
        "least_p": 2.0 ** (1 - seeds),  # of a test that flips the signs of the seeds' differences, and assumes no more
        "worse": worse,
        "better": better,
        "same": same,
        "hints": [choice for choice in same if choice.judgment.p < 0.05],
        "resized": resized,
        "largest": largest(changed),
        "largest_alike": largest([choice for choice in worse + better if choice not in resized]),
        "fastest": fastest,
        "faster": compare_speed(fastest.cost.tokens_per_second, baseline.cost.tokens_per_second) > 0,
    }


def choices(
    axis: Traced, costs: dict[tuple[str, str], Traced], judgments: dict[tuple[str, str], Judgment]
) -> list[Choice]:
    found = []
    for variant in axis.variants:
        key = (axis.axis, variant.variant)
        if key not in costs:
            raise InputError(f"timings/study.csv has no row of {' '.join(key)}, study.json has; run notebook 07 again")
        found.append(Choice(axis.axis, variant, costs[key], judgments.get(key)))
    return found


def largest(told: list[Choice]) -> Choice | None:
    return max(told, key=lambda choice: abs(choice.result.difference), default=None)


def memory_tasks(memory: Traced) -> list[dict[str, object]]:
    """By task: the tested lengths, each with a row an architecture; and how far each architecture keeps to 95 %.

    ``kept`` is the longest length up to which 95 % of the answers are right; None if that is none of them.
    """
    found = []
    for name in memory.tasks:
        task, beside = memory.tasks[name], [row for row in memory.hybrid if row.task == name]
        rows = {(row.architecture, row.length): row for row in memory.rows if row.task == name}
        lengths, kept = sorted({length for _, length in rows}), {}
        for who in memory.models:
            held = [T for i, T in enumerate(lengths) if all(rows[who, t].mean >= 0.95 for t in lengths[: i + 1])]
            kept[who] = max(held, default=None)
        by_length = {length: [rows[who, length] for who in memory.models] for length in lengths}
        found.append({"name": name, "task": task, "by_length": by_length, "kept": kept, "beside": beside})
    return found
