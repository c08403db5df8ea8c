"""Checks of the exercises of notebook 01; the check of 1.2 is in ``holding_out``."""

import math
from collections.abc import Callable
from functools import cache

from pn_lib.course.checks import Wrong, expect, expect_equal, hints, number, run_check
from pn_lib.course.checks.holding_out import hold_out
from pn_lib.data import pocket

__all__ = ["bits_per_byte", "hold_out", "learn_letters", "next_letter_entropy", "spoken_share"]

Probability = Callable[[str, str], float]  # of a letter, given the context before it


def _number(got: object, case: str) -> float:
    """The answer as a float that is not nan."""
    value = number(got, case)
    expect(not math.isnan(value), f"{case}: expected a number, got nan (0/0, or inf - inf).")
    return value


def _is(got: float, wrong: float) -> bool:
    return math.isclose(got, wrong, rel_tol=1e-4, abs_tol=1e-6)


@hints(
    "You need two numbers of words: those of the whole story, and those of all quotations together. Print what "
    "QUOTED.findall returns for a story with two quotations.",
    "findall returns a pair for each quotation, (straight, curly), and one of the two is empty, so joining them "
    "gives what was said. Split each, add up how many words there are, and divide by the number of words in the "
    "story. For a story without words, divide by 1.",
)
def spoken_share(answer: Callable[[str], float]) -> bool:
    """Exercise 1.1: ``answer(story)``, the share of its words inside quotation marks."""
    return run_check("1.1", answer, _words_not_characters, _narration_between, _comma_outside, _curly_quotes, _edges)


def _words_not_characters(answer: Callable) -> None:
    story = '"Hello," said the big brown bear.'
    got = _number(answer(story), repr(story))
    expect(not _is(got, 1.0), f"{story!r}: you counted everything as spoken, but only one word of six is.")
    expect(got < 0.17, f"{story!r}: expected 1 word of 6, got {got:.3f}. Count words, not characters or quotations.")
    expect_equal(got, 1 / 6, repr(story), "One word of six is inside the quotation marks.")


def _narration_between(answer: Callable) -> None:
    story = '"Come in," said Ben. "It is cold." The fox came. "Thank you!"'
    got = _number(answer(story), repr(story))
    expect(
        not _is(got, 1.0),
        f"{story!r}: you took the text from the first quotation mark to the last; each quote ends at the next mark.",
    )
    expect(not _is(got, 5 / 12), f"{story!r}: you took the text between the quotations, not the text inside them.")
    expect_equal(got, 7 / 12, repr(story), "2 + 3 + 2 words are spoken, of 12.")


def _comma_outside(answer: Callable) -> None:
    story = 'Lily said "Good night", and slept.'
    expect_equal(
        _number(answer(story), repr(story)),
        1 / 3,
        repr(story),
        "A comma may follow the closing mark: the mark need not be a word's last character.",
    )


def _curly_quotes(answer: Callable) -> None:
    expect_equal(
        _number(answer("“Good night,” said Lily."), "“Good night,” said Lily."),
        0.5,
        "'“Good night,” said Lily.'",
        "Curly quotation marks, “ and ”, count as well.",
    )


def _edges(answer: Callable) -> None:
    story = "The fox didn't answer."
    expect_equal(_number(answer(story), repr(story)), 0.0, repr(story), "An apostrophe is not a quotation mark.")
    try:
        got = _number(answer(""), "An empty story")
    except ZeroDivisionError:
        raise Wrong("An empty story has no words, and you divided by their number. Its share is 0.0.") from None
    expect_equal(got, 0.0, "An empty story", "It has no words at all, so its share is 0 by definition.")


@hints(
    "The surprise of a letter of probability p is log2(1/p). What is the context of the first letter? Of the fourth?",
    "Loop over the places i: the context is everything before place i, the letter itself not included. Add −log2 "
    "p, or infinity if p is 0. At the end, divide by the number of bytes in UTF-8 (by 1 if there are none).",
)
def bits_per_byte(answer: Callable[[str, Probability], float]) -> bool:
    """Exercise 1.3: ``answer(text, probability)``, the surprises of all letters over the bytes."""
    return run_check("1.3", answer, _fair_coin, _sum_of_logs, _contexts, _bytes, _no_underflow, _impossible, _empty)


