"""The page that runs a quantized model in the browser: one file with the model in it, for a server or the disk.

Its JavaScript is in ``browser/``: a reader of packed files, the tokenizer, the Transformer, and sampling, all for a
worker's thread; and the page itself. Files opened from a disk may not load one another, so all is put into the page.
"""

import base64
from pathlib import Path

from jinja2 import StrictUndefined, Template

from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.models.packed import load_packed
from pn_lib.models.packed_tokenizer import pack_tokenizer
from pn_lib.models.quantize import matrices, quantized_of
from pn_lib.run.saved_models import PACKED, find_model

MODEL = "reference/300k"  # the model that the page holds, as generate takes it
SOURCES = Path(__file__).with_name("browser")
ENGINE = ("packed.js", "tokenizer.js", "transformer.js", "sampling.js", "worker.js")
BITS = {"int8": "8", "int4": "4", "ternary": "1.58"}
# What transformer.js computes, where a Transformer's config has a choice.
COMPUTED = {
    "position": "rope",
    "norm": "rmsnorm",
    "norm_position": "pre",
    "attention": "softmax",
    "attention_scale": True,
    "window": None,
    "bias": False,
    "has_qkv_bias": False,
}


def browser_page() -> str:
    """The page's content in HTML, with the model ``MODEL``; if there is none, how to make one.

    Raises:
        InputError: the model is damaged, or none that the page can run.
    """
    path = find_model(MODEL)
    run, _, name = MODEL.partition("/")
    values = {"packed": None, "run": run, "file": f"{name}{PACKED}"} if path is None else _values(path)
    template = Template((SOURCES / "page.html").read_text(encoding="utf-8"), undefined=StrictUndefined)
    return template.render(values, name=MODEL)


def _values(path: Path) -> dict:
    """What the page's template shows of the packed file, and the scripts."""
    model, tokenizer = load_packed(path)
    _check_runs(model, path)
    if pack_tokenizer(tokenizer)[0] != "merges":
        raise InputError(f"{path} cannot run in the browser: its tokenizer is not one of pn_lib's own")
    [grid, *_] = (quantized_of(weight).grid for weight in matrices(model).values())
    return {
        "parameters": model.n_parameters(),
        "bits": BITS[grid.integers],
        "size": path.stat().st_size,
        "packed": base64.b64encode(path.read_bytes()).decode(),
        "engine": "\n".join(map(_source, ENGINE)),
        "script": _source("page.js"),
        "style": _source("page.css"),
    }


def _check_runs(model: LanguageModel, path: Path) -> None:
    if model.name != "transformer":
        raise InputError(f"{path} cannot run in the browser: the page runs Transformers, not a {model.name}")
    has = {name: getattr(model.config, name) for name in COMPUTED}
    wrong = [f"{name}={has[name]!r} (only {only!r})" for name, only in COMPUTED.items() if has[name] != only]
    if wrong:
        raise InputError(f"{path} cannot run in the browser: the page has no {', '.join(wrong)}")


def _source(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")
