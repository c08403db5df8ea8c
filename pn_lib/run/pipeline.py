"""The pipeline: papermill over the notebooks in order, then the report. What has not changed is skipped."""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import papermill
from filelock import FileLock, Timeout
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from pn_lib import hardware
from pn_lib.data.corpora import check_corpus
from pn_lib.errors import DivergenceError, InputError
from pn_lib.files import read_json, remove_unfinished, sha256, write_json
from pn_lib.run.inspect_command import AT_START, inspect_corpus
from pn_lib.run.machine_card import describe_machine
from pn_lib.run.papermill_engine import ENGINE
from pn_lib.run.profile import load_profile
from pn_lib.run.run import run_name, work_folder
from pn_lib.run.stages import REPOSITORY, Stage, load_stages, maker, output_root, stage_key
from pn_lib.training.distributed import best_device

USER_ERRORS = {InputError.__name__, DivergenceError.__name__}
REPORT = REPOSITORY / "report"
NOT_REPORTED = ("stages", "work", "models", "notebooks", "experiments", "sizes")  # of results/<run>/
REPORT_FILES = ("report.html", "report.pdf", "numbers.json")  # the first two to be read
SOURCES = (".py", ".md", ".bib", ".css", ".typ")  # of the report itself; its folder holds built ones too
FIGURE_ENDINGS = ("svg", "png", "json")


class StageError(RuntimeError):
    """A stage failed for a reason that is not the user's input; the message shows the cell and the error."""


