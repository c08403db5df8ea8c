"""The command line: ``python -m pn_lib run | train | generate | evaluate | judge | ...``."""

import argparse
import errno
import logging
import os
import sys
from dataclasses import fields
from pathlib import Path

from pn_lib.errors import DivergenceError, InputError
from pn_lib.run.stages import NAMED_CORPORA, REPOSITORY, output_root

MODEL_HELP = (
    "RUN/NAME of a run, such as quick-pocket/transformer; the folder of a saved model, ours or of "
    "transformers; a llama2.c .bin file with its tokenizer beside it; or owner/name on the Hub"
)
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 1 a stage failed, 2 bad input, 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    from pn_lib.run.pipeline import StageError  # after the arguments are known to be good: this imports torch

    try:
        options.command(options)
    except InputError as error:
        return _fail(str(error), EXIT_BAD_INPUT)
    except (StageError, DivergenceError) as error:
        return _fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        logging.disable()  # nbclient's unfinished tasks would end with tracebacks
        return _fail(f"stopped; {options.stopped}", EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(
            "the disk is full; free some space and run the same command again, which goes on from the "
            "last whole result",
            EXIT_BAD_INPUT,
        )
    return 0


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pn_lib", description="PocketNarrator: small models, told stories.")
    parser.set_defaults(stopped="the same command goes on from the last whole result")
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run all notebooks, then build the report; skips what has not changed")
    run.add_argument("--profile", default="quick", help="smoke, quick, laptop, paper, or a .toml file (default: quick)")
    run.add_argument(
        "--corpus",
        default="pocket",
        help="pocket, tinystories (the Hub), or a file or folder of your stories (default: pocket)",
    )
    run.set_defaults(command=_run)

    inspect = commands.add_parser("inspect", help="say what a run would see of a corpus, or what a saved model is")
    inspect.add_argument("target", metavar="CORPUS|MODEL", help="a corpus as for run, or a model as for generate")
    inspect.add_argument("--profile", default="quick", help="whose run would see the corpus (default: quick)")
    inspect.set_defaults(command=_inspect)

    train = commands.add_parser(
        "train",
        help="train a profile's Transformer, alone or, by torchrun, in many processes",
        description="torchrun --nproc-per-node N -m pn_lib train ... trains in N processes",
    )
    train.add_argument("--profile", default="quick", help="as for run (default: quick)")
    train.add_argument("--corpus", default="pocket", help="as for run (default: pocket)")
    train.add_argument("--size", help="a named size of the profile instead of its own model, such as paper's 8M")
    train.add_argument("--dry-run", action="store_true", help="say what it would take, after two steps of each size")
    train.add_argument("--device", help="with --dry-run: hours on it too; t4, l4, rtx4090, a100 or h100")
    train.set_defaults(command=_train, stopped="the same command goes on from the last checkpoint")

    generate = commands.add_parser("generate", help="tell a story with any saved model")
    generate.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    generate.add_argument("prompt", nargs="?", metavar="BEGINNING", help="how the story begins (default: from nothing)")
    generate.add_argument("--max-new-tokens", type=int, default=300)
    generate.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token each time")
    generate.add_argument("--top-k", type=int)
    generate.add_argument("--top-p", type=float)
    generate.add_argument("--min-p", type=float)
    generate.add_argument("--seed", type=int, default=0)
    generate.set_defaults(command=_generate)

    evaluate = commands.add_parser("evaluate", help="measure any saved model: likelihood, probes, its stories")
    evaluate.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    evaluate.add_argument("--corpus", default="pocket", help="as for run (default: pocket)")
    evaluate.add_argument("--stories", type=int, default=300, help="validation stories to score (default: 300)")
    evaluate.add_argument(
        "--train-stories", type=int, default=10_000, help="training stories to look for copies in (default: 10000)"
    )
    evaluate.add_argument("--completions", type=int, default=60, help="beginnings to finish (default: 60)")
    evaluate.add_argument("--repeats", type=int, default=2, help="endings for each of them (default: 2)")
    evaluate.add_argument("--max-new-tokens", type=int, default=250)
    evaluate.add_argument("--temperature", type=float, default=1.0)
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--out", metavar="FILE", help="write all figures, with their intervals, to this JSON file")
    evaluate.set_defaults(command=_evaluate)

    judge = commands.add_parser(
        "judge",
        help="let large language models grade a run's stories, at any endpoint",
        description="Says what it will cost before it starts; what is answered is kept. "
        "A judge is a TOML file: name, base_url, model, api_key_env, ...",
    )
    judge.add_argument("run", metavar="RUN", help="its name, such as quick-tinystories")
    judge.add_argument("--judge", action="append", required=True, metavar="FILE", help="a judge; may be repeated")
    judge.add_argument("--stories", type=int, metavar="N", help="only the first N beginnings (default: all)")
    judge.add_argument(
        "--pairs",
        type=int,
        default=0,
        metavar="N",
        help="compare every two tellers on N beginnings too, in both orders (default: 0)",
    )
    judge.add_argument(
        "--prompts",
        metavar="FILE",
        help="judge what models write from this YAML list of beginnings; tinystories: the dataset's 44",
    )
    judge.add_argument(
        "--model", action="append", default=[], metavar="MODEL", help=f"with --prompts; may be repeated: {MODEL_HELP}"
    )
    judge.add_argument("--estimate", action="store_true", help="only say what it would cost")
    judge.add_argument(
        "--yes", action="store_true", help="start though the estimate is above max_cost, and stop when that is reached"
    )
    judge.set_defaults(command=_judge, stopped="what was answered is kept, and the same command goes on from there")

    benchmark = commands.add_parser("benchmark", help="measure training, the scan and decoding: speed and memory")
    benchmark.add_argument(
        "--peers", action="store_true", help="beside transformers and mambapy: pip install -e .[peers]"
    )
    benchmark.add_argument("--quick", action="store_true", help="tiny sizes, only to see that it works")
    benchmark.add_argument(
        "--copies",
        type=int,
        metavar="N",
        help="the index of training stories too, with N pocket stories: 1000000 take some minutes",
    )
    benchmark.set_defaults(command=_benchmark, stopped="the tables finished so far are saved")

    publish = commands.add_parser("publish", help="copy a finished run's small files to the published/ folders")
    publish.add_argument(
        "run",
        help="its name, such as quick-pocket; or benchmark, for the tables of that "
        "command; or clock, for what the runs at hand took",
    )
    publish.set_defaults(command=_publish)

    refresh = commands.add_parser(
        "refresh",
        help="put links, times and the outputs of the run quick-pocket into the "
        "notebooks; remake contents, glossary and the README's map",
    )
    refresh.set_defaults(command=_refresh)

    site = commands.add_parser("site", help="make web pages of the notebooks, with search, and check their links")
    site.add_argument("--out", metavar="FOLDER", default="build/site", help="default: build/site")
    site.set_defaults(command=_site)

    assignment = commands.add_parser("assignment", help="make nbgrader assignments of the exercises, one a notebook")
    assignment.add_argument(
        "--out",
        metavar="FOLDER",
        default="build/assignment",
        help="the course's folder; a gradebook in it stays (default: build/assignment)",
    )
    assignment.set_defaults(command=_assignment)
    return parser


def corpus_argument(corpus: str) -> str:
    """A corpus as runs keep it: a path becomes relative to the output root, so that no record names this machine."""
    if corpus in NAMED_CORPORA:
        return corpus
    path = os.path.relpath(Path(corpus).expanduser().absolute(), output_root())
    return f"./{path}" if path in NAMED_CORPORA else path  # a path stays a path


def _run(options: argparse.Namespace) -> None:
    from pn_lib.run.comparison import beside_reference
    from pn_lib.run.pipeline import Pipeline

    pipeline = Pipeline(options.profile, corpus_argument(options.corpus))
    for path in pipeline.run():
        print(path)
    table = beside_reference(pipeline.name, output_root(), REPOSITORY)
    if table:
        print(f"\n{table}")


def _inspect(options: argparse.Namespace) -> None:
    from pn_lib.run.inspect_command import inspect

    print(inspect(options.target, corpus_argument(options.target), options.profile))


def _train(options: argparse.Namespace) -> None:
    if options.dry_run:
        from pn_lib.run.dry_run import dry_run

        print(dry_run(options.profile, options.device))
        return
    if options.device:
        raise InputError("--device goes with --dry-run; training takes the GPU that is there, or the CPU")
    from pn_lib.run.train_command import train_profile

    print(train_profile(options.profile, corpus_argument(options.corpus), options.size))


def _generate(options: argparse.Namespace) -> None:
    from pn_lib.models.generation import generate
    from pn_lib.models.loading import open_model
    from pn_lib.models.lossless import warn_of_changes
    from pn_lib.run.evaluate_command import check_prompt, model_source

    prompt = check_prompt(options.prompt) if options.prompt is not None else ""
    model, tokenizer = open_model(model_source(options.model))
    warn_of_changes(tokenizer, [prompt])
    ids = [tokenizer.separator_id, *tokenizer.encode(prompt)]
    [completion] = generate(
        model,
        [ids],
        options.max_new_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        stop_id=tokenizer.separator_id,
        seed=options.seed,
    )
    print(tokenizer.decode([*ids[1:], *completion.ids]))


def _evaluate(options: argparse.Namespace) -> None:
    from pn_lib.run.evaluate_command import Extent, evaluate

    extent = Extent(**{field.name: getattr(options, field.name) for field in fields(Extent)})
    print(evaluate(options.model, corpus_argument(options.corpus), extent, options.out))


def _judge(options: argparse.Namespace) -> None:
    from pn_lib.run.judge_command import judge_run

    summary = judge_run(
        options.run,
        options.judge,
        options.stories,
        options.pairs,
        options.prompts,
        options.model,
        options.estimate,
        options.yes,
    )
    if summary is not None:
        print(summary)


def _benchmark(options: argparse.Namespace) -> None:
    from pn_lib.benchmark.command import benchmark

    print(benchmark(options.peers, options.quick, options.copies))


def _publish(options: argparse.Namespace) -> None:
    from pn_lib.run.publish import publish

    for path in publish(options.run):
        print(path)


def _site(options: argparse.Namespace) -> None:
    from pn_lib.course.site import build_site

    print(build_site(Path(options.out)))


def _assignment(options: argparse.Namespace) -> None:
    from pn_lib.course.assignment import build_assignments

    for path in build_assignments(Path(options.out)):
        print(path)


def _refresh(_: argparse.Namespace) -> None:
    from pn_lib.course.refresh import refresh_notebooks

    for path in refresh_notebooks():
        print(path)
