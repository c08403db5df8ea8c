"""The pipeline: papermill over the notebooks in order, then the report. What has not changed is skipped."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pn_lib import hardware
from pn_lib.data.corpora import check_corpus
from pn_lib.errors import InputError
from pn_lib.files import read_json, remove_unfinished
from pn_lib.run.commands.inspect_command import AT_START, inspect_corpus
from pn_lib.run.execution import StageError, execute
from pn_lib.run.profile import load_profile
from pn_lib.run.profile_models import check_models
from pn_lib.run.report import REPORT_FILES, build_report, report_key
from pn_lib.run.results.provenance import RunCard
from pn_lib.run.room import check_room
from pn_lib.run.run import run_name, work_folder
from pn_lib.run.stage_records import REPORT, accept_by_hand, altered, forget_made, made, note_made
from pn_lib.run.stage_times import StageTimes
from pn_lib.run.stages import Stage, corpus_state, load_stages, maker, output_root, stage_key
from pn_lib.training.distributed import best_device

FIGURE_ENDINGS = ("svg", "png", "json")


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
        check_models(self.profile)
        self.corpus = corpus
        self.say = say
        root = output_root()
        if corpus != "tinystories":  # the Hub is asked only when stories must be fetched
            check_corpus(corpus, root, self.profile.data.naming)
        self.stages = load_stages()
        self.name = run_name(self.profile.name, corpus)
        self.results = root / "results" / self.name
        self.figures = root / "figures" / self.name
        self.report = root / "report" / self.name
        check_room(self.results, (self.figures, self.report), self.profile)
        self.times = StageTimes(self.results / "timings")

    def run(self) -> list[Path]:
        """Bring the run up to date and return the report's files.

        Raises:
            InputError: bad input, here or in a notebook; a second pipeline on the same run; a full disk.
            StageError: a notebook or the report failed otherwise.
        """
        with self._locked(wait=False):
            self.say(inspect_corpus(self.corpus, self.profile, AT_START))
            self.say(hardware.summary(best_device()))
            self._begin()
            self._bring_stages_up_to_date(self.stages)
            return self._bring_report_up_to_date()

    def prepare(self, artifact: str) -> None:
        """Bring the stages up to date that lead to ``artifact``. Of several processes one works, the others wait.

        Raises:
            InputError, StageError: as ``run``.
        """
        last = self.stages.index(maker(artifact, self.stages))
        with self._locked(wait=True):
            self._begin()
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
            yield
        finally:
            lock.release()

    def _begin(self) -> None:
        """Write down what the run is made from, and say if an earlier one of its name was made from something else."""
        path = self.results / "run.json"
        card = RunCard(
            run=self.name,
            profile=self.profile.name,
            corpus=self.corpus,
            content=corpus_state(self.corpus),
            settings=self.profile.settings(),
        )
        if path.exists() and any((self.results / "stages").glob("*.json")):
            was = read_json(path)
            if was.get("corpus", self.corpus) != self.corpus:
                self._say_replaced(f"was made from {was['corpus']} and is now made from {self.corpus}")
            elif was.get("content", card.content) != card.content:
                self._say_replaced(f"was made from {self.corpus} as it was before; it has changed since")
        card.write(path)

    def _say_replaced(self, why: str) -> None:
        self.say(
            f"run {self.name} {why}: this replaces its results, figures and report; only experiments that the stories "
            f"do not enter are kept (to keep all, copy results/{self.name}, figures/{self.name} and report/{self.name})"
        )

    def _bring_stages_up_to_date(self, stages: list[Stage]) -> None:
        if self.corpus == "tinystories" and self._must_fetch(stages[0]):
            check_corpus(self.corpus, output_root())
        for number, stage in enumerate(stages, start=1):
            self._bring_up_to_date(stage, f"[{number}/{len(self.stages)}] {stage.name}")

    def _must_fetch(self, first: Stage) -> bool:
        """Whether the first notebook will have to ask the Hub: no stories are here, finished or as they came."""
        fetched = any(work_folder(self.results, first).glob("*.arrow"))
        return not fetched and not self._is_up_to_date(first.name, self._key(first))

    def _key(self, stage: Stage) -> str:
        return stage_key(stage, self.profile, self.corpus, self.results)

    def _is_up_to_date(self, name: str, key: str, label: str = "") -> bool:
        """Whether the stage, or the report, was made under this key and is as it was made; with a label, say if not."""
        known = made(self.results, name, key)
        if known is None:
            return False
        wrong = altered(self.results, name, known)
        if wrong and label:
            fault = "is not as it was made" if wrong[0].exists() else "is missing"
            self.say(f"{label}: {wrong[0].name} {fault}, so that it is made anew")
        return not wrong

    def _bring_up_to_date(self, stage: Stage, label: str) -> None:
        key = self._key(stage)
        if self._is_up_to_date(stage.name, key, label):
            accept_by_hand(self.results, stage.name, key)
            self.say(f"{label}: unchanged")
            return
        known = self.times.seconds().get(stage.name)
        self.say(f"{label}: running" + (f" (last time {known:.0f} s)" if known is not None else ""))
        self._remove_outputs(stage)
        finds_experiments = (self.results / "experiments" / stage.name).exists()
        started = time.perf_counter()
        parameters = {"profile": self.profile_argument, "corpus": self.corpus}
        executed = self.results / "notebooks" / f"{stage.name}.ipynb"
        execute(stage.path, executed, parameters, self.results / "work", label)
        missing = [name for name in stage.writes if not (self.results / name).exists()]
        if missing:
            raise StageError(f"{stage.name} ran to its end but did not write {', '.join(missing)}, which it declares")
        seconds = time.perf_counter() - started
        self.times.note(stage.name, seconds, [stage.name for stage in self.stages], finds_experiments)
        note_made(self.results, stage.name, key, self._outputs(stage))
        shutil.rmtree(work_folder(self.results, stage), ignore_errors=True)
        self.say(f"{label}: done in {seconds:.0f} s")

    def _remove_outputs(self, stage: Stage) -> None:
        """Nothing stale survives a rerun; the work folder, with unfinished training, does."""
        before = made(self.results, stage.name) or ()
        forget_made(self.results, stage.name)
        for path in {*before, *self._outputs(stage)}:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _outputs(self, stage: Stage) -> list[Path]:
        """The artifacts of a stage, and the files of its figures."""
        sidecars = sorted(self.figures.glob("*.json"))
        figures = [path for path in sidecars if read_json(path).get("notebook") == stage.name]
        pictures = [path.with_suffix(f".{ending}") for path in figures for ending in FIGURE_ENDINGS]
        return [self.results / name for name in stage.writes] + pictures

    def _bring_report_up_to_date(self) -> list[Path]:
        files = [self.report / name for name in REPORT_FILES]
        key = report_key(self.results, self.figures)
        if self._is_up_to_date(REPORT, key, REPORT):
            self.say("report: unchanged")
        else:
            started = time.perf_counter()
            for note in build_report(self.name):
                self.say(note)
            note_made(self.results, REPORT, key, files)
            self.say(f"report: done in {time.perf_counter() - started:.0f} s")
        return files[:2]
