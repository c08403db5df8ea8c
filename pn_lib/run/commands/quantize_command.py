"""``python -m pn_lib quantize``: a saved model as one file of small integers, and what that costs in bits per byte."""

from pathlib import Path

from pn_lib.data.cleaning import clean
from pn_lib.data.corpora import load_corpus
from pn_lib.data.corpus_paths import Naming
from pn_lib.data.stories import iterate
from pn_lib.errors import InputError
from pn_lib.models.grid import Grid, Integers
from pn_lib.models.likelihood import text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.packed import save_packed
from pn_lib.models.quantize import quantize
from pn_lib.run.commands.evaluate_command import SPLIT_SEED
from pn_lib.run.profile import load_profile
from pn_lib.run.saved_models import model_source
from pn_lib.run.stages import output_root

BITS: dict[str, Integers] = {"8": "int8", "4": "int4", "1.58": "ternary"}
MEASURED = 100  # validation stories


def quantize_model(
    source: str, out: str, bits: str, group: int, stories: int, corpus: str | None, profile: str = "quick"
) -> str:
    """Write the model at ``source`` to the file ``out``; returns its size and, if there is a corpus, the bits per byte
    before and after, on the same validation stories.

    Args:
        group: weights of a row that share a scale; 0: the whole row.
        stories: training stories of the corpus to compensate errors on; 0: weights are rounded.
        profile: whose [data] may name what a story is in the corpus's files.

    Raises:
        InputError: an option that cannot be, or a model or corpus that cannot be opened.
    """
    if bits not in BITS:
        raise InputError(f"--bits must be {', '.join(BITS)}, not {bits}")
    if group < 0 or stories < 0:
        raise InputError(f"--group and --stories must not be negative, not {group} and {stories}")
    if stories and corpus is None:
        raise InputError(f"--stories {stories} needs the --corpus that they are from")
    path = Path(out)
    if path.suffix != ".safetensors" or not path.absolute().parent.is_dir():
        raise InputError(f"{out} must be a file that ends in .safetensors, in a folder that exists")
    naming = load_profile(profile).data.naming
    model, tokenizer = open_model(model_source(source))
    training, validation = ([], []) if corpus is None else _stories(corpus, stories, naming)
    ids = [[tokenizer.separator_id, *tokenizer.encode(story)] for story in training]
    small = quantize(model, Grid(BITS[bits], group or None), ids)
    save_packed(small, tokenizer, path)
    size = path.stat().st_size
    lines = [
        f"{path}: {size:,} bytes with its tokenizer, {8 * size / model.n_parameters():.2f} bits for each of "
        f"{model.n_parameters():,} parameters; in float32 these are {4 * model.n_parameters():,} bytes"
    ]
    if validation:
        before, after = (text_likelihood(each, tokenizer, validation).bits_per_byte for each in (model, small))
        lines.append(
            f"{after:.4f} bits per byte on {len(validation)} validation stories of {corpus}; {before:.4f} as it was"
        )
    return "\n".join(lines)


def _stories(corpus: str, training: int, naming: Naming) -> tuple[list[str], list[str]]:
    """So many training stories, and validation stories."""
    # a corpus without a validation split gives at most half of what is read to one
    loaded = load_corpus(corpus, max(training, MEASURED), MEASURED, SPLIT_SEED, output_root(), naming=naming)
    read, held_out = (list(iterate(clean(part)[0])) for part in (loaded.train, loaded.validation))
    return read[:training], held_out
