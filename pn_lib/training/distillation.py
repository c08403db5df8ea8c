"""Distillation (Hinton, Vinyals & Dean, 2015): a small model learns from what a larger one finds probable, besides from
what comes next.

A text names one next token; a teacher's distribution also says which others could have stood there. Its logits are
computed as they are needed. To keep them would save its forward pass from the second reading of the stories on, but a
batch is of random windows, and what a teacher says of a token depends on where its window began.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.data.tokens import IGNORED
from pn_lib.errors import InputError
from pn_lib.models.base import LanguageModel
from pn_lib.training.checkpoint import weights_hash


@dataclass(frozen=True)
class Teacher:
    """A trained model, in evaluation mode and on the device of its student, and how much it has to say.

    ``temperature`` is the paper's T, which flattens both distributions; ``share`` is the weight of the teacher's word,
    the rest that of the text's.
    """

    model: LanguageModel
    temperature: float = 1.0
    share: float = 0.5

    def check(self, student: LanguageModel, context: int, within_stories: bool) -> None:
        """Refuse a student that has other tokens or a longer context, or sees less than the teacher would.

        Raises:
            InputError: it has.
        """
        known, asked = self.model.config.vocab_size, student.config.vocab_size
        if known != asked:
            raise InputError(
                f"the teacher knows {known:,} tokens, its student {asked:,}: both must have the same tokenizer"
            )
        if self.model.max_length is not None and self.model.max_length < context:
            raise InputError(
                f"the teacher reads {self.model.max_length:,} tokens at most, its student {context:,}: "
                "take a shorter context, or a teacher with a longer one"
            )
        if within_stories and student.takes_stories and not self.model.takes_stories:
            raise InputError(
                f"the teacher, a {self.model.name}, carries what it knows of one story into the next, which "
                "its student does not see: set within_stories = false"
            )

    def key(self) -> dict[str, Any]:
        """What the loss depends on, beside the code."""
        weights = weights_hash(self.model.state_dict())
        return {"weights": weights, "temperature": self.temperature, "share": self.share}

    def loss(self, student: nn.Module, ids: Tensor, targets: Tensor, *stories: Tensor) -> Tensor:
        """ids and targets (B, T) -> ``taught_loss`` of the student's logits, in nats; ``stories`` as the models take
        them."""
        with torch.no_grad():
            soft = self.model(ids, None, *stories)
        counts = targets != IGNORED
        logits = student(ids, None, *stories)
        return taught_loss(logits[counts], soft[counts], targets[counts], self.temperature, self.share)


def taught_loss(logits: Tensor, soft: Tensor, targets: Tensor, temperature: float, share: float) -> Tensor:
    """(1 - share) times the cross-entropy with the targets (N,), plus share T^2 times the divergence KL(p || q) of the
    student's distribution q = softmax(logits / T) from the teacher's, p = softmax(soft / T); logits and soft (N, V).

    T^2 makes up for the gradient of soft targets, which shrinks as 1 / T^2 (section 2 of the paper); their divergence
    has the gradient of the paper's cross-entropy, and is 0 where the student says what the teacher says.
    """
    logits, soft = logits.float(), soft.float()
    q, p = ((x / temperature).log_softmax(-1) for x in (logits, soft))
    divergence = F.kl_div(q, p, log_target=True, reduction="batchmean")
    return (1 - share) * F.cross_entropy(logits, targets) + share * temperature**2 * divergence
