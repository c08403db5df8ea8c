"""What a story is in a plain text: a line, a block between blank lines, a whole file, or what stands between
separators. A text does not say; it is found in the text's beginning, told to whoever brings it, and can be named."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TextIO

from pn_lib.data.scripts import UNSPACED_LETTER
from pn_lib.errors import InputError

SAMPLE = 1_000_000  # characters of a text by which its unit is found
LONGEST_STORY = 20_000_000  # characters; a longer one means that nothing separates the stories
IMPLAUSIBLE = 50_000  # characters; so long are no short stories on average

BLANK_LINE = r"[\n\x85\u2029]\s*[\n\x85\u2029]"  # mainframes end lines with U+0085, Unicode paragraphs with U+2029
_BLANK_LINES = r"\n[^\S\n]*\n[^\S\n]*\n\s*"  # two or more
_END = r"[^\s\"'`“‘(\[{<«]"  # what a separator may stand right behind: not a space or an opening quote, as in prose
# <|endoftext|>, </s>, <story>, [SEP]
_MARKER = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?[A-Za-z][\w-]{0,30}/?>|\[/?[A-Z][A-Z_]{1,20}\]|<</?[\w ]{1,30}>>")
_ENDS = ("</s>", "<eos>", "<|eos|>", "<|end_of_text|>", "<|im_end|>")  # stand beside <|endoftext|> in joined files
_BEGINS = ("<|startoftext|>", "<|begin_of_text|>", "<|bos|>", "<bos>", "<s>", "<|im_start|>")  # before a story
_BREAKS = re.compile(r"[<\[]/?(newline|nl|n|par|lf|br)/?[>\]]", re.IGNORECASE)  # of a line, within a story
_RARE = 0.02  # of the lines or blocks: what stands at fewer of them separates no stories
_LONG_LINES = 20  # so many lines, each a story, are no single story
_HTML = re.compile(r"</?(p|br|b|i|em|strong|u|span|div|a|h\d|li|ul)/?>", re.IGNORECASE)
# A line of dashes, stars ...: one sign again and again. Signs that end or open speech may stand alone in prose.
_RULE = r"(?:([^\w\s.!?…\"'‘’“”«»])[^\S\n]?(?:\1[^\S\n]?)+|\"{3,}|[%⁂§\f])"
_LABEL = r"([-=*#~_+<>])\1+[^\S\n]*[\w .:]{1,40}?[^\S\n]*([-=*#~_+<>])\2+"  # === Story 12 ===
_NUMBER = r"\W{0,2}(?:(?:[Ss]tory|STORY|[Tt]ale|[Cc]hapter|CHAPTER)\W{0,2})?\d{1,7}\W{0,2}"  # Story 12, or 12.
# A line that names a story or its end, in capitals or with a number: Story 12: The fox, CHAPTER IV, END.
_TITLE = (
    r"(?:(?i:story|tale|chapter)[^\S\n]+(?:\d{1,7}|[IVXLC]{1,7})\b(?:[^\S\n]*[:.–—-].{0,80}|[^\S\n]*)|END|NEXT|STOP)"
)
_LAST_LINES = [f"{words}{sign}" for words in ("The End", "The end", "THE END", "the end") for sign in ("", ".", "!")]
_THE_END = "(?:" + "|".join(rf"(?<=\n{line})" for line in map(re.escape, _LAST_LINES)) + r")[^\S\n]*\n\s*"  # it stays
_HEADING = re.compile(r"^(#{1,6})[^\S\n]+\S.*$", re.MULTILINE)
# Lines between two of "---" that say something of a text, as Markdown's tools write them: title: The fox. Names of a
# play's speakers have capitals.
_FRONT = r"^---[^\S\n]*\n(?:[a-z][\w-]*[^\S\n]*:(?:[^\S\n].*)?\n(?:[^\S\n]+.*\n|-[^\S\n].*\n)*)+---[^\S\n]*$"
_SENTENCE_END = re.compile(r"[.!?…。！？؟।][\"'”’»」』)\]*_]*\s*$")


@dataclass(frozen=True)
class Unit:
    """What a story is, in words, and the pattern of what stands between two; None: nothing, a story is the file."""

    name: str
    boundary: str | None


def named_unit(unit: str | None, separator: str | None, sample: str) -> Unit | None:
    """The unit that a person has named, if so."""
    if separator is not None:
        line = rf"^[^\S\n]*{re.escape(separator)}[^\S\n]*$"
        on_lines = "\n" not in separator and re.search(line, sample, re.MULTILINE)
        return Unit(f"what stands between {separator!r}", line if on_lines else re.escape(separator))
    named = {"line": Unit("a line", r"\n"), "file": Unit("a file", None)}
    return named.get(unit, Unit("a block between blank lines", BLANK_LINE)) if unit else None


def find_unit(path: Path, sample: str, whole: bool) -> Unit:
    """The likely unit of a text by its ``sample``, its beginning or the ``whole`` of it.

    Looked for, in this order: tokens such as ``<|endoftext|>``; front matter; repeated lines of dashes and the like, or
    numbers; form feeds; Markdown headings; long lines; blank lines.

    Raises:
        InputError: nothing in it separates stories.
    """
    plain = _lines_or_blocks(sample)
    for find in (_markers, _front_matters, _separator_lines, _form_feeds, _headings):
        unit = find(sample)
        if unit is not None and not _is_rare(unit, plain, sample):
            break
    else:
        unit = plain
    pieces = _pieces(unit, sample)
    if fmean(map(len, pieces or [""])) > IMPLAUSIBLE or (len(pieces) == 1 and not whole):
        raise InputError(
            f"{path}: nothing was found that separates stories, which would have {len(sample) // len(pieces):,} "
            'characters or more; name it in [data] of a profile: separator = "...", or unit = "line", "file" or '
            '"blank line"'
        )
    return unit


def _pieces(unit: Unit, sample: str) -> list[str]:
    return [piece for piece in re.split(f"(?m:{unit.boundary})", sample) if piece and piece.strip()]


def _is_rare(unit: Unit, plain: Unit, sample: str) -> bool:
    """Whether what separates by ``unit`` is an accident in a text of lines or blocks that are stories by themselves: a
    break between scenes, a rule, a title, or one token at the text's end."""
    stories = _pieces(plain, sample)
    if plain.name != "a line" and fmean(map(len, stories or [""])) < 300:
        return False  # paragraphs
    pieces = len(_pieces(unit, sample))
    if pieces == 1:
        return plain.name == "a line" and len(stories) >= _LONG_LINES
    return pieces - 1 < _RARE * len(stories) and "<|endoftext|>" not in unit.name


