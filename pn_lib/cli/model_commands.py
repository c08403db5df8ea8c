"""Commands that run the notebooks, and train, measure, and export models."""

from typing import Annotated

import typer

from pn_lib import terminal
from pn_lib.cli.options import Corpus, MaxNewTokens, Model, NamingProfile, Profile, Seed, app, corpus_argument
from pn_lib.errors import InputError


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
    from pn_lib.run.commands import inspect_command

    print(inspect_command.inspect(target, corpus_argument(target), profile))


@app.command()
def train(
    profile: Profile = "quick",
    corpus: Corpus = "pocket",
    size: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="a named size of the profile, such as paper's 8M, instead of its own"),
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
    from pn_lib.run.commands.train_command import train_profile

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
    """Generate a story with any saved model."""
    from pn_lib.models import generation
    from pn_lib.models.loading import open_model
    from pn_lib.models.lossless import warn_of_changes
    from pn_lib.run.commands.evaluate_command import check_prompt
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
    repeats: Annotated[int, typer.Option(metavar="N", help="endings for each beginning")] = 2,
    max_bytes: Annotated[int, typer.Option(metavar="N", help="at most this many bytes per ending")] = 1000,
    temperature: Annotated[float, typer.Option(metavar="X", help="1 draws as the model says")] = 1.0,
    seed: Seed = 0,
    profile: NamingProfile = "quick",
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="write all figures, with intervals, to this JSON file")
    ] = None,
) -> None:
    """Measure any saved model: likelihood, probes, its stories."""
    from pn_lib.run.commands import evaluate_command

    extent = evaluate_command.Extent(stories, train_stories, completions, repeats, max_bytes, temperature, seed)
    print(evaluate_command.evaluate(model, corpus_argument(corpus), extent, out, profile))


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
    profile: NamingProfile = "quick",
) -> None:
    """Write a saved model as one small file, its tokenizer included.

    The other commands take that file for the model.
    """
    from pn_lib.run.commands.quantize_command import quantize_model

    named = None if corpus is None else corpus_argument(corpus)
    print(quantize_model(model, out, bits, group, stories, named, profile))


@app.command()
def export(
    model: Model,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="where its files go")],
    to: Annotated[str, typer.Option("--format", metavar="NAME", help="transformers or llama2c")] = "transformers",
    bits: Annotated[int, typer.Option(metavar="32|8", help="of each weight; 8 is llama2c's int8, for runq")] = 32,
) -> None:
    """Write a saved model, quantized or not, for other programs."""
    from pn_lib.run.commands.export_command import export_model

    print(export_model(model, folder, to, bits))
