"""Config classes: a wrong value is one sentence that names its field, in Python as from a file."""

import math
import pickle
from dataclasses import FrozenInstanceError, asdict, replace

import pytest
from pydantic import PositiveInt

from pn_lib.config import config_class, parse_config
from pn_lib.errors import InputError


@config_class
class Size:
    n: PositiveInt
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.rate > self.n:
            raise ValueError(f"rate ({self.rate}) must not exceed n ({self.n})")


@config_class
class Plan:
    size: Size
    steps: tuple[PositiveInt, ...] = ()


@config_class
class Menu:
    plans: tuple[Plan, ...]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Size(0), r"^Size: n must be greater than 0 \(got 0\)$"),
        (lambda: Size("3"), "^Size: n must be a valid integer"),
        (lambda: Size(True), "^Size: n must be a valid integer"),
        (lambda: Size(3, math.nan), "^Size: rate must be a finite number"),
        (lambda: Size(), "^Size: n is missing$"),
        (lambda: Size(3, width=4), "^Size: unknown key 'width'$"),
        (lambda: parse_config(Plan, {"a\n" + 999 * "[": 1}, "a.toml"), rf"; unknown key 'a\\n{196 * '.'}.…'$"),
        (lambda: Size(3, n=4), "^Size: n is wrong: Got multiple values"),
        (lambda: Size(3, 1.0, 2), "^Size: 2 is wrong: Unexpected positional argument"),
        (lambda: Size(3, rate=4.0), r"^Size: rate \(4.0\) must not exceed n \(3\)$"),
        (lambda: replace(Size(3), rate=4.0), "must not exceed"),
        (lambda: Plan(Size(3), (1, 0)), r"^Plan: steps.1 must be greater than 0"),
        (
            lambda: parse_config(Plan, {"size": {"n": 0}, "step": 1}, "a.toml"),
            r"^a.toml: size.n must.*; unknown key 'step'",
        ),
        (lambda: parse_config(Plan, {"size": {"n": 1, "rate": 2}}, "a.toml"), r"^a.toml: size: rate \(2.0\) must not"),
        (lambda: parse_config(Plan, {"size": {"m": 1}}, "a.toml"), "n is missing; unknown key 'size.m'"),
        (
            lambda: parse_config(Plan, {"size": {"n": 1, "rat": 1}, "step": (1,)}, "a.toml"),
            r"unknown key 'size\.rat'; did you mean 'rate'\?; unknown key 'step'; did you mean 'steps'\?$",
        ),
        (lambda: Size(3, rte=1.0), r"^Size: unknown key 'rte'; did you mean 'rate'\?$"),
        (lambda: parse_config(Menu, {"plans": [{"size": {"n": 1}, "stesp": []}]}, "a.toml"), "did you mean 'steps'"),
        (lambda: parse_config(Plan, [], "a.toml"), "^a.toml: must be an object"),
    ],
)
def test_wrong_values_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_right_values():
    plan = Plan(Size(3), (1, 2))
    assert parse_config(Plan, {"size": {"n": 3, "rate": 1}, "steps": [1, 2]}, "a.toml") == plan
    assert parse_config(Plan, asdict(plan), "a.toml") == plan
    assert pickle.loads(pickle.dumps(plan)) == plan and hash(replace(plan)) == hash(plan)
    with pytest.raises(FrozenInstanceError):
        plan.steps = ()
