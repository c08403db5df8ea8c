"""The study of coherence: the law and the thresholds against cases with a known answer, and experiments that are made
once, judged rightly, and taken up by any later call."""

import math
import shutil
from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pandas as pd
import pytest

from pn_lib.data import pocket
from pn_lib.data.tokens import TokenFile, story_batch
from pn_lib.errors import InputError
from pn_lib.evaluation.leak import crossing, fit_leak, steady_share
from pn_lib.evaluation.recall import facts, novelty, recall_by_distance, recall_by_fact, recalls, stories_by_fact
from pn_lib.evaluation.validity import departures, source_nats
from pn_lib.files import write_json
from pn_lib.models.flops import training_flops_per_token
from pn_lib.models.packed import load_packed
from pn_lib.run.coherence import experiments
from pn_lib.run.coherence.plan import HELD_OUT, Plan, grid
from pn_lib.run.coherence.summary import TIMES, Group, lacks_one, summarize, unsure
from pn_lib.run.profile import load_profile, profile_names
from pn_lib.run.publish import publish
from pn_lib.run.results.coherence_results import CoherenceResult, CoherentModel, FactRecalled, Memory
from pn_lib.run.results.result import Estimate
from pn_lib.run.saved_models import find_model

EASY = pocket.dialect(plots=1, words=3)
PLAN = Plan(
    architecture="transformer",
    options={"n_heads": 2},
    parameters=12_000,
    tokens=2_048,
    seed=0,
    rate=0.02,
    matrix_rate=0.01,
    within_stories=True,
    vocab_size=300,
    batch_size=4,
    context=64,
    told=6,
    temperatures=(1.0, 0.5),
    plots=1,
    words=3,
)


# The law


def test_the_leak_is_found_where_it_is_known():
    rng = np.random.default_rng(0)
    E, told = np.linspace(0.5, 12, 24), np.full(24, 400)
    valid = rng.binomial(told, 2 ** (-0.4 * E))
    leak = fit_leak(E, valid, told)
    assert leak.low < 0.4 < leak.high and leak.value == pytest.approx(0.4, abs=0.02)
    assert fit_leak(E, valid, told) == leak  # deterministic
    assert fit_leak(E[:1], valid[:1], told[:1]).low is None  # one model has no interval
    assert fit_leak([40.0, 50.0], [0, 0], [200, 200]) is None


def test_a_model_without_a_valid_story_counts():
    alone = fit_leak([4.0], [50], [200]).value
    assert alone == pytest.approx(0.5, abs=0.01)
    assert fit_leak([4.0, 8.0], [50, 0], [200, 200]).value > alone


def test_no_mixture_of_the_source_breaks_the_bound():
    """A model that tells a share v of the source's stories, and else what is no story, has excess -log2 v: the least
    that such a share allows."""
    for v in (0.1, 0.5, 0.9):
        assert fit_leak([-math.log2(v)], [round(1000 * v)], [1000]).value == pytest.approx(1, abs=0.01)


def test_words_that_fail_independently():
    rate, words, rng = 0.01, 150, np.random.default_rng(0)
    first = rng.geometric(rate, 20_000) - 1
    valid, before = (first >= words).mean(), np.minimum(first, words).mean()
    assert steady_share(valid, before, words) == pytest.approx(valid, abs=0.01)
    assert steady_share(0.0, 0.0, words) == 0  # not one word is right


def test_where_a_share_is_reached():
    assert crossing([100, 400], [0.0, 0.5], 0.25) == pytest.approx(200)  # half-way on a log scale
    assert crossing([400, 100], [0.5, 0.0], 0.25) == pytest.approx(200)  # in any order
    assert crossing([100, 200], [0.3, 0.9], 0.25) == pytest.approx(100)
    assert crossing([100, 200], [0.0, 0.2], 0.25) is None


# Dialects, and the facts of a story