def _markers(sample: str) -> Unit | None:
    """Tokens that stand at the begin or end of lines or right behind a story; one between spaces is only mentioned."""
    found = {
        token for token in set(_MARKER.findall(sample)) if not (_HTML.fullmatch(token) or _BREAKS.fullmatch(token))
    }
    in_one_line = not re.search(BLANK_LINE, sample)
    patterns = {}
    for token in found:
        word = re.escape(token)
        pattern = rf"^[^\S\n]*{word}|{word}[^\S\n]*$|(?<={_END}){word}"
        if in_one_line:
            pattern += rf"|(?<=[.!?…。！？\"”’»」])[^\S\n]+{word}"
        count = len(re.findall(pattern, sample, re.MULTILINE))
        if count >= (1 if token == "<|endoftext|>" else 2):
            patterns[token] = (count, pattern)
    blocks = len(re.findall(BLANK_LINE, sample))
    most = max((count for count, _ in patterns.values()), default=0)
    if not most or ("<|endoftext|>" not in patterns and most < 0.02 * blocks):
        return None
    used = {token: pattern for token, (count, pattern) in patterns.items() if 2 * count >= most}
    if "<|endoftext|>" in patterns:
        used = {token: pattern for token, pattern in used.items() if token in _ENDS + _BEGINS}
        used["<|endoftext|>"] = patterns["<|endoftext|>"][1]
    return Unit(f"what stands between {' and '.join(sorted(used))}", "|".join(used.values()))


def _separator_lines(sample: str) -> Unit | None:
    """Lines without a word of a story, again and again: rules, labels, numbers."""
    shapes: Counter[tuple[str, str]] = Counter()
    for match in re.finditer(r"^[^\S\n\f]*([\S\f].{0,98})$", sample, re.MULTILINE):
        line = match[1].rstrip(" \t")
        if rule := re.fullmatch(_RULE, line):
            sign = re.escape(rule[1] or line)
            shapes[line[:5], rf"(?:{sign}[^\S\n]?){{{2 if rule[1] else 1},}}"] += 1
        elif re.fullmatch(_LABEL, line) or re.fullmatch(_NUMBER, line):
            shape = re.sub(r"\d+", "0", line)
            shapes[shape, re.sub("0", r"\\d+", re.escape(shape))] += 1
        elif re.fullmatch(_TITLE, line):
            shapes[line if line.isupper() and line.isalpha() else "Story 1: a title", _TITLE] += 1
    [((shown, pattern), count), *others] = shapes.most_common(2) or [(("", ""), 0)]
    if count < 2 or len(sample) < 40 * count:
        return None
    boundary = rf"^[^\S\n\f]*{pattern}[^\S\n]*$"
    between = [piece for piece in re.split(f"(?m:{boundary})", sample) if piece.strip()]
    if 2 * len(between) < count:
        return None  # these lines are the stories: nothing stands between most of them
    name = f"what stands between lines of {shown!r}"
    if others and 2 * others[0][1] >= count:  # scenes, perhaps; a person knows
        name += f" (lines of {others[0][0][0]!r}, {others[0][1]:,} to {count:,}, are taken for a part of stories)"
    return Unit(name, boundary)


