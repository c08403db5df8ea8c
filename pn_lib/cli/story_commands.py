"""Commands that judge and compare stories, publish results, and make what the course is made of."""

from pathlib import Path
from typing import Annotated

import typer

from pn_lib.cli.options import Profile, RunName, app


@app.command()
def judge(
    name: RunName,
    judges: Annotated[
        list[str],
        typer.Option("--judge", metavar="FILE", help="a judge's TOML file; may be repeated", show_default=False),
    ],
    stories: Annotated[int | None, typer.Option(metavar="N", help="only the first N beginnings, not all")] = None,
    pairs: Annotated[int, typer.Option(metavar="N", help="compare every two models on N beginnings too")] = 0,
    prompts: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="judge models' endings to this YAML list of beginnings, or tinystories: 44"),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="with --prompts: a model, as for generate; may be repeated"),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="only say what it would cost")] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="start even if the estimate is above max_cost, and stop there"),
    ] = False,
) -> None:
    """Let large language models grade a run's stories.

    Says what it will cost before it starts; what is answered is kept. A judge is a TOML file: name, base_url, model,
    api_key_env, ...
    """
    from pn_lib.run.commands.judge_command import judge_run

    summary = judge_run(name, judges, stories, pairs, prompts, models or [], estimate, yes)
    if summary is not None:
        print(summary)


@app.command()
def rate(
    name: RunName,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="what raters sent back, as CSV")] = None,
    pages: Annotated[int, typer.Option(metavar="N", help="of a new sheet; each takes about two minutes")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="another seed shows other endings")] = 0,
) -> None:
    """Let people grade a run's stories, blind.

    Without files: makes the page to send to raters. With the files that they send back: their grades and agreement.
    """
    from pn_lib.run.commands.rate_command import rate_run

    print(rate_run(name, files or [], pages, seed))


@app.command()
def slice(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the stories go", show_default=False)],
    hub: Annotated[
        Path | None, typer.Option("--from", metavar="FOLDER", help="the Hub's files; else fetch 5 GB")
    ] = None,
) -> None:
    """Gather the stories of the published runs from TinyStories.

    Says which of them it could not find.
    """
    from pn_lib.data.tinystories_slice import gather

    print(gather(out, hub))


@app.command()
def listen(
    name: Annotated[str, typer.Argument(metavar="RUN", help="its name, such as quick-tinystories", show_default=False)],
    ear: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="a folder of transformers or a GGUF file; without it, SmolLM2-135M-Instruct"
        ),
    ] = None,
    beginnings: Annotated[int, typer.Option(metavar="N", help="beginnings whose first endings are heard")] = 100,
) -> None:
    """Let a general language model hear a run's endings.

    How surprised is it, and what is a beginning worth to it? What it has heard is kept.
    """
    from pn_lib.run.commands.listen_command import listen as hear

    print(hear(name, ear, beginnings))


@app.command()
def compare(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a TOML file: corpus, stories, models")],
) -> None:
    """Set models beside a general one on the same stories."""
    from pn_lib.run.commands.compare_command import compare as measure
    from pn_lib.run.stages import output_root

    print(measure(file, output_root()))


@app.command()
def benchmark(
    peers: Annotated[
        bool, typer.Option("--peers", help="beside transformers and mambapy: pip install -e .[peers]")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="tiny sizes, only to see that it works")] = False,
    copies: Annotated[
        int | None,
        typer.Option(metavar="N", help="the index of N training stories too: 1000000 take some minutes"),
    ] = None,
) -> None:
    """Measure speed and memory: training, the scan, decoding."""
    from pn_lib.benchmark.command import benchmark as measure

    print(measure(peers, quick, copies))


@app.command()
def coherence(profile: Profile = "overnight") -> None:
    """Run a profile's experiments on coherence, one by one."""
    from pn_lib.run.coherence.experiments import make_of_profile

    make_of_profile(profile)


@app.command(hidden=True)  # for those who keep the repository
def publish(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="its name; or benchmark or coherence, for what that command made; or clock, for what runs took",
            show_default=False,
        ),
    ],
) -> None:
    """Copy a finished run's small files to published/."""
    from pn_lib.run.publish import publish as copy

    for path in copy(name):
        print(path)


@app.command(hidden=True)  # for those who write the course
def refresh() -> None:
    """Bring the notebooks' links, times and outputs up to date.

    The outputs are those of the run quick-pocket. Remakes contents, glossary, and the tables of README and guides too.
    """
    from pn_lib.course.refresh import refresh_notebooks

    for path in refresh_notebooks():
        print(path)


@app.command(hidden=True)  # make site
def site(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="where the pages go")] = Path("build/site"),
) -> None:
    """Make web pages of the notebooks, and check their links."""
    from pn_lib.course.site import build_site

    print(build_site(out))


@app.command(hidden=True)  # make assignment
def assignment(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="the course's folder; a gradebook in it stays")] = Path(
        "build/assignment"
    ),
) -> None:
    """Make nbgrader assignments of the exercises."""
    from pn_lib.course.assignment import build_assignments

    for path in build_assignments(out):
        print(path)
