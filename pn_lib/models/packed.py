"""A quantized model as one safetensors file, its tokenizer included.

Four tensors, as a header that names each of the model's would take 5 to 9 KB: ``integers`` (uint8), ``scales``
(float16), ``others`` (float16; float32 would add 13 % to a Mamba of a million parameters in int4, and a Transformer in
int8 loses less than 0.0001 bits per byte) and ``tokenizer`` (uint8). The first three are those of all parameters one
after another, in the order of the model's state dict; their shapes follow from the config, which the header holds as
JSON under ``pocketnarrator``.

Integers of -n..n are digits to the base 2 n + 1, from which n has been added, the first one the lowest: one to a byte
in int8, two in int4, five in ternary (3^5 = 243), which are 1.6 bits each where two bits would do without division.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from pn_lib.config import config_class, parse_config
from pn_lib.data.tokenizer import Coder
from pn_lib.errors import InputError, one_line
from pn_lib.files import atomic
from pn_lib.models.architectures import MODELS
from pn_lib.models.base import LanguageModel
from pn_lib.models.foreign import check_beginning
from pn_lib.models.grid import Grid, QuantizedMatrix
from pn_lib.models.ngram import NGram
from pn_lib.models.packed_tokenizer import pack_tokenizer, unpack_tokenizer
from pn_lib.models.quantize import fill, matrices, quantized_of
from pn_lib.models.shell import Damaged, make_shell

VERSION = 1
HEADER = "pocketnarrator"
DTYPES = {"integers": torch.uint8, "scales": torch.float16, "others": torch.float16, "tokenizer": torch.uint8}
PER_BYTE = {"int8": 1, "int4": 2, "ternary": 5}
NEURAL = {name: cls for name, cls in MODELS.items() if cls is not NGram}  # what has weights


@config_class
class Header:
    version: int
    model: str
    config: dict[str, Any]
    grid: Grid
    tokenizer: str


def save_packed(model: LanguageModel, tokenizer: Coder, path: Path | str) -> None:
    """Write a model that ``quantize`` made, and its tokenizer, whole or not at all.

    Raises:
        InputError: not all matrices of the model are quantized.
    """
    found = {name: quantized_of(weight) for name, weight in matrices(model).items()}
    if not found or None in found.values():
        raise InputError("this model is not quantized: give what pn_lib.models.quantize.quantize returns")
    grid = next(iter(found.values())).grid
    others = [p.half().flatten() for name, p in model.named_parameters() if name not in found]
    kind, data = pack_tokenizer(tokenizer)
    tensors = {
        "integers": _pack(torch.cat([matrix.integers.flatten() for matrix in found.values()]), grid),
        "scales": torch.cat([matrix.scales.flatten() for matrix in found.values()]),
        "others": torch.cat(others),
        "tokenizer": torch.frombuffer(bytearray(data), dtype=torch.uint8),
    }
    header = Header(VERSION, model.name, asdict(model.config), grid, kind)
    with atomic(path) as temporary:
        save_file(tensors, temporary, {HEADER: json.dumps(asdict(header), separators=(",", ":"))})


def load_packed(path: Path | str) -> tuple[LanguageModel, Coder]:
    """Read what ``save_packed`` wrote: the model, for evaluation on the CPU, and its tokenizer.

    Raises:
        InputError: the file is missing, damaged, of another kind or version, or of sizes that no such file has.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a file that python -m pn_lib quantize wrote")
    check_beginning(path)
    try:
        with safe_open(path, "pt") as file:
            header = _header(file.metadata(), path)
            tensors = {name: file.get_tensor(name) for name in DTYPES}
    except SafetensorError as error:
        raise InputError(
            f"{path} is damaged ({one_line(error)}); fetch it again, or quantize the model again"
        ) from None
    for name, dtype in DTYPES.items():
        if tensors[name].dtype != dtype or tensors[name].ndim != 1:
            raise InputError(f"{path} is damaged: {name!r} is no list of {dtype}; fetch it again, or quantize again")
    try:
        model = _model(header, tensors, path)
        found, others = _weights(model, header.grid, tensors)
    except Damaged as error:
        raise InputError(f"{path} is damaged: {error}; fetch it again, or quantize the model again") from None
    tokenizer = unpack_tokenizer(
        header.tokenizer, tensors["tokenizer"].numpy().tobytes(), model.config.vocab_size, str(path)
    )
    return fill(model, found, others), tokenizer


