"""What each recurrent decoder with a vocabulary of 50 promises, asked of one model."""

import torch
from torch.nn import functional as F

VOCABULARY = 50


def random_ids(batch, length, seed=1):
    return torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def assert_causal(model, position, tolerance):
    """What comes after ``position`` changes nothing up to it, and something behind it."""
    ids = random_ids(1, 12)
    changed = ids.clone()
    changed[:, position + 1 :] = (changed[:, position + 1 :] + 1) % VOCABULARY
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, : position + 1], after[:, : position + 1], rtol=0, atol=tolerance)
    assert not torch.allclose(before[:, position + 1 :], after[:, position + 1 :])


@torch.no_grad()
def assert_state_suffices(model, rtol, atol):
    """Prefill of every length, the ones shorter than the convolution too, then token by token, equals reading all."""
    ids = random_ids(3, 14)
    expected = model(ids)
    for k in range(1, ids.shape[1] + 1):
        logits, state = model.prefill(ids[:, :k])
        torch.testing.assert_close(logits, expected[:, k - 1], rtol=rtol, atol=atol)
        for t in range(k, ids.shape[1]):
            logits, state = model.step(ids[:, t], state)
            torch.testing.assert_close(logits, expected[:, t], rtol=rtol, atol=atol)


def recall_losses(model, steps):
    """The loss at the first and the last of ``steps`` steps on a task that needs memory: y_t = x_{t-1}, one of 8."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        ids = torch.randint(0, 8, (16, 32), generator=generator)
        loss = F.cross_entropy(model(ids)[:, 1:].flatten(0, 1), ids[:, :-1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]
