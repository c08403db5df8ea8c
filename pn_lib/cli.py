"""The command line: ``python -m pn_lib run | train | generate | evaluate | judge | ...``.

A command imports what it needs when it is called, so that help and mistakes in typing are answered at once.
"""

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pn_lib import terminal
from pn_lib.errors import InputError

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141
PROGRAM = "python -m pn_lib"
# What Ctrl-C leaves, by command.
STOPPED = {
    "train": "the same command goes on from the last checkpoint",
    "judge": "what was answered is kept, and the same command goes on from there",
    "benchmark": "the tables finished so far are saved",
}

OUT_OF_MEMORY = "the memory does not suffice; close other programs, or choose a smaller profile or model, and run again"

app = typer.Typer(
    help="PocketNarrator: small language models that tell stories. Begin with run.",
    epilog=f"{PROGRAM} COMMAND --help says more of each.",
    add_completion=False,
    rich_markup_mode=None,  # plain text everywhere
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Profile = Annotated[
    str, typer.Option(help="smoke, quick, laptop, overnight, coherent or paper; or a .toml file", metavar="NAME")
]
Corpus = Annotated[
    str,
    typer.Option(help="pocket; tinystories (from the Hub); or a file or folder of your own stories", metavar="NAME"),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="RUN/NAME, such as quick-pocket/transformer; a model's folder, ours or of transformers; the file of a "
        "quantized model; a llama2.c .bin file beside its tokenizer; or owner/name on the Hub",
        show_default=False,
    ),
]
MaxNewTokens = Annotated[int, typer.Option(metavar="N", help="the most tokens that a story gets")]
Seed = Annotated[int, typer.Option(metavar="N", help="another seed tells another story")]


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
        return _fail(_usage_message(error), EXIT_BAD_INPUT)
    except InputError as error:
        return _fail(str(error), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        logging.disable()  # nbclient's unfinished tasks would end with tracebacks
        return _fail(f"stopped; {stopped}", EXIT_INTERRUPTED)
    except (MemoryError, RuntimeError) as error:
        from pn_lib.run.execution import StageError  # imported already, if it is one

        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # as torch says it
            return _fail(OUT_OF_MEMORY, EXIT_BAD_INPUT)
        if not isinstance(error, StageError):
            raise
        return _fail(str(error), EXIT_FAILED)
    except BrokenPipeError:
        terminal.abandon_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        return _fail(_system_message(error), EXIT_BAD_INPUT)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _system_message(error: OSError) -> str:
    """What the system refuses and what to do; raises the error again if that is nobody's to mend."""
    if error.errno == errno.ENOMEM:
        return OUT_OF_MEMORY
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "the disk is full; free some space and run the same command again, which goes on from the last whole result"
        )
    if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{error.filename}: {error.strerror}; change its permissions, or set the environment variable PN_ROOT to a "
            "folder of your own, where results are kept then"
        )
    raise error


def _usage_message(error: typer.TyperException) -> str:
    """What was mistyped, and where to read what can be typed."""
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]} (see {context.command_path if context else PROGRAM} --help)"


def corpus_argument(corpus: str) -> str:
    """A corpus as runs keep it: a path becomes relative to the output root, so that no record names this machine."""
    from pn_lib.run.stages import NAMED_CORPORA, output_root

    if corpus in NAMED_CORPORA:
        return corpus
    path = os.path.relpath(Path(corpus).expanduser().absolute(), output_root())
    return f"./{path}" if path in NAMED_CORPORA else path  # a path stays a path


@app.command()
def run(profile: Profile = "quick", corpus: Corpus = "pocket") -> None:
    """Run all notebooks, then build the report.

    What has not changed since the last time is skipped. Prints the paths of the report.
    """
    from pn_lib.run.comparison import beside_reference
    from pn_lib.run.pipeline import Pipeline
    from pn_lib.run.stages import REPOSITORY, output_root

    pipeline = Pipeline(profile, corpus_argument(corpus))
    for path in pipeline.run():
        print(path)
    table = beside_reference(pipeline.name, output_root(), REPOSITORY)
    if table:
        print(f"\n{table}")


@app.command()
def inspect(
    target: Annotated[str, typer.Argument(metavar="CORPUS|MODEL", help="a corpus as for run, a model as for generate")],
    profile: Profile = "quick",
) -> None:
    """Say what a run would see of a corpus, or what a model is."""
    from pn_lib.run import inspect_command

    print(inspect_command.inspect(target, corpus_argument(target), profile))


@app.command()
def train(
    profile: Profile = "quick",
    corpus: Corpus = "pocket",
    size: Annotated[
        str | None, typer.Option(metavar="NAME", help="a named size of the profile, such as paper's 8M, not its own")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what it would take, after two steps of each size")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="with --dry-run: hours on it too; t4, l4, rtx4090, a100 or h100"),
    ] = None,
) -> None:
    """Train a profile's Transformer, in one process or many.

    In N processes: torchrun --nproc-per-node N -m pn_lib train ...
    """
    if dry_run:
        from pn_lib.run.dry_run import dry_run as estimate

        print(estimate(profile, device))
        return
    if device:
        raise InputError("--device goes with --dry-run; training takes the GPU that is there, or the CPU")
    from pn_lib.run.train_command import train_profile

    print(train_profile(profile, corpus_argument(corpus), size))


