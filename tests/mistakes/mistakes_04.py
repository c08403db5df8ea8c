"""Wrong answers to the exercises of notebook 04, each with a piece of the message that it must get."""

import math
import os

import torch
from torch.nn import functional as F

from pn_lib.course.checks import transformer_training as checks


def hours(flops=6, seconds=3600, share=lambda u: u):
    return lambda p, n, peak, u: flops * p * n / (peak * share(u)) / seconds


def loss_of(choose, **options):
    """Cross-entropy of what ``choose`` makes of logits and ids."""

    def answer(logits, ids):
        chosen, targets = choose(logits, ids)
        return F.cross_entropy(chosen.flatten(0, 1), targets.flatten(), **options)

    return answer


def shifted(logits, ids):
    return logits[:, :-1], ids[:, 1:]


def softmax_over_positions(logits, ids):
    return -logits[:, :-1].softmax(1).gather(2, ids[:, 1:, None]).log().mean()


def softmax_then_log(logits, ids):
    return -logits[:, :-1].softmax(-1).gather(2, ids[:, 1:, None]).log().mean()


def exponential_by_hand(logits, ids):
    chances = logits[:, :-1].exp() / logits[:, :-1].exp().sum(-1, keepdim=True)
    return -chances.gather(2, ids[:, 1:, None]).log().mean()


def mean_probability(logits, ids):
    return -logits[:, :-1].softmax(-1).gather(2, ids[:, 1:, None]).mean()


def log_of_mean(logits, ids):
    return -logits[:, :-1].softmax(-1).gather(2, ids[:, 1:, None]).mean().log()


def one_number_a_position(logits, ids):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")


def wsd(step, steps, peak, warmup, decay):
    return peak * min(1.0, (step + 1) / warmup, (steps - step) / decay)


def always_linear(step, steps, peak, warmup, decay):
    return peak * ((step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup))


def clip_with(norm_of):
    def answer(gradients, max_norm):
        norm = norm_of(gradients)
        return [g * (max_norm / norm if norm > max_norm else 1.0) for g in gradients]

    return answer


def common_norm(gradients):
    return math.sqrt(sum(float(g.square().sum()) for g in gradients))


def scale_in_place(gradients, max_norm):
    for g in gradients:
        g.mul_(0.02)
    return gradients


def to_norm_one(gradients, max_norm):
    norm = common_norm(gradients)
    return [g * (1.0 / norm if norm > max_norm else 1.0) for g in gradients]


def concatenated(gradients, max_norm):
    norm = torch.cat([g.flatten() for g in gradients]).norm().item()
    return [g * (max_norm / norm if norm > max_norm else 1.0) for g in gradients]


def resuming(weights=True, memory=True, later=0, atomic=True, at_end=False, clear=True):
    """A resumable loop with one thing wrong."""

    def save(model, optimizer, step, path):
        beside = path.with_suffix(".new") if atomic else path
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, beside)
        os.replace(beside, path)

    def answer(model, optimizer, batch_at, steps, path):
        begin = 0
        if path.exists():
            saved = torch.load(path)
            if weights:
                model.load_state_dict(saved["model"])
            if memory:
                optimizer.load_state_dict(saved["optimizer"])
            begin = saved["step"]
        for step in range(begin, steps):
            x, y = batch_at(step)
            if clear:
                optimizer.zero_grad()
            model(x, y).backward()
            optimizer.step()
            if not at_end or step == steps - 1:
                save(model, optimizer, step + 1 + later, path)
        return steps - begin

    return answer


def never_looks(model, optimizer, batch_at, steps, path):
    path.unlink(missing_ok=True)
    return resuming()(model, optimizer, batch_at, steps, path)


def returns_all_steps(model, optimizer, batch_at, steps, path):
    resuming()(model, optimizer, batch_at, steps, path)
    return steps


def accumulating(share, clear="once", each=True, rows=None, returned=lambda loss: loss):
    """Add up what ``share`` makes of a piece's losses and of the batch's targets."""

    def answer(model, ids, targets, piece):
        model.zero_grad() if clear == "once" else None
        total = torch.tensor(0.0)
        for some, wanted in zip(ids.split(rows or piece), targets.split(rows or piece), strict=True):
            model.zero_grad() if clear == "each" else None
            losses = F.cross_entropy(model(some).flatten(0, 1), wanted.flatten(), reduction="none")
            part = share(losses, wanted, targets, len(ids) / piece)
            part.backward() if each else None
            total = total + (part.detach() if each else part)
        total.backward() if not each else None
        return returned(total.item())

    return answer


def counted(losses, wanted, targets, pieces):
    return losses.sum() / (targets != -100).sum()


