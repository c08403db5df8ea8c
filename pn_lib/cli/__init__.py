"""The command line: ``python -m pn_lib run | train | generate | evaluate | judge | ...``.

A command imports what it needs when it is called, so that help and mistakes in typing are answered at once.
"""

import logging
import sys

import typer

from pn_lib import terminal
from pn_lib.cli import model_commands, story_commands  # noqa: F401  they are registered
from pn_lib.cli.options import app
from pn_lib.errors import InputError
from pn_lib.terminal import PROGRAM

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141
NO_MEMORY = ("can't allocate memory", "can't start new thread")  # as PyTorch and Python say it
# What Ctrl-C leaves, by command.
STOPPED = {
    "train": "the same command goes on from the last checkpoint",
    "judge": "what was answered is kept, and the same command goes on from there",
    "listen": "what was heard is kept, and the same command goes on from there",
    "benchmark": "the tables finished so far are saved",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 a stage failed, 2 bad input, 130 stopped by Ctrl-C, 141 nobody
    reads what it prints any more."""
    terminal.settle()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    stopped = STOPPED.get(arguments[0] if arguments else "", "the same command goes on from the last whole result")
    command = typer.main.get_command(app)
    try:
        with command.make_context(PROGRAM, arguments.copy()) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:  # --help
        return end.exit_code
    except typer.TyperException as error:
        return terminal.fail(terminal.usage_message(error), EXIT_BAD_INPUT)
    except InputError as error:
        return terminal.fail(terminal.shortened(str(error)), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        logging.disable()  # nbclient's unfinished tasks would end with tracebacks
        return terminal.fail(f"stopped; {stopped}", EXIT_INTERRUPTED)
    except (MemoryError, RuntimeError) as error:
        from pn_lib.run.execution import StageError  # imported already, if it is one

        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            return terminal.fail(terminal.OUT_OF_MEMORY, EXIT_BAD_INPUT)
        if not isinstance(error, StageError):
            raise
        return terminal.fail(str(error), EXIT_FAILED)
    except (ImportError, SystemError) as error:  # PyTorch's and Python's own, where memory ends while code is loaded
        return terminal.fail(
            f"a library fails ({error}); if memory is short, close other programs, or install again: "
            "make --always-make .venv/ready",
            EXIT_BAD_INPUT,
        )
    except BrokenPipeError:
        terminal.abandon_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        return terminal.fail(terminal.system_message(error), EXIT_BAD_INPUT)
    return 0
