"""How the report puts numbers into words: formats, and verdicts that the numbers and their intervals choose."""

import re
from collections.abc import Callable, Iterable

from pn_lib.run.results.result import Estimate

THIN = "\u202f"  # narrow no-break space: separates thousands, and a number from its unit
NBSP = "\u00a0"
MINUS = "\u2212"
SAME_SPEED = 0.10  # timings carry no interval; two of them closer than this are called the same


def exactly(value: float) -> Estimate:
    """A number without an interval, to be compared with one that has it."""
    return Estimate(value=value, low=None, high=None)


def order(a: Estimate, b: Estimate) -> int:
    """-1, 0 or 1 as ``a`` lies below, is not distinguishable from, or lies above ``b``: intervals that touch are 0."""
    (a_low, a_high), (b_low, b_high) = (
        (x.value, x.value) if x.low is None or x.high is None else (x.low, x.high) for x in (a, b)
    )
    return -1 if a_high < b_low else 1 if a_low > b_high else 0


def compare(a: Estimate, b: Estimate, lower: str = "lower than", higher: str = "higher than") -> str:
    """The words between ``a`` and ``b``."""
    same = "equal to" if a.low is b.low is None else "not distinguishable from"
    return {-1: lower, 0: same, 1: higher}[order(a, b)]


def side_of_zero(difference: Estimate | None) -> int:
    """-1 (lower), 0 (zero lies in the interval, or there is no difference) or 1 (higher) for a difference."""
    return 0 if difference is None else order(difference, exactly(0.0))


def compare_speed(a: float, b: float) -> int:
    """-1, 0 or 1 as ``a`` is smaller than, within `SAME_SPEED` of, or larger than ``b``."""
    if abs(a - b) <= SAME_SPEED * min(a, b):
        return 0
    return -1 if a < b else 1


def fixed(value: float | None, decimals: int) -> str:
    """The number with its thousands apart, or a dash for None."""
    if value is None:
        return "–"
    value = round(value, decimals) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{value:,.{decimals}f}".replace(",", THIN).replace("-", MINUS)


def count(value: float) -> str:
    """1234567 -> 1 234 567, with narrow spaces."""
    return fixed(round(value), 0)


def large(value: float) -> str:
    """1234567 -> 1.23 million: three significant digits; below a million the number itself."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{fixed(value / size, max(0, 3 - len(str(int(value / size)))))}{THIN}{word}"
    return count(value)


def millions(value: float) -> str:
    """1234567 -> 1.23, for a table whose caption says million."""
    return fixed(value / 1e6, 2)


def bpb(value: float | None) -> str:
    return fixed(value, 3)


def signed(value: float) -> str:
    return ("+" if round(value, 3) > 0 else "") + fixed(value, 3)


def tenth(value: float) -> str:
    return fixed(value, 1)


def percent(value: float, decimals: int = 1) -> str:
    return f"{fixed(100 * value, decimals)}{THIN}%"


def hundredths(value: float) -> str:
    """0.885 -> 88, for a table whose caption says per cent."""
    return fixed(100 * value, 0)


def power(value: float) -> str:
    """3.21e-06 -> 3.2 × 10^-6^, in pandoc's Markdown."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return "0" if value == 0 else f"{mantissa}{THIN}×{THIN}10^{int(exponent)}^".replace("-", MINUS)


def si(value: float, unit: str) -> str:
    """1234567, "B" -> 1.23 MB: three significant digits and a decimal prefix."""
    prefixes = ["", "k", "M", "G", "T", "P", "E"]
    step = 0
    while abs(value) >= 999.5 and step < len(prefixes) - 1:
        value, step = value / 1000, step + 1
    digits = max(0, 3 - len(str(int(abs(value)))))
    return f"{fixed(value, 0 if step == 0 and value == int(value) else digits)}{THIN}{prefixes[step]}{unit}"


def duration(seconds: float) -> str:
    """Seconds in the two largest units that say it: 8.4 s, 3 min 12 s, 1 h 5 min."""
    if seconds < 60:
        return f"{fixed(seconds, 1)}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest}{THIN}s"
    return f"{minutes // 60}{THIN}h {minutes % 60}{THIN}min"


def times(value: float) -> str:
    """A ratio: 2.3 times."""
    return f"{fixed(value, 1 if value < 10 else 0)} times"


def interval(estimate: Estimate, form: Callable[[float], str] = bpb) -> str:
    """0.812 [0.805, 0.820], or the value alone where there is no interval."""
    if estimate.low is None:
        return form(estimate.value)
    return f"{form(estimate.value)}{NBSP}[{form(estimate.low)},{NBSP}{form(estimate.high)}]"


def plural(number: int, noun: str) -> str:
    return f"{'one' if number == 1 else count(number)} {noun}{'' if number == 1 else 's'}"


def setting(value: object) -> str:
    """A value of a configuration: off for None, yes or no, a number as short as it is exact, a list by its elements."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        if value == int(value):
            return count(value)
        return power(value) if abs(value) < 1e-3 else f"{value:g}".replace("-", MINUS)
    return ", ".join(setting(item) for item in value) if isinstance(value, list) else literal(value)


def listing(items: list[str]) -> str:
    """a, b and c; "none" of no items."""
    if not items:
        return "none"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def spaced(name: str) -> str:
    """A key as words: kv_cache -> kv cache."""
    return literal(name.replace("_", " "))


def literal(text: object) -> str:
    """Text from a result, such as a story, with every character that Markdown or a formula could take escaped."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


def named(name: str) -> str:
    """The name of a variant, set apart, since "none" may be one."""
    return f"*{literal(name)}*"


def quoted(text: str) -> str:
    return f"“{literal(text)}”"


def linked(text: str) -> str:
    """`literal`, with an address at its beginning made a link."""
    address = re.match(r"https?://[^\s,;<>]+", text)
    return f"<{address[0]}>{literal(text[address.end() :])}" if address else literal(text)


def story(text: str) -> str:
    """A model's story as a quotation, its paragraphs kept and every character as the model wrote it."""
    paragraphs = [literal(part) for part in text.split("\n") if part.strip()]
    return "\n".join(["::: story", *(f"> {part}\n>" for part in paragraphs or ["(nothing)"]), "", ":::"])


def best_of(column: Iterable[Estimate], which: str | None, form: Callable[[float], str] = bpb) -> list[str]:
    """A table's column of estimates, the "least" or "most" in bold, and whatever reads the same; nothing is where all
    do, or ``which`` is None."""
    column = list(column)
    shown = [form(each.value) for each in column]
    cells = [interval(each, form) for each in column]
    if which is None or len(set(shown)) == 1:
        return cells
    best = form({"least": min, "most": max}[which](each.value for each in column))
    return [
        cell.replace(best, f"**{best}**", 1) if text == best else cell for cell, text in zip(cells, shown, strict=True)
    ]


def table(caption: str, label: str, header: list[str], rows: list[list[str]], left: tuple[int, ...] = (0,)) -> str:
    """A pipe table; the columns named in ``left`` are set to the left, the others to the right. What `best_of` set in
    bold the caption explains."""
    if any(len(row) != len(header) for row in rows):
        raise ValueError(f"table {label}: a row has not the header's {len(header)} columns")
    if any("**" in cell for row in rows for cell in row):
        caption += " Bold: the best of its column."
    lines = [header, [":--" if i in left else "--:" for i in range(len(header))], *rows]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"::: table\n\n{body}\n\n: {caption} {{#{label}}}\n\n:::"
