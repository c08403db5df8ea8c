"""Many independent experiments, one after another or side by side: here, in worker processes, or on a cluster.

Everything is a ``concurrent.futures.Executor``. Which one is said by the environment variable ``PN_EXECUTOR``, since it
changes where a study runs and, but for rounding, nothing that it finds:

    here                                  one after another in this process (the default)
    processes:4                           four worker processes, which share the cores among them
    slurm:partition=gpu,timeout_min=60    jobs of a SLURM cluster, through submitit, with submitit's own parameters
    local:timeout_min=60                  submitit's stand-in for a cluster: jobs that are processes of this machine
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch

from pn_lib.errors import InputError
from pn_lib.progress import progress
from pn_lib.training.experiment import Keyed, finished, run_experiment

VARIABLE = "PN_EXECUTOR"
JOBS_AT_ONCE = 64  # on a cluster; more would wait in its queue anyway


class Here(Executor):
    """Runs each call at once, in this thread: tracebacks, progress bars and Ctrl-C as if it were a plain loop."""

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Submitted(Executor):
    """A submitit executor, whose jobs are no futures, as one of concurrent.futures: a thread waits for each job."""

    def __init__(self, executor: Any):
        self.executor = executor
        self.threads = ThreadPoolExecutor(JOBS_AT_ONCE)

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return self.threads.submit(lambda: self.executor.submit(fn, *args, **kwargs).result())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.threads.shutdown(wait, cancel_futures=cancel_futures)


def make_executor(description: str | None = None, folder: Path | str = ".") -> Executor:
    """The executor that ``description``, or else ``PN_EXECUTOR``, describes; ``folder`` takes a cluster's logs.

    Raises:
        InputError: no such executor, or submitit is not installed.
    """
    description = description or os.environ.get(VARIABLE) or "here"
    kind, _, options = description.partition(":")
    if kind == "here" and not options:
        return Here()
    if kind == "processes" and options.isdecimal() and int(options) > 0:
        threads = max(1, torch.get_num_threads() // int(options))
        # spawn: a forked child would inherit the locks of this process's threads
        return ProcessPoolExecutor(int(options), multiprocessing.get_context("spawn"), _be_a_worker, (threads,))
    if kind in ("slurm", "local"):
        return _cluster(kind, options, folder)
    raise InputError(
        f"{VARIABLE} is {description!r}; it must be here, processes:<number>, slurm:<options> or local:<options>"
    )


def _be_a_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    os.environ["CI"] = "1"  # one bar, in the parent, is enough


def _cluster(kind: str, options: str, folder: Path | str) -> Executor:
    try:
        import submitit  # an optional dependency
    except ImportError:
        raise InputError(f"{VARIABLE} asks for {kind}, which needs submitit: pip install submitit") from None
    executor = submitit.AutoExecutor(folder=Path(folder) / "jobs", cluster=kind)
    pairs = [option.partition("=") for option in options.split(",") if option]
    try:
        executor.update_parameters(**{key: int(value) if value.isdecimal() else value for key, _, value in pairs})
    except (NameError, TypeError, ValueError) as error:
        raise InputError(f"{VARIABLE}: submitit does not take {options!r}: {error}") from None
    return Submitted(executor)


def run_study(
    experiments: Sequence[Keyed],
    folder: Path | str,
    description: str,
    executor: Executor | None = None,
    run: Callable[[Any, str], dict[str, Any]] = run_experiment,
) -> list[dict[str, Any]]:
    """The results of all experiments, in their order. Finished ones are read; a killed study goes on where it was.

    ``run`` makes a result of one of them and the folder; for tasks of memory it is ``run_task_experiment``.

    Raises:
        InputError: two experiments have one name.
        DivergenceError: an experiment diverged. The others of its study are finished first, and kept.
    """
    if len({experiment.name for experiment in experiments}) < len(experiments):
        raise InputError(f"two experiments of {description!r} have the same name")
    results = [finished(experiment, folder) for experiment in experiments]
    todo = [i for i, result in enumerate(results) if result is None]
    executor = executor or make_executor(folder=folder)
    try:
        with progress(description=description, total=len(todo), unit="run") as bar:
            futures = {}
            for i in todo:
                futures[i] = executor.submit(run, experiments[i], str(folder))
                futures[i].add_done_callback(lambda _: bar.update())
            wait(futures.values())
    finally:
        executor.shutdown(cancel_futures=True)
    return [futures[i].result() if result is None else result for i, result in enumerate(results)]
