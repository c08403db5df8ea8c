"""Wrong answers to the exercises of notebook 09 that students give, and a piece of what the check must tell them."""

import math

import torch
import torch.nn.functional as F

from pn_lib.course.checks import mamba_construction as checks


def gates(ids, separator):
    inside = (ids != separator).float()
    return inside, inside


def piece(x, window, weight, bias):
    inputs = torch.cat([window, x], dim=1)
    K = weight.shape[1]
    output = sum(weight[:, k] * inputs[:, k : k + x.shape[1]] for k in range(K)) + bias
    return output, inputs[:, inputs.shape[1] - K + 1 :]


def padded_on_both_sides(x, window, weight, bias):
    output = F.conv1d(F.pad(x.mT, (1, 2)), weight[:, None], bias, groups=len(bias)).mT
    return output, piece(x, window, weight, bias)[1]


def starts_from_zeros(x, window, weight, bias):
    return piece(x, torch.zeros_like(window), weight, bias)[0], piece(x, window, weight, bias)[1]


def shifts_in_place(x, window, weight, bias):
    output, following = piece(x, window, weight, bias)
    window.copy_(following)
    return output, window


def window_of_the_piece_alone(x, window, weight, bias):
    return piece(x, window, weight, bias)[0], x[:, -3:]


def outputs_for_the_window_too(x, window, weight, bias):
    inputs = torch.cat([window, x], dim=1)
    return piece(inputs, torch.zeros_like(window), weight, bias)[0], inputs[:, -3:]


def backwards(direct, a, h, *, following=None, before=None):
    """The right gradients, or wrong in one place."""
    following = torch.cat([a[1:], a.new_zeros(1)]) if following is None else following
    before = torch.cat([h.new_zeros(1), h[:-1]]) if before is None else before
    G, grads = torch.zeros(()), []
    for t in reversed(range(len(a))):
        G = direct[t] + following[t] * G
        grads.append(G)
    G = torch.stack(grads[::-1])
    return G * before, G


def with_the_own_gate(direct, a, h):
    return backwards(direct, a, h, following=a)


def with_the_state_it_makes(direct, a, h):
    return backwards(direct, a, h, before=h)


def with_roll(direct, a, h):
    return backwards(direct, a, h, before=h.roll(1))


def direct_effect_only(direct, a, h):
    return backwards(direct, a, h, following=torch.zeros_like(a))


def next_state_only(direct, a, h):
    G = direct + torch.cat([a[1:] * direct[1:], a.new_zeros(1)])
    return G * torch.cat([h.new_zeros(1), h[:-1]]), G


def fixed(x, dt, A, B, C, D, *, length=None, first=0, step=True, direct=True):
    T = x.shape[1]
    powers = torch.exp((dt[:, None] * A)[..., None] * (torch.arange(T) + first))  # (E, N, T)
    filter_ = torch.einsum("n,ent,n->te", C, powers, B) * (dt if step else 1.0)
    length = 2 * T if length is None else T
    y = torch.fft.irfft(torch.fft.rfft(x, length, dim=1) * torch.fft.rfft(filter_, length, dim=0), length, dim=1)[:, :T]
    return y + D * x if direct else y


def circular(*inputs):
    return fixed(*inputs, length="T")


def by_a_loop(x, dt, A, B, C, D):
    h, ys = x.new_zeros(x.shape[0], *A.shape), []
    for x_t in x.unbind(1):
        h = torch.exp(dt[:, None] * A) * h + (dt * x_t)[:, :, None] * B
        ys.append(h @ C)
    return torch.stack(ys, 1) + D * x


def mask(a, *, first=0, last=0):
    """The right table, or products that begin or end ``first`` or ``last`` tokens earlier."""
    spans = [[(s + 1 - first, t + 1 - last) for s in range(len(a))] for t in range(len(a))]
    return torch.stack([torch.stack([a[i:j].prod() for i, j in row]) for row in spans]).tril()


def mask_by_logarithms(a):
    total = a.log().cumsum(0)
    return (total[:, None] - total).tril().exp().tril()


def mask_open_above(a):
    return mask(a) + torch.ones(len(a), len(a)).triu(1)


def mask_of_the_last_share(a):
    return a[:, None].expand(-1, len(a)).tril(-1) + torch.eye(len(a))


