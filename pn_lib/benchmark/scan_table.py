"""The scan's table: Mamba's recurrence by itself, forwards and with its gradients."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from pn_lib.benchmark.contenders import Scale
from pn_lib.benchmark.tables import Pair
from pn_lib.benchmark.training_table import batch_of
from pn_lib.models.scan import choose_method, selective_scan
from pn_lib.progress import progress
from pn_lib.training.timing import Contender, alternate

STATE = 16  # N, state elements of each channel
PEER = "mambapy pscan"
FORWARD, BOTH = "forward", "forward and backward"


def measure_scan(scale: Scale, peers: bool) -> pd.DataFrame:
    """A row for each method, length and direction: ms a call with its range, in float32."""
    rows = []
    for length in progress(scale.lengths, "scan", unit="length"):
        tensors, methods = scan_inputs(scale, length), scan_methods(scale, length, peers)
        for direction, run in ((FORWARD, _forward), (BOTH, _both)):
            units = batch_of(scale, length) * length
            contenders = [Contender(name, partial(run, scan, tensors), units) for name, scan in methods.items()]
            timings = alternate(contenders, scale.rounds, scale.limit / 2, f"scan, T={length}, {direction}")
            for name, timing in timings.items():
                rates = timing.rates(units)
                rows.append(
                    {
                        "method": name,
                        "precision": "float32",
                        "length": length,
                        "batch": len(tensors[0]),
                        "direction": direction,
                        **timing.milliseconds(),
                        "rounds": rates["rounds"],
                        "tokens_per_second": rates["tokens_per_second"],
                    }
                )
    return pd.DataFrame(rows)


def scan_pairs() -> list[Pair]:
    """Which rows of the table are set beside which."""
    return [Pair("fused", other, ("length", "batch", "direction")) for other in ("torch", "reference", PEER)]


def scan_methods(scale: Scale, length: int, peers: bool) -> dict[str, Callable[..., Tensor]]:
    """The ways to compute y from (x, dt, A, B, C, D): ours that can run here and are affordable, and mambapy's."""
    names = ["fused", "torch"] if choose_method(torch.device("cpu")) == "fused" else ["torch"]
    names += ["reference"] if length <= scale.reference_length else []
    found: dict[str, Callable[..., Tensor]] = {name: partial(_ours, name) for name in names}
    if peers:
        from pn_lib.benchmark.peers import mambapy_scan

        found[PEER] = mambapy_scan
    return found


def scan_inputs(scale: Scale, length: int) -> list[Tensor]:
    """x, dt (B, T, E), A (E, N), B, C (B, T, N), D (E,): as in a Mamba of this width, leaves that want gradients."""
    generator = torch.Generator().manual_seed(0)
    batch, channels = batch_of(scale, length), 2 * scale.d_model
    x = torch.randn(batch, length, channels, generator=generator)
    dt = torch.rand(batch, length, channels, generator=generator) * 0.1
    A = -torch.arange(1.0, STATE + 1).repeat(channels, 1)
    B, C = torch.randn(2, batch, length, STATE, generator=generator)
    return [v.clone().requires_grad_() for v in (x, dt, A, B, C, torch.ones(channels))]


def _ours(method: str, *tensors: Tensor) -> Tensor:
    return selective_scan(*tensors, method=method)[0]


def _forward(scan: Callable[..., Tensor], tensors: list[Tensor]) -> None:
    with torch.no_grad():
        scan(*tensors)


def _both(scan: Callable[..., Tensor], tensors: list[Tensor]) -> None:
    y = scan(*tensors)
    torch.autograd.grad(y, tensors, torch.ones_like(y))
