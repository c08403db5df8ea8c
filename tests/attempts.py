"""One spoiled file read within bounds: of time and memory, and with nothing executed or written meanwhile."""

import os
import random
import resource
import shutil
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from fuzzing import Reader, spoiled

SECONDS = 10  # of the processor, on code as it is
MEGABYTES = 200  # besides 4 times the file
CODE = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"}
watched: list[str] | None = None  # what a reader does that none may, while one reads


def _watch(event: str, arguments: tuple) -> None:
    if watched is None:
        return
    mode, flags = arguments[1:] if event == "open" else ("", 0)
    writes = set(mode or "") & set("wax+") or (mode is None and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
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
    finally:
        done, watched = watched, None
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGPROF, before)
        assert not done, f"a reader did what none may: {done}"


class Room:
    """The whole files of a reader, and a copy of them, one of which at a time is spoiled."""

    def __init__(self, reader: Reader, whole: Path, copy: Path):
        self.reader, self.whole, self.copy = reader, whole, copy
        reader.make(whole)
        shutil.copytree(whole, copy, dirs_exist_ok=True)
        reader.read(copy)  # what is whole is read
        self.files = sorted(path for path in whole.glob(reader.spoils) if path.is_file())
        self.contents = [path.read_bytes() for path in self.files]

    def spoil(self, rng: random.Random) -> tuple[int, bytes]:
        """The number of one of the files, and what could have become of it."""
        number = rng.randrange(len(self.files))
        return number, spoiled(rng, self.contents[number], self.contents)

    def attempt(self, number: int, data: bytes) -> str:
        """Read all files, ``data`` in the place of one; what the reader said, if anything."""
        place = self.copy / self.files[number].relative_to(self.whole)
        place.write_bytes(data)
        try:
            with bounds(len(data)):
                self.reader.read(self.copy)
        except self.reader.ends as error:
            said = str(error)
            assert "\n" not in said and len(said) < 1500 and "malloc" not in said, said
            return said
        finally:
            place.write_bytes(self.contents[number])
        return ""
