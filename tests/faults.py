"""Is anything lost, or silently wrong? ``make faults`` interrupts parts of a run and damages what they keep, SAMPLE
times more, and adds the outcomes to results/published/trust/faults.json.

Each is drawn from a seed, which is printed: ``python tests/faults.py --only SEED`` repeats it. After each, the unit
runs again and must leave the same files, byte for byte, as one that nothing happened to; or it says in one sentence
what is wrong, has touched nothing else, and leaves the same files once its advice, to delete or run again, is taken.
Whatever else happens (a traceback, a hang, another number) is a failure, which is printed and counted.

Mounts (a full disk, a folder that cannot be written) are made in a namespace of this process, where only it sees them.
"""

import argparse
import atexit
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fault_units import UNITS, Unit, describe
from filelock import FileLock

from pn_lib import cli
from pn_lib.run.results.trust_results import FaultOutcomes, FaultRow
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published" / "trust"
PROCESS = (
    "SIGKILL",
    "SIGTERM",
    "SIGINT",
    "SIGSTOP",
    "full disk",
    "no memory",
    "clock set back",
    "read-only",
    "two at once",
)
DAMAGE = ("truncated", "emptied", "one bit flipped", "of another run", "of an older version")
WEIGHTS = {"training": 6, "study": 5, "packed": 4, "stories": 4, "judge": 4, "notebooks": 3, "smoke": 0}
SECONDS = 240  # in which a unit ends; on an idle machine it takes two
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code (negative: the signal), None if it hung, and what it said."""

    code: int | None
    said: str

    @property
    def clear(self) -> bool:
        """Done, stopped as asked, killed, or refused with one sentence."""
        if self.code is None or "Traceback" in self.said:
            return False
        return self.code <= 0 or self.told is not None

    @property
    def told(self) -> str | None:
        sentences = [line for line in self.said.splitlines() if line.startswith("error: ")]
        known = self.code in (cli.EXIT_BAD_INPUT, cli.EXIT_FAILED, cli.EXIT_INTERRUPTED)
        return sentences[-1] if known and sentences else None


class Process:
    """A unit in a process of its own, through the command line's own handling of errors."""

    def __init__(self, unit: Unit, folder: Path, before=lambda: None):
        self.log = folder.parent / f"{folder.name}-{time.monotonic_ns()}.log"
        self.id = os.fork()
        if not self.id:
            self._be(unit, folder, before)

    def _be(self, unit: Unit, folder: Path, before) -> None:
        code = 1
        try:
            os.setpgid(0, 0)
            sys.stdout = sys.stderr = self.log.open("a", buffering=1)
            os.dup2(sys.stderr.fileno(), 1), os.dup2(sys.stderr.fileno(), 2)
            os.chdir(folder)
            cli.app.command("unit")(lambda: unit.run(folder))
            before()
            code = cli.main(["unit"])
        except KeyboardInterrupt:  # so early that no command had begun
            code = 0
        except BaseException as error:
            print(f"Traceback: {type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def ends(self, seconds: float = SECONDS) -> End:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done, status = os.waitpid(self.id, os.WNOHANG)
            if done:
                return End(os.waitstatus_to_exitcode(status), self.log.read_text(errors="replace"))
            time.sleep(0.005)
        os.killpg(self.id, signal.SIGKILL)
        os.waitpid(self.id, 0)
        return End(None, self.log.read_text(errors="replace"))


@dataclass(frozen=True)
class Done:
    """A unit that nothing happened to: its folder, what it left there, and how long that took."""

    folder: Path
    results: dict[str, bytes]
    seconds: float

    @classmethod
    @cache
    def of(cls, name: str, seed: int) -> "Done":
        folder = Path(tempfile.mkdtemp(prefix=f"pn-faults-{name}-{seed}-", dir=scratch())) / "here"
        folder.mkdir()
        UNITS[name].prepare(folder, seed)
        started = time.monotonic()
        if (end := Process(UNITS[name], folder).ends()).code:
            raise RuntimeError(f"{name} does not even run: {end}")
        return cls(folder, describe(UNITS[name], folder), time.monotonic() - started)


@cache
def scratch() -> str:
    """A folder for as long as this process lives."""
    folder = tempfile.TemporaryDirectory(prefix="pn-faults-", ignore_cleanup_errors=True)
    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and folder.cleanup())
    return folder.name


