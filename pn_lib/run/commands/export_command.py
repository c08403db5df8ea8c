"""``python -m pn_lib export``: a saved model, quantized or not, as files for other programs."""

from pathlib import Path

from pn_lib.data.tokenizer import SEPARATOR, Coder, Tokenizer
from pn_lib.errors import InputError
from pn_lib.models.export import export_transformers
from pn_lib.models.llama2c import export_llama2c
from pn_lib.models.loading import open_model
from pn_lib.run.saved_models import model_source

PROGRAMS = {32: "run", 8: "runq"}  # of llama2.c, by bits of a weight


def export_model(source: str, folder: str, to: str, bits: int) -> str:
    """Write the model at ``source`` and its tokenizer to ``folder``; returns what opens them.

    Args:
        to: ``transformers`` or ``llama2c``.
        bits: of a weight; 8 is llama2.c's int8.

    Raises:
        InputError: an option that cannot be, a model that cannot be opened, or one that the other program has not.
    """
    if to not in ("transformers", "llama2c"):
        raise InputError(f"--format must be transformers or llama2c, not {to}")
    if bits not in PROGRAMS or (bits == 8 and to == "transformers"):
        raise InputError(f"--bits must be 32, or 8 for llama2c, not {bits} for {to}")
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise InputError(f"{folder} is a file, and the model needs a folder; name another")
    model, tokenizer = open_model(model_source(source))
    _check_ours(tokenizer, source)
    if to == "transformers":
        export_transformers(model, tokenizer, place)
        return f"{place}: AutoModelForCausalLM.from_pretrained({str(place)!r}) of transformers opens it"
    export_llama2c(model, tokenizer, place, bits)
    files = f"{place / 'model.bin'} -z {place / 'tokenizer.bin'}"
    return f'{place}: llama2.c runs it: {PROGRAMS[bits]} {files} -i "Once upon a time"'


def _check_ours(tokenizer: Coder, source: str) -> None:
    """Only of a byte-level BPE with our separator do both exports know what each token stands for."""
    ours = isinstance(tokenizer, Tokenizer) and tokenizer.decode([tokenizer.separator_id]) == SEPARATOR
    if not ours or tokenizer.space_before:
        raise InputError(f"{source} has a tokenizer of another kind, which cannot be exported; only pn_lib's own can")
