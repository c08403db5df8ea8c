"""The one interface of every language model here, and how models are written and read."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.data.tokenizer import Tokenizer
from pn_lib.data.tokens import IGNORED
from pn_lib.errors import InputError
from pn_lib.files import atomic, sha256, write_json


class Decoder(Protocol):
    """What a neural model keeps of the text so far, and how it goes on from there; the state that ``prefill`` returns.

    Each has two: one by PyTorch's operations, beside the model, and one by a kernel for the whole step, in
    ``cpu.fused_decoding``. The model's ``decoder`` chooses, once for a text; nothing else asks which it is.
    """

    def step(self, x: Tensor) -> Tensor:
        """The embedding of the next token of each row, x (B, D) -> logits (B, V); the state moves on, in place."""

    def select(self, rows: Tensor) -> None:
        """Keep these rows (int64) of the batch only."""

    def n_bytes(self) -> int:
        """Memory kept between two tokens, all layers and rows together."""


class LanguageModel(nn.Module):
    """Token ids in, next-token logits out; the whole sequence at once, or token by token with a state.

    A subclass sets ``name`` and ``Config`` (a frozen dataclass with at least ``vocab_size``), takes its config as the
    only argument, and defines ``forward``, ``prefill`` and ``step``, and ``select`` where the state is no ``Decoder``.
    For every model ``prefill(ids)`` followed by ``step`` calls gives the logits that ``forward`` gives on the whole
    sequence.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    takes_stories: ClassVar[bool] = False  # whether ``forward`` takes each token's story, and masks the others
    max_length: int | None = None  # the longest sequence in tokens; None: there is no limit

    def __init__(self, config: Any):
        super().__init__()
        self.config = config

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """ids (B, T) int64 -> logits (B, T, V); position t sees ids[:, :t + 1] only.

        With ``targets`` (B, T), the tokens that should follow, their mean cross-entropy in nats instead: the logits of
        the whole batch are then never held (see ``loss``).
        """
        raise NotImplementedError

    @torch.no_grad()
    def nats(self, ids: Tensor, targets: Tensor) -> Tensor:
        """-log p of each of ``targets`` (B, T), the tokens that should follow, in nats; 0 where ``IGNORED``."""
        logits = self(ids).float().flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="none").view_as(targets)

    def prefill(self, ids: Tensor) -> tuple[Tensor, Any]:
        """ids (B, T) int64, T >= 1 -> logits after the last token (B, V), and the state that ``step`` goes on from."""
        raise NotImplementedError

    def step(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One more token for each row: ids (B,) int64 -> logits (B, V), and the next state.

        The state passed in may be changed in place; use the one returned.
        """
        raise NotImplementedError

    def select(self, state: Any, rows: Tensor) -> Any:
        """The state with these rows (int64) of its batch only; the state passed in may be changed."""
        state.select(rows)
        return state

    @staticmethod
    def state_bytes(state: Decoder) -> int:
        """Memory that decoding keeps between two tokens, all layers and rows together, in bytes."""
        return state.n_bytes()

    @property
    def device(self) -> torch.device:
        """Where it is; the CPU for a model that holds no tensors."""
        return next((t.device for t in (*self.parameters(), *self.buffers())), torch.device("cpu"))

    def n_parameters(self, embedding: bool = True) -> int:
        """Number of parameters, each shared tensor once; without the token and position embeddings if asked."""
        tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)}
        return sum(p.numel() for p in self.parameters() if embedding or id(p) not in tables)

    def save(self, folder: Path | str) -> None:
        """Write ``model.safetensors`` and ``config.json``, which has its digest, each whole or not at all."""
        folder = Path(folder)
        state = {key: value.contiguous() for key, value in self.state_dict().items()}
        with atomic(folder / "model.safetensors") as temporary:
            save_file(state, temporary)
            digest = sha256(temporary)
        write_json(folder / "config.json", {"model": self.name, "weights": digest, **asdict(self.config)})


def check_ids(ids: Tensor, vocab_size: int) -> None:
    """Refuse what no embedding table can take, with a sentence instead of an index error deep inside."""
    if ids.dtype not in (torch.int64, torch.int32) or ids.ndim not in (1, 2):
        raise InputError(f"token ids must be an int64 tensor (B, T) or (B,), not {ids.dtype} {tuple(ids.shape)}")
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= vocab_size):
        found = f"{int(ids.min())}..{int(ids.max())}"
        raise InputError(f"token ids must lie in 0..{vocab_size - 1}, but range over {found}")


def check_tokenizer(model: LanguageModel, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that the model cannot have been trained with."""
    known, has = model.config.vocab_size, tokenizer.vocab_size
    if known != has:
        raise InputError(f"the model knows {known:,} tokens, the tokenizer {has:,}: give the one it was trained with")
