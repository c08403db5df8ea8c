"""The published runs."""

from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published"
RUNS = sorted(path.name for path in PUBLISHED.iterdir() if (path / "run.json").exists())
