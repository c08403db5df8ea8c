"""Errors that somebody can act upon: one clear sentence, shown without a traceback by the command line."""


class InputError(ValueError):
    """Something given to PocketNarrator is wrong; the message says what, where, and what to do about it."""


class DivergenceError(InputError):
    """Training left the numbers: the loss is NaN or infinite."""
