"""Causal self-attention: softmax (Vaswani et al., 2017) and linear (Katharopoulos et al., 2020), and their caches.

Both project to H query heads and K key/value heads (K < H: grouped-query attention, Ainslie et al., 2023;
K = 1: multi-query, Shazeer, 2019) with one matrix product, and take rotary positions if given. Called with a cache,
they put the tokens they are given after those that the cache has seen.

Softmax attention is written down once for each thing that the others cannot do:

- ``SoftmaxAttention.weights`` is the oracle: the equation as it stands, with all T x T weights, which heads are read
  from. The tests put the weights to the values and expect what ``forward`` gives, whichever way it takes.
- ``F.scaled_dot_product_attention`` serves ``forward`` wherever PyTorch runs, and ``step`` for one token.
- ``cpu.attention_kernels`` serves ``forward``, with norms and rotation, in float32 on a CPU (``cpu.fused_blocks``).
- ``cpu.blocked_attention`` serves training in bfloat16 on a CPU, twice as fast there as PyTorch's own.
- ``attend`` (``cpu.decoding_kernels``) is one token inside the kernel that decodes with a whole model at once; it is
  tested against ``forward``.

Letters: B batch, T tokens, D model width, H query heads, K key/value heads, d = D / H head width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.cpu.availability import can_fuse
from pn_lib.models.cpu.blocked_attention import blocked_attention, pays

Rotation = tuple[Tensor, Tensor]


def rotary_table(head_dim: int, context: int, theta: float) -> Rotation:
    """Cosines and signed sines of RoPE (Su et al., 2021, eq. 15), each (context, 1, d).

    Channel i is paired with channel i + d/2 (the "half-split" layout of Llama in transformers) and the pair turns by
    position * theta^(-2i/d). The first half of the sines is negative, as ``rotate`` wants it.
    """
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle = torch.outer(torch.arange(context, dtype=torch.float32), frequency).unsqueeze(1)
    return torch.cat((angle.cos(), angle.cos()), -1), torch.cat((-angle.sin(), angle.sin()), -1)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn each channel pair of x (B, T, heads, d) by its position's angle; the result keeps the dtype of x."""
    cos, sin = (table.to(x.dtype) for table in rotation)
    # rolling by half the channels puts every channel's partner in its place
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class KVCache:
    """Keys and values of the tokens seen so far, (B, K, context, d) each, allocated once, at the first use.

    The only thing that decoding keeps which grows with the length, and it never moves.
    """

    def __init__(self, context: int):
        self.context = context
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (B, K, T, d); returns views of all keys and values so far."""
        if self.keys is None:
            shape = (*k.shape[:2], self.context, k.shape[3])
            self.keys, self.values = k.new_empty(shape), v.new_empty(shape)  # a page is taken when it is written to
        end = self.length + k.shape[2]
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def append(self, k: Tensor, v: Tensor) -> None:
        """Put the k and v (B, K, d) of one more token behind the others."""
        self.keys[:, :, self.length] = k
        self.values[:, :, self.length] = v
        self.length += 1

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch only."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_empty(len(rows), *old.shape[1:])
            new[:, :, : self.length] = old[rows, :, : self.length]
            setattr(self, name, new)

    def n_bytes(self) -> int:
        """Memory taken, also by room for tokens yet to come."""
        return self.keys.nbytes + self.values.nbytes


class LinearCache:
    """What linear attention keeps of the tokens seen: the sums of k v^T (B, K, 1, d, d) and of k (B, K, 1, 1, d)."""

    def __init__(self):
        self.kv: Tensor | None = None
        self.k: Tensor | None = None

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch only."""
        self.kv, self.k = self.kv[rows], self.k[rows]

    def n_bytes(self) -> int:
        return self.kv.nbytes + self.k.nbytes


