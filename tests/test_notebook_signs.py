"""The notebooks' comparisons on made-up results whose winner is known: none takes a difference the wrong way round."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_notebooks import STAGES, read

from pn_lib.course import verdicts
from pn_lib.evaluation.enough import TOO_SMALL
from pn_lib.evaluation.intervals import (
    bits_per_byte_interval,
    bootstrap_interval,
    judge_variants,
    over_seeds,
    verdict,
)
from pn_lib.run.reference import beside_column
from pn_lib.run.results.training_results import RecipeResult

RUN = SimpleNamespace(profile=SimpleNamespace(name="paper"))  # as large as the reference run: it stands alone
GOOD, BAD = np.array([1.0, 1.2, 1.1]), np.array([1.31, 1.49, 1.4])  # bits per byte of three seeds: 0.3 apart
GOOD_STORIES, BAD_STORIES = (
    SimpleNamespace(story_nats=nats, story_bytes=np.full(3, 100), bits_per_byte=nats.mean()) for nats in (GOOD, BAD)
)


def run_cells(notebook: int, *ids: str, **names: object) -> dict:
    """What the cells of a notebook leave, run one after another on ``names``."""
    cells = {cell.id: cell.source for cell in read(STAGES[notebook - 1].path).cells}
    names |= {"np": np, "pd": pd}
    for each in ids:
        exec(compile(cells[each], each, "exec"), names)
    return names


def test_verdicts():
    assert [verdict(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1), (None, None))] == [
        "worse", "better", "not told apart", "not told apart", "one seed"]  # fmt: skip
    assert over_seeds(np.array([1.5])) == (1.5, None, None)
    assert over_seeds(BAD - GOOD).value == pytest.approx(0.3)


def test_04_a_change_with_more_bits_than_the_recipe_is_worse():
    losses = {"recipe": pd.Series(BAD), "bad": pd.Series(BAD + GOOD), "good": pd.Series(GOOD)}
    found = run_cells(
        4, "ccb57202", variants=["bad", "good"], top_name="recipe", at_end=losses, in_time=losses, run=RUN,
        beside_column=beside_column, RecipeResult=RecipeResult,
    )  # fmt: skip
    shown = found["shown"][["difference", "equal_seconds"]].to_numpy()
    np.testing.assert_allclose(shown, [[1.1, 1.1], [-0.3, -0.3]])


def test_05_more_bits_than_the_transformer_is_above_zero_and_more_right_answers_too():
    found = run_cells(
        5, "c05-051", scores={"transformer": GOOD_STORIES, "ngram": BAD_STORIES}, order=[], size={}, label={},
        bits_per_byte_interval=bits_per_byte_interval,
    )  # fmt: skip
    assert found["behind"]["ngram"].low > 0
    answers = {name: pd.DataFrame({"kind": "fact", "correct": [right] * 4})
               for name, right in (("transformer", True), ("ngram", False))}  # fmt: skip
    found = run_cells(
        5, "c05-092", answers=answers, asked=pd.DataFrame(), spell=str, bootstrap_interval=bootstrap_interval
    )
    assert found["beyond"]["fact"] == (1, 1, 1)


def test_07_a_variant_with_more_bits_than_the_baseline_raises_the_loss():
    runs = {"base": GOOD, "layernorm, post": BAD + GOOD, "layernorm, pre": BAD}
    rows = {name: [{"seed": seed, "parameters": 1, "steps": 100, "bits_per_byte": value}
                   for seed, value in enumerate(values)] for name, values in runs.items()}  # fmt: skip
    variants = [("norm", name, None) for name in runs]
    found = run_cells(
        7, "c06-062", "c06-066", "c06-068", "c06-x06", variants=variants,
        base_runs=pd.DataFrame(rows["base"]), results={("norm", name): rows[name] for name in runs if name != "base"},
        judge_variants=judge_variants, study=SimpleNamespace(seeds=3), run=RUN,
    )  # fmt: skip
    assert found["compared"]["difference"].tolist() == pytest.approx([1.4, 0.3])
    assert found["compared"]["verdict"].tolist() == ["raises the loss"] * 2
    assert found["post"].value == pytest.approx(1.1)


def test_10_the_architecture_with_fewer_bits_is_ahead():
    rng = np.random.default_rng(0)
    stories = rng.normal(100, 20, 60)
    runs = {
        who: [{"story_nats": stories * loss + rng.normal(0, 0.1, 60)} for _ in range(5)]
        for who, loss in (("transformer", 1.2), ("mamba", 1.0), ("hybrid", 1.2))
    }
    test = SimpleNamespace(story_bytes=np.full(60, 100))
    found = run_cells(10, "c08-c06", results=[runs], test=test)
    pairs = {(pair.first, pair.second): pair for pair in found["compared"][0]}
    assert pairs["transformer", "mamba"].verdict == "behind" and pairs["mamba", "hybrid"].verdict == "ahead"
    told = verdicts.pairs(found["compared"][0], None)
    assert "Mamba is ahead of Transformer by 0.2" in told and "Mamba is ahead of Hybrid by 0.2" in told
    assert "1 of 3 pairs" in told and verdicts.pairs(found["compared"][0], TOO_SMALL) == "too small to tell."


def test_10_a_rival_that_carries_more_at_every_length_leaves_room_for_all_tokens():
    one, titles = {"a": 1.0, "b": 1.0, "c": 1.0}, {"a": "A", "b": "B", "c": "C"}
    room = {"a": None, "b": 18.7, "c": None}
    found = run_cells(
        10, "c08-w03", names=list(one), TITLES=titles, yardstick="a", T=128, speeds=one, last=one, held=one, rise=one,
        equal_context=room,
    )  # fmt: skip
    assert (
        "hold only so many of the A's tokens: 19 beside B, all beside C. It was trained on 128" in found["memory_words"]
    )


def test_10_a_whole_mamba_with_more_bits_than_the_transformer_is_behind_by_what_is_above_zero(capsys):
    scores, titles = {"transformer": GOOD_STORIES, "mamba": BAD_STORIES}, {"transformer": "T", "mamba": "M"}
    model = SimpleNamespace(n_parameters=lambda: 7)
    found = run_cells(10, "c10-w02", scores=scores, two=dict.fromkeys(scores, model), TITLES=titles)
    assert found["behind"].low > 0
    assert "Mamba minus the Transformer, story by story: 0.00" in capsys.readouterr().out


def test_11_more_bits_than_float32_is_a_rise():
    stories = SimpleNamespace(story_nats=BAD + GOOD, story_bytes=np.full(3, 100))
    made = {("mamba", "float32", "rounding"): GOOD_STORIES, ("mamba", "int4", "rounding"): stories,
            ("mamba", "int4", "compensation"): BAD_STORIES}  # fmt: skip
    found = run_cells(
        11, "c09-082", versions=[(*key, None) for key in made], scores=made, file_bytes=lambda model, grid: 1,
        GRIDS={"float32": None, "int4": None}, bits_per_byte_interval=bits_per_byte_interval,
    )  # fmt: skip
    plain, rounded, compensated = found["rows"]
    assert plain["difference"] is plain["gain"] is rounded["gain"] is None
    assert rounded["difference"].low > 0 and compensated["difference"].low > 0 and compensated["gain"].high < 0
