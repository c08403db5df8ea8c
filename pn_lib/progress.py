"""One progress bar for notebooks, terminals, the pipeline and CI."""

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm


class _LatestLine:
    """A text stream for tqdm that hands each line to ``show``, which lets the next one replace it."""

    def __init__(self, show: Callable[[str], object]):
        self.show = show

    def write(self, text: str) -> None:
        if text:
            self.show(text.strip())  # nothing is left at the end

    def flush(self) -> None:
        pass


def notice(sentence: str) -> None:
    """Say on standard error what a person who waits wants to know; where ``progress`` draws no bar, nothing."""
    if not (os.environ.get("PN_PROGRESS") or os.environ.get("CI")):
        print(sentence, file=sys.stderr)


def progress(
    iterable: Iterable | None = None,
    description: str = "",
    total: float | None = None,
    unit: str = "it",
    quiet: bool = False,
) -> Any:
    """A tqdm bar saying what is running and the time left.

    Use it as an iterator, or with ``update``. In a terminal it is a line; in a notebook a line below the cell, gone at
    the end (a widget would leave an output there that cannot be shown when the notebook is opened again); under the
    pipeline (``PN_PROGRESS`` names a file) its line goes into that file, so that executed notebooks stay clean; with
    ``CI`` set, or ``quiet``, it is silent.
    """
    options: dict[str, Any] = {"desc": description, "total": total, "unit": unit, "leave": False}
    status = os.environ.get("PN_PROGRESS")
    if quiet or (not status and os.environ.get("CI")):
        return tqdm(iterable, disable=True, **options)
    if status:  # a status line is worth nothing after a crash: plain write, no fsync
        options["file"] = _LatestLine(partial(Path(status).write_text, encoding="utf-8"))
        options |= {"bar_format": "{desc} {percentage:3.0f}% {remaining} left {rate_fmt}{postfix}", "mininterval": 1.0}
    elif _in_notebook():
        options |= {"file": _LatestLine(_line_in_notebook()), "ascii": False}
    if "file" in options:
        options["position"] = 0  # each has a line to itself, also within another
    return tqdm(iterable, **options)


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


def _line_in_notebook() -> Callable[[str], None]:
    """Shows a line in the place of the one that it showed before."""
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return lambda line: handle.update({"text/plain": line}, raw=True)
