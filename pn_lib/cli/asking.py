"""The commands that ask others about a run's stories, or about models: judges, people, a general language model."""

from typing import Annotated

import typer

RunName = Annotated[str, typer.Argument(metavar="RUN", help="its name, such as quick-pocket", show_default=False)]


def judge(
    name: RunName,
    judges: Annotated[
        list[str],
        typer.Option("--judge", metavar="FILE", help="a judge's TOML file; may be repeated", show_default=False),
    ],
    stories: Annotated[int | None, typer.Option(metavar="N", help="only the first N beginnings, not all")] = None,
    pairs: Annotated[int, typer.Option(metavar="N", help="compare every two tellers on N beginnings too")] = 0,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="judge what models write from this YAML list of beginnings, or tinystories: 44"
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="with --prompts: a model, as for generate; may be repeated"),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="only say what it would cost")] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="start though the estimate is above max_cost, and stop there"),
    ] = False,
) -> None:
    """Let large language models grade a run's stories.

    Says what it will cost before it starts; what is answered is kept. A judge is a TOML file: name, base_url, model,
    api_key_env, ...
    """
    from pn_lib.run.judge_command import judge_run

    summary = judge_run(name, judges, stories, pairs, prompts, models or [], estimate, yes)
    if summary is not None:
        print(summary)


def rate(
    name: RunName,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="what raters sent back, as CSV")] = None,
    pages: Annotated[int, typer.Option(metavar="N", help="of a new sheet; each takes about two minutes")] = 10,
    seed: Annotated[int, typer.Option(metavar="N", help="another seed shows other endings")] = 0,
) -> None:
    """Let people grade a run's stories, blind.

    Without files: makes the page to send to raters. With the files that they send back: their grades and agreement.
    """
    from pn_lib.run.rate_command import rate_run

    print(rate_run(name, files or [], pages, seed))


def listen(
    name: RunName,
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
    from pn_lib.run.listen_command import listen as hear

    print(hear(name, ear, beginnings))


def compare(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a TOML file: corpus, stories, models")],
) -> None:
    """Set models beside a general one on the same stories."""
    from pn_lib.run.compare_command import compare as measure
    from pn_lib.run.stages import output_root

    print(measure(file, output_root()))
