"""Fixtures: real data taken in place from where environment variables say (skipped, with the reason, when unset), and a
small training for all who need one."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_example import CONFIG, STORIES, make_model, scorer

from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.training.loop import train


def _folder(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder of real data this test needs")
    path = Path(value)
    assert path.is_dir(), f"{variable} names {value}, which is no folder"
    return path


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that is stopped in a test silences logging, for good: the process would end."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def tinystories_dir() -> Path:
    """A folder laid out as the Hub's roneneldan/TinyStories (PN_TINYSTORIES)."""
    return _folder("PN_TINYSTORIES")


@pytest.fixture(scope="session")
def stories260k_dir() -> Path:
    """A folder with llama2.c's stories260K.bin and tok512.bin (PN_STORIES260K)."""
    return _folder("PN_STORIES260K")


@pytest.fixture(scope="session")
def realworld_dir() -> Path:
    """A folder of files as users bring them: models/hf/llama_plain, and the same model saved in other ways beside it
    (PN_REALWORLD)."""
    return _folder("PN_REALWORLD")


@pytest.fixture(scope="session")
def llama2c_run() -> Path:
    """llama2.c's program, compiled from its run.c (PN_LLAMA2C)."""
    value = os.environ.get("PN_LLAMA2C")
    if not value:
        pytest.skip("PN_LLAMA2C is not set: it names llama2.c's compiled program `run`, which this test calls")
    return Path(value)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    """The prefix of a token file of a few stories."""
    prefix = tmp_path_factory.mktemp("tokens") / "train"
    write_tokens(prefix, STORIES, train_tokenizer(STORIES, 280))
    return prefix


@pytest.fixture(scope="module")
def tokens(prefix):
    return TokenFile(prefix)


@pytest.fixture(scope="module")
def straight(tokens):
    """A model trained without interruption, and its history."""
    model = make_model()
    return model, train(model, tokens, CONFIG, validate=scorer(tokens)).history
