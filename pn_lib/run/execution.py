"""Executing one notebook: papermill, a progress line that also tells what a long cell is doing, and why it failed."""

import os
import sys
import tempfile
import threading
from pathlib import Path

import papermill
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets import Unicode
from traitlets.config import Config

from pn_lib.errors import DivergenceError, InputError

ENGINE = "pocketnarrator"
USER_ERRORS = {InputError.__name__, DivergenceError.__name__}


class StageError(RuntimeError):
    """A stage failed for a reason that is not the user's input; the message shows the cell and the error."""


class OwnKernelManager(AsyncKernelManager):
    """Starts this very interpreter, though another environment's ``python3`` may come first on Jupyter's path.

    Writes to a file what the kernel's process says beside its notebook: when stopped, it complains of sockets.
    """

    stderr_file = Unicode(os.devnull, config=True)

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())

    async def start_kernel(self, **options) -> None:
        with Path(self.stderr_file).open("w") as stderr:  # the process keeps it open
            await super().start_kernel(stderr=stderr, **options)


class ProgressEngine(NBClientEngine):
    """Shows, beside papermill's count of cells, the status line that ``pn_lib.progress`` keeps in a file."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, status_file: Path, kernel_stderr: Path, **kwargs):
        done = threading.Event()
        watcher = threading.Thread(target=cls._watch, args=(nb_man, status_file, done), daemon=True)
        watcher.start()
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                config = Config(
                    {
                        # sockets that only this user can reach, and not beside the notebook, which may be read-only
                        "KernelManager": {"transport": "ipc", "connection_file": f"{folder}/kernel.json"},
                        "OwnKernelManager": {"stderr_file": str(kernel_stderr)},
                    }
                )
                return super().execute_managed_notebook(
                    nb_man, kernel_name, config=config, kernel_manager_class=OwnKernelManager, **kwargs
                )
        finally:
            done.set()
            watcher.join()

    @staticmethod
    def _watch(nb_man, status_file: Path, done: threading.Event) -> None:
        while not done.wait(1.0):
            bar = nb_man.pbar
            if bar is not None and not bar.disable:
                status = status_file.read_text(encoding="utf-8") if status_file.exists() else ""
                bar.set_postfix_str(status)


papermill_engines.register(ENGINE, ProgressEngine)


def execute(notebook: Path, output: Path, parameters: dict[str, str], work: Path, label: str) -> None:
    """Run ``notebook`` in a kernel of its own; the executed one becomes ``output``, whole or up to what failed.

    Args:
        work: where the kernel's status and what it says beside the notebook are kept.
        label: stands before the progress line.

    Raises:
        InputError: a cell found bad input, or the disk is full.
        StageError: a cell failed otherwise, or the kernel died.
    """
    status, stderr = work / "progress", work / "kernel-stderr"
    for folder in (output.parent, work):
        folder.mkdir(parents=True, exist_ok=True)
    status.unlink(missing_ok=True)
    os.environ["PN_PROGRESS"] = str(status)  # the kernel inherits it
    bar = {
        "desc": label,
        "leave": False,
        "disable": bool(os.environ.get("CI")) or not sys.stderr.isatty(),
        "bar_format": "{desc}: cell {n_fmt}/{total_fmt}, {elapsed} {postfix}",
    }
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters,
            engine_name=ENGINE,
            kernel_name="python3",
            cwd=str(notebook.parent),
            request_save_on_cell_execute=False,  # every half minute and at the end is enough, and costs 2 s less
            progress_bar=bar,
            status_file=status,
            kernel_stderr=stderr,
        )
    except PapermillExecutionError as error:
        raise _explain_cell(error, notebook.stem, output) from None
    except RuntimeError as error:
        raise _explain_kernel(error, notebook.stem, output, stderr) from None
    finally:
        del os.environ["PN_PROGRESS"]


def _explain_cell(error: PapermillExecutionError, name: str, output: Path) -> Exception:
    if error.ename in USER_ERRORS:
        return InputError(error.evalue)
    if "No space left on device" in error.evalue or "Disk quota exceeded" in error.evalue:
        return InputError(
            f"the disk is full (while {name} ran); free some space and run the same command "
            "again, which goes on from the last whole result"
        )
    source = "\n".join(f"    {line}" for line in error.source.splitlines())
    return StageError(
        f"{name} failed in cell {error.cell_index}:\n\n{source}\n\n"
        f"{error.ename}: {error.evalue}\n\nThe executed notebook, with the traceback: {output}"
    )


def _explain_kernel(error: RuntimeError, name: str, output: Path, stderr: Path) -> Exception:
    if isinstance(error, DeadKernelError):
        return StageError(
            f"{name}: its kernel died, most likely for lack of memory; choose a smaller profile, or run again "
            f"to go on. The executed notebook: {output}; what the kernel said last: {stderr}"
        )
    if "kernel_info" in str(error):  # what a kernel is asked first
        said = stderr.read_text(encoding="utf-8", errors="replace").strip() or "nothing"
        return StageError(f"{name}: its kernel does not start; it said:\n{said}")
    return error
