"""Checks of the exercises of notebook 01."""

from collections.abc import Callable

from pn_lib.checks import expect, expect_equal, run_check


def check_spoken_share(answer: Callable) -> bool:
    """Exercise 1.1: ``answer(story) -> float``."""
    return run_check("1.1", answer, _words_not_characters, _narration_between, _curly_quotes, _edges)


def _words_not_characters(answer: Callable) -> None:
    story = '"Hello," said the big brown bear.'
    got = answer(story)
    expect(got is not None, f"{story!r}: expected a number, got None. Did you forget to return it?")
    expect(abs(got - 1.0) > 1e-9, f"{story!r}: everything was counted as spoken, but one word of six is.")
    expect(got < 0.17, f"{story!r}: expected 1 word of 6, got {got:.3f}. Count words, not characters or quotations.")
    expect_equal(got, 1 / 6, repr(story), "One word of six stands inside the quotation marks.")


def _narration_between(answer: Callable) -> None:
    story = '"Come in," said Ben. "It is cold." The fox came. "Thank you!"'
    got = answer(story)
    expect(abs(got - 1.0) > 1e-9,
           f"{story!r}: you took the text from the first quotation mark to the last; each one ends at the next.")
    expect(abs(got - 5 / 12) > 1e-9, f"{story!r}: you took what stands between the quotations, not inside them.")
    expect_equal(got, 7 / 12, repr(story), "2 + 3 + 2 words are spoken, of 12.")


def _curly_quotes(answer: Callable) -> None:
    expect_equal(answer("“Good night,” said Lily."), 0.5, "'“Good night,” said Lily.'",
                 "Curly quotation marks, “ and ”, count as well.")


def _edges(answer: Callable) -> None:
    expect_equal(answer("The fox didn't answer."), 0.0, '"The fox didn\'t answer."', "An apostrophe does not speak.")
    expect_equal(answer(""), 0.0, "An empty story", "It has no words at all: the share is 0 by definition.")


def check_next_letter_entropy(answer: Callable) -> bool:
    """Exercise 1.2: ``answer(text) -> float``, bits."""
    return run_check("1.2", answer, _certain, _not_joint, _last_letter)


def _certain(answer: Callable) -> None:
    for text in ("aaaaaaaa", "abcabcabcabc"):
        got = answer(text)
        expect(got is not None, f"{text!r}: expected a number, got None. Did you forget to return it?")
        expect_equal(got, 0.0, repr(text), "Each letter follows surely from the one before it: no surprise, 0 bits.")


def _not_joint(answer: Callable) -> None:
    text = "aabbaabbaabbaabba"  # 16 neighbours: aa, ab, bb, ba, four of each
    got = answer(text)
    expect(got >= 0, f"{text!r}: got {got:.3f}, but entropy is never negative. Is a minus missing?")
    expect(abs(got - 2.0) > 1e-6, f"{text!r}: 2 bits is the entropy of the *pair*; subtract what its first letter had.")
    expect(abs(got - 0.693147) > 1e-4, f"{text!r}: that is in nats; take the logarithm to base 2.")
    expect_equal(got, 1.0, repr(text), "After each letter, two letters follow equally often: 1 bit.", tolerance=1e-6)


def _last_letter(answer: Callable) -> None:
    expect_equal(answer("abacabad"), 6 / 7, "'abacabad'", "Its 7 neighbours ab ba ac ca ab ba ad have 1, 0, 2, 0, 1, "
                 "0 and 2 bits; the answer is their average.", tolerance=1e-6)
    expect_equal(answer("abaca"), 0.5, "'abaca'", "The last a is followed by nothing, so it does not count.",
                 tolerance=1e-6)
