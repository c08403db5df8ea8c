"""Checks of exercise 1.2: which stories to train on, and which to hold out."""

import inspect
from collections.abc import Callable

from pn_lib.course.checks import expect, hints, run_check

_STORIES = [
    f"{name} had a {thing}."
    for name in ("Ben", "Lily", "Tom", "Mia", "Sam", "Sara")
    for thing in ("ball", "kite", "boat", "drum", "doll")
]


@hints(
    "A random generator draws by place, so another order would hold out other stories. A hash depends on the "
    "story alone. How can the seed get into it, and what does sorting by hash give you?",
    "Write an inner function that turns a story into the hash of seed and story in one text. Sort the stories by "
    "it (sorted makes a new list) and put the first `count` into a set. Then go through `stories` in its own "
    "order twice: once for those that are not in the set, once for those that are.",
)
def hold_out(answer: Callable[[list[str], int, int], tuple[list[str], list[str]]]) -> bool:
    """Exercise 1.2: ``answer(stories, count, seed)``, which stories to train on and which to hold out."""
    return run_check("1.2", answer, _sizes, _repeated, _order_of_file, _order_kept, _lasting_hash, _seeds)


def _parts(answer: Callable, stories: list[str], count: int, seed: int) -> tuple[list[str], list[str]]:
    """The answer's two lists, once their types are right."""
    given = list(stories)
    parts = answer(given, count, seed)
    expect(
        isinstance(parts, tuple | list) and len(parts) == 2 and all(isinstance(part, list) for part in parts),
        f"Return two lists, `train, validation`, not {str(parts)[:60]}.",
    )
    expect(
        all(isinstance(story, str) for part in parts for story in part),
        "The two lists must hold the stories themselves, not their numbers or hashes.",
    )
    expect(
        given == stories,
        "Your function changed the list that it was given. Work on a copy: `sorted` makes one; "
        "`.sort()`, `.pop()`, and `shuffle` do not.",
    )
    return parts[0], parts[1]


def _sizes(answer: Callable) -> None:
    for count in (4, 1):
        train, validation = _parts(answer, _STORIES, count, 0)
        case = f"{len(_STORIES)} stories, count={count}"
        expect(
            (len(train), len(validation)) != (count, len(_STORIES) - count),
            f"{case}: the sizes are right, but the wrong way around: the stories to train on come first.",
        )
        expect(len(validation) == count, f"{case}: expected {count} held out, got {len(validation)}.")
        both = set(train) & set(validation)
        expect(not both, f"{case}: {next(iter(both), '')!r} is in both lists. That is the leak we want to avoid.")
        expect(sorted(train + validation) == sorted(_STORIES), f"{case}: a story was lost or doubled along the way.")


def _repeated(answer: Callable) -> None:
    first, second = (set(_parts(answer, _STORIES, 6, 0)[1]) for _ in range(2))
    expect(
        first == second,
        "Called twice with the same seed, it held out different stories. You need no random numbers "
        "here: the hash of a story is as good as random, and always the same.",
    )


def _order_of_file(answer: Callable) -> None:
    expected = set(_parts(answer, _STORIES, 6, 0)[1])
    for shuffled in (_STORIES[::-1], _STORIES[1::2] + _STORIES[::2]):
        got = set(_parts(answer, shuffled, 6, 0)[1])
        expect(
            got == expected,
            f"The same stories in another order: {len(expected - got)} of the 6 held out changed. "
            "Whether a story is held out may depend on the story and the seed, not on its place.",
        )


def _order_kept(answer: Callable) -> None:
    for name, part in zip(("training", "validation"), _parts(answer, _STORIES, 10, 0), strict=True):
        expect(
            [story for story in _STORIES if story in part] == part,
            f"The {name} stories are not in the order of the given list.",
        )


def _seeds(answer: Callable) -> None:
    chosen = {frozenset(_parts(answer, _STORIES, 6, seed)[1]) for seed in range(5)}
    expect(len(chosen) > 1, "Seeds 0 to 4 all hold out the same stories. The seed must be part of what you hash.")
    held = set().union(*(_parts(answer, _STORIES, 6, seed)[1] for seed in range(100)))
    expect(
        held == set(_STORIES),
        f"With 100 seeds only {len(held)} of {len(_STORIES)} stories were ever held out. "
        "Hash the seed and the story together, as one text.",
    )


def _lasting_hash(answer: Callable) -> None:
    answer = inspect.unwrap(answer)
    pending = [answer.__code__] if hasattr(answer, "__code__") else []
    while pending:
        code = pending.pop()
        pending += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
        expect(
            "hash" not in code.co_names,
            "Python's own `hash` gives a text a different number each time Python starts, "
            "so tomorrow's split would differ. `hashlib` always gives the same one.",
        )
