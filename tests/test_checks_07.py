"""Exercises of notebook 07: stubs are told so, typical mistakes get their own message, right answers pass."""

import math

import pytest
import torch

from pn_lib.checks import mamba_comparison as checks


def stub(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.exercise_7_1, checks.exercise_7_2, checks.exercise_7_3])
def test_stubs_are_not_attempted(check, capsys):
    assert not check(stub)
    assert "not attempted yet" in capsys.readouterr().out


def gates(ids, separator):
    story = (ids != separator).float()
    return story, story


def step(window, x_t, weight, bias):
    inputs = torch.cat([window, x_t[:, None]], dim=1)
    return (inputs * weight.T).sum(1) + bias, inputs[:, 1:]


@pytest.mark.parametrize(("check", "answer"), [
    (checks.exercise_7_1, lambda dt, A: math.log(2) / (dt * -A)),
    (checks.exercise_7_2, gates),
    (checks.exercise_7_3, step),
])
def test_right_answers_pass(check, answer):
    assert check(answer)


def shifts_in_place(window, x_t, weight, bias):
    output, following = step(window, x_t, weight, bias)
    window.copy_(following)
    return output, window


@pytest.mark.parametrize(("check", "answer", "message"), [
    (checks.exercise_7_1, lambda dt, A: 1 / (dt * -A), "37 % is left"),
    (checks.exercise_7_1, lambda dt, A: math.log(2) / (dt * A), "A is negative"),
    (checks.exercise_7_1, lambda dt, A: math.log(2) / dt, "share left after your half-life"),
    (checks.exercise_7_2, lambda ids, s: (torch.ones(len(ids)), (ids != s).float()), "goes on after"),
    (checks.exercise_7_2, lambda ids, s: ((ids != s).float(), torch.ones(len(ids))), "count the separator itself"),
    (checks.exercise_7_2, lambda ids, s: gates(ids, 0), "Which token is the separator?"),
    (checks.exercise_7_2, lambda ids, s: gates(ids[1:], s), "one gate a token"),
    (checks.exercise_7_3, lambda w, x, k, b: step(w, x, k.flip(1), b), "run backwards"),
    (checks.exercise_7_3, lambda w, x, k, b: step(w, x, k, 0 * b), "bias is missing"),
    (checks.exercise_7_3, lambda w, x, k, b: (step(w, x, k, b)[0], w), "did not move"),
    (checks.exercise_7_3, lambda w, x, k, b: (step(w, x, k, b)[0], torch.cat([w, x[:, None]], 1)), "K-1 = 3"),
    (checks.exercise_7_3, shifts_in_place, "changed the window"),
])
def test_typical_mistakes_get_their_own_message(check, answer, message, capsys):
    assert not check(answer)
    assert message in capsys.readouterr().out


def test_an_error_in_the_answer_is_part_of_the_verdict(capsys):
    assert not checks.exercise_7_3(lambda window, x_t, weight, bias: window @ x_t)
    assert "Your code raised" in capsys.readouterr().out