def _fair_coin(answer: Callable) -> None:
    case = "'abab', each letter with probability 1/2"
    got = _number(answer("abab", lambda context, letter: 0.5), case)
    expect(not _is(got, -1.0), f"{case}: got -1. A surprise is never negative; is a minus missing?")
    expect(not _is(got, math.log(2)), f"{case}: got 0.693, which is in nats; take the logarithm to base 2.")
    expect(not _is(got, 4.0), f"{case}: got 4, the bits of the whole text. How many is that per byte?")
    expect_equal(got, 1.0, case, "Four letters of one bit each, in four bytes.")


def _sum_of_logs(answer: Callable) -> None:
    case = "'ab', with probabilities 1/2 and 1/8"
    got = _number(answer("ab", lambda context, letter: {"a": 0.5, "b": 0.125}[letter]), case)
    expect(
        not _is(got, -math.log2(0.3125)),
        f"{case}: you took the logarithm of the average probability. "
        "Average the surprises: first take the logarithms, then sum.",
    )
    expect_equal(got, 2.0, case, "1 bit and 3 bits, in two bytes.")


def _contexts(answer: Callable) -> None:
    asked: list[tuple[str, str]] = []

    def probability(context: str, letter: str) -> float:
        asked.append((context, letter))
        return 0.5

    answer("fox", probability)
    contexts = [context for context, _ in asked]
    expect(all(isinstance(context, str) for context in contexts), "The context must be a string.")
    expect(
        contexts != ["f", "fo", "fox"],
        "'fox': the context that you pass ends with the very letter to be guessed. "
        "A model that sees the answer guesses well.",
    )
    expect("fox" not in contexts, "'fox': you pass the whole text as context, future included.")
    expect(contexts != ["f", "fo"], "'fox': the first letter has a surprise, too; its context is the empty string.")
    expect(contexts != ["", "f", "o"], "'fox': you pass one letter; the context is *everything* that came before.")
    expect_equal(
        asked,
        [("", "f"), ("f", "o"), ("fo", "x")],
        "'fox', the questions to the model",
        "Ask about each letter once, with everything before it.",
    )


def _bytes(answer: Callable) -> None:
    case = "'é', with probability 1/4"
    got = _number(answer("é", lambda context, letter: 0.25), case)
    expect(not _is(got, 2.0), f"{case}: got 2, bits per character. In UTF-8 é takes two bytes.")
    expect_equal(got, 1.0, case, "2 bits, in 2 bytes.")


def _no_underflow(answer: Callable) -> None:
    case = "5,000 letters, each with probability 1/4"
    try:
        got = _number(answer("abcd" * 1250, lambda context, letter: 0.25), case)
    except ValueError:
        got = math.inf
    expect(
        not math.isinf(got),
        f"{case}: the product of so many probabilities is too small for a float and becomes 0. "
        "Sum the logarithms instead of multiplying the probabilities.",
    )
    expect_equal(got, 2.0, case, "2 bits per byte, however long the text.")


def _impossible(answer: Callable) -> None:
    case = "a letter with probability 0"
    try:
        got = _number(answer("ab", lambda context, letter: float(letter == "a")), case)
    except (ValueError, ZeroDivisionError):
        raise Wrong(f"{case}: your code raised an error: 0 has no logarithm. The surprise is math.inf.") from None
    expect(got == math.inf, f"{case}: expected math.inf, got {got}. The surprise of the impossible is infinite.")


def _empty(answer: Callable) -> None:
    try:
        got = _number(answer("", lambda context, letter: 0.5), "An empty text")
    except ZeroDivisionError:
        raise Wrong("An empty text has 0 bytes, and you divided by them. Return 0.0: nothing to guess.") from None
    expect_equal(got, 0.0, "An empty text", "There is nothing to guess.")


