"""Any saved model with its tokenizer: ours, quantized or not, a ``transformers`` folder, llama2.c's file, or one on the
Hub.

Nothing of what is opened is executed: weights come from safetensors or with ``weights_only``, tokenizers from their
tables.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import decoders, models, pre_tokenizers

from pn_lib.config import parse_config
from pn_lib.data.hub import limit_waiting
from pn_lib.data.other_tokenizer import OtherTokenizer, find_separator
from pn_lib.data.tokenizer import SEPARATOR, Coder, Tokenizer, is_byte_level, read_backend
from pn_lib.errors import InputError, one_line
from pn_lib.files import read_json, sha256
from pn_lib.models.architectures import MODELS
from pn_lib.models.base import LanguageModel
from pn_lib.models.foreign import check_table, describe_folder
from pn_lib.models.huggingface import from_transformers
from pn_lib.models.llama2c import load_llama2c
from pn_lib.models.llama2c_tokenizer import Llama2cTokenizer
from pn_lib.models.mamba_ssm import is_mamba_ssm, to_transformers_format
from pn_lib.models.packed import load_packed
from pn_lib.models.shell import Damaged, make_model
from pn_lib.models.weights import load_weights
from pn_lib.network import unreachable

HUB_FILES = [
    "config.json",
    "*.safetensors",
    "pytorch_model*.bin",
    "*.index.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
]


def open_model(source: Path | str) -> tuple[LanguageModel, Coder]:
    """The model and tokenizer at ``source``: a folder of ours, of ``transformers`` or of mamba_ssm, a quantized model's
    file, a llama2.c ``.bin`` with its tokenizer beside it, or ``owner/name`` on the Hugging Face Hub, at one commit of
    it as ``owner/name@commit``.

    Raises:
        InputError: nothing is there, or it is damaged, or of an architecture that has no equal here.
    """
    path = Path(source)
    if path.suffix == ".safetensors" and path.is_file():
        return load_packed(path)
    if path.is_file():
        return _llama2c(path)
    if not path.is_dir():
        if str(source).count("/") == 1 and not path.exists() and not path.parent.exists():
            path = _from_hub(str(source))
        else:
            raise InputError(
                f"there is no model at {source}: give the folder of a saved model, the file of a quantized one, "
                "a llama2.c .bin file, RUN/NAME of a run, or owner/name on the Hub"
            )
    if not (path / "config.json").exists():
        raise InputError(describe_folder(path) or f"{path} holds no model: it has no config.json")
    check_table(path / "config.json")
    config = read_json(path / "config.json")
    model = load_model(path) if "model" in config else _load_theirs(config, path)
    tokenizer = _tokenizer(path)
    if tokenizer.vocab_size < model.config.vocab_size:
        model = _without_padding(model, tokenizer.vocab_size)
    if tokenizer.vocab_size > model.config.vocab_size and not tokenizer.cut(model.config.vocab_size):
        raise InputError(
            f"the tokenizer beside {path} has {tokenizer.vocab_size:,} tokens, the model knows "
            f"{model.config.vocab_size:,}: they do not belong together"
        )
    return model, tokenizer


def load_model(folder: Path | str) -> LanguageModel:
    """Read a model that ``LanguageModel.save`` wrote; in evaluation mode, on the CPU.

    Raises:
        InputError: the folder holds no model, or a damaged one.
    """
    folder = Path(folder)
    settings = read_json(folder / "config.json")
    cls = _model_class(settings.pop("model", None), folder / "config.json")
    saved = settings.pop("weights", None)  # their digest, which models of older versions lack
    config, weights = parse_config(cls.Config, settings, str(folder / "config.json")), folder / "model.safetensors"
    try:
        model = make_model(cls, config, weights.stat().st_size)  # a weight has a byte or more
        if saved is not None and sha256(weights) != saved:
            raise InputError(f"{weights} is damaged, or not the one that its config.json tells of; make the model anew")
        model.load_state_dict(load_file(weights))
    except FileNotFoundError:
        raise InputError(f"{weights} does not exist beside its config.json; make the model anew") from None
    except (SafetensorError, RuntimeError, Damaged) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{weights} is damaged or of another shape ({reason}); make the model anew") from None
    return model.eval()


def _model_class(name: str | None, where: Path) -> type[LanguageModel]:
    if name not in MODELS:
        raise InputError(f"{where}: unknown model {name!r}; known are {', '.join(sorted(MODELS))}")
    return MODELS[name]


def _load_theirs(config: dict[str, Any], folder: Path) -> LanguageModel:
    state = load_weights(folder)
    if is_mamba_ssm(config):
        config, state = to_transformers_format(config, state)
    return from_transformers(config, state)


def _without_padding(model: LanguageModel, vocab_size: int) -> LanguageModel:
    """The model without the rows of its tables that stand for no token, as some pad these to a round number: it could
    otherwise write what nobody can read."""
    cut = type(model)(replace(model.config, vocab_size=vocab_size))
    state = model.state_dict()
    cut.load_state_dict(
        {key: state[key][: len(value)] if value.dim() else state[key] for key, value in cut.state_dict().items()}
    )
    return cut.eval()


def _llama2c(path: Path) -> tuple[LanguageModel, Coder]:
    model = load_llama2c(path)
    vocab_size = model.config.vocab_size
    names = [f"tok{vocab_size}.bin", "tokenizer.bin"]
    found = next((path.with_name(name) for name in names if path.with_name(name).exists()), None)
    if found is None:
        raise InputError(
            f"{path} has no tokenizer beside it: put its {names[0]} or {names[1]} there, which llama2.c makes "
            "(python tokenizer.py --tokenizer-model=MODEL)"
        )
    return model, Llama2cTokenizer(found, vocab_size)


def _tokenizer(folder: Path) -> Tokenizer:
    """``tokenizer.json`` of the folder or, for a model of a run, of the run; or GPT-2's pair of tables."""
    room = folder.absolute().parent  # models of a run, or its models/zoo
    for place in (folder, room.parent / "tokenizer", room.parent.parent / "tokenizer"):
        if (place / "tokenizer.json").is_file():
            check_table(place / "tokenizer.json")
            return _read_tokenizer(place, folder)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.exists() and merges.exists()):
        for name in ("tokenizer.model", "spiece.model", "vocab.txt"):
            if (folder / name).exists():
                raise InputError(
                    f"{folder} has a tokenizer ({name}) but no tokenizer.json; write it with transformers, in Python: "
                    "from transformers import AutoTokenizer as T; "
                    f"T.from_pretrained({str(folder)!r}).save_pretrained({str(folder)!r})"
                )
        raise InputError(f"{folder} has no tokenizer: put its tokenizer.json, or vocab.json and merges.txt, there")
    try:
        backend = tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # tokenizers raises bare Exception
        raise InputError(
            f"the tokenizer tables in {folder} are damaged ({one_line(error)}); fetch them again"
        ) from None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([SEPARATOR])
    return Tokenizer(backend)


def _read_tokenizer(place: Path, model: Path) -> Tokenizer:
    """tokenizer.json in ``place``, of any kind, and what its own files or those of the ``model`` say ends a text."""
    path = place / "tokenizer.json"
    backend = read_backend(path.read_bytes(), str(path))
    kind = Tokenizer if is_byte_level(backend) else OtherTokenizer
    try:
        return kind(backend, find_separator(backend, place, model))
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from None


def _from_hub(name: str) -> Path:
    """The folder of a published model, fetched once and then read from the Hub's cache; ``owner/name@commit`` is the
    same for ever."""
    repository, _, revision = name.partition("@")
    limit_waiting()
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=HUB_FILES))
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(f"there is no model {name!r}, neither as a path nor on the Hugging Face Hub") from None
    except Exception as error:  # huggingface_hub and its client share no class of network error
        raise InputError(
            f"there is no run or folder {name!r} here, and the Hugging Face Hub cannot be reached to look "
            f"for a model of that name{unreachable(error)}, or check the name"
        ) from None
