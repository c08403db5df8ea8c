"""papermill's engine with a progress line that also tells what a long cell is doing."""

import threading
from pathlib import Path

from jupyter_client import AsyncKernelManager
from papermill.engines import NBClientEngine, papermill_engines
from traitlets import Unicode
from traitlets.config import Config

ENGINE = "pocketnarrator"


class QuietKernelManager(AsyncKernelManager):
    """Writes to a file what the kernel's process says beside its notebook: when stopped, it complains of sockets."""

    stderr_file = Unicode(config=True)

    async def start_kernel(self, **options) -> None:
        with Path(self.stderr_file).open("w") as stderr:  # the process keeps it open
            await super().start_kernel(stderr=stderr, **options)


class ProgressEngine(NBClientEngine):
    """Shows, beside papermill's count of cells, the status line that ``pn_lib.progress`` keeps in a file."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, status_file: Path, kernel_stderr: Path, **kwargs):
        config = Config(
            {
                "KernelManager": {"transport": "ipc"},  # a kernel that only this user can reach
                "QuietKernelManager": {"stderr_file": str(kernel_stderr)},
            }
        )
        done = threading.Event()
        watcher = threading.Thread(target=cls._watch, args=(nb_man, status_file, done), daemon=True)
        watcher.start()
        try:
            return super().execute_managed_notebook(
                nb_man, kernel_name, config=config, kernel_manager_class=QuietKernelManager, **kwargs
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
