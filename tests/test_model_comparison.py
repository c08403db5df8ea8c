"""Models compared over seeds and stories: the truth is known, since the test makes the losses."""

import time

import numpy as np
import pytest

from pn_lib.errors import InputError
from pn_lib.evaluation.enough import TOO_SMALL
from pn_lib.evaluation.intervals import compare_models, holm, judge_variants, over_seeds, t_interval, t_p_value

K = 80
SIZES = np.random.default_rng(0).integers(300, 1500, K)  # bytes of each story
ONE_BIT = np.log(2)


def losses(rng, truth, S, of_seed=0.01, of_story=0.05, of_both=0.05):
    """Nats (S, K) of a model ``truth`` bits per byte above one bit, by crossed effects."""
    bits = 1 + truth + rng.normal(0, of_seed, (S, 1)) + rng.normal(0, of_story, K) + rng.normal(0, of_both, (S, K))
    return bits * SIZES * ONE_BIT


@pytest.mark.parametrize("S", [3, 5, 10])
@pytest.mark.parametrize("spread", [(0.01, 0.02, 0.02), (0.002, 0.05, 0.02), (0.005, 0.03, 0.05)])
def test_the_interval_covers_the_truth_as_often_as_it_says(S, spread):
    rng, hits, rounds = np.random.default_rng(S), 0, 200
    for _ in range(rounds):
        story_nats = {"ours": losses(rng, 0.02, S, *spread), "base": np.tile(SIZES * ONE_BIT, (S, 1))}
        found = compare_models(story_nats, SIZES, resamples=200)[0]
        hits += found.difference.low <= 0.02 <= found.difference.high
        assert (found.p < 0.05) == (not found.difference.low <= 0 <= found.difference.high)
    assert 0.90 <= hits / rounds <= 0.98


def test_seeds_alone_give_students_interval():
    by_seed = np.array([0.01, 0.03, 0.02])  # each story alike: nothing else varies
    story_nats = {"a": (1 + by_seed[:, None]) * SIZES * ONE_BIT, "b": np.tile(SIZES * ONE_BIT, (3, 1))}
    value, low, high = compare_models(story_nats, SIZES)[0].difference
    assert (value, low, high) == pytest.approx(tuple(t_interval(by_seed)), abs=2e-4)


def test_a_known_order_is_found_and_the_words_are_on_the_first():
    rng = np.random.default_rng(0)
    table = compare_models({name: losses(rng, truth, 5) for name, truth in (("a", 0), ("b", 0.2), ("c", 0.1))}, SIZES)
    assert [(row.first, row.second, row.verdict) for row in table] == [
        ("a", "b", "ahead"), ("a", "c", "ahead"), ("b", "c", "behind")]  # fmt: skip
    assert [row.difference.value for row in table] == pytest.approx([-0.2, -0.1, 0.1], abs=0.03)
    assert all(row.p <= row.p_holm < 0.05 for row in table)


def test_ten_pairs_without_a_difference_seldom_give_a_finding():
    rng, plain, corrected = np.random.default_rng(1), 0, 0
    for _ in range(60):
        table = compare_models({name: losses(rng, 0, 3) for name in "abcde"}, SIZES, resamples=200)
        assert len(table) == 10
        plain += any(row.p < 0.05 for row in table)
        corrected += any(row.verdict != "not told apart" for row in table)
    assert corrected <= 6 < plain  # 5 % of 60 are 3; without correction far more studies find something


def test_pairing_removes_what_two_models_share():
    rng = np.random.default_rng(2)
    base = losses(rng, 0, 5, of_seed=0.2, of_story=0.5)
    better = base - 0.01 * SIZES * ONE_BIT * rng.uniform(0.8, 1.2, (5, K))
    found = compare_models({"base": base, "better": better}, SIZES)[0]
    assert found.verdict == "behind" and found.difference.high - found.difference.low < 0.002


def test_one_seed_ranks_nothing_and_a_model_equals_itself():
    rng = np.random.default_rng(3)
    one = compare_models({"a": losses(rng, 0, 1), "b": losses(rng, 1, 1)}, SIZES)[0]
    assert one.verdict == "one seed" and one[3:5] == (None, None) and one.difference[1:] == (None, None)
    same = losses(rng, 0, 3)
    assert compare_models({"a": same, "b": same}, SIZES)[0][3:] == (1.0, 1.0, "not told apart")


def test_the_same_numbers_every_time_and_soon():
    rng = np.random.default_rng(4)
    sizes = rng.integers(300, 1500, 1000)
    story_nats = {name: rng.normal(1, 0.1, (10, 1000)) * sizes for name in "abcde"}
    begin = time.process_time()
    table = compare_models(story_nats, sizes)
    assert time.process_time() - begin < 2
    assert table == compare_models(story_nats, sizes) != compare_models(story_nats, sizes, seed=1)


def test_what_cannot_be_compared_is_named():
    rng = np.random.default_rng(5)
    a, b = losses(rng, 0, 3), losses(rng, 0, 2)
    with pytest.raises(InputError, match="two models and two stories"):
        compare_models({"a": a}, SIZES)
    with pytest.raises(InputError, match="the nats of 'b', of shape"):
        compare_models({"a": a, "b": b}, SIZES)
    with pytest.raises(InputError, match="finite"):
        compare_models({"a": a, "b": a * np.nan}, SIZES)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_p_is_the_error_rate_at_which_students_interval_just_reaches_zero(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    p = t_p_value(t_interval(values), n)
    assert t_interval(values, 1 - 1.001 * p).low * t_interval(values, 1 - 0.999 * p).low < 0 < p < 1
    assert t_p_value(t_interval(-values), n) == pytest.approx(p)
    assert t_p_value(t_interval([0.3] * n), n) < 1e-6 and t_p_value(t_interval([0.0] * n), n) == 1


def test_variants_are_judged_by_holm_and_not_by_their_own_intervals():
    by_seed = [[0.020, 0.021, 0.022], [-0.020, -0.030, -0.032], [0.020, 0.035, 0.040], [-0.01, 0.02, 0.0]]
    differences = [over_seeds(values) for values in by_seed]
    judged = judge_variants(differences, [3] * 4, 100)
    assert [each.verdict for each in judged] == ["raises the loss", *["not told apart"] * 3]
    assert [each.p_holm for each in judged] == holm([each.p for each in judged]).tolist()
    assert differences[1].high < 0 and judged[1].p < 0.05 < judged[1].p_holm  # excludes zero, and does not survive
    assert [each.verdict for each in judge_variants(differences[:2], [3, 3], 100)] == [
        "raises the loss",
        "lowers the loss",
    ]
    assert judge_variants([over_seeds([0.1]), differences[0]], [1, 3], 100) == [(None, None, TOO_SMALL)] * 2
    few = judge_variants(differences[:2], [3, 3], 99), judge_variants(differences[:2], [2, 3], 100)
    assert {each.verdict for each in [*few[0], *few[1]]} == {TOO_SMALL} and few[0][0].p == judged[0].p


def test_variants_that_change_nothing_seldom_give_a_finding():
    rng, plain, corrected = np.random.default_rng(6), 0, 0
    for _ in range(200):
        losses = rng.normal(size=(16, 3))  # the baseline and 15 variants
        judged = judge_variants([t_interval(losses[i] - losses[0]) for i in range(1, 16)], [3] * 15, 100)
        plain += any(each.p < 0.05 for each in judged)
        corrected += any(each.verdict != "not told apart" for each in judged)
    assert corrected <= 20 < plain  # 5 % of 200 are 10


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1.0, 1.0])
    assert holm([]).tolist() == []
