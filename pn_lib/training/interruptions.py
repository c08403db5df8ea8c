"""What ends a training from outside: Ctrl-C, held back until the update is whole, and memory that does not suffice."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pn_lib.errors import InputError


@contextmanager
def interrupt_deferred() -> Iterator[threading.Event]:
    """Hold Ctrl-C back and set the event instead: an update stopped half-way would leave weights that no step has."""
    interrupt = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # elsewhere no Ctrl-C arrives
        yield interrupt
        return

    earlier = signal.signal(signal.SIGINT, lambda number, frame: interrupt.set())
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, earlier)


@contextmanager
def memory_explained(sequences: int, context: int) -> Iterator[None]:
    """Turn "out of memory" into a sentence that says what to set.

    Raises:
        InputError: there was not enough memory for ``sequences`` of ``context`` tokens at once.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not any(
            sign in text for sign in ("out of memory", "can't allocate memory", "Cannot allocate memory")
        ):
            raise
        cure = (
            f"set micro_batch to {sequences // 2}, which gives the same gradients in about half the memory"
            if sequences > 1
            else "take a shorter context or a smaller model"
        )
        raise InputError(
            f"out of memory with {sequences} sequence{'s' * (sequences > 1)} of {context} tokens at once: {cure}"
        ) from None
