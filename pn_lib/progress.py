"""One progress bar for notebooks, terminals, the pipeline and CI."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


class _StatusFile:
    """A text stream for tqdm that keeps only the latest line, in the file that the pipeline watches."""

    def __init__(self, path: str):
        self.path = path

    def write(self, text: str) -> None:
        line = text.strip()
        if line:  # a status line is worth nothing after a crash: plain write, no fsync
            with open(self.path, "w", encoding="utf-8") as file:
                file.write(line)

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

    Use it as an iterator, or with ``update``. In a notebook it is a widget, in a terminal a line; under the pipeline
    (``PN_PROGRESS`` names a file) its line goes into that file, so that executed notebooks stay clean; with ``CI``
    set, or ``quiet``, it is silent.
    """
    options: dict[str, Any] = {"desc": description, "total": total, "unit": unit, "leave": False}
    status = os.environ.get("PN_PROGRESS")
    if status and not quiet:
        from tqdm import tqdm as plain  # never the notebook widget: the stream is a file

        bar = "{desc} {percentage:3.0f}% {remaining} left {rate_fmt}{postfix}"
        return plain(iterable, file=_StatusFile(status), bar_format=bar, mininterval=1.0, **options)
    return tqdm(iterable, disable=quiet or bool(os.environ.get("CI")), **options)
