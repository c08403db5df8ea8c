"""The weights in a folder of ``transformers``, in one file or in several, as safetensors or pickled tensors."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.models.foreign import check_beginning, describe_folder

State = dict[str, Tensor]


def load_weights(folder: Path) -> State:
    """A ``transformers`` state dict, from safetensors or, for older models, pickled tensors and nothing but tensors.

    Raises:
        InputError: there are none, or a file is missing or damaged.
    """
    for name, read in (("model.safetensors", load_file), ("pytorch_model.bin", _unpickle)):
        if (folder / name).exists():
            return _read(folder / name, read)
        if (folder / f"{name}.index.json").exists():
            return _read_parts(folder / f"{name}.index.json", read)
    raise InputError(
        describe_folder(folder)
        or f"{folder} has a config.json but no weights: model.safetensors or pytorch_model.bin must be there"
    )


def _unpickle(path: Path) -> State:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read(path: Path, read: Callable[[Path], State]) -> State:
    check_beginning(path)
    try:
        state = read(path)
    except Exception as error:  # on damaged bytes torch.load raises whatever its parts do: IndexError, struct.error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"the weights in {path} are damaged ({reason}); fetch them again") from None
    if not (isinstance(state, dict) and all(isinstance(weight, Tensor) for weight in state.values())):
        raise InputError(f"{path} holds more than a table of weights; save the model's state_dict() alone")
    return state


def _read_parts(index: Path, read: Callable[[Path], State]) -> State:
    """All tensors of the files that ``index`` names, which lie beside it."""
    places = read_json(index).get("weight_map")
    if not (isinstance(places, dict) and places and all(isinstance(name, str) for name in places.values())):
        raise InputError(f"{index} names no files of weights; fetch it again")
    state: State = {}
    for name in sorted(set(places.values())):
        part = index.parent / name
        if Path(name).name != name or not part.is_file():
            raise InputError(f"{index} names the file {name!r}, which is not beside it; fetch the model again")
        state |= _read(part, read)
    lacking = sorted(places.keys() - state.keys())
    if lacking:
        raise InputError(f"the files that {index} names lack the weight {lacking[0]}; fetch the model again")
    return state
