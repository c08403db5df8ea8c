"""Exercises of notebook 05: stubs are told so, typical mistakes get their own message, right answers pass."""

import math

import pytest
import torch

from pn_lib.checks import story_evaluation as checks


def stub(*_):
    raise NotImplementedError


@pytest.mark.parametrize("check", [checks.effective_choices, checks.typical, checks.novel_share])
def test_stubs_are_not_attempted(check, capsys):
    assert not check(stub)
    assert "not attempted yet" in capsys.readouterr().out


def choices(p):
    return torch.special.entr(p).sum().exp()


def keep(p, chosen):
    return torch.zeros_like(p).index_copy(0, chosen, p[chosen]) / p[chosen].sum()


def typical(p, mass, first=lambda p: (-p.log() - torch.special.entr(p).sum()).abs().argsort()):
    order = first(p)
    return keep(p, order[p[order].cumsum(0) - p[order] < mass])


def runs(text, n):
    words = text.split()
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def novel(text, training, n):
    known = {run for story in training for run in runs(story, n)}
    return sum(run not in known for run in runs(text, n)) / max(1, len(runs(text, n)))


@pytest.mark.parametrize(("check", "answer"), [
    (checks.effective_choices, choices),
    (checks.typical, typical),
    (checks.novel_share, novel),
])
def test_right_answers_pass(check, answer):
    assert check(answer)


def top_p(p, mass):
    return typical(p, mass, first=lambda p: p.argsort(descending=True))


def stops_short(p, mass):
    order = (-p.log() - torch.special.entr(p).sum()).abs().argsort()
    within = order[p[order].cumsum(0) <= mass]
    return keep(p, within if len(within) else order[:1])


def not_normalised(p, mass):
    return torch.where(typical(p, mass) > 0, p, 0)


@pytest.mark.parametrize(("check", "answer", "message"), [
    (checks.effective_choices, lambda p: torch.special.entr(p).sum(), "exponential is missing"),
    (checks.effective_choices, lambda p: torch.special.entr(p).sum() / math.log(2), "entropy in bits"),
    (checks.effective_choices, lambda p: (p * p.log()).sum().exp(), "sign of the entropy"),
    (checks.effective_choices, lambda p: (-(p * p.log()).sum()).exp(), "0 ln 0 counts as 0"),
    (checks.effective_choices, lambda p: None, "forget to return"),
    (checks.typical, top_p, "as top-p does"),
    (checks.typical, stops_short, "stays too"),
    (checks.typical, not_normalised, "Divide by what is left"),
    (checks.novel_share, lambda text, training, n: 1 - novel(text, training, n), "share that is known"),
    (checks.novel_share, lambda text, training, n: novel(text, [" ".join(training)], n), "no story has both"),
    (checks.novel_share, lambda text, training, n: sum(
        run not in {r for story in training for r in runs(story, n)} for run in set(runs(text, n))
    ) / max(1, len(set(runs(text, n)))), "count each time"),
    (checks.novel_share, lambda text, training, n: novel(text, training, n) / len(runs(text, n)) * len(runs(text, n)),
     "ZeroDivisionError"),
])
def test_typical_mistakes_get_their_own_message(check, answer, message, capsys):
    assert not check(answer)
    assert message in capsys.readouterr().out
