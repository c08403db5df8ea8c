"""Checks of the exercises of notebook 02."""

from collections.abc import Callable

from pn_lib.checks import expect, expect_equal, run_check


def check_bits_per_byte(answer: Callable) -> bool:
    """Exercise 2.1: ``answer(story_nats, texts) -> float``."""
    return run_check("2.1", answer, _one_story, _characters_are_not_bytes, _long_stories_count_more)


def _one_story(answer: Callable) -> None:
    got = answer([20.794415], ["abcdefghij"])  # 30 bits on 10 bytes
    expect(got is not None, "One story: expected a number, got None. Did you forget to return it?")
    expect(abs(got - 2.0794415) > 1e-4, "One story: that is nats per byte; a bit is ln 2 nats.")
    expect(abs(got - 1.4413494) > 1e-4, "One story: you multiplied by ln 2; a nat is more than a bit, so divide.")
    expect_equal(got, 3.0, "One story of 10 letters and 20.79 nats", "How many bits are 20.79 nats?")


def _characters_are_not_bytes(answer: Callable) -> None:
    got = answer([11.090355], ["é🦊zé"])  # 16 bits on 9 bytes
    expect(abs(got - 4.0) > 1e-4, "The story 'é🦊zé': it has 4 characters, but more bytes in UTF-8.")
    expect_equal(got, 16 / 9, "The story 'é🦊zé' with 11.09 nats", "Its UTF-8 encoding has 9 bytes.")


def _long_stories_count_more(answer: Callable) -> None:
    got = answer([6.931472, 13.862944], ["ab", "abcdefghijklmnopqrst"])  # 10 bits on 2 bytes, 20 bits on 20 bytes
    expect(abs(got - 3.0) > 1e-4, "Two stories: you averaged their bits per byte; add the nats and the bytes first.")
    expect_equal(got, 30 / 22, "Two stories, 2 and 20 bytes long", "Sum the losses, sum the bytes, then divide.")


BYTES = {bytes([b]) for b in range(256)}


def check_encode_greedy(answer: Callable) -> bool:
    """Exercise 2.2: ``answer(data: bytes, vocabulary: set[bytes]) -> list[bytes]``."""
    return run_check("2.2", answer, _only_bytes, _longest_first, _keeps_the_data, _not_the_fewest)


def _only_bytes(answer: Callable) -> None:
    got = answer(b"fox", BYTES)
    expect(got is not None, "Single bytes only: expected a list, got None. Did you forget to return it?")
    expect(not isinstance(got, str | bytes), "Single bytes only: expected a list of tokens, got one string.")
    expect(all(isinstance(token, bytes) for token in got),
           "Single bytes only: tokens must be bytes. data[0] is a number; data[0:1] is bytes.")
    expect_equal(list(got), [b"f", b"o", b"x"], "b'fox' with single bytes only", "Each byte is a token then.")
    expect_equal(list(answer(b"", BYTES)), [], "Nothing at all", "An empty text has no tokens.")


def _longest_first(answer: Callable) -> None:
    vocabulary = BYTES | {b"th", b"the", b"they", b"hey"}
    expect_equal(list(answer(b"they", vocabulary)), [b"they"], "b'they'", "Of th, the and they the longest fits.")
    expect_equal(list(answer(b"themes", vocabulary)), [b"the", b"m", b"e", b"s"], "b'themes'",
                 "'they' does not fit here, 'the' does.")
    expect_equal(list(answer(b"xtxth", vocabulary)), [b"x", b"t", b"x", b"th"], "b'xtxth'",
                 "Where no longer token fits, take a single byte; at the end, look no further than the end.")


def _keeps_the_data(answer: Callable) -> None:
    data = "The 🦊 met a naïve bear.".encode()
    got = answer(data, BYTES | {b"The ", b" bear", b" be", b"\xf0\x9f", "ï".encode()})
    expect(b"".join(got) == data, f"{data!r}: the tokens in a row are {b''.join(got)!r}; nothing may be lost or added.")


def _not_the_fewest(answer: Callable) -> None:
    expect_equal(list(answer(b"abcd", BYTES | {b"abc", b"ab", b"cd"})), [b"abc", b"d"], "b'abcd' with ab, abc and cd",
                 "Always the longest token from the left, even where it does not pay later.")
