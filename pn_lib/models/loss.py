"""Cross-entropy of a model's output layer, without ever holding the logits of a whole batch.

Logits are the largest tensor of a small model's training by far: 16 x 256 tokens of a vocabulary of 2,048 are 34 MB in
float32, and the usual way keeps them, their softmax and its gradient. Here a slice of tokens goes all the way from
hidden vectors to gradients while it is in the processor's cache, and only the gradients remain.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pn_lib.data.tokens import IGNORED
from pn_lib.models.cpu.availability import can_fuse

SLICE = 1 << 20  # logits worked on at once: 4 MB in float32


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax(hidden weight^T)[target], in nats: what ``F.cross_entropy`` gives for these logits.

    The products are computed in the precision of autocast where that is on, the softmax always in float32.
    (``F.linear_cross_entropy`` of PyTorch 2.13 has the same idea; at our sizes it takes nearly twice as long on a CPU.)

    Args:
        hidden: (..., D).
        weight: the output layer, (V, D).
        targets: int64 (...). Those that are ``IGNORED`` count for nothing; if all are, the loss and its gradients are 0
            (``F.cross_entropy`` says NaN).
    """
    hidden, targets = hidden.flatten(0, -2), targets.flatten()
    counts = targets != IGNORED
    if not counts.all():  # no product is spent on the others
        hidden, targets = hidden[counts], targets[counts]
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(hidden, weight, targets, dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are computed on the way, for a loss whose own gradient is 1; the backward pass scales them."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, dtype):
        x, W, count = hidden.to(dtype), weight.to(dtype), max(1, len(targets))
        grad_x, grad_W = torch.empty_like(x), torch.zeros_like(weight, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=x.device)
        rows = max(1, SLICE // len(W))
        for start in range(0, len(targets), rows):
            piece = slice(start, start + rows)
            nats, p = _nats_and_gradient(x[piece] @ W.T, targets[piece])
            total += nats.sum()
            p = p.to(dtype)
            torch.mm(p, W, out=grad_x[piece])
            grad_W += p.T @ x[piece]
        ctx.save_for_backward(grad_x, grad_W)
        ctx.scale, ctx.dtypes = 1 / count, (hidden.dtype, weight.dtype)
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        scale = grad * ctx.scale
        grad_x, grad_W = (g.to(dtype) * scale for g, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True))
        return grad_x, grad_W, None, None


def token_nats(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(hidden weight^T)[target] of each token in nats, float32, without gradients; 0 where ``IGNORED``.

    Args: as ``linear_cross_entropy``. Returns a tensor of the shape of ``targets``.
    """
    counts = targets != IGNORED
    hidden, wanted, rows = hidden[counts], targets[counts], max(1, SLICE // len(weight))
    pieces = [slice(start, start + rows) for start in range(0, len(wanted), rows)]
    nats = hidden.new_zeros(targets.shape, dtype=torch.float32)
    nats[counts] = torch.cat([nats.new_empty(0), *(_nats(hidden[p] @ weight.T, wanted[p]) for p in pieces)])
    return nats


def _nats_and_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """For logits (N, V), which are given up: -log softmax(logits)[target] (N,), and the gradient of its sum (N, V)."""
    if can_fuse(logits):
        from pn_lib.models.cpu import fused_blocks  # needs Numba, which need not be there

        return fused_blocks.token_nats(logits, targets, gradients=True), logits
    log_p = torch.log_softmax(logits, -1, dtype=torch.float32)
    nats, p = -log_p.gather(1, targets[:, None]), log_p.exp_()
    return nats, p.scatter_add_(1, targets[:, None], p.new_full((len(p), 1), -1.0))  # p - 1 at the target, p elsewhere


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    if can_fuse(logits):
        from pn_lib.models.cpu import fused_blocks  # needs Numba, which need not be there

        return fused_blocks.token_nats(logits, targets, gradients=False)
    return F.cross_entropy(logits.float(), targets, reduction="none")