@hints(
    "Count the pairs of neighbors (a Counter of pairwise does that). By which count must you divide a pair's "
    "count to get p(b | a)?",
    "A pair ab that was seen n times adds n surprises of n/m, where m says how often a was the *first* letter of "
    "a pair: the last letter of the text is never the first of one. Sum over the different pairs, and divide by "
    "the number of all pairs, which is one less than the letters.",
)
def next_letter_entropy(answer: Callable[[str], float]) -> bool:
    """Exercise 1.4: ``answer(text)``, bits per letter, given the letter before."""
    return run_check("1.4", answer, _certain, _not_joint, _last_letter)


def _certain(answer: Callable) -> None:
    got = _number(answer("aaaaaaaa"), "'aaaaaaaa'")
    expect(
        not _is(got, math.log2(8 / 7)) and not _is(got, 7 / 8 * math.log2(8 / 7)),
        "'aaaaaaaa': expected 0, got "
        f"{got:.4f}. There are 8 letters but 7 pairs of neighbors: nothing follows the last a, so do not count it.",
    )
    expect_equal(got, 0.0, "'aaaaaaaa'", "Each letter follows surely from the one before it: no surprise, 0 bits.")
    got = _number(answer("abcabcabcabc"), "'abcabcabcabc'")
    expect(
        not _is(got, math.log2(3)),
        "'abcabcabcabc': expected 0, got 1.585, the entropy of a letter on its own. But "
        "if you know the letter before it, you can be sure of the next.",
    )
    expect_equal(got, 0.0, "'abcabcabcabc'", "Each letter follows surely from the one before it: no surprise, 0 bits.")


def _not_joint(answer: Callable) -> None:
    text = "aabbaabbaabbaabba"  # 16 neighbors: aa, ab, bb, ba, four of each
    got = _number(answer(text), repr(text))
    expect(got >= 0, f"{text!r}: got {got:.3f}, but entropy is never negative. Is a minus missing?")
    expect(not _is(got, 2.0), f"{text!r}: 2 bits is the entropy of the *pair*; subtract that of its first letter.")
    expect(not _is(got, math.log(2)), f"{text!r}: that is in nats; take the logarithm to base 2.")
    expect_equal(got, 1.0, repr(text), "After each letter, two letters follow equally often: 1 bit.", tolerance=1e-6)


def _last_letter(answer: Callable) -> None:
    got = _number(answer("abacabad"), "'abacabad'")
    expect(
        not _is(got, 0.393555),
        "'abacabad': got 0.394, the entropy of a letter given the one *after* it. Divide a "
        "pair's count by the count of its first letter, not of its second.",
    )
    expect_equal(
        got,
        6 / 7,
        "'abacabad'",
        "Its 7 pairs ab ba ac ca ab ba ad have 1, 0, 2, 0, 1, 0, and 2 bits; the answer is their average.",
        tolerance=1e-6,
    )
    expect_equal(
        _number(answer("abaca"), "'abaca'"),
        0.5,
        "'abaca'",
        "Nothing follows the last a, so it does not count.",
        tolerance=1e-6,
    )


@hints(
    "First pass the early checks: ignore the context, and add 1 to each count. Then count for every length of "
    "context, say 0 to 8. When does a long context know better than a short one, and when has it just been seen "
    "too rarely?",
    "Build the probability from short contexts to long ones. Begin with an equal share for each letter. For each "
    "longer context that was seen, mix: w times the letter's share there, plus 1 − w times what the shorter "
    "context said. A good weight is w = n/(n + d) for a context seen n times and followed by d different letters. "
    "Stop at the first context that was never seen.",
)
def learn_letters(answer: Callable[[list[str], str], Probability]) -> bool:
    """Exercise 1.5: ``answer(stories, alphabet)``, a letter model that beats the compressors."""
    return run_check("1.5", answer, _possible, _looks_back, _every_story, _unharmed, _beats_the_compressors)


