"""Checks of the exercises of notebook 02."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from pn_lib.course.checks import Wrong, expect, expect_equal, hints, number, run_check

BYTES = {bytes([b]) for b in range(256)}


@hints(
    "How many nats is one bit? How many bytes is é?",
    "Add up the nats. Add up the bytes of the texts in UTF-8. Only then divide one by the other, and by ln 2 ≈ "
    "0.693, the nats in one bit.",
)
def bits_per_byte(answer: Callable) -> bool:
    """Exercise 2.1: ``answer(story_nats, texts) -> float``."""
    return run_check("2.1", answer, _one_story, _characters_are_not_bytes, _long_stories_count_more)


def _one_story(answer: Callable) -> None:
    case = "One story of 10 letters and 20.79 nats"
    got = number(answer([20.794415], ["abcdefghij"]), case)  # 30 bits on 10 bytes
    expect(abs(got - 2.0794415) > 1e-4, f"{case}: your answer is in nats per byte; a bit is ln 2 nats.")
    expect(abs(got - 1.4413494) > 1e-4, f"{case}: you multiplied by ln 2; there are more bits than nats, so divide.")
    expect(abs(got - 30) > 1e-3, f"{case}: 30 is the number of bits of the whole text; divide by its bytes.")
    expect_equal(got, 3.0, case, "How many bits are 20.79 nats?")


def _characters_are_not_bytes(answer: Callable) -> None:
    got = number(answer([11.090355], ["é🦊zé"]), "The story 'é🦊zé'")  # 16 bits on 9 bytes
    expect(abs(got - 4.0) > 1e-4, "The story 'é🦊zé': it has 4 characters, but more bytes in UTF-8.")
    expect_equal(got, 16 / 9, "The story 'é🦊zé' with 11.09 nats", "Its UTF-8 encoding has 9 bytes.")


def _long_stories_count_more(answer: Callable) -> None:
    nats, texts = [6.931472, 13.862944], ["ab", "abcdefghijklmnopqrst"]  # 10 bits on 2 bytes, 20 bits on 20 bytes
    got = number(answer(nats, texts), "Two stories")
    expect(abs(got - 3.0) > 1e-4, "Two stories: you averaged their bits per byte; add the nats and the bytes first.")
    expect(abs(got - 15 / 22) > 1e-4, "Two stories: you took the mean of the nats, but the sum of the bytes.")
    expect_equal(got, 30 / 22, "Two stories, 2 and 20 bytes long", "Sum the losses, sum the bytes, then divide.")


@hints(
    "Keep the bytes that are not yet text from one token to the next. Only the last character can be incomplete: "
    "where does it begin, and how many bytes does it need?",
    "From the last waiting byte, walk back over bytes from 0x80 to 0xBF: there the last character begins. Its "
    "first byte says how many it needs: four from 0xF0 on, three from 0xE0 on, two from 0xC0 on, otherwise one. "
    "If they are all there, show everything; if not, show what lies before it and keep the rest. Or let an "
    "incremental decoder from `codecs` do this, one token at a time.",
)
def show_while_writing(answer: Callable) -> bool:
    """Exercise 2.2: ``answer(tokens: list[bytes]) -> list[str]``."""
    return run_check("2.2", answer, _whole_characters, _split_character, _waits_for_no_more, _long_wait)


def _shown(answer: Callable, tokens: list[bytes]) -> list[str]:
    given = list(tokens)
    try:
        got = answer(given)
    except UnicodeDecodeError as error:
        raise Wrong(
            f"{tokens}: a token need not be valid UTF-8 by itself, so decoding it raised an error "
            f"({error.reason}). Keep its bytes until the character is complete."
        ) from None
    expect(
        isinstance(got, list | tuple) and all(isinstance(text, str) for text in got),
        f"{tokens}: expected a list of strings, got {got!r:.80}.",
    )
    expect(given == tokens, f"{tokens}: your function changed the list that it was given. Leave it as it is.")
    expect("\ufffd" not in "".join(got), f"{tokens}: you show �, half a character. Wait until it is whole.")
    return list(got)


def _whole_characters(answer: Callable) -> None:
    tokens = [b"The", b" fox", " café".encode()]
    got = _shown(answer, tokens)
    expect(got != ["The", "The fox", "The fox café"], f"{tokens}: you show all text each time, not only what is new.")
    expect_equal(got, ["The", " fox", " café"], f"{tokens}", "Every token is whole characters here: show each at once.")


def _split_character(answer: Callable) -> None:
    tokens = [b"\xf0\x9f", b"\xa6", b"\x8a", b"!"]
    got = _shown(answer, tokens)
    expect("🦊" in "".join(got), f"{tokens}: the fox is lost. Keep bytes that are not yet text; do not drop them.")
    expect(
        len(got) == len(tokens),
        f"{tokens}: expected one text for each of 4 tokens, got {len(got)}; "
        "for a token after which nothing new can be shown, return an empty text.",
    )
    expect_equal(got, ["", "", "🦊", "!"], f"{tokens}", "The fox is complete with its fourth byte.")


def _waits_for_no_more(answer: Callable) -> None:
    tokens = [b"a \xc3", b"\xa9\xc3", b"\xbcx"]
    got = _shown(answer, tokens)
    expect(
        len(got) == 3 and got[0] != "",
        f"{tokens}: 'a ' is complete after the first token, though a character that "
        "begins after it is not. Show what is complete, and keep only the rest.",
    )
    expect_equal(got, ["a ", "é", "üx"], f"{tokens}", "Each token ends one character and begins another.")


def _long_wait(answer: Callable) -> None:
    expect_equal(_shown(answer, []), [], "No tokens at all", "Then there is nothing to show.")
    tokens = [bytes([b]) for b in "中🦊é.".encode()]
    expect_equal(
        _shown(answer, tokens),
        ["", "", "中", "", "", "", "🦊", "", "é", "."],
        "'中🦊é.' byte by byte",
        "A character has one to four bytes; its first byte says how many.",
    )


def _tokens(got: Any, case: str) -> list[bytes]:
    expect(not isinstance(got, str | bytes), f"{case}: expected a list of tokens, got one string.")
    expect(isinstance(got, Sequence), f"{case}: expected a list of tokens, got {type(got).__name__}.")
    expect(
        not any(isinstance(token, int) for token in got),
        f"{case}: a token must be bytes, but yours has numbers. data[0] is a number; data[0:1] is bytes.",
    )
    expect(all(isinstance(token, bytes) for token in got), f"{case}: tokens must be bytes, got {list(got)!r:.80}.")
    return list(got)


@hints(
    "At each place, try the longest length first, then shorter ones, and take the first that is a token. Which "
    "length is the longest worth trying?",
    "Find the length of the longest token once, before the loop. At each place, count down from it (or from the "
    "bytes that are left, if they are fewer) to 1 until the slice is in the vocabulary. Append the slice, and go "
    "on behind it.",
)
def encode_greedy(answer: Callable) -> bool:
    """Exercise 2.3: ``answer(data: bytes, vocabulary: set[bytes]) -> list[bytes]``."""
    return run_check("2.3", answer, _only_bytes, _longest_first, _keeps_the_data, _not_the_fewest)


def _only_bytes(answer: Callable) -> None:
    got = _tokens(answer(b"fox", set(BYTES)), "b'fox' with single bytes only")
    expect_equal(got, [b"f", b"o", b"x"], "b'fox' with single bytes only", "Each byte is a token then.")
    expect_equal(_tokens(answer(b"", set(BYTES)), "No data"), [], "No data", "An empty text has no tokens.")


def _longest_first(answer: Callable) -> None:
    vocabulary = BYTES | {b"th", b"the", b"they", b"hey"}
    got = _tokens(answer(b"they", vocabulary), "b'they'")
    expect(
        got != [b"t", b"h", b"e", b"y"] and got != [b"th", b"e", b"y"],
        f"b'they': got {got}; you stop at the first token that fits. Keep going: a longer one may fit, too.",
    )
    expect(got != [b"t", b"hey"], "b'they': you start from the right; take the longest token at the beginning.")
    expect_equal(got, [b"they"], "b'they'", "Of t, th, the, and they, the longest fits.")
    expect_equal(
        _tokens(answer(b"themes", vocabulary), "b'themes'"),
        [b"the", b"m", b"e", b"s"],
        "b'themes'",
        "'they' does not fit here, 'the' does.",
    )
    expect_equal(
        _tokens(answer(b"they", BYTES | {b"they"}), "b'they'"),
        [b"they"],
        "b'they', with neither th nor the",
        "A token may fit even if none of its shorter beginnings is a token: try all lengths.",
    )
    expect_equal(
        _tokens(answer(b"xtxth", vocabulary), "b'xtxth'"),
        [b"x", b"t", b"x", b"th"],
        "b'xtxth'",
        "Where no longer token fits, take a single byte; never look past the end of the data.",
    )


def _keeps_the_data(answer: Callable) -> None:
    data = "The 🦊 met a naïve bear.".encode()
    got = _tokens(answer(data, BYTES | {b"The ", b" bear", b" be", b"\xf0\x9f", "ï".encode()}), f"{data!r}")
    expect(b"".join(got) == data, f"{data!r}: your tokens join to {b''.join(got)!r}; nothing may be lost or added.")


def _not_the_fewest(answer: Callable) -> None:
    got = _tokens(answer(b"abcd", BYTES | {b"abc", b"ab", b"cd", b"bcd"}), "b'abcd'")
    expect_equal(
        got,
        [b"abc", b"d"],
        "b'abcd' with abc, ab, cd, and bcd",
        "Always take the longest token from the left, even where it does not pay off later.",
    )


@hints(
    "Write the windows of measuring_windows(15, 6) down with a pencil. A window does not score the tokens at its "
    "beginning: what decides which is its first?",
    "Carry two numbers along: where the next window begins, and the first token that nobody has scored; at first "
    "these are 0 and 1. A window scores from that token to begin + context, or to the story's last token if that "
    "comes sooner. Then begin moves by half a context, and the unscored part starts behind what was just scored. "
    "Repeat while anything is unscored.",
)
def measuring_windows(answer: Callable) -> bool:
    """Exercise 2.4: ``answer(length, context) -> list[tuple[int, int, int]]``."""
    return run_check("2.4", answer, _once_each, _one_window, _overlap, _many_lengths)


def _windows(answer: Callable, length: int, context: int) -> list[tuple[int, int, int]]:
    case = f"{length} tokens, context {context}"
    got = answer(length, context)
    expect(not isinstance(got, str | dict | Real), f"{case}: expected a list of windows, got {type(got).__name__}.")
    got = list(got)
    expect(
        all(isinstance(window, Sequence) and len(window) == 3 for window in got),
        f"{case}: each window is three numbers (begin, first, last), got {got!r:.80}.",
    )
    return [tuple(window) for window in got]


def _once_each(answer: Callable) -> None:
    case, scored = "15 tokens, context 6", []
    for _, first, last in _windows(answer, 15, 6):
        scored += range(first, last + 1)
    twice = sorted({token for token in scored if scored.count(token) > 1})
    expect(not twice, f"{case}: tokens {twice} are scored more than once; begin after the last one scored.")
    missing = sorted(set(range(1, 15)) - set(scored))
    expect(not missing, f"{case}: tokens {missing} are never scored.")


def _one_window(answer: Callable) -> None:
    got = _windows(answer, 7, 6)
    expect(got != [(0, 0, 6)], "7 tokens, context 6: token 0 is given, so nothing predicts it. The first scored is 1.")
    expect(
        got[:1] != [(0, 1, 5)],
        "7 tokens, context 6: tokens 0 to 5 fill the window, and the last of them predicts "
        "token 6. So the first window scores up to 6.",
    )
    expect(got[:1] != [(0, 1, 7)], "7 tokens, context 6: there is no token 7; the last token is length - 1.")
    expect_equal(got, [(0, 1, 6)], "7 tokens, context 6", "One window is enough, and no empty one may follow.")
    expect_equal(_windows(answer, 3, 6), [(0, 1, 2)], "3 tokens, context 6", "A short story ends before the window.")
    expect_equal(_windows(answer, 1, 6), [], "Only the separator", "There is nothing to score.")


def _overlap(answer: Callable) -> None:
    case = "15 tokens, context 6"
    got = _windows(answer, 15, 6)
    expect(
        [begin for begin, *_ in got] != [0, 6, 12],
        f"{case}: your windows do not overlap, so token 7 is predicted from only one token. Move by context // 2.",
    )
    late = [window for window in got if window[2] - window[0] > 6]
    expect(not late, f"{case}: window {late[:1]} predicts its last token from more than 6 tokens.")
    expect(len(got) < 5, f"{case}: four windows are enough, but you have {len(got)}. Move by context // 2 each time.")
    expect_equal(got, [(0, 1, 6), (3, 7, 9), (6, 10, 12), (9, 13, 14)], case, "Begin at 0, 3, 6, 9; score what is new.")


def _many_lengths(answer: Callable) -> None:
    expect_equal(
        _windows(answer, 5, 2),
        [(0, 1, 2), (1, 3, 3), (2, 4, 4)],
        "5 tokens, context 2",
        "The windows then move by a single token.",
    )
    for length in range(2, 60):
        got = _windows(answer, length, 8)
        scored = [token for _, first, last in got for token in range(first, last + 1)]
        expect(
            scored == list(range(1, length)),
            f"{length} tokens, context 8: you score {scored!r:.60}, not 1 to "
            f"{length - 1}, once each. Watch for stories that end with a window.",
        )


@hints(
    "Suppose you know the best sum for every shorter beginning of the text. The best cut of the first n bytes "
    "ends with *some* token. Which tokens can that be, and what remains when you take it off?",
    "Fill a table from left to right: the best sum for 0 bytes is 0. For each end, look at each begin that is at "
    "most the longest token's length before it and whose slice is a token; take the largest of its best sum plus "
    "the token's log-probability, and note that begin. When the table is full, walk back from the end of the "
    "text, from begin to begin, and reverse the tokens you met.",
)
def likeliest_cut(answer: Callable) -> bool:
    """Exercise 2.5: ``answer(data: bytes, log_probs: dict[bytes, float]) -> list[bytes]``."""
    return run_check("2.5", answer, _cut_of_they, _by_the_sum, _not_cut_after_cut, _long_text)


class _Watched(dict):
    """A dictionary that counts how often it is asked, so that trying all cuts is noticed before it takes forever."""

    def __init__(self, values: dict[bytes, float], limit: int):
        super().__init__(values)
        self.left = limit

    def _asked(self) -> None:
        self.left -= 1
        expect(
            self.left >= 0,
            "24 bytes: your code has asked for log-probabilities 20,000 times, where a few hundred "
            "are enough. It seems to try every cut; keep the best one for each beginning instead.",
        )

    def __getitem__(self, token: bytes) -> float:
        self._asked()
        return super().__getitem__(token)

    def __contains__(self, token: object) -> bool:
        self._asked()
        return super().__contains__(token)

    def get(self, token: bytes, default: Any = None) -> Any:
        self._asked()
        return super().get(token, default)

    def items(self) -> Any:
        self._asked()
        return super().items()


def _log_probs(single: float, **tokens: float) -> dict[bytes, float]:
    return dict.fromkeys(BYTES, single) | {token.encode(): value for token, value in tokens.items()}


def _cut_of_they(answer: Callable) -> None:
    log_probs = _log_probs(-9.0, the=-2.0, y=-3.0, th=-3.0, ey=-1.5, they=-6.0)
    got, case = _tokens(answer(b"they", dict(log_probs)), "b'they'"), "b'they'"
    expect(
        b"".join(got) == b"they",
        f"{case}: your tokens join to {b''.join(got)!r}. Mind the order in which you "
        "collect them, and do not lose the last one.",
    )
    expect(
        got != [b"t", b"h", b"e", b"y"],
        f"{case}: that is the unlikeliest cut. Log-probabilities are negative; "
        "the largest sum is the one nearest to zero.",
    )
    expect(got != [b"they"], f"{case}: one token is the fewest, but its log-probability of -6 is less than -4.5.")
    expect(
        got != [b"the", b"y"],
        f"{case}: you take the likeliest token at each place; a worse one (th) may make room "
        "for a much better one later.",
    )
    expect_equal(got, [b"th", b"ey"], case, "Their sum, -4.5, is the largest.")
    expect_equal(_tokens(answer(b"", dict(log_probs)), "No data"), [], "No data", "An empty text has no tokens.")


def _by_the_sum(answer: Callable) -> None:
    log_probs = _log_probs(-2.0, ab=-5.0, cd=-3.0, abc=-5.5)
    got = _tokens(answer(b"abcd", log_probs), "b'abcd'")
    expect(got != [b"a", b"b", b"c", b"d"], "b'abcd': your cut has the best *mean* over its tokens; compare the sums.")
    expect(got not in ([b"abc", b"d"], [b"ab", b"cd"]), "b'abcd': few tokens are not the goal; only the sum counts.")
    expect_equal(
        got,
        [b"a", b"b", b"cd"],
        "b'abcd' with single bytes -2, ab -5, cd -3, abc -5.5",
        "-2 - 2 - 3 = -7 is the largest sum.",
    )


def _not_cut_after_cut(answer: Callable) -> None:
    log_probs = _Watched(_log_probs(-4.0, aa=-6.0, aaa=-7.5), 20_000)
    got = _tokens(answer(b"a" * 24, log_probs), "24 times a")
    expect_equal(got, [b"aaa"] * 8, "24 times a, with a -4, aa -6, aaa -7.5", "-2.5 per byte is the best.")


def _long_text(answer: Callable) -> None:
    log_probs = _log_probs(-5.0, **{"the ": -6.0, "he fox": -5.0, "fox ": -8.0, "e fox ": -20.0})
    try:
        got = _tokens(answer(b"the fox " * 320, log_probs), "2,560 bytes")
    except RecursionError:
        raise Wrong(
            "2,560 bytes: your function calls itself too deeply for Python. Go through the places of the text "
            "in a loop, from left to right."
        ) from None
    except (ValueError, ZeroDivisionError) as error:
        raise Wrong(
            f"2,560 bytes: {error}. Are you multiplying probabilities? Products this small are 0 to a "
            "computer; add log-probabilities."
        ) from None
    expect(
        b"".join(got) == b"the fox " * 320,
        "2,560 bytes: your tokens do not join to the text. If you multiply "
        "probabilities, they become 0 in a text this long: add logarithms.",
    )
    total = sum(log_probs.get(token, -1e9) for token in got)
    expect_equal(
        total,
        -4480.0,
        "'the fox ' 160 times: the sum of log-probabilities",
        "If short texts work and this does not: products of probabilities become 0 here, sums do not.",
    )