MISTAKES = [
    (checks.half_life, lambda dt, A: 1 / (dt * -A), "37 % is left"),
    (checks.half_life, lambda dt, A: math.log(2) / (dt * A), "A is negative"),
    (checks.half_life, lambda dt, A: math.log(2) / dt, "share left after your half-life"),
    (checks.half_life, lambda dt, A: math.ceil(math.log(2) / (dt * -A)), "whole tokens"),
    (checks.half_life, lambda dt, A: 1 / (dt * -A * math.log(2)), "divide by ln 2"),
    (checks.half_life, lambda dt, A: None, "returned None"),
    (checks.half_life, lambda dt, A: "6.93 tokens", "which is of type str"),
    (checks.counting_gates, lambda ids, s: (torch.ones(len(ids)), (ids != s).float()), "goes on after"),
    (checks.counting_gates, lambda ids, s: ((ids != s).float(), torch.ones(len(ids))), "count the separator itself"),
    (checks.counting_gates, lambda ids, s: gates(ids, 0), "Which token is the separator"),
    (checks.counting_gates, lambda ids, s: gates(ids[1:], s), "one gate per token"),
    (checks.counting_gates, lambda ids, s: (ids != s, ids != s), "must hold floats"),
    (checks.counting_gates, lambda ids, s: ((ids == s).float(),) * 2, "wrong way around"),
    (checks.counting_gates, lambda ids, s: (ids != s).float(), "Return two tensors"),
    (checks.convolve_piece, lambda x, w, k, b: piece(x, w, k.flip(1), b), "filter runs backwards"),
    (checks.convolve_piece, padded_on_both_sides, "see the future"),
    (checks.convolve_piece, starts_from_zeros, "zeros before the piece"),
    (checks.convolve_piece, lambda x, w, k, b: piece(x, w, k, 0 * b), "bias is missing"),
    (checks.convolve_piece, outputs_for_the_window_too, "T + K - 1"),
    (checks.convolve_piece, lambda x, w, k, b: (piece(x, w, k, b)[0], w), "did not move"),
    (checks.convolve_piece, lambda x, w, k, b: (piece(x, w, k, b)[0], x[:, -4:-1]), "one input too early"),
    (checks.convolve_piece, lambda x, w, k, b: (piece(x, w, k, b)[0], x[:, -3:].flip(1)), "newest input first"),
    (checks.convolve_piece, window_of_the_piece_alone, "shorter than that"),
    (checks.convolve_piece, shifts_in_place, "changed the window"),
    (checks.convolve_piece, lambda x, w, k, b: piece(x.mT, w, k, b), "Your code raised"),
    (checks.recurrence_gradients, direct_effect_only, "through the second, too"),
    (checks.recurrence_gradients, with_the_own_gate, "second token's a"),
    (checks.recurrence_gradients, with_the_state_it_makes, "state *before* it"),
    (checks.recurrence_gradients, with_roll, "a_1 changes nothing"),
    (checks.recurrence_gradients, next_state_only, "not the next one alone"),
    (checks.recurrence_gradients, lambda d, a, h: backwards(d, a, h)[::-1], "swapped"),
    (checks.recurrence_gradients, lambda d, a, h: backwards(d, a, h)[1], "Return two tensors"),
    (checks.decay_mask, lambda a: mask(a, first=1), "one token too early"),
    (checks.decay_mask, lambda a: mask(a, first=1, last=1), "off by one"),
    (checks.decay_mask, lambda a: mask(a).T, "the wrong way around"),
    (checks.decay_mask, mask_open_above, "above the diagonal"),
    (checks.decay_mask, mask_of_the_last_share, "not at the last alone"),
    (checks.decay_mask, mask_by_logarithms, "has no logarithm"),
    (checks.decay_mask, lambda a: a.cumprod(0), "must have shape"),
    (checks.fixed_scan, circular, "circular"),
    (checks.fixed_scan, lambda *inputs: fixed(*inputs, step=False), "the input enters whole"),
    (checks.fixed_scan, lambda *inputs: fixed(*inputs, first=1), "has faded already"),
    (checks.fixed_scan, lambda *inputs: fixed(*inputs, direct=False), "direct path D x is missing"),
    (checks.fixed_scan, lambda *inputs: fixed(*inputs).detach(), "No gradient flows"),
    (checks.fixed_scan, lambda *inputs: fixed(*inputs).sum(0), "must have shape"),
    (checks.fixed_scan, by_a_loop, "loops over the tokens"),
]
