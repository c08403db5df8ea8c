"""Whatever a terminal can show is printed, and a printed text never fails a command whose work is done."""

import io
import os
import subprocess
import sys

import pytest

from pn_lib import terminal
from pn_lib.cli import main

TEXT = "“Zoë’s café” — 3 cats…\n猫 and o\u0308"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", '"Zoe\'s cafe" - 3 cats...\n? and o'),
        ("latin-1", '"Zoë\'s café" - 3 cats...\n? and o'),
        ("utf-8", TEXT),
    ],
)
def test_letters_that_a_terminal_lacks_are_replaced(monkeypatch, encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr("pn_lib.course.site.build_site", lambda _: TEXT)
    assert main(["site"]) == 0
    assert stream.buffer.getvalue().decode(encoding) == f"{shown}\n"


def test_an_argument_is_what_was_typed_though_python_takes_the_terminal_for_ascii():
    code = "import sys; from pn_lib import terminal; print(ascii(terminal.typed(sys.argv[1])))"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code, TEXT], env=environment, capture_output=True, check=True)
    assert done.stdout.decode().strip() == ascii(TEXT)
    assert terminal.typed(TEXT) == TEXT


def test_a_closed_pipe_ends_a_command_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from pn_lib.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
