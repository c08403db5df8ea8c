"""Errors that somebody can act upon: one clear sentence, shown without a traceback by the command line."""


class InputError(ValueError):
    """Something given to PocketNarrator is wrong; the message says what, where, and what to do about it."""


class NoStoriesError(InputError):
    """A file holds no stories, though it can be read; among others in a folder it is left out."""


class DivergenceError(InputError):
    """Training left the numbers: the loss is NaN or infinite."""
