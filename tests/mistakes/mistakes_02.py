"""Typical wrong answers to the exercises of notebook 02, each with a piece of the message that it must get."""

import math
from functools import lru_cache

from pn_lib.course.checks import tokenizer_training as checks


def bits(nats, texts, size=lambda text: len(text.encode())):
    return sum(nats) / math.log(2) / sum(map(size, texts))


def mean_of_stories(nats, texts):
    return sum(bits([n], [text]) for n, text in zip(nats, texts, strict=True)) / len(texts)


def pieces_of_valid_text(tokens):
    """Waits until all that waits is valid, also for what could be shown already."""
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        try:
            shown.append(waiting.decode())
            waiting = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def only_new_pieces(tokens):
    return [text for text in pieces_of_valid_text(tokens) if text]


def text_so_far(tokens):
    return [b"".join(tokens[:n]).decode(errors="ignore") for n in range(1, len(tokens) + 1)]


def empties_its_input(tokens):
    shown = []
    while tokens:
        shown.append(tokens.pop(0).decode())
    return shown


def longest_match(data, vocabulary, choose=max):
    tokens = []
    while data:
        tokens.append(choose((t for t in vocabulary if data.startswith(t)), key=len))
        data = data[len(tokens[-1]) :]
    return tokens


def grows_while_it_fits(data, vocabulary):
    tokens = []
    while data:
        length = 1
        while length < len(data) and data[: length + 1] in vocabulary:
            length += 1
        tokens.append(data[:length])
        data = data[length:]
    return tokens


def from_the_right(data, vocabulary):
    tokens = []
    while data:
        tokens.insert(0, max((t for t in vocabulary if data.endswith(t)), key=len))
        data = data[: -len(tokens[0])]
    return tokens


def windows(length, context, stride=None, reach=0, again=False, end=0):
    found, begin, first = [], 0, 1
    while first < length + end:
        last = min(begin + context + reach, length - 1 + end)
        found.append((begin, first, last))
        begin += stride or context // 2
        first = begin + 1 if again else last + 1
    return found


