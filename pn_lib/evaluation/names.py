"""Names in stories of any corpus, found by how they are written; and which word and which kind each token is."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

from pn_lib.data.tokenizer import Tokenizer
from pn_lib.errors import InputError

# A word with its inner apostrophes ("don't"), of which group 1 leaves out the possessive's: "Tom's" is Tom.
WORD = re.compile(r"([^\W\d_]+(?:['’](?!s\b)[^\W\d_]+)*)(?:['’]s\b)?")
# Directly behind a word or a comma: no period, quotation mark or line break between, which may begin a sentence.
_MID_SENTENCE = re.compile(rf"(?:(?<=[^\W\d_],[ ])|(?<=[^\W\d_][ ])){WORD.pattern}")
# English writes these with a capital too. April, May and June are left out: they are people's names too.
_NO_NAME = re.compile(
    r"I(['’].*)?|Mrs?|Ms|Dr|(Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)days?"
    r"|January|February|March|July|August|September|October|November|December"
)


def names_in(stories: Iterable[str], least: int = 3, share: float = 0.9) -> set[str]:
    """The words that are capitalized in mid-sentence at least ``least`` times, and in at least a ``share`` of all the
    times that they occur in mid-sentence; except "I", Mr and the like, weekdays and months.

    Pets and toys with names count, and so do Grandma and Uncle. A name that is also a common word (Will, Fern) is
    found only where the name is far more common; a name that always follows a period (Mrs. Green), never.

    Raises:
        InputError: ``least`` under 1, or ``share`` outside (0, 1].
    """
    if least < 1 or not 0 < share <= 1:
        raise InputError(f"least must be at least 1 and share lie in (0, 1], not {least} and {share}")
    counts = Counter(found[1] for story in stories for found in _MID_SENTENCE.finditer(story))
    anyhow = Counter()
    for word, n in counts.items():
        anyhow[word.lower()] += n
    return {
        word
        for word, n in counts.items()
        if n >= least and word[0].isupper() and n >= share * anyhow[word.lower()] and not _NO_NAME.fullmatch(word)
    }


def told(text: str, names: Set[str]) -> Set[str]:
    """Those of the names that a text has."""
    return names & {found[1] for found in WORD.finditer(text)}


def names_kept(beginning: str, text: str, names: Set[str]) -> float:
    """The share of a beginning's names that come again in a text behind it; NaN if it has none."""
    before = told(beginning, names)
    return len(before & told(text, names)) / len(before) if before else float("nan")


class Span(NamedTuple):
    """A word of a sequence: the tokens from ``start`` up to, and without, ``end`` that have a letter of it."""

    word: str
    start: int
    end: int


def word_spans(tokenizer: Tokenizer, sequence: Sequence[int]) -> list[Span]:
    """All words of a sequence of token ids in order, as they are written, without a possessive's 's."""
    pieces = [b"" if i == tokenizer.separator_id else tokenizer.token_bytes(int(i)) for i in sequence]
    owner = [t for t, piece in enumerate(pieces) for _ in piece]  # the token of each byte
    text = b"".join(pieces).decode("utf-8", "surrogateescape")  # a sequence may be cut inside a character
    spans, position, offset = [], 0, 0  # characters and bytes passed so far
    for found in WORD.finditer(text):
        start = offset + _n_bytes(text[position : found.start(1)])
        offset = start + _n_bytes(found[1])
        position = found.end(1)
        spans.append(Span(found[1], owner[start], owner[offset - 1] + 1))
    return spans


def _n_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def name_spans(tokenizer: Tokenizer, sequence: Sequence[int], names: Set[str]) -> list[Span]:
    """The words of a sequence that are ``names``, in order."""
    return [span for span in word_spans(tokenizer, sequence) if span.word in names]


def token_words(tokenizer: Tokenizer, sequence: Sequence[int]) -> list[str]:
    """For each token the word that it is part of, in lower case; elsewhere its own text without blanks around it."""
    labels = [tokenizer.decode([int(i)]).strip(" ") for i in sequence]
    for word, start, end in word_spans(tokenizer, sequence):
        labels[start:end] = [word.lower()] * (end - start)
    return labels


def token_groups(tokenizer: Tokenizer, sequence: Sequence[int], names: Set[str]) -> list[str]:
    """For each token one of: separator, break (of a paragraph), name, word, sentence end, comma, other mark.

    A token of several marks counts for the first of these that it has: ``."`` is a sentence end.
    """
    labels = []
    for i in map(int, sequence):
        text = tokenizer.decode([i])
        labels.append(
            "separator"
            if i == tokenizer.separator_id
            else "break"
            if "\n" in text
            else "sentence end"
            if re.search("[.!?]", text)
            else "comma"
            if "," in text
            else "other mark"
        )
    for word, start, end in word_spans(tokenizer, sequence):
        labels[start:end] = ["name" if word in names else "word"] * (end - start)
    return labels
