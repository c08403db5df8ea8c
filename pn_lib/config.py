"""Typed settings from plain mappings (TOML, JSON): unknown keys, wrong types and impossible values are errors."""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pn_lib.errors import InputError

T = TypeVar("T")


def parse_config(cls: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Make ``cls`` (a frozen dataclass, its fields possibly dataclasses) from ``mapping``.

    Types are checked strictly (``"3"`` is no integer), keys that no field takes are refused, and the checks in the
    dataclass's own ``__post_init__`` run. ``where`` names the source in the message, e.g. a file.

    Raises:
        InputError: names every key that is wrong and what is wrong with it.
    """
    _forbid_unknown_keys(cls)
    try:
        # JSON mode: strict about types, yet lists may fill tuples and objects dataclasses
        return TypeAdapter(cls).validate_json(json.dumps(mapping), strict=True)
    except ValidationError as error:
        problems = "; ".join(_problem(e) for e in error.errors())
        raise InputError(f"{where}: {problems}") from None


def _problem(error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "settings"
    if error["type"] == "unexpected_keyword_argument":
        return f"unknown key '{key}'"
    got = "" if isinstance(error["input"], dict) else f" (got {error['input']!r})"
    return f"'{key}': {error['msg'].removeprefix('Value error, ')}{got}"


def _forbid_unknown_keys(cls: type) -> None:
    """pydantic reads this attribute from a standard dataclass; nested ones need it too."""
    cls.__pydantic_config__ = ConfigDict(extra="forbid")
    for field in cls.__dataclass_fields__.values():
        for inner in (field.type, *get_args(field.type)):
            if is_dataclass(inner):
                _forbid_unknown_keys(inner)