def _learned(answer: Callable, stories: list[str], alphabet: str) -> Probability:
    learned = answer(stories, alphabet)
    expect(callable(learned), f"Expected a function, got {type(learned).__name__}. Return `probability` uncalled.")

    def probability(context: str, letter: str) -> float:
        case = f"probability({context[-12:]!r}, {letter!r})"
        try:
            got = learned(context, letter)
        except (ZeroDivisionError, KeyError) as error:
            raise Wrong(
                f"{case} raised {type(error).__name__}: this context was never seen in the stories. Your model "
                "must answer there, too; it can always fall back on a shorter context, or none."
            ) from None
        return _number(got, case)

    return probability


def _distribution(probability: Probability, context: str, alphabet: str) -> None:
    shares = {letter: probability(context, letter) for letter in alphabet}
    for letter, share in shares.items():
        expect(
            share > 0,
            f"After {context[-12:]!r} the letter {letter!r} has probability {share:g}. If it comes, "
            "the surprise is infinite. Leave every letter of the alphabet a little, seen or not.",
        )
    total = sum(shares.values())
    expect(
        abs(total - 1) < 1e-6,
        f"After {context[-12:]!r} the probabilities of all letters add up to {total:.4f}. "
        "Whatever you give to unseen letters must be taken from the others.",
    )


def _possible(answer: Callable) -> None:
    probability = _learned(answer, ["abab", "abba"], "abc")
    for context in ("", "a", "b", "ab", "c", "ccc", "bcbcab"):
        _distribution(probability, context, "abc")


def _looks_back(answer: Callable) -> None:
    probability = _learned(answer, ["ab" * 20], "ab")
    expect(
        not _is(probability("bababa", "b"), probability("ababab", "b")),
        "The stories say abababab..., yet your model gives b the same probability after a and after b. It must "
        "look at the context.",
    )
    expect(
        probability("ababab", "a") > 0.5,
        "The stories say abababab..., yet after 'ababab' your model does not "
        "expect a. Do you look at the *end* of the context?",
    )


def _every_story(answer: Callable) -> None:
    probability = _learned(answer, ["ab" * 20, "cd" * 20, "ef" * 20], "abcdef")
    for place, (first, second) in {"first": "ab", "second": "cd", "last": "ef"}.items():
        share = probability(3 * (first + second) + first, second)
        expect(
            share > 0.5,
            f"Of three stories, abab..., cdcd... and efef..., your model seems not to have read the {place} "
            "one: count in all of them.",
        )


def _unharmed(answer: Callable) -> None:
    stories = ["abba", "abab"]
    _learned(answer, stories, "ab")
    expect(stories == ["abba", "abab"], "Your function changed its list of stories. Leave it as it is.")


@cache
def _pocket_stories() -> tuple[list[str], list[str], str]:
    """Stories to train on, others to measure with, and their letters."""
    stories = pocket.sample_stories(310, seed=101)
    return stories[:300], stories[300:], "".join(sorted(set("".join(stories))))


def _beats_the_compressors(answer: Callable) -> None:
    train, held_out, alphabet = _pocket_stories()
    probability = _learned(answer, list(train), alphabet)
    for context in ("", "Once upon a ", held_out[0][:100], held_out[1][:57] + "zq"):
        _distribution(probability, context, alphabet)
    bits = sum(-math.log2(probability(story[:i], letter)) for story in held_out for i, letter in enumerate(story))
    got = bits / sum(len(story.encode()) for story in held_out)
    hint = (
        "It seems to look back one letter or so: look further."
        if got > 3.2
        else "One length of context sees too little or has counted too little. Combine several: let the longer context "
        "decide if it was seen often, and the shorter one if it was not."
    )
    expect(got < 2, f"Your model is sound but needs {got:.2f} bits per byte on held-out stories; get below 2. {hint}")
    print(f"{got:.3f} bits per byte on ten stories that it has not read.")
