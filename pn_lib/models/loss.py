"""Cross-entropy of a model's output layer, without ever holding the logits of a whole batch.

Logits are the largest tensor of a small model's training by far: 16 x 256 tokens of a vocabulary of 2,048 are 34 MB in
float32, and the usual way keeps them, their softmax and its gradient. Here a slice of tokens goes all the way from
hidden vectors to gradients while it is in the processor's cache, and only the gradients remain.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pn_lib.data.tokens import IGNORED

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
            target = targets[piece, None]
            log_p = torch.log_softmax(x[piece] @ W.T, -1, dtype=torch.float32)
            total -= log_p.gather(1, target).sum()
            p = log_p.exp_()  # the gradient of the logits is p - 1 at the target, p elsewhere
            p.scatter_add_(1, target, p.new_full(target.shape, -1.0))
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
