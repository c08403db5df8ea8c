"""Checkpoints: one file that is whole or absent, and that only a run with the same inputs goes on from."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.files import atomic

FILE_NAME = "checkpoint.pt"
DIGEST_BYTES = hashlib.sha256().digest_size


def save_checkpoint(folder: Path | str, contents: dict[str, Any]) -> None:
    """Write ``contents`` (tensors, numbers, strings, and dicts and lists of them) to ``folder/checkpoint.pt``.

    The file is a SHA-256 digest followed by what torch.save makes, since torch.load would not notice a flipped bit in
    a weight. The earlier checkpoint stays until the new one is wholly on disk, so a kill or a full disk costs nothing
    but the steps since then.

    Raises:
        OSError: the disk is full or the folder not writable; the earlier checkpoint is intact.
    """
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    payload = buffer.getbuffer()
    with atomic(Path(folder) / FILE_NAME) as temporary, temporary.open("wb") as stream:
        stream.write(hashlib.sha256(payload).digest())
        stream.write(payload)


def load_checkpoint(folder: Path | str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """What ``save_checkpoint`` wrote there, its tensors on ``device``; None where there is no checkpoint.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        return None
    with path.open("rb") as stream:
        digest, payload = stream.read(DIGEST_BYTES), stream.read()
    if hashlib.sha256(payload).digest() != digest:
        raise InputError(f"the checkpoint {path} is damaged; delete it, and training starts anew")
    # weights_only: data, never code, so that a checkpoint from elsewhere cannot run anything
    return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)


def fingerprint(settings: dict[str, Any]) -> str:
    """Hex digest of JSON-like settings: equal settings, equal fingerprint, in every process."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Hex digest of a model's state dict, bit by bit."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode() + b"\0")
        # as bytes: numpy has no bfloat16
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
