"""Is what is long or large as safe as what is small? ``make large`` measures it on this machine: MEGABYTES of text from
the file to a training step, TEXTS graded by a judge that misbehaves, a playground in use for SECONDS.

Each part is a process of its own, whose peak memory is measured. The first two are stopped by Ctrl-C and begun again.
The outcomes go to results/published/trust/large.json.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from judge_server import JudgeServer
from large_parts import KEY, TOKENS, TOLD, judging, tasks

from pn_lib.cli import EXIT_INTERRUPTED
from pn_lib.data import pocket
from pn_lib.run.results.trust_results import LargeResult, LargeRow
from pn_lib.run.stages import REPOSITORY

PUBLISHED = REPOSITORY / "results" / "published" / "trust"
PARTS = Path(__file__).with_name("large_parts.py")
SEPARATOR = "\n<|endoftext|>\n"
MISCHIEF = ("drop", "500", "429/0", "html", "empty", "half", "cut", "words", "refusal")
SHARE = 0.1  # of the judge's answers that are mischief


@dataclass(frozen=True)
class End:
    """How a process ended, what it used, and what it said."""

    code: int
    seconds: float
    peak_megabytes: float
    said: str


def run_part(name: str, folder: Path, *arguments: str, stop_when=None) -> End:
    """A part in its own process, which gets a Ctrl-C once ``stop_when()`` is true."""
    command, started = [sys.executable, str(PARTS), name, str(folder), *arguments], time.monotonic()
    environment = os.environ | {"CI": "1", KEY: "sk-of-a-test", "NO_PROXY": "127.0.0.1"}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        while stop_when is not None and process.poll() is None:
            time.sleep(0.05)
            if stop_when():
                process.send_signal(signal.SIGINT)
                stop_when = None
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    text = (folder / "said").read_text(errors="replace")
    return End(process.returncode, time.monotonic() - started, used.ru_maxrss * 1024 / 1e6, text)


def write_corpus(path: Path, megabytes: int) -> int:
    """A text of stories no two of which are equal; returns how many."""
    stories, written, count = pocket.sample_stories(2000, 0), 0, 0
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            text = f"This is tale {count}. {stories[count % len(stories)]}{SEPARATOR}"
            written += file.write(text)
            count += 1
    return count


def corpus(room: Path, megabytes: int) -> LargeRow:
    """From the text to a training step: stopped while the text is read, then done."""
    (room / "in").mkdir()
    count = write_corpus(room / "in" / "tales.txt", megabytes)
    stopped = run_part("corpus", room, stop_when=lambda: any((room / "work").glob("*")))
    left = [path for path in (room / "work").glob("*") if path.suffix == ".arrow"]
    done = run_part("corpus", room)
    told = json.loads((room / TOLD).read_text()) if done.code == 0 else {}
    whole = told.get("stories") == count and Path(f"{room / TOKENS}.bin").stat().st_size > megabytes * 1e5
    wrong = (
        _stop_fault(stopped) or (left and f"left {left[0].name}") or (not whole and f"{done.code}: {done.said[-300:]}")
    )
    return _row("text to a training step", f"{megabytes:,} MB, {count:,} stories", done, wrong)


def judge(room: Path, texts: int) -> LargeRow:
    """Every text graded once, though a tenth of the answers are none, and Ctrl-C comes when a third is there."""
    rng = random.Random(0)
    behaviours = [rng.choice(MISCHIEF) if rng.random() < SHARE else "good" for _ in range(2 * texts)]
    with JudgeServer(*behaviours) as server:
        stopped = run_part("judge", room, server.url, str(texts), stop_when=lambda: len(server.good) > texts // 3)
        done = run_part("judge", room, server.url, str(texts))
        twice = sum(server.good.values()) - len(server.good)
        log = judging(room, server.url, texts)
        missing = sum(not log.finished(task) for task in tasks(texts))
    wrong = _stop_fault(stopped) or (done.code and f"{done.code}: {done.said[-300:]}")
    wrong = (
        wrong or (missing and f"{missing} texts without an end") or (twice > log.judge.parallel and f"{twice} twice")
    )
    return _row("grades of a judge", f"{texts:,} texts, {SHARE:.0%} of the answers spoiled", done, wrong)


def playground(room: Path, seconds: float) -> LargeRow:
    """Pressed again and again, it ends with no more memory than it had after a third of the time."""
    done = run_part("playground", room, str(seconds))
    told = json.loads((room / TOLD).read_text()) if done.code == 0 else {}
    wrong = (done.code and f"{done.code}: {done.said[-300:]}") or (told["grown"] > 5 and f"{told['grown']:.1f} MB more")
    return _row("playground", f"{told.get('presses', 0):,} times 100 tokens", done, wrong)


def _stop_fault(stopped: End) -> str | None:
    if stopped.code == EXIT_INTERRUPTED and "Traceback" not in stopped.said:
        return None
    return f"Ctrl-C ended it with {stopped.code}: {stopped.said[-300:]}"


def _row(part: str, amount: str, done: End, wrong) -> LargeRow:
    found = LargeRow(
        part=part,
        amount=amount,
        seconds=round(done.seconds),
        peak_megabytes=round(done.peak_megabytes),
        failed=wrong or None,
    )
    print(found.model_dump_json(), flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="of text")
    parser.add_argument("--texts", type=int, default=10_000, help="for the judge")
    parser.add_argument("--seconds", type=float, default=3600, help="for the playground")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    rows = []
    for part, arguments in ((corpus, (given.megabytes,)), (judge, (given.texts,)), (playground, (given.seconds,))):
        with tempfile.TemporaryDirectory(prefix="pn-large-") as room:
            rows.append(part(Path(room), *arguments))
        LargeResult(rows=rows).write(PUBLISHED / LargeResult.FILE)
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