def every_begin(length, context):
    found = windows(length, context)
    return [*found, (found[-1][0] + context // 2, length, length - 1)] if found else found


def best(data, log_probs, better=lambda new, old: new > old, value=lambda sums, tokens: sums):
    """Dynamic programming with something wrong in what is compared."""
    cuts = [(0.0, [])]
    for end in range(1, len(data) + 1):
        found = None
        for begin in range(max(0, end - 8), end):
            if (token := data[begin:end]) in log_probs:
                sums, tokens = cuts[begin][0] + log_probs[token], [*cuts[begin][1], token]
                if found is None or better(value(sums, tokens), value(*found)):
                    found = sums, tokens
        cuts.append(found)
    return cuts[-1][1]


def likeliest_first(data, log_probs):
    tokens = []
    while data:
        tokens.append(max((t for t in log_probs if data.startswith(t)), key=lambda t: log_probs[t]))
        data = data[len(tokens[-1]) :]
    return tokens


def every_cut(data, log_probs):
    def best_of(rest):
        if not rest:
            return 0.0, []
        ways = [
            (log_probs[rest[:n]], rest[:n], best_of(rest[n:])) for n in range(1, len(rest) + 1) if rest[:n] in log_probs
        ]
        return max((p + sums, [token, *tokens]) for p, token, (sums, tokens) in ways)

    return best_of(data)[1]


def deep(data, log_probs):
    @lru_cache(None)
    def best_of(end):
        if end == 0:
            return 0.0, 0
        return max(
            (best_of(begin)[0] + log_probs[data[begin:end]], begin)
            for begin in range(max(0, end - 8), end)
            if data[begin:end] in log_probs
        )

    tokens, end = [], len(data)
    while end:
        tokens.insert(0, data[best_of(end)[1] : end])
        end = best_of(end)[1]
    return tokens


def products(data, log_probs):
    return best(data, log_probs, value=lambda sums, tokens: math.prod(math.exp(log_probs[t]) for t in tokens))


MISTAKES = [
    (checks.bits_per_byte, lambda nats, texts: bits(nats, texts) * math.log(2), "nats per byte"),
    (checks.bits_per_byte, lambda nats, texts: bits(nats, texts) * math.log(2) ** 2, "so divide"),
    (checks.bits_per_byte, lambda nats, texts: bits(nats, texts, len), "4 characters"),
    (checks.bits_per_byte, lambda nats, texts: sum(nats) / math.log(2), "bits of the whole text"),
    (checks.bits_per_byte, lambda nats, texts: bits(nats, texts) / len(texts), "mean of the nats"),
    (checks.bits_per_byte, mean_of_stories, "averaged"),
    (checks.bits_per_byte, lambda nats, texts: None, "returned None"),
    (checks.bits_per_byte, lambda nats, texts: str(bits(nats, texts)), "which is of type str"),
    (checks.show_while_writing, lambda tokens: [t.decode() for t in tokens], "need not be valid UTF-8 by itself"),
    (checks.show_while_writing, lambda tokens: [t.decode(errors="replace") for t in tokens], "half a character"),
    (checks.show_while_writing, lambda tokens: [t.decode(errors="ignore") for t in tokens], "the fox is lost"),
    (checks.show_while_writing, text_so_far, "not only what is new"),
    (checks.show_while_writing, only_new_pieces, "one text for each of 4 tokens"),
    (checks.show_while_writing, pieces_of_valid_text, "'a ' is complete"),
    (checks.show_while_writing, empties_its_input, "changed the list"),
    (checks.show_while_writing, lambda tokens: b"".join(tokens).decode(), "expected a list of strings"),
    (checks.encode_greedy, lambda data, vocabulary: longest_match(data, vocabulary, min), "stop at the first token"),
    (checks.encode_greedy, lambda data, vocabulary: list(data), "data[0:1]"),
    (
        checks.encode_greedy,
        lambda data, vocabulary: [t for t in longest_match(data, vocabulary) if t != b" "],
        "nothing may be lost",
    ),
    (checks.encode_greedy, grows_while_it_fits, "try all lengths"),
    (checks.encode_greedy, from_the_right, "Always take the longest token from the left"),
    (checks.encode_greedy, lambda data, vocabulary: None, "returned None"),
    (checks.encode_greedy, lambda data, vocabulary: longest_match(data.decode(), vocabulary), "TypeError"),
    (checks.measuring_windows, lambda length, context: windows(length, context, context), "do not overlap"),
    (checks.measuring_windows, lambda length, context: windows(length, context, again=True), "more than once"),
    (checks.measuring_windows, lambda length, context: windows(length, context, reach=-1), "scores up to 6"),
    (checks.measuring_windows, lambda length, context: windows(length, context, end=1, reach=1), "no token 7"),
    (checks.measuring_windows, lambda length, context: windows(length, context, 1), "four windows are enough"),
    (checks.measuring_windows, every_begin, "no empty one may follow"),
    (checks.measuring_windows, lambda length, context: windows(length, context)[:1], "never scored"),
    (checks.measuring_windows, lambda length, context: length, "expected a list of windows"),
    (checks.likeliest_cut, lambda data, log_probs: best(data, log_probs, lambda new, old: new < old), "unlikeliest"),
    (checks.likeliest_cut, lambda data, log_probs: longest_match(data, log_probs), "one token is the fewest"),
    (checks.likeliest_cut, likeliest_first, "likeliest token at each place"),
    (checks.likeliest_cut, lambda data, log_probs: best(data, log_probs)[::-1], "Mind the order"),
    (checks.likeliest_cut, lambda data, log_probs: best(data, log_probs, value=lambda s, t: s / len(t)), "mean"),
    (checks.likeliest_cut, every_cut, "seems to try every cut"),
    (checks.likeliest_cut, deep, "calls itself too deeply"),
    (checks.likeliest_cut, products, "products of probabilities become 0"),
]
