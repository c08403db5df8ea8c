"""Letters that the usual fonts lack, such as those of Japanese, Chinese or Thai: which font of the system has them."""

import unicodedata
from collections.abc import Iterable
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text

USUAL = "DejaVu Sans"  # comes with matplotlib
_SCRIPTS = {  # by the first word of a letter's name: what people call it, and a font
    "Cjk": ("Chinese characters", "Noto Sans CJK"),
    "Hiragana": ("Japanese", "Noto Sans CJK"),
    "Katakana": ("Japanese", "Noto Sans CJK"),
    "Hangul": ("Korean", "Noto Sans CJK"),
    "Emoji": ("emoji or other signs", "Noto Emoji"),
}


def unusual(text: str, family: str = USUAL) -> set[str]:
    """The letters and pictures (emoji) of ``text`` that the font ``family`` lacks."""
    known = _letters(findfont(family))
    return {c for c in set(text) if ord(c) not in known and unicodedata.category(c)[0] in "LMS"}


def find_fonts(characters: Iterable[str]) -> tuple[list[str], set[str]]:
    """Families of the system that have ``characters``, those with most first, and the characters that none has."""
    missing, chosen = set(characters), []
    fonts = {font.name: font.fname for font in fontManager.ttflist if "Last Resort" not in font.name}  # boxes for all
    while missing:
        found = {family: {c for c in missing if ord(c) in _letters(path)} for family, path in fonts.items()}
        family = max(found, key=lambda name: len(found[name]))
        if not found[family]:
            break
        chosen.append(family)
        missing -= found[family]
    return chosen, missing


def without_font(characters: Iterable[str]) -> str | None:
    """A sentence on the scripts of ``characters`` that no font here has, or None."""
    missing = sorted(find_fonts(characters)[1])
    if not missing:
        return None
    scripts = dict.fromkeys(map(_script, missing))
    names, wanted = (
        ", ".join(dict.fromkeys(_SCRIPTS.get(s, (s, f"Noto Sans {s}"))[i] for s in scripts)) for i in (0, 1)
    )
    return (
        f"note: no font on this machine has {names} (such as {''.join(missing[:5])}), so figures and PDF show "
        f"boxes; install {wanted} and run again"
    )


def fit_fonts(figure: Figure) -> bool:
    """Give each text of a ``figure``, once it is drawn, the fonts that have its letters; say which no font has.

    Returns whether that changes the figure: texts in the usual letters stay as they are.
    """
    texts = {text: characters for text in figure.findobj(Text) if (characters := unusual(text.get_text()))}
    changed = False
    for text, characters in texts.items():
        families = [USUAL, *find_fonts(characters)[0]]
        changed |= text.get_fontfamily() != families and len(families) > 1
        text.set_fontfamily(families)
    if sentence := without_font(frozenset().union(*texts.values())):
        _say_once(sentence)
    return changed


@cache
def _say_once(sentence: str) -> None:
    print(sentence)


def _script(character: str) -> str:
    """The first word of a letter's Unicode name, which is its script's."""
    if unicodedata.category(character).startswith("S"):
        return "Emoji"
    return unicodedata.name(character, "unknown").split()[0].capitalize()


@cache
def _letters(path: str) -> frozenset[int]:
    font = get_font(path)
    return frozenset(font.get_charmap()) if font.scalable else frozenset()  # pictures of one size cannot be drawn