class Bench:
    """The folder of one fault, which begins as a copy of a finished one."""

    def __init__(self, name: str, room: Path, rng: random.Random):
        self.name, self.unit, self.rng, self.room = name, UNITS[name], rng, room
        self.seed = rng.randrange(2)
        self.done = Done.of(name, self.seed)
        self.folder, self.seconds, self.expected = room / "here", self.done.seconds, self.done.results
        shutil.copytree(self.done.folder, self.folder)
        self.bytes = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def anew(self) -> None:
        """Only the inputs are left."""
        for path in self.folder.iterdir():
            if path.name != "in":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def kept(self) -> list[Path]:
        return sorted({p for pattern in self.unit.made for p in self.folder.glob(pattern) if p.is_file()})

    def settle(self) -> str | None:
        """Run again until nothing is refused, following the advice; what is wrong in the end, if anything is."""
        for _ in range(4):
            before = {path: path.read_bytes() for path in self.kept()}
            end = Process(self.unit, self.folder).ends()
            if end.code == 0:
                break
            if not end.told or not end.clear:
                return f"the run after it ends with {end.code}: {end.said[-300:]}"
            named = [path for path in before if str(path) in end.said]
            lost = [
                str(p) for p, data in before.items() if p not in named and not (p.exists() and p.read_bytes() == data)
            ]
            if lost and "made anew" not in end.said:
                return f"it was refused ({end.told}), and {lost[0]} was lost"
            for path in named:
                if line := re.search(r"line (\d+) is damaged", end.said):
                    lines = path.read_bytes().split(b"\n")
                    path.write_bytes(b"\n".join(lines[: int(line[1]) - 1] + lines[int(line[1]) :]))
                else:
                    path.unlink(missing_ok=True)
            for folder in re.findall(r"delete (\S+) and index", end.said):
                shutil.rmtree(folder)
        else:
            return f"its advice does not help: {end.told}"
        return self._differs()

    def _differs(self) -> str | None:
        found = describe(self.unit, self.folder)
        wrong = [n for n in self.expected.keys() | found.keys() if found.get(n) != self.expected.get(n)]
        return f"SILENTLY WRONG: {sorted(wrong)}" if wrong else None


def interrupt(bench: Bench, kind: str) -> tuple[bool, str | None]:
    """Let something happen to a running unit. Returns whether it was told, and what is wrong, if anything is."""
    bench.anew()
    rng, before, after = bench.rng, lambda: None, lambda: None
    if kind in ("full disk", "read-only"):
        after = _limited(bench, kind)
    elif kind == "no memory":
        extra = rng.randrange(1, 48) * MEGABYTE
        before = lambda: _deny_memory(extra)  # noqa: E731
    elif kind == "clock set back":
        back, moment = rng.uniform(1, 4e8), time.time() + rng.random() * bench.seconds
        before = lambda: _set_clock_back(back, moment)  # noqa: E731
    first = Process(bench.unit, bench.folder, before)
    if kind == "two at once":
        time.sleep(rng.random() * bench.seconds)
        ends = [Process(bench.unit, bench.folder).ends(), first.ends()]
    else:
        if kind.startswith("SIG"):
            _signal(first.id, kind, rng.random() * bench.seconds, rng.random())
        ends = [first.ends()]
    after()
    unclear = [end for end in ends if not end.clear]
    wrong = f"it ends with {unclear[0].code}: {unclear[0].said[-600:]}" if unclear else bench.settle()
    return any(end.told for end in ends), wrong


def _signal(process: int, kind: str, seconds: float, pause: float) -> None:
    time.sleep(seconds)
    try:
        os.kill(process, getattr(signal, kind))
        if kind == "SIGSTOP":
            time.sleep(pause)
            os.kill(process, signal.SIGCONT)
    except ProcessLookupError:
        pass  # it was faster


def _limited(bench: Bench, kind: str):
    """Put the folder on a disk of its own that is too small, or cannot be written; returns what ends that."""
    size = int(bench.bytes * bench.rng.random()) if kind == "full disk" else 1 << 30
    inputs = bench.room / "inputs"
    shutil.move(bench.folder, inputs)
    bench.folder.mkdir()
    size += sum(path.stat().st_size + 4096 for path in inputs.rglob("*")) + 16 * 4096
    _mount(bench.folder, f"size={size}")
    shutil.copytree(inputs, bench.folder, dirs_exist_ok=True)
    if kind == "read-only":
        _mount(bench.folder, "remount,ro")
    return lambda: _mount(bench.folder, "remount,rw,size=1g")


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def _deny_memory(extra: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, resource.RLIM_INFINITY))


