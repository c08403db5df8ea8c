"""The checks of notebook 02: a stub is told apart, typical mistakes get their own message, a right answer passes."""

import math

import pytest

from pn_lib.checks import tokenizer_training as checks


def stub(*_):
    raise NotImplementedError


def sums(nats, texts, size=lambda text: len(text.encode())):
    return sum(nats) / math.log(2) / sum(map(size, texts))


def longest_match(data, vocabulary, choose=max):
    tokens = []
    while data:
        tokens.append(choose((t for t in vocabulary if data.startswith(t)), key=len))
        data = data[len(tokens[-1]):]
    return tokens


@pytest.mark.parametrize("check", [checks.check_bits_per_byte, checks.check_encode_greedy])
def test_a_stub_is_not_attempted_yet(check, capsys):
    assert check(stub) is False
    assert "not attempted yet" in capsys.readouterr().out


def test_right_answers_pass():
    assert checks.check_bits_per_byte(sums)
    assert checks.check_encode_greedy(longest_match)


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda nats, texts: sums(nats, texts) * math.log(2), "nats per byte"),
    (lambda nats, texts: sums(nats, texts) * math.log(2) ** 2, "so divide"),
    (lambda nats, texts: sums(nats, texts, len), "4 characters"),
    (lambda nats, texts: sum(sums([n], [t]) for n, t in zip(nats, texts, strict=True)) / len(texts), "averaged"),
    (lambda nats, texts: None, "forget to return"),
])
def test_mistakes_in_bits_per_byte(answer, hint, capsys):
    assert checks.check_bits_per_byte(answer) is False
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "hint"), [
    (lambda data, vocabulary: longest_match(data, vocabulary, min), "longest"),
    (lambda data, vocabulary: list(data), "data[0:1]"),
    (lambda data, vocabulary: [t for t in longest_match(data, vocabulary) if t != b" "], "nothing may be lost"),
    (lambda data, vocabulary: None, "forget to return"),
    (lambda data, vocabulary: longest_match(data.decode(), vocabulary), "TypeError"),
])
def test_mistakes_in_encode_greedy(answer, hint, capsys):
    assert checks.check_encode_greedy(answer) is False
    assert hint in capsys.readouterr().out
