"""Where a reader is in the course: which notebooks of the run are done, and which comes next."""

import os

from IPython.display import Markdown

from pn_lib import hardware
from pn_lib.course.pages import Lesson, duration, load_lessons
from pn_lib.run.profile import load_profile
from pn_lib.run.run import run_command, run_name
from pn_lib.run.stages import load_stages, output_root

DONE, NEXT, LATER = "✓", "**→**", "·"


def whats_next() -> Markdown:
    """The lessons of the run that the notebooks open, as ``PN_PROFILE`` and ``PN_CORPUS`` name it: a list with links.

    A notebook is done when all that it declares to write is there.

    Raises:
        InputError: there is no such profile.
    """
    asked, corpus = os.environ.get("PN_PROFILE", "quick"), os.environ.get("PN_CORPUS", "pocket")
    profile = load_profile(asked).name
    name = run_name(profile, corpus)
    results = output_root() / "results" / name
    done = [all((results / artifact).exists() for artifact in stage.writes) for stage in load_stages()]
    lines = [
        f"- {DONE if ready else NEXT if number == done.index(False) else LATER} {lesson.link}"
        f"{'' if ready else _takes(lesson, profile)}"
        for number, (lesson, ready) in enumerate(zip(load_lessons(), done, strict=False))  # appendices belong to no run
    ]
    end = "" if False in done else f"\n\nAll are done. This command builds the report: `{run_command(asked, corpus)}`"
    return Markdown(f"Run **{name}**: {sum(done)} of {len(done)} notebooks done.\n\n" + "\n".join(lines) + end)


def _takes(lesson: Lesson, profile: str) -> str:
    """How long running it took on a processor like this one, if that was measured."""
    seconds = lesson.seconds.get(hardware.instructions(), {}).get(profile)
    return "" if seconds is None else f", runs about {duration(seconds)} on two cores"
