"""Exercises of notebook 04: stubs are told so, typical mistakes get their own message, right answers pass."""

import math

import pytest
import torch

from pn_lib.checks import transformer_training as checks


def stub(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.exercise_4_1, checks.exercise_4_2, checks.exercise_4_3])
def test_stubs_are_not_attempted(check, capsys):
    assert not check(stub)
    assert "not attempted yet" in capsys.readouterr().out


def wsd(step, steps, peak, warmup, decay):
    return peak * min(1.0, (step + 1) / warmup, (steps - step) / decay)


def clip(gradients, max_norm):
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    return [g * (max_norm / norm if norm > max_norm else 1.0) for g in gradients]


@pytest.mark.parametrize(("check", "answer"), [
    (checks.exercise_4_1, lambda nats, stories: nats / math.log(2) / sum(len(s.encode()) for s in stories)),
    (checks.exercise_4_2, wsd),
    (checks.exercise_4_3, clip),
])
def test_right_answers_pass(check, answer):
    assert check(answer)


def normalise_in_place(gradients, max_norm):
    for g in gradients:
        g.mul_(0.02)
    return gradients


@pytest.mark.parametrize(("check", "answer", "message"), [
    (checks.exercise_4_1, lambda nats, stories: nats / sum(len(s.encode()) for s in stories), "a bit is ln 2 nats"),
    (checks.exercise_4_1, lambda nats, stories: nats / math.log(2) / sum(map(len, stories)), "two bytes of UTF-8"),
    (checks.exercise_4_1, lambda nats, stories: nats / math.log(2) / len(stories), "number of stories"),
    (checks.exercise_4_2, lambda s, n, p, w, d: p * min(1.0, s / w, (n - s) / d), "Step 0 has rate 0"),
    (checks.exercise_4_2, lambda s, n, p, w, d: p * min(1.0, (s + 1) / w, (n - 1 - s) / d), "not yet"),
    (checks.exercise_4_3, lambda g, m: [x * m / x.norm() for x in g], "each tensor by itself"),
    (checks.exercise_4_3, lambda g, m: [x * m / math.sqrt(sum(float(y.square().sum()) for y in g)) for x in g],
     "What is small enough stays"),
    (checks.exercise_4_3, normalise_in_place, "changed the tensors"),
])
def test_typical_mistakes_get_their_own_message(check, answer, message, capsys):
    assert not check(answer)
    assert message in capsys.readouterr().out


def test_an_error_in_the_answer_is_part_of_the_verdict(capsys):
    assert not checks.exercise_4_3(lambda gradients, max_norm: torch.cat(gradients) / 0)
    assert "Your code raised" in capsys.readouterr().out