MISTAKES = [
    (checks.training_hours, hours(flops=2), "the forward pass alone"),
    (checks.training_hours, hours(share=lambda u: 1), "the machine's peak"),
    (checks.training_hours, hours(share=lambda u: 1 / u), "the longer it takes"),
    (checks.training_hours, hours(seconds=1), "Those are seconds"),
    (checks.training_hours, hours(seconds=60), "Those are minutes"),
    (checks.training_hours, lambda p, n, peak, u: 2.0, "written into your function"),
    (checks.training_hours, lambda p, n, peak, u: None, "returned None"),
    (checks.next_token_loss, loss_of(lambda z, ids: (z, ids)), "No shift"),
    (checks.next_token_loss, loss_of(lambda z, ids: (z[:, 1:], ids[:, :-1])), "Shifted the wrong way"),
    (checks.next_token_loss, loss_of(lambda z, ids: (z[:, :-2], ids[:, 2:])), "Shifted by two"),
    (checks.next_token_loss, loss_of(lambda z, ids: (z, ids.roll(-1, 1))), "You count the last position"),
    (checks.next_token_loss, loss_of(lambda z, ids: (z, ids.roll(1, 1))), "moves the tokens to the right"),
    (checks.next_token_loss, loss_of(shifted, reduction="sum"), "That is the sum"),
    (checks.next_token_loss, lambda z, ids: -loss_of(shifted)(z, ids), "The sign is wrong"),
    (checks.next_token_loss, lambda z, ids: loss_of(shifted)(z, ids) / math.log(2), "That is in bits"),
    (checks.next_token_loss, lambda z, ids: loss_of(shifted, reduction="sum")(z, ids) / ids.numel(), "divide by B T"),
    (checks.next_token_loss, lambda z, ids: loss_of(shifted)(z, ids).item(), "Return a tensor"),
    (checks.next_token_loss, one_number_a_position, "Return one number"),
    (checks.next_token_loss, lambda z, ids: loss_of(shifted)(z.detach(), ids), "no gradient"),
    (checks.next_token_loss, softmax_over_positions, "belongs along the vocabulary"),
    (checks.next_token_loss, mean_probability, "You average the probabilities"),
    (checks.next_token_loss, log_of_mean, "log first"),
    (checks.next_token_loss, exponential_by_hand, "exp overflows"),
    (checks.warmup_stable_decay, lambda s, n, p, w, d: p * min(1.0, s / w, (n - s) / d), "Step 0 has rate 0"),
    (checks.warmup_stable_decay, lambda s, n, p, w, d: p * min(1.0, (s + 1) / w, (n - 1 - s) / d), "The last step"),
    (checks.warmup_stable_decay, lambda s, n, p, w, d: p * min(1.0, (s + 1) / w, (n - s) / (d + 2)), "too early"),
    (checks.warmup_stable_decay, lambda s, n, p, w, d: p * min(1.0, (s + 1) / w), "does not fall"),
    (checks.warmup_stable_decay, lambda s, n, p, w, d: p * (s + 1) / w, "above its peak"),
    (checks.warmup_stable_decay, lambda s, n, p, w, d: min(1.0, (s + 1) / w, (n - s) / d), "is the peak left out"),
    (checks.warmup_stable_decay, always_linear, "that is the schedule `linear`"),
    (checks.warmup_stable_decay, wsd, "divides by zero"),
    (checks.clip_gradients, lambda g, m: [x * m / x.norm() for x in g], "clipped by itself"),
    (checks.clip_gradients, lambda g, m: [x * m / common_norm(g) for x in g], "Small enough gradients stay"),
    (checks.clip_gradients, clip_with(lambda g: common_norm(g) ** 2), "You forgot the root"),
    (checks.clip_gradients, clip_with(lambda g: sum(float(x.abs().sum()) for x in g)), "a sum without squares"),
    (checks.clip_gradients, clip_with(lambda g: max(float(x.norm()) for x in g)), "the largest of the norms"),
    (checks.clip_gradients, lambda g, m: [x.clone() for x in g], "Nothing was clipped"),
    (checks.clip_gradients, to_norm_one, "not always 1"),
    (checks.clip_gradients, scale_in_place, "changed the tensors"),
    (checks.clip_gradients, lambda g, m: None, "returned None"),
    (checks.clip_gradients, lambda g, m: torch.cat([x.flatten() for x in g]), "Return a list of tensors"),
    (checks.clip_gradients, concatenated, "An empty list raised"),
    (checks.accumulate_gradients, accumulating(lambda x, w, t, n: x[w.flatten() != -100].mean()), "add the means"),
    (checks.accumulate_gradients, accumulating(lambda x, w, t, n: x.mean() / math.ceil(n)), "average the means"),
    (checks.accumulate_gradients, accumulating(lambda x, w, t, n: x.sum()), "never divide by their number"),
    (checks.accumulate_gradients, accumulating(lambda x, w, t, n: x.sum() / t.numel()), "padding and do not count"),
    (checks.accumulate_gradients, accumulating(counted, clear="each"), "only the last piece is left"),
    (checks.accumulate_gradients, accumulating(counted, clear=""), "earlier batch is still in the sum"),
    (checks.accumulate_gradients, accumulating(counted, each=False), "left no gradient yet"),
    (checks.accumulate_gradients, accumulating(counted, rows=5), "you read 5 rows at once"),
    (checks.accumulate_gradients, accumulating(counted, returned=lambda loss: 2 * loss), "the loss returned"),
    (
        checks.accumulate_gradients,
        accumulating(lambda x, w, t, n: x[w.flatten() != -100].mean() * (w != -100).sum() / (t != -100).sum()),
        "0/0, NaN",
    ),
    (checks.train_resumably, resuming(memory=False), "an optimizer without memory"),
    (checks.train_resumably, resuming(weights=False), "with the new model's weights"),
    (checks.train_resumably, resuming(later=-1), "made update 2 twice"),
    (checks.train_resumably, resuming(later=1), "left out update 3"),
    (checks.train_resumably, resuming(atomic=False), "half a file"),
    (checks.train_resumably, resuming(at_end=True), "save after *each*"),
    (checks.train_resumably, resuming(clear=False), "clear them before each backward pass"),
    (checks.train_resumably, never_looks, "began again with batch 0"),
    (checks.train_resumably, returns_all_steps, "made 3 updates and returned 6"),
]
