"""Limits to waiting for the Hugging Face Hub: its libraries wait for ever for a list of files, and half an hour for a
file that is read as it comes."""

import datasets
from huggingface_hub import get_session

SILENCE = 10  # seconds without a byte after which a request is given up; it is repeated five times at most


def limit_waiting() -> None:
    """Let no request to the Hub wait for ever. Asked for before each use, since its library may begin a new session."""
    datasets.config.STREAMING_READ_MAX_RETRIES = 1  # for each of them the Hub's library asks six times
    session = get_session()
    hooks = session.event_hooks
    if _end_silence not in hooks["request"]:
        session.event_hooks = {**hooks, "request": [*hooks["request"], _end_silence]}


def _end_silence(request) -> None:
    waits = request.extensions["timeout"]
    request.extensions["timeout"] = {what: SILENCE if wait is None else wait for what, wait in waits.items()}
