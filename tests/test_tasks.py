"""The synthetic tasks: what is asked, read off the ids by a plain loop; training on them and testing."""

import pytest
import torch
from torch import nn

from pn_lib.data.tasks import AssociativeRecall, InductionHeads, SelectiveCopying
from pn_lib.data.tokens import IGNORED
from pn_lib.errors import DivergenceError, InputError
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.training.task_training import accuracy, train_on_task


def copied(task, row):
    """The target of each position of one row, for selective copying."""
    seen, targets = [], []
    for i, token in enumerate(row):
        assert (token == task.start) == (i == 0)
        if token < task.letters:
            seen.append(token)
        targets.append(seen.pop(0) if token == task.question else IGNORED)
    assert not seen, "a letter is never asked for"
    return targets


def induced(task, row):
    """The same for induction heads."""
    follower, targets = None, []
    for i, token in enumerate(row):
        last = i == len(row) - 1
        assert not last or token == task.mark
        targets.append(follower if last else IGNORED)
        if token == task.mark and not last:
            assert follower is None, "more than one mark to remember"
            follower = row[i + 1]
    return targets


def recalled(task, row):
    """The same for associative recall: a key that has come before is asked."""
    pairs, targets = 2 * (len(row) // task.tokens_per_pair), []
    letter_of = dict(zip(row[:pairs:2], row[1:pairs:2], strict=True))
    assert len(letter_of) == pairs // 2, "a key comes with two letters"
    assert all(task.letters <= key < task.blank for key in letter_of)
    for i, token in enumerate(row):
        targets.append(letter_of.pop(token) if i >= pairs and token != task.blank else IGNORED)
    assert not letter_of, "a key is never asked for"
    return targets


TASKS = {
    "selective copying": (SelectiveCopying(5, 3), copied, 7),
    "induction heads": (InductionHeads(6), induced, 3),
    "associative recall": (AssociativeRecall(6, keys=8, tokens_per_pair=4), recalled, 4),
}
pytestmark = pytest.mark.parametrize("task, answers, shortest", TASKS.values(), ids=TASKS)


class Oracle(nn.Module):
    """A model that cheats: it works the answers out as the tests do, or gives the same one to everything."""

    def __init__(self, task, answers):
        super().__init__()
        self.task, self.answers, self.nothing = task, answers, nn.Parameter(torch.zeros(1))

    def forward(self, ids):
        targets = torch.tensor([self.answers(self.task, row) for row in ids.tolist()])
        return nn.functional.one_hot(targets.clamp(min=0), self.task.vocab_size).float()


def test_every_target_follows_from_the_ids(task, answers, shortest):
    for length in (shortest, 8, 35):
        ids, targets = task.batch(40, length, seed=1, step=2)
        assert ids.shape == targets.shape == (40, length) and ids.dtype == targets.dtype == torch.int64
        assert ids.min() >= 0 and ids.max() < task.vocab_size
        assert targets.tolist() == [answers(task, row) for row in ids.tolist()]


def test_a_batch_is_a_pure_function_of_its_arguments(task, answers, shortest):
    first = task.batch(8, 20, seed=3, step=4)
    task.batch(8, 20, seed=3, step=5)
    torch.rand(3)
    assert all(map(torch.equal, first, task.batch(8, 20, seed=3, step=4)))
    for seed, step in ((3, 5), (4, 4), (4, 3)):
        assert not torch.equal(first[0], task.batch(8, 20, seed, step)[0])


def test_letters_and_their_places_are_drawn_evenly(task, answers, shortest):
    ids, targets = task.batch(6000, 12, seed=0, step=0)
    asked = targets[targets != IGNORED]
    counts = torch.bincount(asked, minlength=task.letters)
    assert len(counts) == task.letters and (counts / len(asked) - 1 / task.letters).abs().max() < 0.02
    # between the start and the question marks; where the first mark may stand; behind the pairs
    match task:
        case SelectiveCopying():
            places = (ids < task.letters)[:, 1:9]
        case InductionHeads():
            places = (ids == task.mark)[:, :10]
        case AssociativeRecall():
            places = (targets != IGNORED)[:, 6:]
    share = places.float().mean(0)
    assert (share - share.mean()).abs().max() < 0.03 and share.min() > 0


def test_too_short_a_length_is_refused(task, answers, shortest):
    with pytest.raises(InputError, match="length of at least"):
        task.batch(4, shortest - 1, seed=0, step=0)
    with pytest.raises(InputError, match="letters must be a whole number"):
        type(task)(letters=0)


def test_accuracy_of_an_oracle_is_one_and_of_a_constant_guess_near_chance(task, answers, shortest):
    assert accuracy(Oracle(task, answers), task, 16, sequences=50) == 1
    constant = Oracle(task, lambda task, row: [0] * len(row))
    assert abs(accuracy(constant, task, 16, sequences=2000, tokens_at_once=1000) - 1 / task.letters) < 0.04


def test_accuracy_counts_partly_filled_batches(task, answers, shortest):
    rows = []
    model = Oracle(task, lambda task, row: rows.append(row) or answers(task, row))
    assert accuracy(model, task, 16, sequences=25, tokens_at_once=160) == 1
    assert len(rows) == 25 and len({tuple(row) for row in rows}) == 25


def small_models(task):
    yield Mamba(MambaConfig(task.vocab_size, d_model=16, n_layers=1, d_state=4, scan="torch"))
    yield Transformer(TransformerConfig(task.vocab_size, context=12, d_model=16, n_layers=1, n_heads=2))


def test_training_lowers_the_loss_and_depends_on_its_seed_only(task, answers, shortest):
    def trained(which, seed):
        torch.manual_seed(0)
        model = list(small_models(task))[which]
        return train_on_task(model, task, 25, lengths=(7, 9), peak_learning_rate=1e-2, seed=seed), model

    for which in range(2):
        losses, model = trained(which, seed=5)
        assert len(losses) == 25 and not model.training
        assert sum(losses[-5:]) < sum(losses[:5])
        assert losses == trained(which, seed=5)[0] != trained(which, seed=6)[0]


def test_a_loss_that_is_not_finite_stops_the_training(task, answers, shortest):
    model = next(small_models(task))
    nn.init.constant_(model.embedding.weight, float("nan"))
    with pytest.raises((DivergenceError, InputError)):
        train_on_task(model, task, 2, lengths=(8,))
