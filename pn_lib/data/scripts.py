"""Scripts that put no white space between words, where a character is counted and compared as a word is elsewhere."""

import re

# Thai, Lao, Burmese, Khmer, kana and Han, as the inside of a class of characters.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