def _set_clock_back(seconds: float, moment: float) -> None:
    clock = time.time
    time.time = lambda: clock() - (seconds if clock() > moment else 0)
    time.time_ns = lambda: int(time.time() * 1e9)


def damage(bench: Bench, kind: str) -> tuple[bool, str | None]:
    """Damage one file that the unit keeps. Returns as ``interrupt``."""
    if bench.name in ("training", "judge"):  # what they keep counts while they are unfinished
        bench.anew()
        process = Process(bench.unit, bench.folder)
        _signal(process.id, "SIGKILL", bench.rng.uniform(0.4, 1) * bench.seconds, 0)
        process.ends()
    if not (files := bench.kept()):
        return False, bench.settle()
    path = bench.rng.choice(files)
    whole = path.read_bytes()
    path.write_bytes(_damaged(bench, kind, path, whole))
    end = Process(bench.unit, bench.folder).ends()
    return bool(end.told), bench.settle() if end.clear else f"{path.name}: ends with {end.code}: {end.said[-600:]}"


def _damaged(bench: Bench, kind: str, path: Path, whole: bytes) -> bytes:
    rng, at = bench.rng, bench.rng.randrange(max(1, len(whole)))
    if kind == "truncated":
        return whole[:at]
    if kind == "emptied" or not whole:
        return b""
    if kind == "one bit flipped":
        return whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
    if kind == "of an older version":
        older = re.sub(rb'"(digest|weights)": ?"\w{64}",?\s*', b"", whole)
        return whole if older == whole else re.sub(rb",(\s*})", rb"\1", older)  # it may have been the last key
    theirs = Done.of(bench.name, 1 - bench.seed).folder / path.relative_to(bench.folder)
    return theirs.read_bytes() if theirs.exists() else whole


def attempt(seed: int, kinds: tuple[str, ...] = (*PROCESS, *DAMAGE), unit: str | None = None) -> FaultRow:
    """A unit and a kind of fault, drawn from the seed. Prints what went wrong, if anything did."""
    rng = random.Random(seed)
    kind = rng.choice(kinds)
    name = unit or (rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if kind != "two at once" else "notebooks")
    with tempfile.TemporaryDirectory(prefix="pn-faults-", ignore_cleanup_errors=True) as room:
        bench = Bench(name, Path(room), rng)
        told, wrong = (interrupt if kind in PROCESS else damage)(bench, kind)
        if os.path.ismount(bench.folder):
            subprocess.run(["umount", "-l", str(bench.folder)], check=True)
    print(f"{seed}: {kind}, {name}: {wrong or ('told, then the same' if told else 'the same')}", flush=True)
    outcome = {"same": 0, "told": 0, "failed": 0} | {"failed" if wrong else "told" if told else "same": 1}
    return FaultRow(fault=kind, part=name, **outcome)


def note(row: FaultRow) -> None:
    """Add an outcome to those published; several processes may."""
    path = PUBLISHED / FaultOutcomes.FILE
    (REPOSITORY / "build").mkdir(exist_ok=True)
    with FileLock(REPOSITORY / "build" / "faults.lock"):
        known = FaultOutcomes.read(PUBLISHED) if path.exists() else FaultOutcomes.none()
        known.with_one(row).write(path)


def enter_namespace() -> None:
    """Begin again where this process may mount, and nobody else sees it."""
    if "PN_FAULTS" not in os.environ:
        os.environ.update(PN_FAULTS="own namespace", CI="1", OMP_NUM_THREADS="1")
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sample", nargs="?", type=int, default=20, help="how many more faults")
    parser.add_argument("--only", type=int, help="repeat one, and keep nothing")
    parser.add_argument("--unit", choices=UNITS, help="let them happen to this part (smoke is the whole pipeline)")
    given = parser.parse_args()
    enter_namespace()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    if given.only is not None:
        return attempt(given.only, unit=given.unit).failed
    failed = 0
    for _ in range(given.sample):
        row = attempt(random.SystemRandom().randrange(10**9), unit=given.unit)
        note(row)
        failed += row.failed
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
