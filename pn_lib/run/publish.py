"""Publishing a run: its small files, committed for everybody to read and to compare with."""

import shutil
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.key import digest
from pn_lib.models.base import LanguageModel
from pn_lib.models.loading import load_model
from pn_lib.run.coherence.experiments import COHERENCE, publish_experiments
from pn_lib.run.report import REPORT_FILES
from pn_lib.run.saved_models import PACKED
from pn_lib.run.stage_records import check_run, made
from pn_lib.run.stages import REPOSITORY, load_stages, output_root
from pn_lib.run.times import publish_clock

BENCHMARK = "benchmark"  # not a run, but published like one: tables only
CLOCK = "clock"  # nor this: times of the runs
BENCHMARK_FILES = ("machine.json", "training.csv", "scan.csv", "decoding.csv", "generation.csv")  # at least
SMALL = "small"  # the published model's name: the largest Transformer of the run that git may hold
SMALL_BYTES = 1_500_000  # of its weights, in float16
FILES = REPOSITORY / "results" / "published" / "reference" / "models"  # packed files under names of their own
# of results/<run>/: remade by a run, not kept in git
LARGE = {
    "stories",
    "tokens",
    "models",
    "notebooks",
    "work",
    "experiments",
    "sizes",
    "completions.json",
    "judge",
    "listening",
    "rating",
}


def publish(run: str) -> list[Path]:
    """Copy a finished run's results, figures and report to ``{results,figures,report}/published/<run>/``; to ``models``
    of the first its packed files, without those that are in ``published/reference`` already, and, as ``small``, a model
    of about a megabyte, in float16.

    ``run`` may be ``benchmark``: its tables, for the kind of processor that they were measured on; ``coherence``: the
    experiments made here, beside those that are published; or ``clock``: what the runs at hand took (see
    ``pn_lib.run.times``).

    Raises:
        InputError: the run does not exist, is not finished, or is not as its notebooks made it.
    """
    root = output_root()
    results = root / "results" / run
    if run == BENCHMARK:
        return [_publish_benchmark(results)]
    if run == COHERENCE:
        return publish_experiments()
    if run == CLOCK:
        return publish_clock()
    _check_finished(results, run)
    kept = [
        p
        for p in sorted(results.rglob("*"))
        if p.suffix in (".json", ".csv") and p.relative_to(results).parts[0] not in LARGE | {"stages"}
    ]
    packed = sorted(path for folder in (".", "packed") for path in (results / "models" / folder).glob(f"*{PACKED}"))
    kept += [path for path in packed if not _is_there(path)]
    figures = sorted((root / "figures" / run).glob("*.*"))
    report = [root / "report" / run / name for name in REPORT_FILES]
    missing = [path for path in report if not path.exists()]
    if missing:
        raise InputError(f"{missing[0]} is missing; run python -m pn_lib run again, which makes it")
    small = _small_model(results / "models")  # before anything is replaced: it may be damaged
    published = _replace(root / "results", run, kept)
    if small is not None:
        small.save(published / "models" / SMALL)
    return [published, _replace(root / "figures", run, figures), _replace(root / "report", run, report)]


def _is_there(file: Path) -> bool:
    twin = FILES / file.name
    return twin.exists() and digest(twin) == digest(file)


def _small_model(models: Path) -> LanguageModel | None:
    found = [
        load_model(path.parent)
        for path in sorted(models.rglob("config.json"))
        if path.parent.name.startswith("transformer")
    ]
    small = [model for model in found if 2 * model.n_parameters() <= SMALL_BYTES]
    return max(small, key=lambda model: model.n_parameters()).half() if small else None


def _publish_benchmark(results: Path) -> Path:
    missing = [name for name in BENCHMARK_FILES if not (results / name).exists()]
    if missing:
        raise InputError(f"the benchmark has no {missing[0]} in {results}; run python -m pn_lib benchmark to its end")
    kept = [path for path in sorted(results.iterdir()) if path.suffix in (".json", ".csv")]
    kind = read_json(results / "machine.json")["instructions"]
    return _replace(results.parent, BENCHMARK, kept, f"{BENCHMARK}/{kind}")


def _check_finished(results: Path, run: str) -> None:
    if not results.is_dir():
        raise InputError(f"there is no run {run} in {results.parent}; make it with python -m pn_lib run")
    for name in [*(stage.name for stage in load_stages()), "report"]:
        if made(results, name) is None:
            raise InputError(f"run {run} is not finished ({name} is missing); run it to its end first")
    check_run(results)


def _replace(room: Path, run: str, files: list[Path], name: str | None = None) -> Path:
    """Put copies of ``files`` (under ``room/run``) in place of ``room/published/name``, at once; the name is the run's
    unless given."""
    target = room / "published" / (name or run)
    fresh = target.with_name(f".{target.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for file in files:
        copy = fresh / file.relative_to(room / run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target
