"""What the architectures are called: in code, profiles, and results; in text; and by a letter of a hybrid's pattern.

It imports no model, so that a profile can be read without any. ``architectures`` says what a new one needs.
"""

from typing import Literal

Architecture = Literal["transformer", "mamba", "mamba2", "deltanet", "hybrid"]

TITLES: dict[Architecture, str] = {  # as the papers write them
    "transformer": "Transformer",
    "mamba": "Mamba",
    "mamba2": "Mamba-2",
    "deltanet": "Gated DeltaNet",
    "hybrid": "Hybrid",
}

# The architecture that the mixer of a letter comes from; a feed-forward layer, F, remembers nothing and has none.
LETTERS: dict[str, Architecture] = {"A": "transformer", "S": "mamba", "M": "mamba2", "D": "deltanet"}
