"""No file from outside, however spoiled, ends in more than a sentence: no traceback, no hang, no memory beyond 4 times
the file and 200 MB, nothing executed, and nothing written.

`make test` tries a few files for each reader; ``make fuzz EXAMPLES=2000`` many.
"""

import os
import random
import resource
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from fuzzing import READERS, Reader, spoiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("EXAMPLES", "6"))
SECONDS = 10  # of the processor
MEGABYTES = 200
CODE = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"}
watched: list[str] | None = None  # what a reader does that none may, while one reads


def _watch(event: str, arguments: tuple) -> None:
    if watched is None:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in CODE or (writes and str(arguments[0]) != os.devnull):
        watched.append(f"{event}{arguments}")


sys.addaudithook(_watch)  # for as long as Python runs; it looks on only while a reader reads


class Hang(BaseException):
    """A reader takes longer than it may."""


@contextmanager
def bounds(size: int):
    """Of time, memory, and what may be done, for the reading of ``size`` bytes."""
    global watched

    def stop(*_):
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * size + MEGABYTES * 1_000_000, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    watched = []
    try:
        yield
        done = watched
    finally:
        watched = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGPROF, before)
    assert not done, f"a reader did what none may: {done}"


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


def attempt(reader: Reader, whole: Path, folder: Path, seed: int) -> str:
    """Spoil one of the files in ``folder``, a copy of ``whole``, and read; what the reader said, if anything."""
    rng = random.Random(seed)
    files = sorted(path for path in whole.glob(reader.spoils) if path.is_file())
    path = rng.choice(files)
    data = spoiled(rng, path.read_bytes(), [each.read_bytes() for each in files])
    place = folder / path.relative_to(whole)
    place.write_bytes(data)
    try:
        with bounds(len(data)):
            reader.read(folder)
    except reader.ends as error:
        said = str(error)
        assert "\n" not in said and len(said) < 1500 and "malloc" not in said, said
        return said
    finally:
        shutil.copyfile(path, place)
    return ""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """For each reader its whole files, and a copy of them, made once."""
    made: dict[str, tuple[Path, Path]] = {}

    def room(name: str) -> tuple[Path, Path]:
        if name not in made:
            whole, copy = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("copy")
            READERS[name].make(whole)
            shutil.copytree(whole, copy, dirs_exist_ok=True)
            READERS[name].read(copy)  # what is whole is read
            made[name] = whole, copy
        return made[name]

    return room


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**40))
def test_any_file_is_read_or_refused_in_one_sentence(name, seed, rooms, capfd):
    attempt(READERS[name], *rooms(name), seed)


def test_the_bounds_bind(tmp_path):
    """A reader that does what none may is found out."""
    with pytest.raises(AssertionError, match="what none may"), bounds(0):
        (tmp_path / "litter").write_text("x")
    with pytest.raises(MemoryError), bounds(0):
        bytearray(300_000_000)
    with pytest.raises(Hang), bounds(0):
        signal.raise_signal(signal.SIGPROF)
