"""What can be said of small files: what rounding, compensation and a teacher changed, and how fast integers decode."""

from sources import Traced
from wording import order, side_of_zero, signed

from pn_lib.evaluation.enough import too_small


def small(found: Traced | None, timings: Traced | None) -> dict[str, object] | None:
    """Verdicts on each file (-1: its loss fell, 1: it rose, 0: not shown), and the best speed of decoding; None for a
    run that has no frontier."""
    if found is None or timings is None:
        return None
    rounded = [row for row in found.rounded if row.method == "rounding"]
    compensated = [row for row in found.rounded if row.method == "compensation"]
    files = sorted([*found.rounded, *found.models], key=lambda row: row.file_bytes)
    better = [row for row in files if order(row.bits_per_byte, found.ngram.bits_per_byte) < 0]
    return {
        "few": bool(too_small(stories=found.stories)),
        "rounded": [{"name": named(row), "verdict": visible(row.difference)} for row in rounded],
        "gains": [{"name": named(row), "verdict": side_of_zero(row.gain)} for row in compensated],
        "below_ngram": better[0].file_bytes if better else None,
        "fastest": fastest(timings),
        "taught": taught(found, timings),
        "vocabulary": vocabulary(found.vocabulary),
    }


def taught(found: Traced, timings: Traced) -> list[dict[str, object]]:
    """Each taught model with its time, and a verdict (as above) beside the same alone, on equal text and with equal
    operations."""
    clocks = {row.name: row for row in timings.taught or ()}
    return [
        {
            "model": row,
            "time": clocks[row.name],
            "text": side_of_zero(row.difference),
            "operations": side_of_zero(row.longer_difference),
        }
        for row in found.taught or ()
    ]


def visible(difference: Traced) -> int:
    """The side of zero, 0 for a difference that is none to the digits that the report gives."""
    return side_of_zero(difference) if signed(difference.value) != signed(0.0) else 0


def named(row: Traced) -> str:
    return f"the {row.model.capitalize()} in {row.precision}"


def fastest(timings: Traced) -> dict[str, object]:
    """Of the models in integers, the one that gains most over the same in float32."""
    plain = {row.model: row.decoding for row in timings.rounded if row.precision == "float32"}
    best = max(
        (row for row in timings.rounded if row.precision != "float32"),
        key=lambda row: row.decoding / plain[row.model],
    )
    return {"name": named(best), "decoding": best.decoding, "ratio": best.decoding / plain[best.model]}


def vocabulary(study: Traced | None) -> dict[str, object] | None:
    """The first seeds of the study of vocabularies, and whether any verdict was given; None for a run that is older
    than the study."""
    if study is None:
        return None
    first = min(row.seed for row in study.models)
    return {
        "rows": [row for row in study.models if row.seed == first],
        "ranked": any(part.verdict for part in study.envelope),
    }
