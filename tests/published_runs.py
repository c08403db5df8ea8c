"""The published runs, and those of them that are older than the notebooks are now."""

import pytest

from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published"
RUNS = sorted(path.name for path in PUBLISHED.iterdir() if (path / "run.json").exists())
OLDER = {"laptop-tinystories": "published before notebook 08 compared five mixers; two hours make it anew"}
# For tests of what only a run of today's notebooks has.
TODAYS = [
    pytest.param(run, marks=pytest.mark.skip(reason=OLDER[run])) if run in OLDER else pytest.param(run) for run in RUNS
]
