"""The check of notebook 05's project: beam search, on small chains whose best stories are known."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch

from pn_lib.course.checks import expect, expect_equal, hints, run_check


@hints(
    "Carry three things for each story: its summed ln p, its ids, and whether it has ended. What competes for the "
    "places of the next round: only the extended stories?",
    "In each round the candidates are the ended stories, unchanged, and each unfinished story with each of its "
    "likeliest next tokens (as many as there are beams), its sum plus the token's ln p (log_softmax of the "
    "logits). Keep the best `beams` by their sums. Ask next_logits once a round, for the unfinished stories only, "
    "and stop when there are none. Return the best story without the prompt.",
)
def beam_search(answer: Callable) -> bool:
    """Exercise 5.6: beam search on small chains whose best stories are known."""
    return run_check(
        "5.6",
        answer,
        _right_axis,
        _two_beams,
        _one_beam,
        _any_logits,
        _sure_and_unsure,
        _ends_early,
        _ends_late,
        _short_of_room,
        _two_of_one,
    )


START, STOP = 5, 0
AXIS = "You kept a story of probability 0, though others were likely. Over which axis did you take the softmax?"


class _Chain:
    """A model of six tokens that sees only the last one: the probabilities after each token, as logits."""

    def __init__(self, follows: dict[int, dict[int, float]], shift: dict[int, float] | None = None):
        self.follows, self.logits = follows, torch.full((6, 6), -20.0)
        for last, row in follows.items():
            for token, p in row.items():
                self.logits[last, token] = math.log(p)
            self.logits[last] += (shift or {}).get(last, 0.0)

    def __call__(self, rows: list[list[int]]) -> torch.Tensor:
        rows = [[int(i) for i in row] for row in rows]
        expect(
            bool(rows) and len({len(row) for row in rows}) == 1,
            "Give next_logits one or more stories of equal length: the unfinished ones of this step.",
        )
        expect(all(row[0] == START for row in rows), "A story given to next_logits begins with the prompt.")
        expect(all(STOP not in row for row in rows), "You continued a story that has ended; `stop` ends it.")
        expect(all(self.possible(row) for row in rows), AXIS)
        return self.logits[[row[-1] for row in rows]].clone()

    def possible(self, ids: list[int]) -> bool:
        return all(token in self.follows[last] for last, token in pairwise(ids))


EXAMPLE = {START: {1: 0.6, 2: 0.4}, 1: {STOP: 0.35, 1: 0.33, 2: 0.32}, 2: {STOP: 0.95, 1: 0.05}}


def _story(got: object, case: str) -> list[int]:
    expect(
        isinstance(got, list | tuple) and all(isinstance(i, int | np.integer | torch.Tensor) for i in got),
        f"{case}: return a list of token ids, not {got!r}.",
    )
    got = [int(i) for i in got]
    expect(got[:1] != [START], f"{case}: you returned {got}, with the prompt; leave it out.")
    return got


def _right_axis(answer: Callable) -> None:
    chain = _Chain({START: {2: 0.6, 3: 0.4}, 2: {STOP: 0.35, 2: 0.33, 3: 0.32}, 3: {STOP: 0.95, 3: 0.05}})
    got = _story(answer(chain, [START], STOP, 2, 5), "tokens 2 and 3 possible, two beams")
    expect(chain.possible([START, *got]), AXIS)


def _two_beams(answer: Callable) -> None:
    case = "the example, two beams"
    prompt = [START]
    got = _story(answer(_Chain(EXAMPLE), prompt, STOP, 2, 5), case)
    expect(prompt == [START], "The prompt given to you has changed; extend a copy.")
    expect(
        got[:1] != [1],
        f"{case}: {got} begins as greedy does. Keep the second-best first token until it has been extended.",
    )
    expect(got != [2], f"{case}: [2] is right, but `stop` came next; return it too.")
    expect_equal(got, [2, STOP], case, "Return the likeliest of all that you kept.")


def _one_beam(answer: Callable) -> None:
    got = _story(answer(_Chain(EXAMPLE), [START], STOP, 1, 5), "the example, one beam")
    expect_equal(got, [1, STOP], "the example, one beam", "One beam is greedy decoding.")


def _any_logits(answer: Callable) -> None:
    case = "the example with 10 added to all logits after token 1, two beams"
    got = _story(answer(_Chain(EXAMPLE, shift={1: 10.0}), [START], STOP, 2, 5), case)
    expect_equal(got, [2, STOP], case, "That changes no probability: sum ln p, not logits.")


def _sure_and_unsure(answer: Callable) -> None:
    case = "token 1 with 0.5 and stop 0.55 after it; or token 2 with 0.3 and stop 0.9"
    chain = _Chain({START: {1: 0.5, 2: 0.3, 3: 0.2}, 1: {STOP: 0.55, 3: 0.25, 4: 0.2}, 2: {STOP: 0.9, 3: 0.1}})
    got = _story(answer(chain, [START], STOP, 2, 4), case)
    expect(got != [2, STOP], f"{case}: you summed probabilities. 0.5 * 0.55 beats 0.3 * 0.9; sum their logarithms.")
    expect_equal(got, [1, STOP], case, "Sum ln p over the story.")


def _ends_early(answer: Callable) -> None:
    case = "stop 0.4 at once; or token 1 with 0.6, and after it stop 0.5"
    chain = _Chain(
        {START: {STOP: 0.4, 1: 0.6}, 1: {STOP: 0.5, 2: 0.3, 3: 0.2}, 2: {STOP: 0.9, 2: 0.1}, 3: {STOP: 0.9, 3: 0.1}}
    )
    got = _story(answer(chain, [START], STOP, 2, 5), case)
    expect_equal(got, [STOP], case, "0.4 beats 0.6 * 0.5. A finished story goes on competing, unchanged.")


def _ends_late(answer: Callable) -> None:
    case = "stop 0.4 at once; or token 1 with 0.6, and after it stop 0.9"
    chain = _Chain({START: {STOP: 0.4, 1: 0.6}, 1: {STOP: 0.9, 2: 0.1}, 2: {STOP: 0.9, 2: 0.1}})
    got = _story(answer(chain, [START], STOP, 2, 5), case)
    expect(
        got != [STOP], f"{case}: you stopped at the first finished story; go on until all that you keep are finished."
    )
    expect_equal(got, [1, STOP], case, "0.6 * 0.9 beats 0.4.")


def _short_of_room(answer: Callable) -> None:
    case = "the example, two beams, one new token"
    got = _story(answer(_Chain(EXAMPLE), [START], STOP, 2, 1), case)
    expect(len(got) == 1, f"{case}: {len(got)} tokens; write no more than max_new_tokens.")
    expect_equal(got, [1], case, "The likeliest after one step.")


def _two_of_one(answer: Callable) -> None:
    case = "a story whose two best extensions have the same beginning"
    chain = _Chain(
        {
            START: {1: 0.7, 2: 0.3},
            1: {3: 0.52, 4: 0.48},
            2: {1: 0.34, 3: 0.33, 4: 0.33},
            3: {STOP: 0.3, 1: 0.25, 2: 0.25, 4: 0.2},
            4: {STOP: 0.98, 1: 0.02},
        }
    )
    got = _story(answer(chain, [START], STOP, 2, 4), case)
    expect_equal(got, [1, 4, STOP], case, "Rank the extensions of all stories together, not those of each by itself.")
