"""Checkpoints: files that are whole or absent; two are kept, and only a run with the same inputs goes on from them."""

import errno
import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pn_lib.errors import InputError
from pn_lib.files import atomic

DIGEST_BYTES = hashlib.sha256().digest_size
KEPT = 2


def checkpoints(folder: Path | str) -> list[Path]:
    """The checkpoints in ``folder``, newest first."""
    return sorted(Path(folder).glob("checkpoint-*.pt"), reverse=True)


def save_checkpoint(folder: Path | str, step: int, contents: dict[str, Any]) -> None:
    """Write ``contents`` (tensors, numbers, strings, and dicts and lists of them) to ``folder/checkpoint-<step>.pt``.

    The file is a SHA-256 digest followed by what torch.save makes, since torch.load would not notice a flipped bit in
    a weight. Of the earlier ones the newest stays, and goes only when the next is wholly on disk. Those of a later
    step are of another run, which this one replaces, and are deleted.

    Raises:
        OSError: the disk is full or the folder not writable; the earlier checkpoints are intact.
    """
    folder = Path(folder)
    buffer = io.BytesIO()
    torch.save(contents, buffer)
    payload = buffer.getbuffer()
    newest = folder / f"checkpoint-{step:09d}.pt"
    try:
        with atomic(newest) as temporary, temporary.open("wb") as stream:
            stream.write(hashlib.sha256(payload).digest())
            stream.write(payload)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            before = checkpoints(folder)
            kept = f"{before[0].name} is whole" if before else "there was none before it"
            raise OSError(
                error.errno,
                f"No space left on device for the checkpoint of step {step} in {folder}; "
                f"{kept}. Free some space and train again, which goes on from there",
            ) from None
        raise
    earlier = [path for path in checkpoints(folder) if path.name < newest.name]
    for path in checkpoints(folder):
        if path != newest and path not in earlier[: KEPT - 1]:
            path.unlink(missing_ok=True)  # another process on this folder may be faster


def load_checkpoint(folder: Path | str, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """What ``save_checkpoint`` wrote there last, its tensors on ``device``; None where there is no checkpoint.

    If the newest file is damaged, the one before it is taken, and a warning says so.

    Raises:
        InputError: all are damaged.
    """
    found = checkpoints(folder)
    for path in found:
        with path.open("rb") as stream:
            digest, payload = stream.read(DIGEST_BYTES), stream.read()
        if hashlib.sha256(payload).digest() == digest:
            # weights_only: data, never code, so that a checkpoint from elsewhere cannot run anything
            return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
        logging.getLogger(__name__).warning("the checkpoint %s is damaged; the one before it is tried", path)
    if found:
        raise InputError(f"every checkpoint in {folder} is damaged; delete them, and training starts anew")
    return None


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """Hex digest of a model's state dict, bit by bit."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode() + b"\0")
        # as bytes: numpy has no bfloat16
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