class Attention(nn.Module):
    """What both kinds share: the projections of x (B, T, D) to heads and of the heads back to (B, T, D)."""

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, bias: bool, qkv_bias: bool | None = None):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = n_heads, n_kv_heads, d_model // n_heads
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.qkv = nn.Linear(d_model, (n_heads + 2 * n_kv_heads) * self.head_dim, bias=qkv_bias)
        self.out = nn.Linear(d_model, d_model, bias=bias)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (..., D) -> queries and keys (..., H + K, d), together because both get rotated; values (..., K, d)."""
        heads = F.linear(x, self.qkv.weight, self.qkv.bias).unflatten(-1, (-1, self.head_dim))
        return heads.split((self.n_heads + self.n_kv_heads, self.n_kv_heads), dim=-2)

    def _join(self, y: Tensor) -> Tensor:
        """y (B, H, T, d) -> (B, T, D)"""
        return self.out(y.transpose(1, 2).flatten(2))


class SoftmaxAttention(Attention):
    """softmax(q k^T / sqrt(d)) v over the past (Vaswani et al., 2017, eq. 1), or its last ``window`` tokens.

    Not ``scaled``: without the division by sqrt(d), as in GPT-Neo, which leaves that to the weights. With a
    ``qk_norm_eps`` each query and key head goes through an RMSNorm before it is rotated (Henry et al., 2020; the form
    is Qwen3's), so that no score can grow out of bounds; the gain of either norm is shared by its heads.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        bias: bool,
        qkv_bias: bool | None = None,
        window: int | None = None,
        scaled: bool = True,
        qk_norm_eps: float | None = None,
    ):
        super().__init__(d_model, n_heads, n_kv_heads, bias, qkv_bias)
        self.window = window
        self.divisor = self.head_dim**0.5 if scaled else 1.0
        normed = qk_norm_eps is not None
        self.q_norm = nn.RMSNorm(self.head_dim, eps=qk_norm_eps) if normed else None
        self.k_norm = nn.RMSNorm(self.head_dim, eps=qk_norm_eps) if normed else None

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: KVCache | None = None,
        stories: Tensor | None = None,
    ) -> Tensor:
        """x (B, T, D), from the beginning -> (B, T, D). A cache, empty so far, takes the keys and values.

        With ``stories`` (B, T), the number of each token's story, a token sees its own story only.
        """
        # our kernel is a flash attention: who asks PyTorch for another, as its counter of FLOPs needs it, gets that
        if cache is None and can_fuse(x) and torch.backends.cuda.flash_sdp_enabled():
            return self._fused(x, rotation, stories)
        q, k, v = self._project(x, rotation)
        if cache is not None:
            k, v = cache.extend(k, v)
        mask = self._window_mask(q.shape[2], q.device)
        if mask is None and pays(q, k):
            return self._join(blocked_attention(q, k, v, 1 / self.divisor, stories))
        if stories is not None:
            past = q.new_ones(q.shape[2], q.shape[2], dtype=torch.bool).tril() if mask is None else mask
            mask = past & (stories[:, None, :, None] == stories[:, None, None, :])  # (B, 1, T, T)
        grouped, causal, scale = self.n_kv_heads < self.n_heads, mask is None, 1 / self.divisor
        y = F.scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale=scale, enable_gqa=grouped)
        return self._join(y)

    def _fused(self, x: Tensor, rotation: Rotation | None, stories: Tensor | None) -> Tensor:
        """``forward`` by kernels, from the projections to the heads' outputs."""
        from pn_lib.models.cpu.fused_blocks import attention  # needs Numba, which need not be there

        qkv = F.linear(x, self.qkv.weight, self.qkv.bias)
        gains = None if self.q_norm is None else torch.stack((self.q_norm.weight, self.k_norm.weight))
        eps = 0.0 if self.q_norm is None else self.q_norm.eps
        first = self._first_seen(*x.shape[:2], stories)
        return self.out(attention(qkv, self.n_heads, self.n_kv_heads, 1 / self.divisor, first, gains, eps, rotation))

    def _first_seen(self, batch: int, length: int, stories: Tensor | None) -> Tensor:
        """The first token that each token sees, (B, T): that of its window, or of its story if that begins later."""
        positions = torch.arange(length).expand(batch, -1)
        first = torch.zeros_like(positions) if self.window is None else (positions - self.window + 1).clamp(min=0)
        if stories is None:
            return first
        begins = F.pad(stories[:, 1:] != stories[:, :-1], (1, 0))
        return torch.maximum(first, (positions * begins).cummax(1).values)

    def step(self, x: Tensor, rotation: Rotation | None, cache: KVCache) -> Tensor:
        """One token for each row, x (B, D), behind those in the cache -> (B, D)."""
        qk, v = self._prepared(x, rotation)
        q, k = qk.split((self.n_heads, self.n_kv_heads), dim=1)
        cache.append(k, v)
        seen = slice(0 if self.window is None else max(0, cache.length - self.window), cache.length)
        # The H/K query heads that share a key head stand where several tokens would: keys are never copied for each.
        q = q.unflatten(1, (self.n_kv_heads, -1))  # (B, K, H/K, d)
        y = F.scaled_dot_product_attention(q, cache.keys[:, :, seen], cache.values[:, :, seen], scale=1 / self.divisor)
        return F.linear(y.flatten(1), self.out.weight, self.out.bias)

    def weights(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """The attention weights (B, H, T, T) that ``forward`` uses, row = query. (``forward`` never holds them all.)"""
        q, k, _ = self._project(x, rotation)
        k = k.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        mask = self._window_mask(q.shape[2], q.device)
        if mask is None:
            mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).tril()
        scores = q @ k.mT / self.divisor
        return scores.masked_fill(~mask, -torch.inf).softmax(-1)

    def _project(self, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        qk, v = self._prepared(x, rotation)
        q, k = qk.split((self.n_heads, self.n_kv_heads), dim=2)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _prepared(self, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        """As ``_heads``, the queries and keys normed and rotated."""
        qk, v = self._heads(x)
        if self.q_norm is not None:
            gains = (self.q_norm.weight.expand(self.n_heads, -1), self.k_norm.weight.expand(self.n_kv_heads, -1))
            normed = F.rms_norm(qk, (self.head_dim,), eps=self.q_norm.eps)
            qk = normed * torch.cat(gains).to(qk.dtype)  # (H + K, d): one pass over both
        return (qk if rotation is None else rotate(qk, rotation)), v

    def _window_mask(self, length: int, device: torch.device) -> Tensor | None:
        """True where the query (row) may see the key (column); None if plain causality, which is faster, will do."""
        if self.window is None or length <= self.window:
            return None
        return torch.ones(length, length, dtype=torch.bool, device=device).tril().triu(1 - self.window)


class LinearAttention(Attention):
    """Attention without the softmax: weights phi(q) . phi(k) / sum of phi(q) . phi(k), phi(x) = elu(x) + 1.

    Katharopoulos et al., 2020, eq. 9: the sums over the past can be carried along, so a step costs the same at any
    length. Rotary positions turn the numerator only (Su et al., 2021, eq. 19); the weights then need not sum to one.
    The whole sequence is computed in the parallel form, T x T weights, which is faster than the sums at short T.
    Inside, query heads are grouped by their key head: (B, K, H/K, T, d), keys and values (B, K, 1, T, d).
    """

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: LinearCache | None = None,
        stories: Tensor | None = None,
    ) -> Tensor:
        """x (B, T, D), from the beginning -> (B, T, D). A cache, empty so far, takes the sums.

        Raises:
            InputError: ``stories`` are given.
        """
        if stories is not None:
            raise InputError("linear attention cannot keep within stories: its sums run over all that came before")
        (q, k, v), (plain_q, plain_k) = self._project(x, rotation)
        if cache is not None:  # the sums are kept in float32 whatever the precision of the products
            cache.kv, cache.k = (k.mT @ v).float(), plain_k.sum(-2, keepdim=True, dtype=torch.float32)
        weights = (q @ k.mT).tril()
        return self._join((weights @ v / self._normaliser(plain_q, plain_k)).flatten(1, 2))

    def step(self, x: Tensor, rotation: Rotation | None, cache: LinearCache) -> Tensor:
        """One token for each row, x (B, D), behind those in the cache -> (B, D)."""
        (q, k, v), (plain_q, plain_k) = self._project(x.unsqueeze(1), rotation)
        cache.kv = cache.kv + k.mT @ v
        cache.k = cache.k + plain_k
        y = q @ cache.kv.to(q.dtype) / (plain_q * cache.k).sum(-1, keepdim=True)
        return self._join(y.flatten(1, 2)).squeeze(1)

    def weights(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """The weights (B, H, T, T) that ``forward`` gives the values, row = query."""
        (q, k, _), (plain_q, plain_k) = self._project(x, rotation)
        return ((q @ k.mT).tril() / self._normaliser(plain_q, plain_k)).flatten(1, 2)

    def _project(self, x: Tensor, rotation: Rotation | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        qk, v = self._heads(x)
        plain = F.elu(qk) + 1
        rotated = plain if rotation is None else rotate(plain, rotation)
        (q, k), (plain_q, plain_k) = self._group(rotated), self._group(plain)
        return (q, k, v.transpose(1, 2).unsqueeze(2)), (plain_q, plain_k)

    def _group(self, qk: Tensor) -> tuple[Tensor, Tensor]:
        q, k = qk.split((self.n_heads, self.n_kv_heads), dim=2)
        return q.transpose(1, 2).unflatten(1, (self.n_kv_heads, -1)), k.transpose(1, 2).unsqueeze(2)

    @staticmethod
    def _normaliser(q: Tensor, k: Tensor) -> Tensor:
        """Sum over the past of phi(q) . phi(k), (B, K, H/K, T, 1); positive, because phi is."""
        return (q * k.cumsum(-2, dtype=torch.float32)).sum(-1, keepdim=True)
