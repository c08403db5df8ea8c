"""From result files to what the template speaks of: the one place that knows the keys of the results."""

import math

from sources import Record, Run
from stories import interval_of, stories
from wording import Estimate, compare_speed, order, verdict

from pn_lib.errors import InputError
from pn_lib.evaluation.intervals import t_quantile

NAMES = {
    "transformer": "Transformer",
    "mamba": "Mamba",
    "ngram": "n-gram",
    "transformer_matched": "Transformer",
}


def build_context(run: Run) -> dict[str, object]:
    """Everything the template may use, by name.

    Raises:
        InputError: a file or key is missing, damaged, or two files contradict one another.
    """
    files = [
        "run",
        "data",
        "tokenization",
        "construction",
        "training",
        "recipe",
        "evaluation",
        "study",
        "scaling",
        "language",
        "zoo",
        "mamba",
    ]
    records = {name: run.json(name) for name in files}
    data, training = records["data"], records["training"]
    told = stories(run, data, records["evaluation"], records["zoo"])
    config = records["construction"].transformer.config
    context = {
        "name": run.name,
        **records,
        "machine": run.json("timings/machine"),
        "stages": run.json("timings/stages"),
        "training_cost": run.json("timings/training"),
        "transformer": interval_of(training.transformer, "bits_per_byte"),
        "ngram": Estimate(training.ngram.bits_per_byte),
        "compressors": Estimate(min(data.compressors[name] for name in data.compressors)),
        "best_compressor": min(data.compressors, key=lambda name: data.compressors[name]),
        "entropy": data.optional("entropy"),
        "even_guess": math.log(training.model.config.vocab_size),  # nats per token
        "recipe": recipe(records["recipe"], run.json("timings/recipe"), records["run"].settings.recipe),
        "found_recipe": records["recipe"],
        "scaling": scaling(records["scaling"]),
        "language": language(records["language"]),
        "stories": told,
        "pocket": told["pocket"],
        "architecture": architecture(run, records["study"], records["run"].settings.study),
        "versus": versus(run, records["mamba"]),
        "config_rows": [(key, config.optional(key)) for key in config],
    }
    return context


def recipe(found: Record, timings: Record, settings: Record) -> dict[str, object]:
    """The ladder with its steps and speeds, what the branches show, the small data's curves, and the sprints."""
    clocks = {row.change: row for row in timings.ladder}
    steps = found.tokens // (settings.batch_size * settings.context)
    rungs, before = [], None
    for row in found.ladder:
        if row.change not in clocks:
            raise InputError(f"timings/recipe.json has no rung '{row.change}', recipe.json has; run notebook 04 again")
        loss = interval_of(row, "bits_per_byte")
        rungs.append(
            {
                "change": row.change,
                "loss": loss,
                "gain": None if before is None else before.value - loss.value,
                "step_verdict": 0 if before is None else order(loss, before),
                "seconds": clocks[row.change].equal_seconds,
                "speed": clocks[row.change].tokens_per_second,
            }
        )
        before = loss
    judged = [(row.change, verdict(interval_of(row, "difference"))) for row in found.branches]
    seconds = {row.change: row.equal_seconds for row in timings.branches}
    few = [few_curve(curve, found.few.epochs) for curve in found.few.curves]
    sprints = [
        {"tokens": row.tokens, "parameters": row.parameters, "bits_per_byte": row.bits_per_byte, "seconds": seconds}
        for row, seconds in zip(found.sprints, timings.sprints, strict=True)
    ]
    return {
        "tokens": found.tokens,
        "steps": steps,
        "seeds": found.seeds,
        "rungs": rungs,
        "first": rungs[0],
        "classic": rungs[1],
        "last": rungs[-1],
        "largest": max(rungs[1:], key=lambda rung: rung["gain"]),
        "few": found.few,
        "few_curves": few,
        "sprints": sprints,
        "branches": len(found.branches),
        "turned": [name for name, sign in judged if sign * seconds[name] < 0],
        **{
            word: [name for name, sign in judged if sign == wanted]
            for word, wanted in (("better", -1), ("same", 0), ("worse", 1))
        },
    }


