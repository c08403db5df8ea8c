"""Words and speech in any script. Some scripts put no white space between words; there a letter counts as a word."""

import re

# Thai, Lao, Burmese, Khmer, kana (with marks of length and repetition) and Han, as the inside of a class of characters.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
_LETTER = rf"(?=\w)[{UNSPACED}](?:(?!\w)[{UNSPACED}])*"  # with the vowels and tones that are written above or below it
_OTHER = rf"[^\W{UNSPACED}]"
_BETWEEN_SPACES = re.compile(rf"[^\s\w]*(?:{_LETTER}|[^\s{UNSPACED}]*{_OTHER})[^\s\w]*|[^\s\w]+")
_WORD = re.compile(rf"{_LETTER}|{_OTHER}+(?:['’]{_OTHER}+)*")
_SPEECH = re.compile('"[^"]+"|“[^”]+”|„[^“”]+[“”]|«[^»]+»|»[^«]+«|‹[^›]+›|›[^‹]+‹|「[^」]+」|『[^』]+』|｢[^｣]+｣')


def split_words(text: str) -> list[str]:
    """What stands between white space, as ``str.split`` has it, and each letter of a script without spaces, with the
    punctuation behind it."""
    return _BETWEEN_SPACES.findall(text) if UNSPACED_LETTER.search(text) else text.split()


def words(text: str) -> list[str]:
    """Runs of letters and digits, with apostrophes inside them, in lower case; letters of a script without spaces one
    by one."""
    return _WORD.findall(text.lower())


def opening(text: str, n: int) -> str:
    """The first ``n`` words of ``text``, one space between them; in a script without spaces 2n letters, about as much,
    with the punctuation between them."""
    first = split_words(text)[: 2 * n]
    if not any(map(UNSPACED_LETTER.search, first)):
        return " ".join(first[:n])
    place = 0
    for word in first:
        place = text.index(word, place) + len(word)
    return " ".join(text[:place].split())


def has_speech(text: str) -> bool:
    """Whether something in ``text`` stands in quotation marks: straight, curly, German, French or East Asian."""
    return _SPEECH.search(text) is not None
