"""What can be said of the architectures beside one another: verdicts after correction, and what each costs."""

from itertools import takewhile

from sources import Traced
from wording import compare_speed

from pn_lib.errors import InputError


def mixers(found: Traced, timings: Traced, timed: Traced) -> dict[str, object]:
    """The first architecture, with which the others are compared; all of them; verdicts; what decoding costs."""
    small = found.sizes[0]
    names = [row.architecture for row in small.models]
    costs = decoding(timed, names, found.beyond.trained)
    return {
        "first": names[0],
        "rivals": names[1:],
        "seeds": min(size.seeds for size in found.sizes),
        "verdicts": [verdicts(size.pairs, size.enough) for size in found.sizes],
        "bytes": verdicts(found.equal_bytes.pairs, small.enough),
        "seconds": verdicts(timings.equal_seconds.pairs, small.enough),
        "shared_rate": shared_rate(small.models),
        "edge": sorted({row.architecture for size in found.sizes for row in size.models if not row.inside}),
        "beyond": beyond(found.beyond, names),
        "decoding": costs,
        "quickest": min(names[1:], key=lambda who: costs["rows"][who]["ratio"]),  # at the longest context
    }


def verdicts(pairs: Traced, enough: bool) -> dict[str, object] | None:
    """Who is ahead of whom and by how much, and how many pairs cannot be told apart; None where the runs are too few or
    too short to say."""
    if not enough or any(pair.verdict == "one seed" for pair in pairs):
        return None
    ahead = []
    for pair in pairs:
        if pair.verdict == "ahead":
            ahead.append((pair.first, pair.second, -pair.difference.value))
        elif pair.verdict == "behind":
            ahead.append((pair.second, pair.first, pair.difference.value))
    return {"ahead": ahead, "same": len(pairs) - len(ahead), "pairs": len(pairs)}


def shared_rate(models: Traced) -> dict[str, object] | None:
    """The rival whose difference to the first depends most on a rate common to both: the least and the largest that
    such a rate would have made of it, one seed; None where no two rates were tried by both."""
    tried = {row.architecture: {at.rate: at.bits_per_byte for at in row.rates} for row in models}
    first, *rivals = tried
    found = []
    for who in rivals:
        differences = [tried[who][rate] - tried[first][rate] for rate in tried[who] if rate in tried[first]]
        if len(differences) > 1:
            found.append({"architecture": who, "least": min(differences), "most": max(differences)})
    return max(found, key=lambda row: row["most"] - row["least"], default=None)


def beyond(found: Traced, names: list[str]) -> dict[str, object]:
    """The longest position read, and how far each loss has changed there from the trained length."""
    losses = {(row.architecture, row.to): row.nats_per_token for row in found.rows}
    longest = max(to for _, to in losses)
    return {"longest": longest, "rise": {who: losses[who, longest] - losses[who, found.trained] for who in names}}


def decoding(timed: Traced, names: list[str], trained: int) -> dict[str, object]:
    """Time of a decoding step and what is carried, at the shortest and the longest context that all have.

    ``rows`` has, for each architecture, how much either grows from one to the other, its time at the longest over the
    first one's there, the same at the length that all were ``trained`` on (None: not timed), and from which context on
    it stays faster than that; None where it does not. ``cpu`` is the processor that timed them.
    """
    steps = {(row.model, row.context): row for row in timed}
    contexts = sorted({T for _, T in steps if all((who, T) in steps for who in names)})
    if not contexts:
        raise InputError("timings/decoding.csv has no context length timed for all models; run notebook 10 again")
    rows = {}
    for who in names:
        least, most = (steps[who, T] for T in (contexts[0], contexts[-1]))
        ahead = [T for T in contexts if compare_speed(steps[who, T].ms_per_token, steps[names[0], T].ms_per_token) < 0]
        kept = list(takewhile(ahead.__contains__, reversed(contexts)))
        rows[who] = {
            "growth": most.ms_per_token / least.ms_per_token,
            "carried": most.state_bytes / least.state_bytes,
            "ratio": most.ms_per_token / steps[names[0], contexts[-1]].ms_per_token,
            "trained": steps[who, trained].ms_per_token / steps[names[0], trained].ms_per_token
            if trained in contexts
            else None,
            "faster_from": min(kept, default=None),
        }
    return {"shortest": contexts[0], "longest": contexts[-1], "rows": rows, "cpu": timed[0].cpu}