def test_a_dialects_stories_are_stories():
    stories = pocket.sample_stories(30, 1, EASY)
    assert len(set(stories)) == 30
    assert np.isfinite(source_nats(stories, EASY)).all() and np.isfinite(source_nats(stories)).all()
    assert (source_nats(stories, EASY) < source_nats(stories)).all()  # likelier where there is less to tell
    assert departures(stories, EASY).empty
    assert len(departures(pocket.sample_stories(30, 1), EASY)) > 20  # other plots and words
    assert pocket.dialect() is pocket.STORIES
    for wrong in ({"plots": 0}, {"plots": 10}, {"words": 0}):
        with pytest.raises(InputError, match="a dialect has 1 to 9 plots"):
            pocket.dialect(**wrong)


def test_kept_and_broken_facts_by_distance():
    """A story's own facts are all kept; one exchanged is broken, and as far back as the probe says."""
    stories = pocket.sample_stories(20, 3)
    table = recalls(stories, departures(stories))
    assert table["kept"].all() and (table["back"] > 0).all() and set(table["story"]) == set(range(20))
    gap = pocket.fact_gap(Random(5), {"keepsake"}, foils=1)
    space = "" if gap.beginning[-1] in '\n"' else " "
    told = [gap.beginning + space + gap.wrong[0] + " again."]
    table = recalls(told, departures(told))
    assert table["kept"].tolist() == [True] * (len(table) - 1) + [False]
    shared = len(gap.right) - len(gap.right.lstrip(gap.wrong[0])) if gap.right[0] == gap.wrong[0][0] else 0
    assert table["slot"].iloc[-1] == "keepsake" and abs(table["back"].iloc[-1] - gap.distance) <= shared
    by = recall_by_distance(table, (0, 50, 100, 200, 400))
    assert by["repeated"].sum() == len(table) and by["broken"].sum() == 1
    facts_of = recall_by_fact(table).set_index("slot")
    assert facts_of["repeated"].to_dict() == Counter(table["slot"]) and facts_of["broken"].sum() == 1
    assert facts_of.loc["keepsake", "broken"] == 1
    broken_at = by.loc[by["broken"] == 1, "back"].item()
    assert broken_at == max(edge for edge in (0, 50, 100, 200, 400) if edge <= table["back"].iloc[-1])


def test_stretches_begin_at_their_edges():
    table = pd.DataFrame({"back": [0, 49, 50, 399, 400, 9000], "kept": [True, False, True, False, True, True]})
    by = recall_by_distance(table, (0, 50, 400))
    assert by["repeated"].tolist() == [2, 2, 2] and by["broken"].tolist() == [1, 1, 0]


def test_what_a_model_does_with_a_fact_is_told_where_it_came_back_often_enough(made):
    _, model = made
    facts = [{"slot": "colour", "repeated": TIMES, "broken": 15}, {"slot": "pet", "repeated": TIMES - 1, "broken": 0}]
    first = model.told[0].model_copy(update={"facts": [FactRecalled(**fact) for fact in facts]})
    older = first.model_copy(update={"facts": None})
    told = {"one": first, "of an older version": older}
    models = {name: model.model_copy(update={"told": [at, *model.told[1:]]}) for name, at in told.items()}
    result, _ = summarize(models)
    [memory] = result.memories
    assert (memory.experiment, memory.slot, memory.repeated, memory.broken) == ("one", "colour", TIMES, 15)
    assert memory.dialect == Group([model]).dialect and memory.seed == model.settings["seed"]


def memory(experiment: str, slot: str, broken: int, valid: float, tokens: int = 1) -> Memory:
    easy = {"plots": 1, "words": 4}
    who = {"architecture": "mamba", "dialect": easy, "parameters": 1, "tokens": tokens, "seed": 0, "repeated": 100}
    return Memory(experiment=experiment, slot=slot, broken=broken, valid=valid, **who)


def test_a_bad_model_lacks_one_fact_or_not():
    good = {"good": [memory("good", "hero", 0, 0.9), memory("good", "pet", 5, 0.9)]}
    bad = {"bad": [memory("bad", "hero", 0, 0.3), memory("bad", "pet", 6, 0.3)]}
    two = {"bad": [memory("bad", "hero", 50, 0.3), memory("bad", "pet", 6, 0.3)]}
    better = {"bad": [memory("bad", "hero", 0, 0.95), memory("bad", "pet", 6, 0.95)]}
    assert unsure(good) == [] and [found.slot for found in unsure(good | bad)] == ["pet"]
    assert lacks_one(good | bad)
    assert not any(map(lacks_one, (good, bad, good | two, good | better)))


