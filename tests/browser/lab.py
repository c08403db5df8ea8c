"""A real JupyterLab on a copy of the notebooks, as somebody would start it, with settings of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from playwright.sync_api import Browser, Page

from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

SETTINGS = {
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # all cells are drawn, also those not in view
    "docmanager-extension/plugin": '{"autosave": false}',
}


@dataclass(frozen=True)
class Lab:
    """A server that answers."""

    url: str
    token: str

    def open(self, browser: Browser, path: str) -> Page:
        """A page that shows one notebook alone."""
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{self.url}/lab/tree/{path}?reset&token={self.token}")
        page.wait_for_function(
            "path => window.jupyterapp?.shell.currentWidget?.context?.path === path", arg=path, timeout=60_000
        )
        page.evaluate("async () => { await jupyterapp.shell.currentWidget.context.ready }")
        page.wait_for_selector(".jp-RenderedMarkdown a[href*='/files/']", timeout=30_000)  # all have links
        return page


@contextmanager
def start_lab(root: Path) -> Iterator[Lab]:
    """JupyterLab on a copy of the notebooks in ``root``, where it also keeps its runs and all its settings."""
    _copy_course(root)
    lab = Lab(f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16))
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={lab.url.rsplit(':', 1)[1]}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root}",
        f"--IdentityProvider.token={lab.token}",
        "--LabApp.expose_app_in_browser=True",
    ]
    log = root / "server.log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=_environment(root), cwd=root) as server,
    ):
        try:
            _wait_for(lab, server, log)
            yield lab
        finally:
            server.terminate()


def _copy_course(root: Path) -> None:
    shutil.copytree(NOTEBOOKS, root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(REPOSITORY / "report" / "published", root / "report" / "published")
    for name, text in SETTINGS.items():
        path = root / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _environment(root: Path) -> dict[str, str]:
    private = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "PN_ROOT": "run",
    }
    environment = os.environ | {name: str(root / folder) for name, folder in private.items()}
    environment |= {"PN_PROFILE": "smoke", "PN_CORPUS": "pocket"}
    environment.pop("CI", None)  # what a person sees: live curves and progress bars too
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    for _ in range(720):
        assert server.poll() is None, f"JupyterLab stopped:\n{log.read_text()}"
        try:
            urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}").close()
            return
        except URLError:
            time.sleep(0.25)
    raise AssertionError(f"JupyterLab does not answer after three minutes:\n{log.read_text()}")