def _header(metadata: dict[str, str] | None, path: Path) -> Header:
    if HEADER not in (metadata or {}):
        raise InputError(
            f"{path} holds the weights of a model alone, as safetensors; give the folder that has its config.json and "
            "tokenizer.json too"
        )
    try:
        values = json.loads(metadata[HEADER])
    except (json.JSONDecodeError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError(f"the header of {path} is damaged; fetch it again, or quantize the model again")
    version = values.get("version")
    if version != VERSION:
        raise InputError(f"{path} is a packed model of version {version}, and only {VERSION} is known: update pn_lib")
    return parse_config(Header, values, f"the header of {path}")


def _model(header: Header, tensors: dict[str, Tensor], path: Path) -> LanguageModel:
    """The model that the config describes, once it is certain that its weights are there: none is made before."""
    if header.model not in NEURAL:
        raise Damaged(f"it has a model of an unknown kind, {header.model!r}; known are {', '.join(NEURAL)}")
    cls = NEURAL[header.model]
    config = parse_config(cls.Config, header.config, f"the header of {path}")
    stored = PER_BYTE[header.grid.integers] * len(tensors["integers"]) + len(tensors["others"])
    expected = _lengths(make_shell(cls, config, stored), header.grid)
    for name, length in expected.items():
        if len(tensors[name]) != length:
            raise Damaged(f"{name} has {len(tensors[name]):,} numbers where its config makes {length:,}")
    return cls(config)


def _lengths(model: LanguageModel, grid: Grid) -> dict[str, int]:
    """Of the lists of a file."""
    found = matrices(model)
    count = sum(weight.numel() for weight in found.values())
    return {
        "integers": -(-count // PER_BYTE[grid.integers]),
        "scales": sum(weight.shape[0] * _groups(weight, grid) for weight in found.values()),
        "others": sum(p.numel() for name, p in model.named_parameters() if name not in found),
    }


def _groups(weight: Tensor, grid: Grid) -> int:
    """In a row of the weight."""
    return -(-weight.shape[1] // grid.length(weight.shape[1]))


def _weights(
    model: LanguageModel, grid: Grid, tensors: dict[str, Tensor]
) -> tuple[dict[str, QuantizedMatrix], dict[str, Tensor]]:
    """The matrices, and the other parameters, by name."""
    integers, scales, rest = _unpack(tensors["integers"], grid), tensors["scales"], tensors["others"]
    if not (scales.isfinite().all() and (scales >= 0).all()):
        raise Damaged("a scale is negative or not finite")
    if not rest.isfinite().all():
        raise Damaged("a weight is not finite")
    found, others, names = {}, {}, matrices(model)
    for name, parameter in model.named_parameters():
        if name in names:
            groups = _groups(parameter, grid)
            mine, integers = integers[: parameter.numel()], integers[parameter.numel() :]
            factors, scales = scales[: len(parameter) * groups], scales[len(parameter) * groups :]
            found[name] = QuantizedMatrix(mine.view(parameter.shape), factors.view(-1, groups), grid)
        else:
            others[name], rest = rest[: parameter.numel()].view(parameter.shape), rest[parameter.numel() :]
    return found, others


def _pack(integers: Tensor, grid: Grid) -> Tensor:
    """(n,) int8 -> (n / digits of a byte, rounded up), uint8."""
    per_byte, base = PER_BYTE[grid.integers], 2 * grid.largest + 1
    digits = F.pad(integers.int() + grid.largest, (0, -len(integers) % per_byte)).view(-1, per_byte)
    return (digits * base ** torch.arange(per_byte)).sum(1).to(torch.uint8)


def _unpack(packed: Tensor, grid: Grid) -> Tensor:
    """The inverse of ``_pack``, with what fills the last byte."""
    per_byte, base = PER_BYTE[grid.integers], 2 * grid.largest + 1
    if len(packed) and int(packed.max()) >= base**per_byte:
        raise Damaged(f"a byte holds {int(packed.max())}, which is no {per_byte} integers")
    table = torch.arange(256)[:, None] // base ** torch.arange(per_byte) % base - grid.largest
    return table.to(torch.int8)[packed.int()].flatten()
