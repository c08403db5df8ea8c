"""How the learning rate moves over a run, as a factor of its peak."""

import math
from typing import Literal

Schedule = Literal["linear", "cosine", "wsd", "inverse_sqrt", "constant"]


def rate_factor(
    begin: float, end: float, schedule: Schedule, warmup: float = 0.0, decay: float = 0.5, minimum: float = 0.0
) -> float:
    """The factor, in 0..1, of the update that takes a run from ``begin`` to ``end``, both as shares of its tokens.

    Over the first share ``warmup`` it rises in a line to 1. Then, with the rest of the run going from 0 to 1:
    linear: down to ``minimum`` in a line; cosine: by half a cosine (Loshchilov & Hutter, 2017, equation 5);
    wsd: 1, and down in a line over the last share ``decay`` of the run (warm-up, stable, decay: Hu et al., 2024);
    inverse_sqrt: with the root of warmup over what is done (Vaswani et al., 2017, equation 3); constant: 1.
    """
    if begin < warmup - 1e-9:
        return min(1.0, end / warmup)
    done = (begin - warmup) / max(1e-9, 1 - warmup)  # 0 at the end of the warm-up, below 1 at the last update
    if schedule == "inverse_sqrt":
        return math.sqrt(max(warmup, end - begin) / max(begin, warmup, end - begin))
    left = {
        "linear": 1 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
        "wsd": min(1.0, (1 - begin) / decay),
        "constant": 1.0,
    }[schedule]
    return minimum + (1 - minimum) * left
