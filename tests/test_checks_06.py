"""Exercises of notebook 06: stubs are told so, typical mistakes get their own message, right answers pass."""

import pytest

from pn_lib.checks import architecture_study as checks


def stub(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.exercise_6_1, checks.exercise_6_2, checks.exercise_6_3])
def test_stubs_are_not_attempted(check, capsys):
    assert not check(stub)
    assert "not attempted yet" in capsys.readouterr().out


def paired(baseline, variant):
    shared = [seed for seed in baseline if seed in variant]
    if not shared:
        raise ValueError("no shared seed")
    return sum(variant[seed] - baseline[seed] for seed in shared) / len(shared)


def step_down(p_values, alpha=0.05, *, stop=True, divisor=None):
    found, k = [False] * len(p_values), len(p_values)
    for rank, i in enumerate(sorted(range(k), key=p_values.__getitem__)):
        found[i] = p_values[i] <= alpha / (divisor or k - rank)
        if stop and not found[i]:
            break
    return found


@pytest.mark.parametrize(("check", "answer"), [
    (checks.exercise_6_1, paired),
    (checks.exercise_6_2, step_down),
    (checks.exercise_6_3, lambda d, f: (3 * f - 2) // 6),
])
def test_right_answers_pass(check, answer):
    assert check(answer)


def mean(values):
    return sum(values) / len(values)


def divides_by_all(baseline, variant):
    return sum(variant[s] - baseline[s] for s in baseline if s in variant) / len(baseline)


def sorts_in_place(p_values, alpha=0.05):
    found = step_down(p_values, alpha)
    p_values.sort()
    return found


@pytest.mark.parametrize(("check", "answer", "message"), [
    (checks.exercise_6_1, lambda b, v: -paired(b, v), "The sign is wrong"),
    (checks.exercise_6_1, lambda b, v: mean(v.values()) - mean(b.values()), "seed 7 has no partner"),
    (checks.exercise_6_1, divides_by_all, "divided by all seeds"),
    (checks.exercise_6_1, lambda b, v: mean([v[s] - b[s] for s in b if s in v]), "raise a ValueError"),
    (checks.exercise_6_1, lambda b, v: mean([v[s] - b[s] for s in b if s in v] or [0.0]), "are no pair"),
    (checks.exercise_6_2, lambda p, alpha=0.05: step_down(p, alpha, divisor=len(p)), "That is Bonferroni's"),
    (checks.exercise_6_2, lambda p, alpha=0.05: step_down(p, alpha, stop=False), "stop there"),
    (checks.exercise_6_2, lambda p, alpha=0.05: step_down(p), "Is alpha used?"),
    (checks.exercise_6_2, sorts_in_place, "sort a copy"),
    (checks.exercise_6_3, lambda d, f: f // 2, "where is the router"),
    (checks.exercise_6_3, lambda d, f: (3 * f - 2) / 6, "whole number"),
    (checks.exercise_6_3, lambda d, f: 1, "leaves room"),
    (checks.exercise_6_3, lambda d, f: f, "parameters."),
])
def test_typical_mistakes_get_their_own_message(check, answer, message, capsys):
    assert not check(answer)
    assert message in capsys.readouterr().out