def few_curve(curve: Record, epochs: int) -> dict[str, float]:
    """Where the validation loss was lowest, in epochs, and how far it rose afterwards."""
    losses = list(curve.nats_per_token)
    lowest = min(losses)
    best = losses.index(lowest) / (len(losses) - 1) * epochs
    return {"dropout": curve.dropout, "lowest": lowest, "best": best, "rise": losses[-1] - lowest}


def scaling(found: Record) -> dict[str, object]:
    """The fitted law with its intervals, the source's own entropy, and the best sizes; None and [] where not fitted."""
    law = {name: interval_of(found.law[name], "value") for name in found.law} if len(found.law) else None
    trained = [row for row in found.points if row.model == "transformer"]
    sizes = [row.parameters for row in trained]
    most = max(row.parameters * row.tokens for row in trained) * found.flops_per_parameter
    best = [
        {
            "flops": row.flops,
            "tokens": row.tokens,
            "bits_per_byte": row.bits_per_byte,
            "size": interval_of(row, "parameters"),
            "outside": row.flops > 1.001 * most or not min(sizes) <= row.parameters <= max(sizes),
        }
        for row in found.best
    ]
    exact, promise = found.optional("exact"), found.optional("promise")
    rates = {name: found.mamba_rates[name] for name in found.mamba_rates}
    chosen = min(rates, key=rates.get)
    off_by_two = max((row.off_by_two for row in found.best), default=None)
    return {
        "law": law,
        "misfit": found.optional("misfit"),
        "best": best,
        "off_by_two": off_by_two,
        "exact": exact,
        "exact_estimate": None if exact is None else Estimate(exact),
        "outside": any(row["outside"] for row in best),
        "inside": sum(not row["outside"] for row in best),
        "trainings": len(trained),
        "promise": None
        if promise is None
        else {
            "parameters": promise.parameters,
            "tokens": promise.tokens,
            "value": interval_of(promise, "value"),
            "measured": promise.measured,
            "kept": order(interval_of(promise, "value"), Estimate(promise.measured)),
        },
        "mamba_best": {"name": chosen, "loss": rates[chosen]},
    }


def language(found: Record) -> dict[str, object]:
    """Models of Pocket stories, smallest first, and the fewest parameters with which half of the stories are valid."""
    measures = ("excess", "words", "valid")
    sizes = [
        {"parameters": row.parameters, **{key: interval_of(row[key], "value") for key in measures}}
        for row in found.sizes
    ]
    return {
        **{key: found[key] for key in ("tokens", "stories", "seeds", "told", "source", "words_of_a_story")},
        "sizes": sizes,
        "half": next((row["parameters"] for row in sizes if row["valid"].value >= 0.5), None),
    }


def architecture(run: Run, study: Record, settings: Record) -> dict[str, object]:
    """The study's axes with speed and memory beside quality, and its variants sorted by what can be said of them."""
    costs = study_costs(run)
    axes, changed = [], []
    for axis in study.axes:
        variants = [study_variant(axis.axis, variant, costs) for variant in axis.variants]
        axes.append({"axis": axis.axis, "variants": variants})
        changed += [v for v in variants if not v["is_baseline"]]
    if not changed:
        raise InputError("study.json compares no variant with the baseline; run notebook 06 again")
    baseline = next((v for a in axes for v in a["variants"] if v["is_baseline"]), None)
    if baseline is None:
        raise InputError("study.json marks no variant as the baseline (difference: null); run notebook 06 again")
    told = [v for v in changed if v["verdict"]]
    resized = [v for v in changed if abs(v["parameters"] / baseline["parameters"] - 1) > 0.1]
    alike = [v for v in told if v not in resized]
    comparable = [v for v in changed if v["axis"] != "vocabulary"]  # tokens of another are other amounts of text
    fastest = max(comparable or changed, key=lambda v: v["tokens_per_second"])
    return {
        "axes": axes,
        "changed": changed,
        "seeds": min(v["seeds"] for v in changed),
        "worse": [v for v in told if v["verdict"] > 0],
        "better": [v for v in told if v["verdict"] < 0],
        "same": [v for v in changed if not v["verdict"]],
        "resized": resized,
        "tokens": settings.tokens,
        "steps": settings.tokens // (settings.batch_size * settings.context),
        "largest_alike": max(alike, key=lambda v: abs(v["difference"].value)) if alike else None,
        "survivors": [v for v in changed if v["survives"]],
        "largest": max(told, key=lambda v: abs(v["difference"].value)) if told else None,
        "fastest": fastest,
        "faster": compare_speed(fastest["tokens_per_second"], baseline["tokens_per_second"]) > 0,
        "baseline": baseline,
    }


