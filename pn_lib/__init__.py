"""PocketNarrator: how small, cheap and fast can a language model be and still tell a coherent children's story?

The rooms import one way only: ``data <- models <- training <- evaluation <- run <- course, benchmark``; ``cli`` stands
above all.
"""

from pn_lib import process

__version__ = "0.1.0"
process.settle()  # before anything imports PyTorch, which looks once
