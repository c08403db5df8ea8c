"""Fixtures: real data taken in place from where environment variables say; skipped, with the reason, when unset."""

import os
from pathlib import Path

import pytest


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder of real data this test needs")
    path = Path(value)
    assert path.is_dir(), f"{variable} names {value}, which is no folder"
    return path


@pytest.fixture(scope="session")
def tinystories_dir() -> Path:
    """A folder laid out as the Hub's roneneldan/TinyStories (PN_TINYSTORIES)."""
    return _folder("PN_TINYSTORIES")


@pytest.fixture(scope="session")
def stories260k_dir() -> Path:
    """A folder with llama2.c's stories260K.bin and tok512.bin (PN_STORIES260K)."""
    return _folder("PN_STORIES260K")


@pytest.fixture(scope="session")
def llama2c_run() -> Path:
    """llama2.c's program, compiled from its run.c (PN_LLAMA2C)."""
    value = os.environ.get("PN_LLAMA2C")
    if not value:
        pytest.skip("PN_LLAMA2C is not set: it names llama2.c's compiled program `run`, which this test calls")
    return Path(value)
