"""What make says it would do: installing is announced and shows its progress, and the contents are opened."""

import subprocess

import pytest

from pn_lib.run.stages import REPOSITORY


@pytest.fixture(scope="module")
def commands() -> list[str]:
    """Of `make lab` in a fresh clone, none of them carried out."""
    make = ["make", "--dry-run", "--always-make", "--no-print-directory", "lab"]  # tests may run under make themselves
    return subprocess.run(make, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_download_is_announced_and_its_progress_shown(commands):
    [install] = [number for number, line in enumerate(commands) if " pip install " in line]
    assert commands[install - 1].startswith("echo ") and "about 1 GB" in commands[install - 1]
    assert "quiet" not in commands[install] and "--progress-bar off" not in commands[install]


def test_jupyterlab_opens_the_contents(commands):
    assert commands[-1].endswith(" notebooks/contents.ipynb") and "jupyterlab" in commands[-1]
    assert (REPOSITORY / commands[-1].split()[-1]).exists()