def test_pairs_of_facts_that_were_never_together():
    texts, tellings = zip(*pocket.sample_tellings(30, 7), strict=True)
    known = stories_by_fact(tellings)
    assert set(known) == {fact for telling in tellings for fact in facts(telling)}
    assert not novelty(texts, known).any()
    fresh = novelty(pocket.sample_stories(30, 8), known)
    assert 0 < fresh.mean() < 1
    assert (novelty(texts[:3], {}) == 1).all()


# Experiments


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small experiment, and where it was made."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("coherence")
        patch.setenv("PN_ROOT", str(root))
        said = []
        [model] = experiments.make([PLAN], said.append)
        assert said == [f"[1/1] {PLAN.name}: 0% of its stories are valid"]
        return root, model


def test_an_experiment_says_what_is_true_of_its_stories(made):
    _, model = made
    assert model.settings["tokens"] == model.tokens == 2_048 and 10_000 < model.parameters < 14_000
    assert [(t.temperature, t.integers) for t in model.told] == [(1, None), (0.5, None), (1, "int8"), (1, "int4")]
    sizes = [t.file_bytes for t in model.told]
    assert sizes[0] == sizes[1] > 4 * model.parameters and sizes[0] > sizes[2] > sizes[3] > model.parameters / 2
    held_out = PLAN.held_out
    assert len(held_out) == HELD_OUT
    exact = source_nats(held_out, EASY).sum() / math.log(2) / sum(map(len, held_out))
    assert model.source == pytest.approx(exact)
    assert model.excess.value == pytest.approx(model.bits_per_byte - exact)
    assert model.excess_bits == pytest.approx(model.excess.value * np.mean([len(story) for story in held_out]))
    for told in model.told:
        assert told.stories == 6 and sum(told.reasons.values()) == 6 and told.valid.value == 0 == told.copies
        assert 0 <= told.words < 20 and told.new_pairs is None


def test_an_experiment_trains_as_its_plan_says(made):
    experiment, tokenizer = experiments.training_of(PLAN, made[0] / "results" / "coherence" / "work")
    training, config = experiment.training, experiment.model
    anywhere, _ = experiments.training_of(
        replace(PLAN, within_stories=False), made[0] / "results" / "coherence" / "work"
    )
    assert training.within_stories and not anywhere.training.within_stories
    assert (training.learning_rate, training.matrix_learning_rate) == (PLAN.rate, PLAN.matrix_rate)
    assert (training.tokens, training.seed, training.context) == (PLAN.tokens, PLAN.seed, PLAN.context)
    assert (config.n_heads, config.vocab_size) == (2, tokenizer.vocab_size)