def front_matter(text: str) -> str:
    """What ``text`` begins with and is about it: lines such as ``title: The fox`` between two lines of ``---``."""
    match = re.match(rf"\s*{_FRONT}", text, re.MULTILINE)
    return match[0] if match else ""


def _front_matters(sample: str) -> Unit | None:
    if not re.search(_FRONT, sample, re.MULTILINE):
        return None
    return Unit("what follows lines about it between '---' (themselves left out)", _FRONT)


def _form_feeds(sample: str) -> Unit | None:
    """Form feeds behind whole sentences; a page that ends anywhere is no story."""
    before = sample.split("\f")[:-1]
    if len(before) < 2 or sum(bool(_SENTENCE_END.search(text[-100:])) for text in before) < 0.8 * len(before):
        return None
    return Unit("what stands between form feeds", r"\f")


def _headings(sample: str) -> Unit | None:
    levels = Counter(len(match[1]) for match in _HEADING.finditer(sample))
    [(level, count)] = levels.most_common(1) or [(0, 0)]
    if count < 2 or len(sample) < 40 * count:
        return None
    return Unit("what follows a heading (the heading itself is left out)", rf"^#{{1,{level}}}[^\S\n]+\S.*$")


def _lines_or_blocks(sample: str) -> Unit:
    lines = [line for line in sample.split("\n") if line.strip()]
    blocks = [block for block in re.split(BLANK_LINE, sample) if block.strip()]
    if len(lines) >= 3 and len(blocks) - 1 <= 0.02 * len(lines) and _are_stories(lines):
        return Unit("a line", r"\n")
    if 5 <= len(re.findall(_THE_END, sample)) <= len(sample) / 40:
        return Unit("what ends with a line 'The End'", _THE_END)
    wide = len(re.findall(_BLANK_LINES, sample))
    paragraphs = fmean(map(len, blocks or [""])) < 300
    if paragraphs and wide >= 2 and 0.1 * len(blocks) <= wide <= 0.6 * len(blocks):
        return Unit("a block between two or more blank lines", _BLANK_LINES)
    return Unit("a block between blank lines", BLANK_LINE)


def _are_stories(lines: list[str]) -> bool:
    """Whether each line is a text of its own: longer than lines are wrapped at, or mostly a sentence to its end."""
    ended = sum(bool(_SENTENCE_END.search(line)) for line in lines) / len(lines)
    # A letter of a script without spaces is half a word, and counts as three.
    length = median(len(line) + 2 * len(UNSPACED_LETTER.findall(line)) for line in lines)
    return length >= 200 or (length >= 90 and ended >= 0.8)


def are_single_stories(samples: list[str]) -> bool:
    """Whether each of these files of a folder, all read whole, is likely one story: many short files, or some of a few
    paragraphs, with nothing in them that separates stories."""
    if len(samples) < 5 or median(map(len, samples)) > 10_000:
        return False
    if any(_markers(sample) or _separator_lines(sample) or _form_feeds(sample) for sample in samples):
        return False
    blocks = [[b for b in re.split(BLANK_LINE, sample) if b.strip()] for sample in samples]
    if median(map(len, blocks)) <= 1:
        return not any(_lines_or_blocks(sample).name == "a line" for sample in samples)
    return len(samples) >= 20 or fmean(len(b) for block in blocks for b in block) < 300


def split_text(file: TextIO, unit: Unit, path: Path) -> Iterator[str]:
    """The stories of a text in order, without white space around them, in bounded memory.

    Raises:
        InputError: a story is longer than any.
    """
    boundary = re.compile(unit.boundary, re.MULTILINE) if unit.boundary else None
    rest, reserve = "", 200  # a boundary so near the end of what is read may go on, or be none
    while chunk := file.read(SAMPLE):
        rest += chunk
        start = 0
        for match in boundary.finditer(rest) if boundary else ():
            if match.end() > len(rest) - reserve:
                break
            if piece := rest[start : match.start()].strip():
                yield piece
            start = match.end()
        rest = rest[start:]
        if len(rest) > LONGEST_STORY:
            raise InputError(
                f"{path} has a story of over {LONGEST_STORY:,} characters; name what separates its stories in [data] "
                'of a profile: separator = "...", or unit = "line" or "blank line"'
            )
    yield from filter(None, map(str.strip, boundary.split(rest) if boundary else [rest]))
