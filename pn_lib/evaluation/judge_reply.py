"""What counts as a judge's answer, read from a reply as models really write them.

Thinking is taken away, and of the rest the last JSON object that has the keys asked for is the answer. Its form may be
loose (a fence, words around it, "8/10" for 8). What it says may not: a grade that is missing, or off the scale, is
never guessed, and none is taken from the thinking.
"""

import ast
import json
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

CRITERIA = ("grammar", "creativity", "consistency", "plot")
AGE_GROUPS = ("A", "B", "C", "D", "E", "F")

# how thinking begins and ends: <think>, [THINK], ◁think▷, <|START_THINKING|>, gpt-oss's channels
_NAME = r"(?:\w+:)?(?:think(?:ing)?|thoughts?|reasoning)"
_BEGIN = rf"(?:[<\[◁]{_NAME}[>\]▷]|<\|(?:start|begin)_(?:of_)?{_NAME}\|>|<\|channel\|>(?!final))"
_END = rf"(?:[<\[◁]/{_NAME}[>\]▷]|<\|end_(?:of_)?{_NAME}\|>|<\|channel\|>final.*?<\|message\|>)"
# a whole one; one whose beginning the chat template wrote; one that never ends
_THINKING = [
    re.compile(part, re.DOTALL | re.IGNORECASE) for part in (f"{_BEGIN}.*?{_END}", f"^.*{_END}", f"{_BEGIN}.*")
]


class ReplyError(ValueError):
    """A judge's reply is not what the rubric asks for; the message says what is wrong with it."""


def _also(pattern: str, convert: Callable[[str], Any]) -> BeforeValidator:
    """Take what matches ``pattern`` for what its group converts to; anything else stays, to be refused."""

    def read(value: object) -> object:
        found = re.fullmatch(pattern, str(value).strip())
        return convert(found[1]) if found else value

    return BeforeValidator(read)


Grade = Annotated[int, Field(ge=1, le=10), _also(r"(\d+)(?:\.0+)?(?:\s*(?:/|out of)\s*10)?", int)]
_AGE = r"([A-Fa-f])(?:\s*[(:,=-](?!.*\b[A-F]\b).*)?"  # "c", "C (6-7 years)"; not "A-C"
_PLACE = r"(?i)(?:the )?(first|second)(?: (?:one|student|answer|ending))?\.?"


class Grades(BaseModel):
    """What a judge says about one story."""

    model_config = ConfigDict(extra="forbid", strict=True)

    assessment: str
    grammar: Grade
    creativity: Grade
    consistency: Grade
    plot: Grade
    age_group: Annotated[Literal["A", "B", "C", "D", "E", "F"], _also(_AGE, str.upper)]


class Verdict(BaseModel):
    """What a judge says about two endings of the same beginning."""

    model_config = ConfigDict(extra="forbid", strict=True)

    assessment: str
    better: Annotated[Literal["first", "second"], _also(_PLACE, str.lower)]


def without_thinking(reply: str) -> str:
    for part in _THINKING:
        reply = part.sub("", reply)
    return reply.strip()


def read_answer(reply: str, form: type[BaseModel]) -> dict:
    """The fields of ``form`` (``Grades`` or ``Verdict``), as a reply gives them.

    Raises:
        ReplyError: there are none, one is missing or one has an impossible value; it is named.
    """
    text = without_thinking(reply)
    if not text:
        raise ReplyError("nothing but thinking (have the server turn it off)" if reply.strip() else "empty")
    wanted = form.model_fields.keys()
    # the last of those with the most of the keys: if none has all of them, the message names what it lacks
    best = max(reversed(_objects(text, wanted)), key=lambda found: len(wanted & found.keys()), default={})
    if not wanted & best.keys():
        raise ReplyError("no JSON object with the keys asked for")
    try:
        return form.model_validate({key: best[key] for key in wanted if key in best}).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ReplyError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _objects(text: str, wanted: set[str]) -> list[dict]:
    """The objects in a text from left to right, keys in lower case; one with all the keys is not looked into."""
    if text.startswith('"'):  # JSON as a string of JSON
        text = _parsed(json.loads, text, str) or text
    decoder = json.JSONDecoder(strict=False)  # line breaks in strings are read as they stand
    objects, at = [], text.find("{")
    while at >= 0:
        found, end = _parsed(lambda start: decoder.raw_decode(text, start), at, tuple) or ({}, at)
        objects.append(_named(found))
        at = text.find("{", end if wanted <= objects[-1].keys() else at + 1)
    if not any(wanted <= found.keys() for found in objects):
        # as Python writes it, with a trailing comma, or with escapes that neither has
        block = re.sub(r"\\(?![\\'\"nrtbfu])", "", text[text.find("{") : text.rfind("}") + 1])
        objects.append(_named(_parsed(ast.literal_eval, block, dict) or {}))
    return objects


def _parsed(parse: Callable[[Any], Any], source: Any, kind: type) -> Any:
    """What ``parse`` makes of ``source``; None if it fails or makes another kind of thing."""
    try:
        found = parse(source)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, kind) else None


def _named(found: dict) -> dict:
    return {re.sub(r"\W+", "_", str(key).strip().lower()): value for key, value in found.items()}
