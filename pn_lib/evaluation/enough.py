"""The one rule on when a comparison is too small to be read: what it asks for is stated before anyone looks."""

LEAST = {"updates": 100, "seeds": 3, "stories": 30, "probes": 30}
ONE = {"updates": "update", "seeds": "seed", "stories": "story", "probes": "probe"}
TOO_SMALL = "too small to tell"  # the verdict where nothing may be ranked


def too_small(**counts: int) -> str | None:
    """The verdict on a comparison with so many ``updates``, ``seeds``, ``stories``, or ``probes``, and what is missing;
    None if each reaches its least number.

    Short runs differ in how fast they begin, a few seeds in luck, and a few stories in which they are: below the least
    numbers, no sentence says that one thing is better than another.
    """
    lacking = [(count, unit) for unit, count in counts.items() if count < LEAST[unit]]
    if not lacking:
        return None
    said = [f"{count:,} {ONE[unit] if count == 1 else unit} (we ask for {LEAST[unit]})" for count, unit in lacking]
    return f"{TOO_SMALL} with {' and '.join(said)}"
