"""The table of copies: what an index of training stories takes to build, on disk, and to be asked."""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from pn_lib.benchmark.peak_memory import fresh_peak_mb
from pn_lib.data.pocket import sample_stories
from pn_lib.data.stories import read_stories
from pn_lib.errors import InputError
from pn_lib.evaluation.completions import cut_beginning
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.files import read_json, write_json
from pn_lib.training.timing import Contender, alternate

POCKET, TINYSTORIES = "pocket", "TinyStories"
COMPLETIONS = 100  # endings of stories that are not in the index
BATCH = 1000  # pocket stories sampled with one seed
HELD_OUT_SEED = 10**9  # beyond those of any index
ROUNDS = 3
BUILT = "built.json"


def measure_copies(stories: int) -> pd.DataFrame:
    """A row for TinyStories, where ``PN_TINYSTORIES`` names its folder, and one for so many pocket stories.

    ``build_s`` leaves out the making or reading of the stories; ``peak_memory_mb`` is of the build, in a process of its
    own; ``nearest_ms`` and ``span_ms`` are of one completion.

    Raises:
        InputError: ``PN_TINYSTORIES`` names no folder with stories.
    """
    corpora = [(TINYSTORIES, None)] if os.environ.get("PN_TINYSTORIES") else []
    return pd.DataFrame([_measure(corpus, n) for corpus, n in [*corpora, (POCKET, stories)]])


def _measure(corpus: str, n: int | None) -> dict[str, object]:
    completions = [cut_beginning(story)[1] for story in islice(_held_out(corpus), COMPLETIONS)]
    with TemporaryDirectory(prefix="pn-copies-") as name:
        folder = Path(name)
        peak = fresh_peak_mb(build, (corpus, n, folder / "index"), (corpus, 10, folder / "tiny"))
        index = StoryIndex.open(folder / "index")
        seconds = read_json(folder / "index" / BUILT)["seconds"]
        disk = sum(path.stat().st_size for path in (folder / "index").iterdir())
        timings = alternate(
            [
                Contender("nearest", partial(_ask, index.nearest, completions)),
                Contender("span", partial(_ask, index.longest_copied_span, completions)),
            ],
            ROUNDS,
            description=f"copies, {corpus}",
        )
    each = {f"{name}_ms": 1e3 * timing.median / len(completions) for name, timing in timings.items()}
    return {
        "corpus": corpus,
        "stories": index.stories,
        "words": index.words,
        "build_s": seconds,
        "peak_memory_mb": peak,
        "disk_mb": disk / 1e6,
        **each,
    }


def build(corpus: str, n: int | None, folder: Path) -> None:
    """Index the first ``n`` stories (all by default), and keep in ``BUILT`` how long that took without the source."""
    waited = 0.0

    def stories() -> Iterator[str]:
        nonlocal waited
        source = islice(_training(corpus), n)
        while True:
            start = time.perf_counter()
            story = next(source, None)
            waited += time.perf_counter() - start
            if story is None:
                return
            yield story

    start = time.perf_counter()
    StoryIndex.build(stories(), folder)
    write_json(folder / BUILT, {"seconds": time.perf_counter() - start - waited})


def _training(corpus: str) -> Iterator[str]:
    return _tinystories("train") if corpus == TINYSTORIES else _pocket(0)


def _held_out(corpus: str) -> Iterator[str]:
    return _tinystories("validation") if corpus == TINYSTORIES else _pocket(HELD_OUT_SEED)


def _pocket(first_seed: int) -> Iterator[str]:
    for seed in count(first_seed):
        yield from sample_stories(BATCH, seed)


def _tinystories(split: str) -> Iterator[str]:
    paths = sorted(Path(os.environ["PN_TINYSTORIES"]).glob(f"data/{split}-*.parquet"))
    if not paths:
        raise InputError(f"PN_TINYSTORIES names {os.environ['PN_TINYSTORIES']}, which has no data/{split}-*.parquet")
    for path in paths:
        yield from (story for story in read_stories(path) if story is not None)


def _ask(question: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        question(text)
