"""What make says it would do: installing is announced and shows its progress, and the contents are opened."""

import os
import subprocess
import sys

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


# It installs nothing, but waits until a second make says that it waits, and writes down what it was called with.
PYTHON = """#!/bin/sh
echo "$*" >> calls
case "$*" in
    *" venv "*) rm -rf .venv; mkdir -p .venv/bin; cp python .venv/bin/python;;
    *" pip "*) for i in $(seq 300); do grep -q "waiting for it" said && break; sleep 0.1; done;;
    *fcntl*) exec {python} "$@";;
esac
"""


def test_of_two_makes_at_once_one_installs_and_the_other_waits_for_it(tmp_path):
    (tmp_path / "Makefile").write_text((REPOSITORY / "Makefile").read_text())
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "PYTHON=./python", ".venv/ready-dev"]
    with (tmp_path / "said").open("a") as said:
        makes = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said) for _ in range(2)]
        for make in makes:
            make.wait(timeout=60)
    assert [make.returncode for make in makes] == [0, 0]
    calls = (tmp_path / "calls").read_text().splitlines()
    assert sum(" venv " in call for call in calls) == 1
    assert (tmp_path / "said").read_text().count("waiting for it") == 1
