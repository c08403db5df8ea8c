"""Distillation: its loss and gradient against the paper's formulas, and training with a teacher."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from training_example import CONFIG, assert_same, make_model, scorer

from pn_lib.data.tokens import IGNORED
from pn_lib.errors import InputError
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.training.checkpoint import checkpoints
from pn_lib.training.distillation import Teacher, taught_loss
from pn_lib.training.loop import train


@pytest.fixture(scope="module")
def teacher(tokens):
    model = make_model(dropout=0.0)
    train(model, tokens, replace(CONFIG, tokens=60 * 64, learning_rate=2e-2), validate=scorer(tokens))
    model.zero_grad()
    return Teacher(model)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_gradient_is_the_papers(temperature, share):
    random = torch.Generator().manual_seed(3)
    z, v = (3 * torch.randn(7, 11, generator=random) for _ in range(2))
    targets = torch.randint(11, (7,), generator=random)
    z.requires_grad_()
    loss = taught_loss(z, v, targets, temperature, share)
    [gradient] = torch.autograd.grad(loss, z)
    with torch.no_grad():  # equation 2: of soft targets (q - p) / T, here times T^2; of hard ones q - one-hot
        soft = temperature * ((z / temperature).softmax(-1) - (v / temperature).softmax(-1))
        hard = z.softmax(-1) - F.one_hot(targets, 11)
        p = (v / temperature).softmax(-1)
        q = (z / temperature).softmax(-1)
        kl = (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(gradient, (share * soft + (1 - share) * hard) / 7)
    expected = (1 - share) * F.cross_entropy(z, targets) + share * temperature**2 * kl
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn_from_it(teacher):
    ids, targets = torch.randint(300, (2, 12)), torch.randint(300, (2, 12))
    loss = replace(teacher, share=1.0, temperature=2.0).loss(teacher.model, ids, targets)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_has_no_gradient_and_ignored_targets_count_for_nothing(teacher):
    student = make_model(dropout=0.0)
    ids, targets = torch.randint(300, (2, 12)), torch.randint(300, (2, 12))
    whole = teacher.loss(student, ids[:, :7], targets[:, :7])
    targets[:, 7:] = IGNORED
    loss = teacher.loss(student, ids, targets)
    torch.testing.assert_close(loss, whole)
    loss.backward()
    assert all(p.grad is not None for p in student.parameters())
    assert all(p.grad is None for p in teacher.model.parameters())


def test_training_follows_the_teacher_and_a_killed_run_goes_on(teacher, tokens, tmp_path):
    said = replace(teacher, share=1.0)
    model, again, stopped = make_model(), make_model(), make_model()
    history = train(model, tokens, CONFIG, validate=scorer(tokens), teacher=said).history
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0] - 0.3  # nearer to the teacher
    x, y = torch.randint(300, (8, 12)), torch.randint(300, (8, 12))
    plain = make_model()
    train(plain, tokens, CONFIG, validate=scorer(tokens))
    assert said.loss(model, x, y) != said.loss(plain, x, y)

    train(stopped, tokens, CONFIG, validate=scorer(tokens), teacher=said, folder=tmp_path)
    checkpoints(tmp_path)[0].unlink()  # as if it had come earlier
    resumed = train(again, tokens, CONFIG, validate=scorer(tokens), teacher=said, folder=tmp_path)
    assert 0 < resumed.resumed_from < 20
    assert_same(again, resumed.history, model, history)
    other = train(make_model(), tokens, CONFIG, validate=scorer(tokens), teacher=teacher, folder=tmp_path)
    assert other.resumed_from == 0  # half its word is another loss


def test_a_teacher_of_other_tokens_or_a_shorter_context_is_named(teacher, tokens):
    with pytest.raises(InputError, match="teacher knows 300 tokens, its student 200: both must have the same tokeni"):
        teacher.check(type(teacher.model)(replace(teacher.model.config, vocab_size=200)), 16, False)
    with pytest.raises(InputError, match="teacher reads 16 tokens at most, its student 32"):
        train(
            type(teacher.model)(replace(teacher.model.config, context=32)),
            tokens,
            replace(CONFIG, context=32),
            validate=scorer(tokens),
            teacher=teacher,
        )
    carrying = Teacher(Mamba(MambaConfig(vocab_size=300, d_model=16, n_layers=1, d_state=4)))
    with pytest.raises(InputError, match="the teacher, a mamba, carries what it knows of one story into the next"):
        train(make_model(), tokens, replace(CONFIG, within_stories=True), validate=scorer(tokens), teacher=carrying)
