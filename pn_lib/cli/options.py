"""The program, and the options that several of its commands have."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pn_lib.terminal import PROGRAM

app = typer.Typer(
    help="PocketNarrator: small language models that tell stories. Begin with run.",
    epilog=f"{PROGRAM} COMMAND --help says more about each.",
    add_completion=False,
    rich_markup_mode=None,  # plain text everywhere
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Profile = Annotated[
    str, typer.Option(help="smoke, quick, laptop, overnight, coherent or paper; or a .toml file", metavar="NAME")
]
NamingProfile = Annotated[str, typer.Option(help="its [data] may say what a story is in files", metavar="NAME")]
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
RunName = Annotated[str, typer.Argument(metavar="RUN", help="its name, such as quick-pocket", show_default=False)]
MaxNewTokens = Annotated[int, typer.Option(metavar="N", help="at most this many tokens per story")]
Seed = Annotated[int, typer.Option(metavar="N", help="another seed gives another story")]


def corpus_argument(corpus: str) -> str:
    """A corpus as runs keep it: a path becomes relative to the output root, so that no record names this machine."""
    from pn_lib.run.stages import NAMED_CORPORA, output_root

    if corpus in NAMED_CORPORA:
        return corpus
    path = os.path.relpath(Path(os.path.expanduser(corpus)).absolute(), output_root())
    return f"./{path}" if path in NAMED_CORPORA else path  # a path stays a path
