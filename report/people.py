"""What the report says of the grades that people gave: nothing until somebody has."""

from sources import Run, Traced
from wording import side_of_zero

from pn_lib.files import sha256
from pn_lib.run.results.rating_results import RatingResult
from pn_lib.run.results.stories_results import CompletionsResult


def people(run: Run) -> dict[str, object]:
    """``state`` is "none", or "other" if they graded endings of another run, or "rated"; then the grades, and the
    measures whose rank correlation with some criterion has an interval without zero, strongest with the plot first."""
    if not (run.results / RatingResult.FILE).exists():
        return {"state": "none"}
    found = run.read(RatingResult)
    if found.completions != sha256(run.results / CompletionsResult.FILE):
        return {"state": "other"}
    return {"state": "rated", "found": found, "telling": telling(found.correlations)}


def telling(correlations: Traced | None) -> list[str]:
    if correlations is None:
        return []
    criteria = ("grammar", "creativity", "consistency", "plot")
    shown = [name for name in correlations if any(side_of_zero(correlations[name][c]) for c in criteria)]
    return sorted(shown, key=lambda name: -abs(correlations[name].plot.value if correlations[name].plot else 0))
