"""Causal softmax attention in blocks of queries: for training in bfloat16 on a CPU, twice as fast as PyTorch's own.

A block of queries looks only at the keys up to its last one, so that most of the masked half is never computed, and
each product is one batched matrix product, which the CPU's bfloat16 units are made for. The weights are kept for the
backward pass, half of T x T for each head; that is why ``pays`` has a limit.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 64  # queries; measured at T = 256 and 512: 32 and 128 are slower
LONGEST = 1024  # tokens; beyond, PyTorch's attention, which keeps no weights, is about as fast


def pays(q: Tensor, k: Tensor) -> bool:
    """Whether ``blocked_attention`` is the faster way, by a rule that came from measurement."""
    return q.is_cpu and q.dtype == torch.bfloat16 and q.requires_grad and q.shape == k.shape and q.shape[2] <= LONGEST


def blocked_attention(q: Tensor, k: Tensor, v: Tensor, scale: float, stories: Tensor | None = None) -> Tensor:
    """softmax(scale q k^T) v over the past; all (B, H, T, d). With ``stories`` (B, T): within equal ones."""
    y = _BlockedAttention.apply(*(x.flatten(0, 1).contiguous() for x in (q * scale, k, v)), stories)
    return y.unflatten(0, q.shape[:2])


class _BlockedAttention(torch.autograd.Function):
    """On (B H, T, d). With weights P = softmax(q k^T) and y = P v, a gradient g of y gives that of the scores as
    P (g v^T - the sum of g y over d): FlashAttention's backward pass (Dao et al., 2022, appendix B.4)."""

    @staticmethod
    def forward(ctx, q, k, v, stories):
        y, kept = torch.empty_like(q), []
        future = torch.ones(BLOCK, BLOCK, dtype=torch.bool).triu(1)
        for start, end in _blocks(q.shape[1]):
            scores = q[:, start:end] @ k[:, :end].mT  # (B H, block, end)
            scores[:, :, start:].masked_fill_(future[: end - start, : end - start], -torch.inf)
            if stories is not None:
                others = stories[:, start:end, None] != stories[:, None, :end]  # (B, block, end)
                scores.unflatten(0, (len(stories), -1)).masked_fill_(others.unsqueeze(1), -torch.inf)
            kept.append(scores.softmax(-1))
            torch.bmm(kept[-1], v[:, :end], out=y[:, start:end])
        ctx.save_for_backward(q, k, v, y, *kept)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y):
        q, k, v, y, *kept = ctx.saved_tensors
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        along = (grad_y * y).sum(-1, keepdim=True)
        for (start, end), P in zip(_blocks(q.shape[1]), kept, strict=True):
            g = grad_y[:, start:end]
            grad_v[:, :end].baddbmm_(P.mT, g)
            grad_scores = (g @ v[:, :end].mT).sub_(along[:, start:end]).mul_(P)
            torch.bmm(grad_scores, k[:, :end], out=grad_q[:, start:end])
            grad_k[:, :end].baddbmm_(grad_scores.mT, q[:, start:end])
        return grad_q, grad_k, grad_v, None


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]
