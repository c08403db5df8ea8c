"""PocketNarrator: how small, cheap and fast can a language model be and still tell a coherent children's story?

The rooms import one way only: ``data <- models <- training <- evaluation <- workflow <- benchmark``; ``checks`` stands
apart.
"""

__version__ = "0.1.0"
