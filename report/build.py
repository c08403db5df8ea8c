"""Build a run's report: ``python report/build.py quick-pocket``.

Reads ``results/<run>`` and ``figures/<run>`` below PN_ROOT (the repository, where it is not set) and writes
``report/<run>/report.html``, ``report.pdf`` and ``numbers.json``, which lists each number the text draws on with its
file and key. The same inputs give the same bytes. Bad input ends with one sentence and exit code 2.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import render
from context import build_context
from sources import Run

from pn_lib.errors import InputError
from pn_lib.files import atomic, write_text
from pn_lib.run.stage_records import check_run


def build(root: Path, name: str) -> list[Path]:
    """Build the report of run ``name`` below ``root`` and return the paths of HTML and PDF.

    Raises:
        InputError: a result or a figure is missing or damaged, or is not as the run made it.
    """
    check_run(root / "results" / name)
    run = Run(root, name)
    numbering = render.Numbering(run)
    markdown = render.render_markdown(build_context(run), numbering)
    target = root / "report" / name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        render.copy_figures(numbering.figures, folder)
        built = [render.write_html(markdown, folder), render.write_pdf(markdown, numbering.figures, folder)]
        for path in built:
            with atomic(target / path.name) as place:
                shutil.copyfile(path, place)
    write_text(target / "numbers.json", run.numbers())
    return [target / path.name for path in built]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="name of a finished run, e.g. quick-pocket")
    name = parser.parse_args().run
    root = Path(os.environ.get("PN_ROOT") or render.HERE.parent).resolve()
    try:
        for path in build(root, name):
            print(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: the report could not be written ({error}); mend that and run again", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
