"""The check of notebook 04's project: a training loop that survives a kill at any moment."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from pn_lib.course.checks import Wrong, expect, hints, run_check


@hints(
    "List everything that the next update depends on. Besides the weights: what does Adam remember, and how does "
    "the loop know where it was? Then ask at each line: what if the machine dies exactly here?",
    "Save one dictionary: the state_dict of the model, that of the optimizer, and the number of updates done. "
    "Write it to another file in the same folder, then rename that onto `path`, which happens at once or not at "
    "all (Path.replace). At the start, if `path` exists, load all three, and let the loop begin at the saved "
    "number.",
)
def train_resumably(answer: Callable) -> bool:
    """Exercise 4.6: a training loop that survives a kill at any moment."""
    with tempfile.TemporaryDirectory() as folder:

        def in_folder(case: Callable, number: int) -> Callable:
            return lambda answer: case(answer, Path(folder) / f"{number}.pt")

        cases = (_undisturbed, _killed_between, _killed_while_saving, _finished)
        return run_check("4.6", answer, *(in_folder(case, number) for number, case in enumerate(cases)))


STEPS = 6


class _Killed(BaseException):
    """The end of a process; no ordinary ``except`` of a learner's stops it."""


class _Tiny(nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(4, generator=generator))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ self.weight - y).square().mean()


def _fresh(seed: int) -> tuple[_Tiny, torch.optim.Optimizer]:
    model = _Tiny(seed)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


class _Batches:
    """Batch number ``step``, with a note of which were asked for; the process dies when it asks for ``deadly``."""

    def __init__(self, deadly: int | None = None):
        self.deadly, self.asked = deadly, []

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        if step == self.deadly:
            raise _Killed
        self.asked.append(step)
        generator = torch.Generator().manual_seed(100 + step)
        return torch.randn(8, 4, generator=generator), torch.randn(8, generator=generator)


def _reference(model: _Tiny, optimizer: torch.optim.Optimizer, steps: range, clear: bool = True) -> Tensor:
    """The weights after ``steps`` of an ordinary loop."""
    for step in steps:
        if clear:
            optimizer.zero_grad()
        model(*_Batches()(step)).backward()
        optimizer.step()
    return model.weight.detach().clone()


def _same(model: _Tiny, weights: Tensor) -> bool:
    return torch.allclose(model.weight.detach(), weights, atol=1e-6)


def _undisturbed(answer: Callable, path: Path) -> None:
    model, optimizer = _fresh(1)
    batches = _Batches()
    made = answer(model, optimizer, batches, STEPS, path)
    expect(
        batches.asked == list(range(STEPS)),
        f"A run of {STEPS} updates asked for the batches {batches.asked}, not for {list(range(STEPS))}.",
    )
    expect(not _same(model, _Tiny(1).weight.detach()), "After 6 updates the weights are still the initial ones.")
    expect(
        not _same(model, _reference(*_fresh(1), range(STEPS), clear=False)),
        "The gradients of earlier batches are still in the sum: clear them before each backward pass.",
    )
    expect(
        _same(model, _reference(*_fresh(1), range(STEPS))),
        "Even without an interruption, the weights differ from those of an ordinary loop of zero_grad, backward, step.",
    )
    expect(isinstance(made, int), f"Return the number of updates made, not {made!r}.")
    expect(made == STEPS, f"A run of {STEPS} updates returned {made}.")
    expect(path.is_file(), "There is no checkpoint at `path` after the run.")


def _killed_between(answer: Callable, path: Path) -> None:
    with suppress(_Killed):
        answer(*_fresh(1), _Batches(deadly=3), STEPS, path)
    expect(
        path.is_file(),
        "Killed while it fetched batch 3, the run left no checkpoint at `path`: save after *each* "
        "update, not at the end.",
    )
    _resume(answer, path, 3, "Killed while it fetched batch 3")


def _resume(answer: Callable, path: Path, begin: int, what: str) -> None:
    """A second process resumes from update ``begin``, with its own weights and optimizer."""
    model, optimizer = _fresh(2)
    batches = _Batches()
    made = answer(model, optimizer, batches, STEPS, path)
    first = batches.asked[0] if batches.asked else None
    expect(first != 0, f"{what}, the second run began again with batch 0. Did it look for `path` and for the step?")
    expect(
        first != begin - 1,
        f"{what}, the second run made update {begin - 1} twice: save the number of the next step, not the last.",
    )
    expect(first != begin + 1, f"{what}, the second run left out update {begin}, which had not been made.")
    expect(
        batches.asked == list(range(begin, STEPS)),
        f"{what}, the second run asked for batches {batches.asked}, not for {list(range(begin, STEPS))}.",
    )
    _compare(model, begin, what)
    expect(made == STEPS - begin, f"{what}, the second run made {STEPS - begin} updates and returned {made!r}.")


def _compare(model: _Tiny, begin: int, what: str) -> None:
    """Are these the weights of an uninterrupted run, or of one that forgot something when it resumed at ``begin``?"""
    killed, memory = _fresh(1)
    weights = _reference(killed, memory, range(begin))
    right, forgetful = (_fresh(1) for _ in range(2))
    with torch.no_grad():
        forgetful[0].weight.copy_(weights)
    expect(
        not _same(model, _reference(*forgetful, range(begin, STEPS))),
        f"{what}, the run resumes with the right weights but an optimizer without memory: Adam's means were lost.",
    )
    untrained, half_loaded = _fresh(2), _fresh(2)
    half_loaded[1].load_state_dict(memory.state_dict())
    unloaded = [_reference(*pair, range(begin, STEPS)) for pair in (untrained, half_loaded)]
    expect(
        not any(_same(model, weights) for weights in unloaded),
        f"{what}, the run resumes with the new model's weights: you did not load those of the checkpoint.",
    )
    expect(
        _same(model, _reference(*right, range(STEPS))),
        f"{what}, the final weights are not those of a run that was never interrupted.",
    )


def _killed_while_saving(answer: Callable, path: Path) -> None:
    save, calls = torch.save, []

    def die_at_the_fourth(content: Any, file: Any, *args: Any, **options: Any) -> None:
        calls.append(file)
        save(content, file, *args, **options)
        if len(calls) == 4:
            if isinstance(file, str | Path):
                Path(file).write_bytes(Path(file).read_bytes()[:100])
            else:
                file.truncate(100)
            raise _Killed

    with mock.patch("torch.save", die_at_the_fourth), suppress(_Killed):
        answer(*_fresh(1), _Batches(), STEPS, path)
    expect(len(calls) == 4, f"torch.save was called {len(calls)} times in {STEPS} updates: save once after each.")
    what = "Killed while it wrote the checkpoint of the fourth update"
    try:
        _resume(answer, path, 3, what)
    except Wrong:
        raise
    except Exception:  # the same code has just resumed from a whole file, so it is the half one that it cannot read
        expect(
            False,
            f"{what}, the second run finds half a file at `path`. Write the new checkpoint under another "
            "name, and rename it to `path` only when it is whole.",
        )


def _finished(answer: Callable, path: Path) -> None:
    answer(*_fresh(1), _Batches(), STEPS, path)
    model, optimizer = _fresh(2)
    batches = _Batches()
    made = answer(model, optimizer, batches, STEPS, path)
    expect(not batches.asked, f"The run was finished, but your function still asked for the batches {batches.asked}.")
    expect(made == 0, f"Called for a finished run, your function returned {made!r}, not 0.")
    expect(
        _same(model, _reference(*_fresh(1), range(STEPS))),
        "Called for a finished run, your function left the new model untrained: load the weights.",
    )
