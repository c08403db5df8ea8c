"""What an exercise cell calls: it answers at once, offline, says which case failed, and gives a hint, not the solution.

Learners who are stuck can ask before failing: ``checks.NAME.hint(1)`` nudges, and ``checks.NAME.hint(2)`` nearly gives
it away.
Each notebook has one module (``pn_lib.course.checks.tokenizer_training`` for notebook 02); this one holds what they
share.
"""

import inspect
import linecache
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pn_lib.errors import InputError


class Wrong(Exception):
    """A learner's answer fails a case; the message is what the learner reads."""


def run_check(exercise: str, answer: Callable, *cases: Callable[[Callable], None]) -> bool:
    """Try ``answer`` on each case, print the verdict, and return whether all passed.

    A stub (it raises NotImplementedError) is "not attempted yet", so that a notebook with open exercises runs through.
    An error inside the learner's code is part of the verdict, not of the notebook, and names the line that raised it.
    No exercise asks for None.
    """
    try:
        for case in cases:
            case(_returning(answer))
    except NotImplementedError:
        name = getattr(answer, "__name__", "NAME")
        stuck = f"Stuck? checks.{name}.hint(1) nudges, hint(2) nearly gives it away."
        print(f"Exercise {exercise}: not attempted yet. {stuck}")
    except Wrong as wrong:
        print(f"Exercise {exercise}: not yet. {wrong}")
    except Exception as error:  # whatever a learner's code can raise
        where = _line_of(answer, error.__traceback__)
        whose = (
            f"Your code raised {type(error).__name__} in {where}"
            if where
            else (f"What your function returned cannot be used, {type(error).__name__}")
        )
        print(f"Exercise {exercise}: not yet. {whose}: {error}")
    else:
        print(f"Exercise {exercise}: correct.")
        return True
    return False


def hints(nudge: str, tell: str) -> Callable[[Callable], Callable]:
    """Give a check its two hints: ``check.hint(1)`` prints what to think of, ``check.hint(2)`` the way in words."""

    def give(check: Callable) -> Callable:
        check.hints = (nudge, tell)
        check.hint = lambda level=1: _print_hint(check, level)
        return check

    return give


def _print_hint(check: Callable, level: int) -> None:
    if level not in (1, 2):
        raise InputError(f"{check.__name__} has two hints, hint(1) and hint(2), so no hint({level!r})")
    more = f" (checks.{check.__name__}.hint(2) nearly gives it away.)" if level == 1 else ""
    print(f"Hint {level} of 2: {check.hints[level - 1]}{more}")


def _line_of(answer: Callable, raised: TracebackType | None) -> str:
    """The last line of the learner's cell that was running, as "line 3, `x = y`"; empty if none of them was."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if code is None:
        return ""
    lines = [line for frame, line in traceback.walk_tb(raised) if frame.f_code.co_filename == code.co_filename]
    return f"line {lines[-1]}, `{linecache.getline(code.co_filename, lines[-1]).strip()}`" if lines else ""


def _returning(answer: Callable) -> Callable:
    """``answer``, except that returning nothing is a mistake with its own message."""

    @wraps(answer)
    def returning(*arguments, **options):
        got = answer(*arguments, **options)
        expect(got is not None, "Your function returned None. Did you forget to return its result?")
        return got

    return returning


def expect(condition: bool, message: str) -> None:
    """Fail the case with ``message`` unless ``condition`` holds."""
    if not condition:
        raise Wrong(message)


def expect_equal(got: Any, expected: Any, case: str, hint: str, tolerance: float = 1e-5) -> None:
    """Fail the case unless ``got`` equals ``expected`` (numbers and arrays to a tolerance); shows both, and a hint."""
    if isinstance(expected, (torch.Tensor, np.ndarray, float)):
        expected_array = np.asarray(expected)
        array = got.detach().numpy() if isinstance(got, torch.Tensor) else np.asarray(got)
        expect(
            array.shape == expected_array.shape,
            f"{case}: expected shape {expected_array.shape}, got {array.shape}. {hint}",
        )
        same = np.allclose(array, expected_array, rtol=tolerance, atol=tolerance)
    else:
        same = got == expected
    expect(bool(same), f"{case}: expected {_short(expected)}, got {_short(got)}. {hint}")


def number(got: Any, case: str) -> float:
    """The answer as a float; fail the case unless it is one number."""
    single = (
        got.numel() == 1
        if isinstance(got, torch.Tensor)
        else (isinstance(got, int | float | np.number) and not isinstance(got, bool))
    )
    expect(single, f"{case}: expected one number, got {_short(got)}, which is of type {type(got).__name__}.")
    return float(got)


def floats(value: object, shape: tuple[int, ...], name: str) -> Tensor:
    """The learner's ``value``, a tensor of floats of this shape; fail the case unless it is."""
    expect(value is not None, f"{name} is None: does your function return it?")
    expect(isinstance(value, Tensor), f"{name} must be a tensor, not {type(value).__name__}.")
    expect(tuple(value.shape) == shape, f"{name} must have shape {shape}, not {tuple(value.shape)}.")
    expect(value.is_floating_point(), f"{name} must hold floats, not {value.dtype}.")
    expect(bool(torch.isfinite(value).all()), f"{name} holds NaN or infinity.")
    return value.detach()


def close(got: Tensor, other: Tensor) -> bool:
    """Whether a mistake's result is what the learner got."""
    return torch.allclose(got, other, rtol=1e-4, atol=1e-5)


def expect_no_loop(answer: Callable, inputs: Callable[[int], tuple], hint: str) -> None:
    """Fail the case with ``hint`` if ``answer`` needs more of PyTorch's operations for more tokens, ``inputs(T)``."""
    calls = []
    for length in (16, 256):
        with _Counter() as counter:
            answer(*inputs(length))
        calls.append(counter.calls)
    expect(
        calls[1] < 2 * calls[0],
        f"It is right, but loops over the tokens: {calls[0]} operations for 16 tokens, {calls[1]} for 256. {hint}",
    )


class _Counter(TorchDispatchMode):
    """Counts PyTorch's operations."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += 1
        return function(*args, **(kwargs or {}))


def _short(value: Any) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 120 else text[:117] + "..."


def refuses(answer: Callable, given: Sequence, case: str, why: str) -> None:
    """Fail the case unless ``answer(*given)`` raises a ValueError."""
    try:
        got = answer(*given)
    except ValueError:
        return
    except (ZeroDivisionError, IndexError, TypeError) as error:
        expect(False, f"{case}: your code raised {type(error).__name__}; {why} Raise a ValueError that says so.")
    expect(False, f"{case}: you returned {got!r}, but {why} Raise a ValueError.")
