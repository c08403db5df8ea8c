"""Texts a thousand or so at a time, so that a corpus may be larger than the memory."""

from collections.abc import Iterable, Iterator

BATCH = 1000  # stories held as Python strings at a time; they come to about 1 MB ...
BATCH_CHARACTERS = 1_000_000  # ... and are fewer where they are longer


def batches(stories: Iterable[str | None]) -> Iterator[list[str | None]]:
    """``stories`` in lists of BATCH, or fewer once they come to BATCH_CHARACTERS."""
    batch, characters = [], 0
    for text in stories:
        batch.append(text)
        characters += len(text or "")
        if len(batch) == BATCH or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