def study_variant(axis: str, variant: Record, costs: dict[tuple[str, str], tuple[float, float]]) -> dict[str, object]:
    if (axis, variant.variant) not in costs:
        raise InputError(f"timings/study.csv has no row of {axis} '{variant.variant}', study.json has; run notebook 06")
    baseline = variant.optional("difference") is None
    difference = Estimate(0.0) if baseline else interval_of(variant, "difference", "difference_low", "difference_high")
    tokens_per_second, memory = costs[axis, variant.variant]
    return {
        "axis": axis,
        "name": variant.variant,
        "parameters": variant.parameters,
        "loss": interval_of(variant, "mean"),
        "seeds": variant.seeds,
        "is_baseline": baseline,
        "difference": difference,
        "verdict": verdict(difference),
        "survives": variant.survives,
        "tokens_per_second": tokens_per_second,
        "memory": memory,
    }


def study_costs(run: Run) -> dict[tuple[str, str], tuple[float, float]]:
    """Tokens per second and peak memory (MB) of each (axis, variant)."""
    columns = {"axis": str, "variant": str, "tokens_per_second": float, "peak_memory_mb": float}
    return {
        (row.axis, row.variant): (row.tokens_per_second, row.peak_memory_mb)
        for row in run.csv("timings/study", columns)
    }


def versus(run: Run, mamba: Record) -> dict[str, object]:
    """The matched Transformer and Mamba: loss, difference (Mamba minus Transformer), speeds, decoding by context."""
    timings = run.json("timings/mamba")
    models = {
        who: {
            "loss": interval_of(mamba.models[who], "bits_per_byte_mean"),
            "parameters": mamba.models[who].parameters,
            "seeds": mamba.models[who].seeds,
            "tokens_per_second": timings.models[who].tokens_per_second,
            "memory": timings.models[who].peak_memory_mb,
        }
        for who in ("transformer", "mamba")
    }
    difference = interval_of(mamba.difference, "mean")
    speeds = [models[who]["tokens_per_second"] for who in ("mamba", "transformer")]
    return {
        **models,
        "difference": difference,
        "verdict": verdict(difference),
        "tuned": tuned(mamba.rates),
        "seed_spread": seed_spread(models["transformer"]["loss"], models["transformer"]["seeds"]),
        "training_speed": compare_speed(*speeds),
        "training_ratio": max(speeds) / min(speeds),
        "seconds": interval_of(timings.equal_seconds.difference, "mean"),
        "seconds_verdict": verdict(interval_of(timings.equal_seconds.difference, "mean")),
        "seconds_tokens": timings.equal_seconds.tokens,
        "full": mamba.full,
        "full_difference": interval_of(mamba.full.difference, "mean"),
        "full_verdict": verdict(interval_of(mamba.full.difference, "mean")),
        "reversed": verdict(difference) * verdict(interval_of(mamba.full.difference, "mean")) < 0,
        "beyond": beyond(mamba.beyond),
        "tasks": [task_rows(task) for task in mamba.tasks],
        "scan": scan_race(mamba.scan, timings),
        "decoding": decoding(run),
    }


def seed_spread(loss: Estimate, seeds: int) -> float | None:
    """The standard deviation over seeds from which Student's interval of their mean was made; None with one seed."""
    return None if loss.low is None else (loss.high - loss.low) / 2 / t_quantile(seeds - 1) * math.sqrt(seeds)


