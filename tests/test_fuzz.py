"""No file from outside, however spoiled, ends in more than a sentence: no traceback, no hang, no memory beyond 4 times
the file and 200 MB, nothing executed, and nothing written.

A few files for each reader; ``make fuzz`` tries many, and looks for those that reach new code.
"""

import os
import random
import signal
from pathlib import Path

import pytest
from attempts import Hang, Room, bounds
from fuzzing import READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pn_lib.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def canary(tmp_path_factory):
    """A home and a working folder of its own, in which nothing appears."""
    home = tmp_path_factory.mktemp("home")
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("PN_ROOT", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        os.chdir(home)
        yield home
        os.chdir(here)
    assert not list(home.rglob("*"))


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """A room for each reader, made once."""
    made: dict[str, Room] = {}

    def room(name: str) -> Room:
        if name not in made:
            made[name] = Room(READERS[name], tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("copy"))
        return made[name]

    return room


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**40))
def test_any_file_is_read_or_refused_in_one_sentence(name, seed, rooms, capfd):
    room = rooms(name)
    room.attempt(*room.spoil(random.Random(seed)))


def test_the_bounds_bind(tmp_path):
    """A reader that does what none may is found out."""
    with pytest.raises(AssertionError, match="what none may"), bounds(0):
        (tmp_path / "litter").write_text("x")
    with pytest.raises(AssertionError, match="what none may"), bounds(0):
        os.close(os.open(tmp_path / "litter", os.O_WRONLY))
    with pytest.raises(AssertionError, match="what none may"), bounds(0):
        os.system("true")
        raise InputError("no such file")
    with pytest.raises(MemoryError), bounds(0):
        bytearray(300_000_000)
    with pytest.raises(Hang), bounds(0):
        signal.raise_signal(signal.SIGPROF)
