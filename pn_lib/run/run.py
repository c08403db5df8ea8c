"""A run, as a notebook sees it: its profile, where its artifacts lie, and how results and figures are kept."""

import ast
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
from IPython import get_ipython
from matplotlib.figure import Figure

from pn_lib.data.corpus_paths import NAMED_CORPORA, corpus_name, corpus_path
from pn_lib.errors import InputError, suggestion
from pn_lib.files import atomic, check_writable, read_json, write_json, write_text
from pn_lib.run.plotting import draw, draw_png
from pn_lib.run.profile import load_profile
from pn_lib.run.results.result import Result, Row
from pn_lib.run.sections import Sections
from pn_lib.run.stage_records import check_made, note_by_hand
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY, Stage, covers, load_stages, maker, output_root, stage_key
from pn_lib.run.surroundings import check_own_package, warn_of_little_memory

PARAMETERS = ("profile", "corpus")  # of every notebook
PAPERMILL = "# Parameters\n"  # how the cell begins that it adds

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Run:
    """One stage of one run, made by ``open_run``. Of its profile only what the notebook declares can be read."""

    profile: Sections
    corpus: str
    stage: Stage
    root: Path
    asked: str  # the profile as it was asked for: its name, or the path of its file

    @property
    def name(self) -> str:
        return run_name(self.profile.name, self.corpus)

    @property
    def results(self) -> Path:
        return self.root / "results" / self.name

    @property
    def figures(self) -> Path:
        return self.root / "figures" / self.name

    @property
    def work(self) -> Path:
        """Scratch of this stage, checkpoints among it; kept until the stage is done, so that training resumes."""
        return work_folder(self.results, self.stage)

    @property
    def experiments(self) -> Path:
        """Results of this notebook's experiments, a small file each. They stay, so that a changed sentence in the
        notebook trains nothing again; what an experiment depends on is known to itself."""
        return self.results / "experiments" / self.stage.name

    def path(self, artifact: str) -> Path:
        """Where an artifact lies that this notebook declares to read or write (``results/<run>/<artifact>``).

        Raises:
            InputError: it is not declared, or is to be read and missing, or is not as the pipeline made it; the message
                says which notebook makes it.
        """
        path = self.results / artifact
        if any(covers(declared, artifact) for declared in self.stage.writes):
            note_by_hand(self.results, self.stage.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            return path
        declared = next((d for d in self.stage.reads if covers(d, artifact)), None)
        if declared is None:
            raise InputError(
                f"{self.stage.name} does not declare that it reads or writes {artifact!r}; "
                "declare it in the notebook's metadata"
            )
        if not (self.results / declared).exists():
            made_by = maker(declared, load_stages())
            first = (
                f"run notebook {made_by.name} first, or all of them with this command in a terminal: "
                f"{run_command(self.asked, self.corpus)}"
                if made_by
                else "no notebook makes it"
            )
            raise InputError(f"{artifact!r} of run {self.name} is not there: {first}")
        check_made(self.results, artifact)
        return path

    def save(self, result: Result) -> None:
        """Write a result's file. What depends on the clock or the machine lies in ``timings/``; all else is, byte for
        byte, what the same seed and profile give again."""
        result.write(self.path(result.FILE))

    def save_table(self, kind: type[Row], table: pd.DataFrame) -> None:
        """Write a table whose columns are the fields of ``kind``."""
        kind.write([kind(**row) for row in table.to_dict("records")], self.path(kind.FILE))

    def read(self, kind: type[R]) -> R:
        """A result that another notebook saved.

        Raises:
            InputError: as `path`, or the file is damaged.
        """
        self.path(kind.FILE)
        return kind.read(self.results)

    def save_figure(self, figure: Figure, name: str, alt: str) -> None:
        """Write ``figures/<run>/<name>.svg`` and ``.png``, and a sidecar that says where they come from.

        Args:
            alt: what the figure shows, in words, for those who cannot see it; the notebook's picture carries it too.
        """
        figure.set_label(alt)
        note_by_hand(self.results, self.stage.name)
        folder = self.figures
        sidecar = {
            "notebook": self.stage.name,
            "cell": executing_cell(self.stage.path),
            "alt": alt,
            "commit": commit(),
            "parameters": {"profile": self.profile.name, "corpus": self.corpus},
        }
        write_json(folder / f"{name}.json", sidecar)  # first: whatever lies beside it then has an owner
        with atomic(folder / f"{name}.svg") as temporary:
            temporary.write_bytes(draw(figure, format="svg", metadata={"Date": None}))
        figure.set_layout_engine("none")  # it is laid out now, which takes as long as to draw it
        with atomic(folder / f"{name}.png") as temporary:
            temporary.write_bytes(draw_png(figure))


def open_run(profile: str, corpus: str, notebook: str) -> Run:
    """Open the run named by ``profile`` and ``corpus`` for one of the course's notebooks.

    Raises:
        InputError: the kernel has another repository's pn_lib; unknown profile, corpus or notebook; papermill was given
            a parameter that no notebook has; or results cannot be written.
    """
    check_own_package(Path.cwd())
    if shell := get_ipython():
        check_parameters(shell.history_manager.input_hist_raw)
    stage = next((s for s in load_stages() if s.name == notebook), None)
    if stage is None:
        raise InputError(f"no notebook named {notebook!r} in {NOTEBOOKS.name}/")
    whole = load_profile(profile)
    warn_of_little_memory(whole.name)
    run = Run(Sections(whole, stage.profile, stage.name), corpus, stage, output_root(), profile)
    check_writable(run.results)
    run.results.mkdir(parents=True, exist_ok=True)
    key, marker = stage_key(stage, whole, corpus, run.results, with_notebook=False), run.work / "key"
    if not marker.exists() or marker.read_text() != key:  # other code, settings or inputs would not go on with it
        shutil.rmtree(run.work, ignore_errors=True)
        write_text(marker, key)
    return run


def check_parameters(cells: Iterable[str]) -> None:
    """Look through the cells that were run for the one that papermill adds, with what it was given: -p NAME VALUE.

    Raises:
        InputError: no notebook has a parameter of such a name: it would be without effect.
    """
    for cell in cells:
        for name in _given(cell) if cell.startswith(PAPERMILL) else ():
            if name not in PARAMETERS:
                near = suggestion(name, PARAMETERS)
                raise InputError(f"no notebook has a parameter {name!r}; they have {' and '.join(PARAMETERS)}{near}")


def _given(cell: str) -> list[str]:
    """The names that papermill's cell sets; none in a reader's own, should it begin with the same words."""
    try:
        lines = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError):
        return []
    targets = [target for line in lines if isinstance(line, ast.Assign) for target in line.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def executing_cell(notebook: Path) -> str | None:
    """The id of the cell of ``notebook`` that is being executed; None outside of a kernel, and of a cell that was
    changed and not yet saved."""
    shell = get_ipython()
    if shell is None:
        return None
    source = shell.history_manager.input_hist_raw[-1]
    cells = read_json(notebook)["cells"]
    return next((cell["id"] for cell in cells if "".join(cell["source"]).rstrip("\n") == source), None)


def work_folder(results: Path, stage: Stage) -> Path:
    return results / "work" / stage.name


def run_name(profile: str, corpus: str) -> str:
    return f"{profile}-{corpus_name(corpus)}"


def run_command(profile: str, corpus: str) -> str:
    """The command that makes a whole run with this interpreter, to be copied into a terminal, whatever its folder."""
    settings = str(Path(profile).resolve()) if profile.endswith(".toml") else profile
    stories = corpus if corpus in NAMED_CORPORA else str(corpus_path(corpus, output_root()))
    return shlex.join([sys.executable, "-m", "pn_lib", "run", "--profile", settings, "--corpus", stories])


def commit() -> str:
    """The repository's commit, with ``+`` where tracked files differ from it; ``none`` outside a clone."""
    head = _git("rev-parse", "--short=12", "HEAD")
    return f"{head}+" if head and _git("status", "--porcelain", "--untracked-files=no") else head or "none"


def commit_date() -> str | None:
    """The day of that commit, as 2026-11-29; None outside a clone."""
    return _git("show", "--no-patch", "--format=%cs", "HEAD") or None


def _git(*words: str) -> str:
    """What git prints; nothing where it fails."""
    done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()
