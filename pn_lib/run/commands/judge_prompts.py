"""Beginnings of one's own for a judge: read from a file or the Hub, and finished by models."""

import os
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import hf_hub_download

from pn_lib.data.corpus_paths import PROMPTS_FILE, TINYSTORIES, TINYSTORIES_REVISION
from pn_lib.errors import InputError, one_line
from pn_lib.evaluation.completions import complete
from pn_lib.models.loading import open_model
from pn_lib.models.lossless import warn_of_changes
from pn_lib.network import unreachable
from pn_lib.run.saved_models import model_source
from pn_lib.run.stages import output_root

PROMPT_BYTES = 1200  # at most, of a story written from a prompt
SEED = 0


def read_prompts(source: str) -> list[str]:
    """Beginnings from a YAML list, or a .txt with one a line: that file, TinyStories' ``Evaluation prompts.yaml`` in a
    folder of the dataset, or, for ``source`` "tinystories", the same from the Hub.

    Raises:
        InputError: there is none, it is no list of texts, or the Hub cannot be reached.
    """
    path = _hub_prompts() if source == "tinystories" else Path(source)
    if path.is_dir():
        path = path / PROMPTS_FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
        # BaseLoader: a beginning such as 42 or "no" is a text, too
        lines = [line for line in text.splitlines() if line.strip()]
        prompts = lines if path.suffix.lower() == ".txt" else yaml.load(text, yaml.BaseLoader)
    except OSError as error:
        raise InputError(f"prompts file {path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"prompts file {path} is not valid YAML: {one_line(error)}") from None
    if not isinstance(prompts, list) or not prompts:
        raise InputError(f"prompts file {path} must be a YAML list of beginnings, or a .txt with one a line")
    for number, prompt in enumerate(prompts, 1):
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"prompts file {path}: beginning {number} is not text ({prompt!r}); put it in quotes")
    return prompts


def _hub_prompts() -> Path:
    try:
        return Path(hf_hub_download(TINYSTORIES, PROMPTS_FILE, repo_type="dataset", revision=TINYSTORIES_REVISION))
    except Exception as error:  # huggingface_hub and httpx share no class of network error
        raise InputError(
            f"TinyStories' {PROMPTS_FILE!r} cannot be fetched from the Hugging Face Hub{unreachable(error)}, or give "
            "the path of a YAML list"
        ) from None


def complete_prompts(prompts: Sequence[str], models: Sequence[str]) -> dict:
    """What each model (see ``model_source``) writes from each beginning, once at temperature 1, as a
    ``completions.json``. The same each time."""
    tellers = {}
    for source in models:
        model, tokenizer = open_model(model_source(source))
        warn_of_changes(tokenizer, prompts)
        # a path is kept relative to the output root, so that no record names this machine
        name = os.path.relpath(source, output_root()) if Path(source).exists() else source
        told = complete(model, tokenizer, prompts, max_bytes=PROMPT_BYTES, temperature=1.0, seed=SEED, name=name)
        tellers[name] = [[ending._asdict() for ending in endings] for endings in told]
    return {"beginnings": list(prompts), "tellers": tellers, "temperature": 1.0}