class Pipeline:
    """All stages of one run.

    Args:
        profile: a profile's name, or the path of a TOML file.
        corpus: ``pocket``, ``tinystories`` or a path, relative to the output root or absolute.
        say: takes each line that tells a person what happens.
    """

    def __init__(self, profile: str, corpus: str, say: Callable[[str], None] = print):
        self.profile_argument = str(Path(profile).resolve()) if profile.endswith(".toml") else profile
        self.profile = load_profile(profile)
        self.corpus = corpus
        self.say = say
        root = output_root()
        if corpus != "tinystories":  # the Hub is asked only when stories must be fetched; notebook 01 says if it fails
            check_corpus(corpus, root, self.profile.data.naming)
        self.stages = load_stages()
        self.name = run_name(self.profile, corpus)
        self.results = root / "results" / self.name
        self.figures = root / "figures" / self.name
        self.report = root / "report" / self.name

    def run(self) -> list[Path]:
        """Bring the run up to date and return the report's files.

        Raises:
            InputError: bad input, here or in a notebook; a second pipeline on the same run; a full disk.
            StageError: a notebook or the report failed otherwise.
        """
        with self._locked(wait=False):
            self.say(inspect_corpus(self.corpus, self.profile, AT_START))
            self.say(hardware.summary(best_device()))
            self._bring_stages_up_to_date(self.stages)
            return self._bring_report_up_to_date()

    def prepare(self, artifact: str) -> None:
        """Bring the stages up to date that lead to ``artifact``. Of several processes one works, the others wait.

        Raises:
            InputError, StageError: as ``run``.
        """
        last = self.stages.index(maker(artifact, self.stages))
        with self._locked(wait=True):
            self._bring_stages_up_to_date(self.stages[: last + 1])

    @contextmanager
    def _locked(self, wait: bool) -> Iterator[None]:
        """Hold the run: nobody else writes to it meanwhile."""
        self.results.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.results / ".lock")  # the system lets go of it when this process dies, however it dies
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            raise InputError(
                f"run {self.name} is being made by another process; wait for it to end, "
                "or stop it, and run the same command again"
            ) from None
        try:
            for folder in (self.results, self.figures, self.report):
                remove_unfinished(folder)
            card = {
                "run": self.name,
                "profile": self.profile.name,
                "corpus": self.corpus,
                "settings": self.profile.settings(),
            }
            write_json(self.results / "run.json", card)
            yield
        finally:
            lock.release()

    def _bring_stages_up_to_date(self, stages: list[Stage]) -> None:
        for number, stage in enumerate(stages, start=1):
            self._bring_up_to_date(stage, f"[{number}/{len(self.stages)}] {stage.name}")

    # --- one stage ----------------------------------------------------------------------------------------------

    def _bring_up_to_date(self, stage: Stage, label: str) -> None:
        key = stage_key(stage, self.profile, self.corpus, self.results)
        if self._is_done(stage, key):
            self.say(f"{label}: unchanged")
            return
        self.say(f"{label}: running{self._expected(stage)}")
        self._remove_outputs(stage)
        finds_experiments = (self.results / "experiments" / stage.name).exists()
        started = time.perf_counter()
        self._execute(stage, label)
        missing = [name for name in stage.writes if not (self.results / name).exists()]
        if missing:
            raise StageError(f"{stage.name} ran to its end but did not write {', '.join(missing)}, as it declares")
        seconds = time.perf_counter() - started
        self._note_time(stage.name, seconds, finds_experiments)
        write_json(
            self._manifest(stage.name), {"key": key, "writes": list(stage.writes), "figures": self._figures_of(stage)}
        )
        shutil.rmtree(work_folder(self.results, stage), ignore_errors=True)
        self.say(f"{label}: done in {seconds:.0f} s")

    def _manifest(self, name: str) -> Path:
        return self.results / "stages" / f"{name}.json"

    def _is_done(self, stage: Stage, key: str) -> bool:
        if not self._manifest(stage.name).exists():
            return False
        manifest = read_json(self._manifest(stage.name))
        outputs = [self.results / name for name in stage.writes]
        outputs += [self.figures / f"{name}.{end}" for name in manifest.get("figures", ()) for end in FIGURE_ENDINGS]
        return manifest.get("key") == key and all(path.exists() for path in outputs)

    def _figures_of(self, stage: Stage) -> list[str]:
        sidecars = sorted(self.figures.glob("*.json"))
        return [path.stem for path in sidecars if read_json(path).get("notebook") == stage.name]

    def _remove_outputs(self, stage: Stage) -> None:
        """Nothing stale survives a rerun; the work folder, with unfinished training, does."""
        manifest = self._manifest(stage.name)
        before = read_json(manifest).get("writes", []) if manifest.exists() else []
        written = [self.results / name for name in sorted({*before, *stage.writes})]
        figures = [self.figures / f"{name}.{end}" for name in self._figures_of(stage) for end in FIGURE_ENDINGS]
        for path in [manifest, *written, *figures]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _execute(self, stage: Stage, label: str) -> None:
        output = self.results / "notebooks" / f"{stage.name}.ipynb"
        status, stderr = (self.results / "work" / name for name in ("progress", "kernel-stderr"))
        for folder in (output.parent, status.parent):
            folder.mkdir(parents=True, exist_ok=True)
        status.unlink(missing_ok=True)
        os.environ["PN_PROGRESS"] = str(status)  # the kernel inherits it
        quiet = bool(os.environ.get("CI")) or not sys.stderr.isatty()
        bar = {
            "desc": label,
            "leave": False,
            "disable": quiet,
            "bar_format": "{desc}: cell {n_fmt}/{total_fmt}, {elapsed} {postfix}",
        }
        try:
            papermill.execute_notebook(
                str(stage.path),
                str(output),
                {"profile": self.profile_argument, "corpus": self.corpus},
                engine_name=ENGINE,
                kernel_name="python3",
                cwd=str(stage.path.parent),
                request_save_on_cell_execute=False,  # every half minute and at the end is enough, and costs 2 s less
                progress_bar=bar,
                status_file=status,
                kernel_stderr=stderr,
            )
        except PapermillExecutionError as error:
            raise _explain(error, stage, output) from None
        except DeadKernelError:
            raise StageError(
                f"{stage.name}: its kernel died, most likely for lack of memory; choose a smaller "
                f"profile, or run again to go on. The executed notebook: {output}; what the kernel said "
                f"last: {stderr}"
            ) from None
        finally:
            del os.environ["PN_PROGRESS"]

    # --- times --------------------------------------------------------------------------------------------------

    def _stage_times(self) -> dict[str, dict]:
        path = self.results / "timings" / "stages.json"
        return {row["notebook"]: row for row in read_json(path).get("stages", [])} if path.exists() else {}

    def _expected(self, stage: Stage) -> str:
        last = self._stage_times().get(stage.name)
        return f" (last time {last['seconds']:.0f} s)" if last else ""

    def _note_time(self, name: str, seconds: float, finds_experiments: bool) -> None:
        """Seconds by stage, kept over runs that skip stages; and the peak memory (10^6 bytes) of any kernel so far.

        A stage that finds its experiments done takes less than it would from nothing: then the longer time stays.
        """
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e6
        path, times = self.results / "timings" / "stages.json", self._stage_times()
        before = read_json(path).get("peak_memory_mb", 0) if path.exists() else 0
        if finds_experiments and name in times:
            seconds = max(seconds, times[name]["seconds"])
        times[name] = {"notebook": name, "seconds": round(seconds, 1)}
        rows = [times[s.name] for s in self.stages if s.name in times]
        write_json(
            path,
            {
                "stages": rows,
                "total_seconds": round(sum(row["seconds"] for row in rows), 1),
                "peak_memory_mb": max(round(peak), before),
            },
        )
        write_json(self.results / "timings" / "machine.json", describe_machine())

    # --- the report ---------------------------------------------------------------------------------------------

    def _bring_report_up_to_date(self) -> list[Path]:
        files = [self.report / name for name in REPORT_FILES]
        key, manifest = self._report_key(), self._manifest("report")
        if manifest.exists() and read_json(manifest).get("key") == key and all(f.exists() for f in files):
            self.say("report: unchanged")
            return files[:2]
        started = time.perf_counter()
        command = [sys.executable, str(REPORT / "build.py"), self.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            message = (done.stderr.strip() or done.stdout.strip()).removeprefix("error: ")
            raise InputError(message) if done.returncode == 2 else StageError(f"the report failed:\n{message}")
        write_json(manifest, {"key": key})
        self.say(f"report: done in {time.perf_counter() - started:.0f} s")
        return files[:2]

    def _report_key(self) -> str:
        """A digest of the report's sources, and of the run's small files and figures."""
        inputs = [p for p in REPORT.rglob("*") if p.suffix in SOURCES]
        inputs += [
            p
            for p in self.results.rglob("*")
            if p.suffix in (".json", ".csv") and p.relative_to(self.results).parts[0] not in NOT_REPORTED
        ]
        inputs += [p for p in self.figures.glob("*") if p.suffix in (".svg", ".json")]
        lines = "\n".join(f"{path.name} {sha256(path)}" for path in sorted(inputs))
        return hashlib.sha256(lines.encode()).hexdigest()


def _explain(error: PapermillExecutionError, stage: Stage, output: Path) -> Exception:
    if error.ename in USER_ERRORS:
        return InputError(error.evalue)
    if "No space left on device" in error.evalue or "Disk quota exceeded" in error.evalue:
        return InputError(
            f"the disk is full (while {stage.name} ran); free some space and run the same command "
            "again, which goes on from the last whole result"
        )
    source = "\n".join(f"    {line}" for line in error.source.splitlines())
    return StageError(
        f"{stage.name} failed in cell {error.cell_index}:\n\n{source}\n\n"
        f"{error.ename}: {error.evalue}\n\nThe executed notebook, with the traceback: {output}"
    )
