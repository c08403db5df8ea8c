"""Typed settings: frozen dataclasses whose fields say what they take, made in Python or from plain mappings."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pn_lib.errors import InputError, one_line, suggestion

T = TypeVar("T")
LONGEST = 200  # characters of a value in a message
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


@dataclass_transform(frozen_default=True)
def config_class(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen pydantic dataclass: each field is held to its annotation, strictly (``"3"`` is no integer,
    infinity and NaN are no numbers). What a field alone cannot say is checked in ``__post_init__``, by a ValueError.

    Its constructor raises:
        InputError (a ValueError): names every field that is wrong and what is wrong with it.
    """
    made = dataclass(frozen=True, config=STRICT)(cls)
    made.__init__ = _with_input_errors(made.__init__, cls.__name__)
    return made


def _with_input_errors(validate: Callable[..., None], name: str) -> Callable[..., None]:
    @wraps(validate)
    def __init__(self: Any, *values: Any, **named: Any) -> None:
        try:
            validate(self, *values, **named)
        except ValidationError as error:
            names = [field.name for field in fields(self)]
            raise InputError(f"{name}: {_sentence(error, type(self), names)}") from None

    return __init__


def parse_config(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Make ``cls`` (a dataclass, its fields possibly dataclasses) from ``mapping``, no less strictly than in Python.

    ``where`` names the source in the message, e.g. a file.

    Raises:
        InputError: names every key that is wrong and what is wrong with it.
    """
    try:
        # JSON mode: strict about types, yet lists may fill tuples and objects dataclasses
        return TypeAdapter(cls).validate_json(json.dumps(mapping), strict=True, extra="forbid")
    except ValidationError as error:
        raise InputError(f"{where}: {_sentence(error, cls)}") from None


def _sentence(error: ValidationError, cls: type, names: Sequence[str] = ()) -> str:
    """All problems; ``names`` are those of the arguments that were given by position."""
    return "; ".join(_problem(problem, cls, names) for problem in error.errors())


def _problem(problem: Mapping[str, Any], cls: type, names: Sequence[str]) -> str:
    first, *rest = problem["loc"] or ("",)
    path = ".".join(map(str, (dict(enumerate(names)).get(first, first), *rest)))
    key, message = _cut(repr(path)[1:-1]), problem["msg"]  # in one line, whatever a damaged file has for a key
    match problem["type"]:
        case "unexpected_keyword_argument":
            return f"unknown key '{key}'{suggestion(str(problem['loc'][-1]), _keys(cls, problem['loc'][:-1]))}"
        case "missing":
            return f"{key} is missing"
        case "value_error":  # of a __post_init__, which says what it is about
            said = one_line(problem["ctx"]["error"])
            return f"{key}: {said}" if key else said
    got = "" if isinstance(problem["input"], dict) else f" (got {_cut(repr(problem['input']))})"
    # pydantic begins most of its sentences with "Input should"
    says = message.replace("Input should", "must", 1) if message.startswith("Input should") else f"is wrong: {message}"
    return f"{key} {says}{got}".lstrip()


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _keys(cls: Any, path: Sequence[str | int]) -> list[str]:
    """The keys that there are at ``path`` of a config; none where it holds no dataclass."""
    for step in path:
        if is_dataclass(cls):
            cls = get_type_hints(cls).get(step)
        else:  # a place in a tuple of one type, or a key of a dict
            cls = next(reversed(get_args(cls)) if get_origin(cls) is dict else iter(get_args(cls)), None)
    return [field.name for field in fields(cls)] if is_dataclass(cls) else []
