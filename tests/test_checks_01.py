"""The checks of notebook 01: a stub is told apart, typical mistakes get their own message, a right answer passes."""

import math
import re
from collections import Counter
from itertools import pairwise

import pytest

from pn_lib.checks import data_exploration as checks


def stub(*_):
    raise NotImplementedError


def spoken(story, pattern=r'["“]([^"“”]*)["”]', size=lambda text: len(text.split())):
    words = size(story)
    return sum(size(part) for part in re.findall(pattern, story)) / words if words else 0.0


def conditional(text, log=math.log2, firsts=lambda text: text[:-1]):
    pairs, first = Counter(pairwise(text)), Counter(firsts(text))
    return -sum(n * log(n / first[a]) for (a, _), n in pairs.items()) / sum(pairs.values())


@pytest.mark.parametrize("check", [checks.check_spoken_share, checks.check_next_letter_entropy])
def test_a_stub_is_not_attempted_yet(check, capsys):
    assert check(stub) is False
    assert "not attempted yet" in capsys.readouterr().out


def test_right_answers_pass():
    assert checks.check_spoken_share(spoken)
    assert checks.check_next_letter_entropy(conditional)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda story: spoken(story, size=len), "not characters"),
    (lambda story: spoken(story, r'"(.*)"'), "the first quotation mark to the last"),
    (lambda story: spoken(story, r'"([^"]*)"'), "Curly"),
    (lambda story: spoken(story, r"[\"'“]([^\"'“”]*)[\"'”]|$") if story else 1 / 0, "ZeroDivisionError"),
    (lambda story: None, "forget to return"),
])
def test_mistakes_in_spoken_share(answer, hint, capsys):
    assert checks.check_spoken_share(answer) is False
    assert hint in capsys.readouterr().out


def joint(text):
    pairs = Counter(pairwise(text))
    total = sum(pairs.values())
    return conditional(text) and -sum(n / total * math.log2(n / total) for n in pairs.values())


@pytest.mark.parametrize(("answer", "hint"), [
    (joint, "entropy of the *pair*"),
    (lambda text: conditional(text, math.log), "in nats"),
    (lambda text: -conditional(text), "never negative"),
    (lambda text: conditional(text, firsts=lambda text: text) if "abac" in text else conditional(text), "last a"),
    (lambda text: None, "forget to return"),
])
def test_mistakes_in_next_letter_entropy(answer, hint, capsys):
    assert checks.check_next_letter_entropy(answer) is False
    assert hint in capsys.readouterr().out