def test_a_recurrence_reads_a_story_a_row_and_as_many_of_its_tokens(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    work = tmp_path / "results" / "coherence" / "work"
    plan = replace(PLAN, architecture="mamba", options={"d_state": 4}, tokens=8_192, context=512)
    experiment, _ = experiments.training_of(plan, work)
    training, stories = experiment.training, TokenFile(experiment.train)
    lengths = np.minimum(np.diff(stories.offsets), plan.context)
    assert training.within_stories and training.context == lengths.max()
    assert training.batch_size == plan.batch_size
    seen = [
        int((story_batch(stories, training.batch_size, training.context, plan.seed, step)[1] >= 0).sum())
        for step in range(training.steps)
    ]
    assert sum(seen) == pytest.approx(plan.tokens, rel=0.1)
    [model] = experiments.make([plan], say=lambda _: None)
    assert model.tokens == pytest.approx(plan.tokens, rel=0.1) and model.tokens < training.tokens
    places = training.steps * training.batch_size * training.context  # computed, those behind the ends, too
    assert model.flops == pytest.approx(training_flops_per_token(experiment.model, training.context) * places, rel=0.1)


def test_a_finished_experiment_is_read_and_leaves_nothing_else(made, monkeypatch):
    root, model = made
    monkeypatch.setenv("PN_ROOT", str(root))
    monkeypatch.setattr(experiments, "run_experiment", None)  # would fail if it were called
    assert list(experiments.make([PLAN])) == [model] and experiments.known(told=6)[PLAN.name] == model
    assert PLAN.name not in experiments.known(told=7)
    files = {path.name for path in (root / "results" / "coherence").iterdir()}
    assert files == {f"{PLAN.name}.json", "models", "work"}
    for told, integers in zip(model.told[2:], ("int8", "int4"), strict=True):
        packed = find_model(f"coherence/{PLAN.name}/{integers}")
        assert packed.stat().st_size == told.file_bytes and load_packed(packed)[0].n_parameters() == model.parameters
    assert [path.name for path in (root / "results" / "coherence" / "work").iterdir()] == ["tokens"]
    other = replace(PLAN, seed=1)
    assert experiments.finished(other) is None and other.name != PLAN.name


def test_a_killed_experiment_goes_on(made, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    model = made[1]
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(experiments, "measure_model", killed)
        list(experiments.make([PLAN]))
    again = next(experiments.make([PLAN]))
    assert again.told == model.told and again.bits_per_byte == model.bits_per_byte


def test_a_run_makes_the_next_experiments_that_it_can_afford(made, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(made[0]))
    next_, dear, last = (replace(PLAN, seed=seed, tokens=tokens) for seed, tokens in ((1, 600), (2, 900), (3, 400)))
    assert experiments.affordable([PLAN, next_, dear, last], 1_000) == [PLAN, next_]
    assert experiments.affordable([next_, PLAN], 500) == [PLAN]


def test_experiments_are_published_beside_those_of_other_machines(made, tmp_path, monkeypatch):
    model = made[1]
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    write_json(tmp_path / "results" / "coherence" / f"{PLAN.name}.json", model.model_dump())
    with pytest.raises(InputError, match="there is no experiment of 100 stories or more in"):
        publish("coherence")
    monkeypatch.setattr(experiments, "ENOUGH", 6)
    theirs = tmp_path / "results" / "published" / "coherence" / "another.json"
    other = model.model_copy(update={"settings": model.settings | {"seed": 1}})
    write_json(theirs, other.model_dump())
    together = tmp_path / experiments.STUDY
    assert publish("coherence") == [
        theirs.with_name(f"{PLAN.name}.json"), together / "coherence.json", together / "timings" / "coherence.json"
    ]  # fmt: skip
    [cell] = CoherenceResult.read(together).cells
    assert theirs.exists() and cell.seeds == 2 and cell.tokens == model.tokens
    for file, each, share in ((theirs.with_name(f"{PLAN.name}.json"), model, 4 / 6), (theirs, other, 3 / 6)):
        most = Estimate(value=share, low=0.2, high=0.8)
        told = [t if t.integers == "int4" else t.model_copy(update={"valid": most}) for t in each.told]
        write_json(file, each.model_copy(update={"told": told}).model_dump())
    shutil.copy(theirs.with_name(f"{PLAN.name}.json"), experiments.folder())
    packed = experiments.models() / PLAN.name / "int8.safetensors"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"the smallest that tells")
    copied = publish("coherence")[-1]
    assert copied == theirs.parent / "models" / "12k.safetensors" and copied.read_bytes() == packed.read_bytes()
    monkeypatch.setattr(experiments, "REPOSITORY", tmp_path)
    monkeypatch.setenv("PN_ROOT", str(tmp_path / "elsewhere"))
    assert experiments.finished(PLAN).told[0].valid.value == 4 / 6


@pytest.mark.parametrize("name", profile_names())
def test_the_grid_goes_from_cheap_to_dear(name):
    plans = grid(load_profile(name).coherence)
    assert len({plan.name for plan in plans}) == len(plans)
    order = [(plan.seed, plan.tokens) for plan in plans]
    assert order == sorted(order)


# What they say together


def like(model: CoherentModel, share: float, excess_bits: float, **settings: int) -> CoherentModel:
    """The experiment with another seed, size and budget, told stories of which a share is valid, and so many excess
    bits a story."""
    size, tokens, bytes_ = settings["parameters"], settings["tokens"], {None: 4, "int8": 1, "int4": 0.5}
    valid = {"value": share, "low": max(0, share - 0.1), "high": min(1, share + 0.1)}
    told = [
        t.model_copy(
            update={
                "valid": Estimate(**valid),
                "stories": 100,
                "words": 50.0,
                "file_bytes": int(size * bytes_[t.integers]),
            }
        )
        for t in model.told
    ]
    excess = model.excess.model_copy(update={"value": excess_bits / model.story_bytes})
    known = {"parameters": size, "tokens": tokens, "flops": 6.0 * size * tokens, "told": told, "excess": excess}
    return model.model_copy(update=known | {"settings": model.settings | settings})


@pytest.fixture
def study(made):
    """Two sizes, two seeds, three budgets: valid shares rise with both, by a leak of a half."""
    found = {}
    for size, lag in ((1000, 1), (4000, 0)):
        for seed in (0, 1):
            for step, tokens in enumerate((100, 200, 400)):
                share = (0.0, 0.25, 0.5, 1.0)[step + 1 - lag]
                bits = 2 * -math.log2(share) if share > 0 else 30.0
                found[f"{size}-{seed}-{tokens}"] = like(made[1], share, bits, parameters=size, tokens=tokens, seed=seed)
    return found


def test_thresholds_and_the_cheapest(study):
    result, timings = summarize(study)
    assert len(result.cells) == 6 and all(cell.seeds == 2 for cell in result.cells)
    reached = {(row.parameters, row.level): row.tokens for row in result.thresholds}
    assert reached[4000, 0.5].value == pytest.approx(200) and reached[1000, 0.5].value == pytest.approx(400)
    assert reached[1000, 0.9] is None and 200 < reached[4000, 0.9].value < 400
    cheapest = {(row.level, row.cost): row for row in result.least}
    assert cheapest[0.5, "parameters"].value == 1000 and cheapest[0.5, "tokens"].value == 200
    assert cheapest[0.5, "bytes"].integers == "int4" and cheapest[0.5, "bytes"].parameters == 1000
    assert all(list(cell.slots.values()) == sorted(cell.slots.values(), reverse=True) for cell in result.cells)
    assert {row.cost for row in timings.least} == {"seconds"} and len(timings.made) == 12
    assert cheapest[0.5, "tokens"].valid.value == 0.5 and cheapest[0.5, "tokens"].valid.low > 0.4  # of 200 stories


def test_the_law_of_the_study(study):
    leaks = {row.architecture: row for row in summarize(study)[0].leaks}
    assert leaks.keys() == {"all", "transformer"} and leaks["all"].leak.value == pytest.approx(0.5, abs=0.03)
    assert leaks["all"].half == pytest.approx(1 / leaks["all"].leak.value) and leaks["all"].models == 12


def test_a_seed_that_lacks_a_budget_is_left_out_of_the_interval(study):
    del study["4000-1-400"]
    rows = {(row.parameters, row.level): row.tokens for row in summarize(study)[0].thresholds}
    assert rows[4000, 0.5].low is None  # one seed is left


def test_a_threshold_is_that_of_all_seeds_together(made, study):
    """One seed is at a half after 200 tokens, the other nowhere: together they are at a quarter."""
    study["4000-1-200"] = like(made[1], 0.0, 30.0, parameters=4000, tokens=200, seed=1)
    del study["4000-1-100"]
    rows = {(row.parameters, row.level): row.tokens for row in summarize(study)[0].thresholds}
    assert 200 < rows[4000, 0.5].value < 400 and rows[4000, 0.5].low is None


def test_a_result_is_written_and_read(study, tmp_path):
    result = summarize(study)[0]
    result.write(tmp_path / CoherenceResult.FILE)
    assert CoherenceResult.read(tmp_path) == result