@app.command()
def generate(
    model: Model,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="BEGINNING", help="how the story begins; without it, from nothing"),
    ] = None,
    max_new_tokens: MaxNewTokens = 300,
    temperature: Annotated[
        float, typer.Option(metavar="X", help="0 takes the likeliest token each time, 1 draws as the model says")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(metavar="N", help="draw from the N likeliest tokens only")] = None,
    top_p: Annotated[
        float | None, typer.Option(metavar="P", help="draw from the fewest tokens that together have probability P")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(metavar="P", help="draw from tokens at least P times as likely as the likeliest")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Tell a story with any saved model."""
    from pn_lib.models import generation
    from pn_lib.models.loading import open_model
    from pn_lib.models.lossless import warn_of_changes
    from pn_lib.run.evaluate_command import check_prompt
    from pn_lib.run.saved_models import model_source

    prompt = check_prompt(terminal.typed(prompt)) if prompt is not None else ""
    language_model, tokenizer = open_model(model_source(model))
    warn_of_changes(tokenizer, [prompt])
    ids = [tokenizer.separator_id, *tokenizer.encode(prompt)]
    [completion] = generation.generate(
        language_model,
        [ids],
        max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        stop_id=tokenizer.separator_id,
        seed=seed,
    )
    print(tokenizer.decode([*ids[1:], *completion.ids]))


@app.command()
def evaluate(
    model: Model,
    corpus: Corpus = "pocket",
    stories: Annotated[int, typer.Option(metavar="N", help="validation stories to score")] = 300,
    train_stories: Annotated[int, typer.Option(metavar="N", help="training stories to look for copies in")] = 10_000,
    completions: Annotated[int, typer.Option(metavar="N", help="beginnings to finish")] = 60,
    repeats: Annotated[int, typer.Option(metavar="N", help="endings for each of them")] = 2,
    max_new_tokens: MaxNewTokens = 250,
    temperature: Annotated[float, typer.Option(metavar="X", help="1 draws as the model says")] = 1.0,
    seed: Seed = 0,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="write all figures, with intervals, to this JSON file")
    ] = None,
) -> None:
    """Measure any saved model: likelihood, probes, its stories."""
    from pn_lib.run import evaluate_command

    extent = evaluate_command.Extent(stories, train_stories, completions, repeats, max_new_tokens, temperature, seed)
    print(evaluate_command.evaluate(model, corpus_argument(corpus), extent, out))


@app.command()
def quantize(
    model: Model,
    out: Annotated[str, typer.Argument(metavar="OUT", help="the file to write, such as small.safetensors")],
    bits: Annotated[str, typer.Option(metavar="8|4|1.58", help="of each weight; 1.58 is -1, 0 or 1")] = "8",
    group: Annotated[int, typer.Option(metavar="N", help="weights of a row that share a scale; 0: all")] = 32,
    stories: Annotated[
        int, typer.Option(metavar="N", help="correct rounding in the weights not yet rounded (GPTQ), on N stories")
    ] = 0,
    corpus: Annotated[
        str | None, typer.Option(metavar="NAME", help="measure bits per byte on it; a corpus as for run")
    ] = None,
) -> None:
    """Write a saved model as one small file, its tokenizer included.

    The other commands take that file for the model.
    """
    from pn_lib.run.quantize_command import quantize_model

    named = None if corpus is None else corpus_argument(corpus)
    print(quantize_model(model, out, bits, group, stories, named))


@app.command()
def export(
    model: Model,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="where its files go")],
    to: Annotated[str, typer.Option("--format", metavar="NAME", help="transformers or llama2c")] = "transformers",
    bits: Annotated[int, typer.Option(metavar="32|8", help="of each weight; 8 is llama2c's int8, for runq")] = 32,
) -> None:
    """Write a saved model, quantized or not, for other programs."""
    from pn_lib.run.export_command import export_model

    print(export_model(model, folder, to, bits))


@app.command()
def judge(
    name: Annotated[str, typer.Argument(metavar="RUN", help="its name, such as quick-tinystories", show_default=False)],
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
def publish(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="its name, such as quick-pocket; or benchmark, for the tables of that command; or clock, for what "
            "the runs at hand took",
            show_default=False,
        ),
    ],
) -> None:
    """Copy a finished run's small files to published/."""
    from pn_lib.run.publish import publish as copy

    for path in copy(name):
        print(path)


@app.command()
def refresh() -> None:
    """Bring the notebooks' links, times and outputs up to date.

    The outputs are those of the run quick-pocket. Remakes contents, glossary, and the tables of README and guides too.
    """
    from pn_lib.course.refresh import refresh_notebooks

    for path in refresh_notebooks():
        print(path)


@app.command()
def site(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="where the pages go")] = Path("build/site"),
) -> None:
    """Make web pages of the notebooks, and check their links."""
    from pn_lib.course.site import build_site

    print(build_site(out))


@app.command()
def assignment(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="the course's folder; a gradebook in it stays")] = Path(
        "build/assignment"
    ),
) -> None:
    """Make nbgrader assignments of the exercises."""
    from pn_lib.course.assignment import build_assignments

    for path in build_assignments(out):
        print(path)