def tuned(rates: Record) -> dict[str, object] | None:
    """For each of the pair the learning rates it kept, their loss and its worst; None if there was no choice."""
    tried = list(rates.tried)
    if len(tried) <= 2:  # one pair each is no choice
        return None
    found: dict[str, object] = {"tries": len(tried) // 2}
    for who in ("transformer", "mamba"):
        losses = [row.bits_per_byte for row in tried if row.model == who]
        taken = rates.taken[who]
        found[who] = {
            "rates": [taken.learning_rate, taken.matrix_learning_rate],
            "best": min(losses),
            "worst": max(losses),
            "edge": taken.matrix_learning_rate == max(row.matrix_learning_rate for row in tried),
        }
    by_pair: dict[tuple[float, float], dict[str, float]] = {}
    for row in tried:
        by_pair.setdefault((row.learning_rate, row.matrix_learning_rate), {})[row.model] = row.bits_per_byte
    shared = [losses["mamba"] - losses["transformer"] for losses in by_pair.values()]
    return found | {"least": min(shared), "most": max(shared)}


def beyond(record: Record) -> dict[str, object]:
    """Loss by position for both models, the trained length, and how it changes from there to the end."""
    rows: dict[int, dict[str, float]] = {}
    for row in record.rows:
        rows.setdefault(row.to, {})[row.model] = row.nats_per_token
    trained, longest = record.trained, max(rows)
    rise = {who: rows[longest][who] - rows[trained][who] for who in ("transformer", "mamba")}
    return {"trained": trained, "longest": longest, "rows": sorted(rows.items()), "rise": rise}


def task_rows(task: Record) -> dict[str, object]:
    """A synthetic task: both models' accuracy by length, and how far each keeps 95 % of it."""
    rows = [(row.length, row.transformer, row.mamba) for row in task.rows]
    reach = {}
    for who, column in (("transformer", 1), ("mamba", 2)):
        held = [row[0] for i, row in enumerate(rows) if all(r[column] >= 0.95 for r in rows[: i + 1])]
        reach[who] = max(held) if held else None
    return {
        "name": task.task,
        "trained": task.trained,
        "longest": rows[-1][0],
        "seeds": task.seeds,
        "rows": rows,
        "reach": reach,
    }


def scan_race(method: str, timings: Record) -> dict[str, object]:
    """The longest sequence that notebook 07 timed the scans at: milliseconds of each method."""
    last = max(timings.scan, key=lambda row: row.T)
    return {"method": method, "T": last.T, "ms": {key.removesuffix(" (ms)"): last[key] for key in last if key != "T"}}


def decoding(run: Run) -> dict[str, object]:
    """Time and memory of a decoding step for both models at each context length both were timed at."""
    columns = {"model": str, "context": int, "ms_per_token": float, "state_bytes": int}
    steps: dict[int, dict[str, Record]] = {}
    for row in run.csv("timings/decoding", columns):
        steps.setdefault(row.context, {})[NAMES.get(row.model, row.model)] = row
    both = {length: models for length, models in sorted(steps.items()) if {"Transformer", "Mamba"} <= models.keys()}
    if not both:
        raise InputError("timings/decoding.csv has no context length timed for both models; run notebook 07 again")
    rows = [
        {"context": length, "transformer": models["Transformer"], "mamba": models["Mamba"]}
        for length, models in both.items()
    ]
    first, last = rows[0], rows[-1]
    milliseconds = [last[who].ms_per_token for who in ("mamba", "transformer")]
    faster = [
        row["context"] for row in rows if compare_speed(row["mamba"].ms_per_token, row["transformer"].ms_per_token) < 0
    ]
    return {
        "first": first,
        "last": last,
        "growth": {who: last[who].ms_per_token / first[who].ms_per_token for who in ("mamba", "transformer")},
        "state_growth": {who: last[who].state_bytes / first[who].state_bytes for who in ("mamba", "transformer")},
        "speed": compare_speed(*milliseconds),
        "ratio": max(milliseconds) / min(milliseconds),
        "last_ratio": milliseconds[0] / milliseconds[1],
        "equal_memory": last["mamba"].state_bytes / (last["transformer"].state_bytes / last["context"]),
        "mamba_faster_from": min(faster) if faster and faster == [r["context"] for r in rows[-len(faster) :]] else None,
    }
