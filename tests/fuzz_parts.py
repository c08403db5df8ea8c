"""The parts of ``make fuzz``, each a process of its own: ``search`` for files that make a reader run new code, and
``count`` the lines that those files run. A part in which a reader did what none may ends with 1, and
leaves the file in ``found``."""

import os
import random
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMPILED = [  # by Numba, which cannot compile what atheris has changed
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for path in sorted(ROOT.glob("pn_lib/**/*.py"))
    if "numba" in path.read_text(encoding="utf-8")
]
PATIENCE = 10  # times a reader's seconds while atheris watches it; what takes longer than its own is timed unwatched


def search(name: str, room: Path, seconds: str) -> None:
    """Spoil the reader's files for so many seconds. The first byte of what atheris changes is the file's number."""
    import atheris

    with atheris.instrument_imports(include=["pn_lib"], exclude=COMPILED):
        import attempts
        from fuzzing import spoiled

        own = _open(name, room)
        allowed, attempts.SECONDS = attempts.SECONDS, PATIENCE * attempts.SECONDS
        for number, content in enumerate(own.contents):
            (room / "kept" / f"whole-{number}").write_bytes(bytes([number]) + content)

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            rng = random.Random(seed)
            if rng.random() < 0.5:  # by byte
                return atheris.Mutate(data, most)
            return (data[:1] + spoiled(rng, data[1:], own.contents))[:most]  # a whole value, or a large part

        def read(data: bytes) -> None:
            begun = time.process_time()
            if not _attempt(own, data, room):
                os._exit(1)  # atheris would end without a word of the file
            if time.process_time() - begun > allowed:
                (room / "slow" / str(time.monotonic_ns())).write_bytes(data)

        longest = max(map(len, own.contents))
        options = {"max_total_time": seconds, "max_len": 2 * longest + 5000, "rss_limit_mb": 0, "timeout": 1200}
        options |= {"seed": 1, "artifact_prefix": f"{room / 'found'}/"}
        words = [f"-{key}={value}" for key, value in options.items()]
        atheris.Setup([name, *words, str(room / "kept")], read, custom_mutator=mutate)
        atheris.Fuzz()


def count(name: str, room: Path) -> None:
    """Print how many lines of pn_lib the whole files run, and how many those kept or slow do, imports apart."""
    import coverage

    own = _open(name, room)
    kept = [path.read_bytes() for folder in ("kept", "slow") for path in sorted((room / folder).iterdir())]
    well, counts = True, []
    for files in ([bytes([number]) + content for number, content in enumerate(own.contents)], kept):
        measured = coverage.Coverage(data_file=None, source=[str(ROOT / "pn_lib")], config_file=False)
        measured.start()
        for data in files:
            well = _attempt(own, data, room) and well
        measured.stop()
        found = measured.get_data()
        counts.append(sum(len(found.lines(path) or ()) for path in found.measured_files()))
    print(*counts)
    sys.exit(not well)


def _open(name: str, room: Path):
    from attempts import Room
    from fuzzing import READERS

    own = Room(READERS[name], room / "whole", room / "copy")
    away = room / "home"  # once all is imported, which fills caches
    os.environ |= {"HOME": str(away), "PN_ROOT": str(away), "HF_HUB_OFFLINE": "1"}
    os.chdir(away)
    return own


def _attempt(own, data: bytes, room: Path) -> bool:
    """Whether the reader did nothing else than to read the file or refuse it."""
    try:
        with open("/dev/null", "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            own.attempt(data[0] % len(own.files) if data else 0, data[1:])
    except KeyboardInterrupt:
        raise
    except BaseException:
        (room / "found" / "input").write_bytes(data)
        traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    part, name, room, *given = sys.argv[1:]
    {"search": search, "count": count}[part](name, Path(room), *given)
