"""Without a home directory that can be written, libraries get a temporary folder, and it is said once."""

import os
import subprocess
import sys
from pathlib import Path

from pn_lib.process import AT_HOME


def settled(before: str, after: str, **variables: str) -> tuple[list[str], str]:
    """The words that a new process prints after ``import pn_lib``, and what it says beside them."""
    unset = {*AT_HOME, "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    code = f"import os, subprocess, sys\n{before}\nimport pn_lib\n{after}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.split(), done.stderr


SHOW = f"print(*(os.environ.get(name) for name in {(*AT_HOME, 'NUMBA_CACHE_DIR')}))"
AGAIN = f"{SHOW}; sys.stdout.flush(); subprocess.run([sys.executable, '-c', 'import pn_lib'], check=True)"


def test_a_home_that_can_be_written_stays_in_use(tmp_path):
    assert settled("", SHOW, HOME=str(tmp_path)) == (["None"] * 6, "")


def test_without_a_home_there_is_a_temporary_one_and_one_notice(tmp_path):
    home = tmp_path / "absent"
    words, said = settled("", AGAIN, HOME=str(home), XDG_CACHE_HOME=str(tmp_path))
    assert said.startswith(f"the home directory {home} cannot be written") and said.count("\n") == 1
    assert words[-2:] == ["None", "None"]  # the Hub's and Numba's lie in the cache, which can be written
    folders = {Path(word).parent for word in words[:-2]}
    assert len(folders) == 1 and not folders.pop().exists()  # it went with its process


def test_kernels_are_kept_there_if_their_source_cannot_be_written_either(tmp_path):
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)  # can be read: stays in use
    words, said = settled("os.access = lambda *_: False", SHOW, HOME=str(tmp_path))
    assert words[-1].endswith("numba_cache_dir") and "kernels are compiled anew" in said
    assert words[AT_HOME.index("HF_HOME")] == "None"
