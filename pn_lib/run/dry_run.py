"""What a profile's training would take, before it is begun: parameters, FLOPs, memory, hours, and two steps of it."""

import time

import pandas as pd
import torch

from pn_lib.errors import InputError
from pn_lib.hardware import autocast, resolve_precision
from pn_lib.models.flops import parameter_count, training_flops
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.profile import load_profile
from pn_lib.run.profile_models import check_models
from pn_lib.training.config import TrainingConfig
from pn_lib.training.distributed import best_device
from pn_lib.training.optimizer import optimizer_for, parameter_groups
from pn_lib.training.profiling import saved_bytes

# Dense bfloat16 matrix products, TFLOP/s, as their makers' data sheets say (float16 for the T4, which has no bfloat16).
DEVICES = {"t4": 65, "l4": 121, "rtx4090": 165, "a100": 312, "h100": 989}
UTILISATION = 0.3  # of that, in training: what careful code reaches on models of hundreds of millions of parameters
SEQUENCES = 2  # in each of the two steps that are really made


def dry_run(profile_name: str, device: str | None = None) -> str:
    """A table with a row for the profile's Transformer and for each of its sizes, and how to read it.

    Raises:
        InputError: an unknown profile or device.
    """
    if device is not None and device not in DEVICES:
        raise InputError(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    profile, here = load_profile(profile_name), best_device()
    check_models(profile)
    V, training = profile.tokenizer.vocab_size, profile.training
    rows = {
        name: _row(TransformerConfig(V, training.context, **options), training, here, device)
        for name, options in {"(the profile's own)": profile.transformer, **profile.sizes}.items()
    }
    micro = training.micro_batch or training.batch_size
    lines = [
        f"{training.steps:,} updates of {training.batch_size} x {training.context} tokens, "
        f"{training.planned_tokens:,} in all",
        "",
        pd.DataFrame(rows).T.to_string(),
        "",
        f"memory: weights, gradients, optimizer, average, and what {micro} sequences keep for the backward pass",
        f"here: {SEQUENCES} updates of {SEQUENCES} sequences each on this {here.type}",
    ]
    if device is not None:
        lines.append(
            f"on {device}: at {UTILISATION:.0%} of the {DEVICES[device]} TFLOP/s of its data sheet; models "
            "this small may reach less"
        )
    return "\n".join(lines)


def _row(config: TransformerConfig, training: TrainingConfig, here: torch.device, device: str | None) -> dict[str, str]:
    flops = training_flops(config, training.planned_tokens, training.context)
    losses, rate = two_steps(config, training, here)
    row = {
        "parameters": f"{parameter_count(config).total:,}",
        "without embeddings": f"{parameter_count(config).non_embedding:,}",
        "FLOPs": f"{flops:.2g}",
        "memory, GB": f"{memory_gb(config, training):.1f}",
        "two steps, nats": f"{losses[0]:.2f}, {losses[1]:.2f}",
        "tokens/s here": f"{rate:,.0f}",
        "hours here": f"{training.planned_tokens / rate / 3600:,.1f}",
    }
    if device is not None:
        row[f"hours on {device}"] = f"{flops / (UTILISATION * DEVICES[device] * 1e12) / 3600:,.2f}"
    return row


def memory_gb(config: TransformerConfig, training: TrainingConfig) -> float:
    """What training must hold: 4 bytes a parameter for each of weight, gradient and the optimizer's one or two means
    (Muon has one) and the average's copy if there is one; and what the forward pass keeps, measured on one sequence."""
    model = Transformer(config)
    matrices = parameter_groups(model)["matrices"] if training.optimizer == "muon" else []
    moved_by_muon = sum(p.numel() for p in matrices)  # without the second mean
    copies = 4 * model.n_parameters() - moved_by_muon + (model.n_parameters() if training.ema_decay else 0)
    ids = torch.zeros(1, training.context, dtype=torch.long)
    kept = saved_bytes(model, ids, resolve_precision(training.precision, torch.device("cpu")))
    return (4 * copies + kept * (training.micro_batch or training.batch_size)) / 1e9


def two_steps(config: TransformerConfig, training: TrainingConfig, here: torch.device) -> tuple[list[float], float]:
    """The losses of two updates on random tokens, and tokens/s of the second; the first gets everything ready."""
    torch.manual_seed(training.seed)
    model = Transformer(config).to(here)
    optimizer = optimizer_for(model, training)
    ids = torch.randint(config.vocab_size, (SEQUENCES, training.context + 1), device=here)
    losses, seconds, precision = [], 0.0, resolve_precision(training.precision, here)
    for _ in range(2):
        began = time.perf_counter()
        optimizer.zero_grad()
        with autocast(here, precision):
            loss = model(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        optimizer.step(0.1)
        losses.append(loss.item())
        seconds = time.perf_counter() - began
    return losses, SEQUENCES * training.context / seconds
