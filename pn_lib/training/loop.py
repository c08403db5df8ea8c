"""The training loop: a token budget in, a trained model and its learning curve out; killed at any moment, it goes on.

Every update is a pure function of (weights, optimizer, seed, step): the batch and the random numbers of dropout are
derived from seed and step, so nothing needs to be remembered of a random stream, and a resumed run equals an
uninterrupted one bit for bit on the CPU (with the same number of threads).
"""

import hashlib
import logging
import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pn_lib.data.tokens import TokenFile, batch
from pn_lib.errors import DivergenceError
from pn_lib.models.base import LanguageModel
from pn_lib.progress import progress
from pn_lib.training.checkpoint import fingerprint, load_checkpoint, save_checkpoint, weights_hash
from pn_lib.training.optimizer import SCHEDULES, learning_rate, make_optimizer

HISTORY_COLUMNS = ["step", "tokens", "learning_rate", "train_loss", "nats_per_token", "bits_per_byte"]
TIMING_COLUMNS = ["step", "seconds", "tokens_per_second", "peak_memory_mb"]
PRECISIONS = ("auto", "float32", "bfloat16")


class Score(Protocol):
    """What validation must give; ``pn_lib.evaluation.likelihood.Likelihood`` does."""

    @property
    def nats_per_token(self) -> float: ...

    @property
    def bits_per_byte(self) -> float: ...


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. Budgets are in tokens, never in seconds, so a run means the same on every machine.

    ``evals`` counts the validations, evenly spaced, before the first update and after the last included.
    ``checkpoint_every`` is in updates; it changes no result.
    """

    tokens: int = 1_000_000
    batch_size: int = 16
    context: int = 256
    learning_rate: float = 1e-3
    min_learning_rate_ratio: float = 0.1
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_fraction: float = 0.05
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # by torch.compile: a minute's wait, then faster steps; needs a C++ compiler
    evals: int = 10
    checkpoint_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("tokens", "batch_size", "context", "learning_rate", "grad_clip", "checkpoint_every"):
            if not getattr(self, key) > 0:
                raise ValueError(f"{key} must be above 0, not {getattr(self, key)}")
        for key in ("min_learning_rate_ratio", "warmup_fraction"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must lie in 0..1, not {getattr(self, key)}")
        if self.schedule not in SCHEDULES or self.precision not in PRECISIONS:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)} and precision one of "
                             f"{', '.join(PRECISIONS)}, not {self.schedule!r} and {self.precision!r}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in 0..1, 1 excluded, not {self.betas}")
        if self.weight_decay < 0 or self.evals < 2 or self.seed < 0:
            raise ValueError(f"weight_decay and seed must be at least 0 and evals at least 2, not "
                             f"{self.weight_decay}, {self.seed} and {self.evals}")

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.context

    @property
    def steps(self) -> int:
        """Updates that the token budget pays for, at least one."""
        return max(1, self.tokens // self.tokens_per_step)

    @property
    def warmup_steps(self) -> int:
        return round(self.warmup_fraction * self.steps)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of update ``step`` (0 to steps - 1)."""
        return learning_rate(step, self.steps, self.learning_rate, self.warmup_steps, self.schedule,
                             self.min_learning_rate_ratio)

    def eval_steps(self) -> list[int]:
        """After how many updates to validate: from 0 to ``steps``."""
        return sorted({round(step) for step in np.linspace(0, self.steps, self.evals)})


@dataclass(frozen=True)
class Training:
    """What a training run leaves, besides the weights in the model.

    ``history`` has a row for each validation and is the same however often the run was killed: step (updates made),
    tokens seen, learning_rate of the latest update, train_loss (nats per token, mean since the row before; in the
    first row that of the first batch), and nats_per_token and bits_per_byte on the validation set.
    ``timings`` has what depends on the machine: seconds of training so far (validation not counted), tokens per second
    since the row before, and the peak memory of the process (CPU) or of the tensors (CUDA), in MB of 10^6 bytes.
    ``resumed_from`` is the step of the checkpoint that the run went on from, 0 if it began anew.
    """

    history: pd.DataFrame
    timings: pd.DataFrame
    precision: str
    resumed_from: int

    @property
    def steps(self) -> int:
        return int(self.history["step"].iloc[-1])

    @property
    def seconds(self) -> float:
        return float(self.timings["seconds"].iloc[-1])

    @property
    def tokens_per_second(self) -> float:
        return float(self.history["tokens"].iloc[-1]) / self.seconds


def train(model: LanguageModel, train_tokens: TokenFile, config: TrainingConfig, *,
          validate: Callable[[LanguageModel], Score], folder: Path | str | None = None, name: str = "training",
          on_eval: Callable[[pd.DataFrame], None] | None = None) -> Training:
    """Train ``model`` in place, on the device it is on, for ``config.tokens`` tokens; leave it in evaluation mode.

    With a ``folder``, the run is checkpointed there. Called again with the same model, data and settings, it goes on
    from the checkpoint, and returns at once when it had finished; a checkpoint of anything else is not used and is
    replaced. (What ``validate`` measures on is not known here: change the validation stories, change the folder.)
    ``validate`` must not change the model; ``on_eval`` gets the history after each validation and once on resuming.
    Ctrl-C waits for the update under way, saves a checkpoint and raises KeyboardInterrupt.

    Raises:
        DivergenceError: the loss or its gradient is no longer finite.
        InputError: the checkpoint is damaged.
        OSError: a checkpoint could not be written; the one before it is intact.
    """
    run = _Run(model, train_tokens, config, Path(folder) if folder is not None else None)
    run.restore()
    device = run.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # the caller's random stream stays as it is
        try:
            run.go(validate, name, on_eval)
        except KeyboardInterrupt:
            run.save()
            raise
        finally:
            model.eval()
    return Training(run.table(), pd.DataFrame(run.timings, columns=TIMING_COLUMNS), run.precision, run.resumed_from)


class _Run:
    """The state of one training run, and how it moves by one update."""

    def __init__(self, model: LanguageModel, data: TokenFile, config: TrainingConfig, folder: Path | None):
        self.model, self.data, self.config, self.folder = model, data, config, folder
        self.forward = torch.compile(model) if config.compile else model
        self.device = next(model.parameters()).device
        self.precision = resolve_precision(config.precision, self.device)
        self.optimizer = make_optimizer(model, config.learning_rate, config.weight_decay, config.betas)
        self.step = self.saved_step = self.resumed_from = 0
        self.loss_sum = self.seconds = 0.0  # losses since the last validation; seconds since the beginning
        self.history: list[dict[str, Any]] = []
        self.timings: list[dict[str, Any]] = []
        self.identity = {"fingerprint": "", "initial_weights": ""}

    def go(self, validate: Callable[[LanguageModel], Score], name: str,
           on_eval: Callable[[pd.DataFrame], None] | None) -> None:
        config, eval_steps = self.config, set(self.config.eval_steps())
        if on_eval and self.history:
            on_eval(self.table())
        with progress(description=name, total=config.steps * config.tokens_per_step, unit="tok") as bar:
            bar.initial = bar.n = self.step * config.tokens_per_step  # so that the rate counts this process only
            while True:
                if self.step in eval_steps and (not self.history or self.history[-1]["step"] < self.step):
                    self.evaluate(validate)
                    if on_eval:
                        on_eval(self.table())
                if self.step == config.steps:
                    break
                with _interrupt_deferred():
                    loss = self.update()
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                bar.update(config.tokens_per_step)
                if self.step % config.checkpoint_every == 0:
                    self.save()
        if self.saved_step < config.steps:
            self.save()

    def update(self) -> float:
        """One step of AdamW on one batch; the loss before it."""
        began, rate = time.perf_counter(), self.config.learning_rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        value = loss.item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            raise DivergenceError(f"training diverged at step {self.step}: the loss ({value:g}) or its gradient is no "
                                  f"longer finite at learning rate {rate:g}; lower learning_rate or raise "
                                  "warmup_fraction")
        self.optimizer.step()
        self.step += 1
        self.loss_sum += value
        self.seconds += time.perf_counter() - began
        return value

    def loss(self) -> Tensor:
        """Mean cross-entropy, nats per token, of the batch that belongs to this step."""
        config = self.config
        torch.manual_seed(int(np.random.SeedSequence([config.seed, self.step]).generate_state(1)[0]))  # for dropout
        x, y = (t.to(self.device) for t in batch(self.data, config.batch_size, config.context, config.seed, self.step))
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.forward(x, y)

    def evaluate(self, validate: Callable[[LanguageModel], Score]) -> None:
        """Append a row to the history and one to the timings."""
        self.model.eval()
        with torch.no_grad():
            score = validate(self.model)
            train_loss = self.loss_sum / (self.step - self.history[-1]["step"]) if self.history else self.loss().item()
        if not math.isfinite(score.nats_per_token):
            raise DivergenceError(f"training diverged by step {self.step}: the validation loss is "
                                  f"{score.nats_per_token:g}; lower learning_rate or raise warmup_fraction")
        row = {"step": self.step, "tokens": self.step * self.config.tokens_per_step,
               "learning_rate": self.config.learning_rate_at(max(0, self.step - 1)), "train_loss": train_loss,
               "nats_per_token": float(score.nats_per_token), "bits_per_byte": float(score.bits_per_byte)}
        with _interrupt_deferred():
            if self.history:
                self.timings.append(self.timing())
            self.history.append(row)
            self.loss_sum = 0.0

    def timing(self) -> dict[str, Any]:
        seconds_before = self.timings[-1]["seconds"] if self.timings else 0.0
        tokens = (self.step - self.history[-1]["step"]) * self.config.tokens_per_step
        return {"step": self.step, "seconds": self.seconds,
                "tokens_per_second": tokens / (self.seconds - seconds_before),
                "peak_memory_mb": peak_memory_mb(self.device)}

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.history, columns=HISTORY_COLUMNS)

    def save(self) -> None:
        if self.folder is None:
            return
        save_checkpoint(self.folder, {
            **self.identity, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "step": self.step, "loss_sum": self.loss_sum, "seconds": self.seconds,
            "history": self.history, "timings": self.timings})
        self.saved_step = self.step

    def restore(self) -> None:
        """Take up the checkpoint in the folder if it is of this very run."""
        if self.folder is None:
            return
        weights = weights_hash(self.model.state_dict())
        self.identity = {"fingerprint": self.fingerprint(), "initial_weights": weights}
        saved = load_checkpoint(self.folder, self.device)
        if saved is None:
            return
        # The model given is where the run began or, when a notebook cell is run again, where it was interrupted.
        known = weights in (saved["initial_weights"], weights_hash(saved["model"]))
        if saved["fingerprint"] != self.identity["fingerprint"] or not known:
            logging.getLogger(__name__).info("%s holds a checkpoint of another run: training starts anew", self.folder)
            return
        self.identity["initial_weights"] = saved["initial_weights"]
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = self.saved_step = self.resumed_from = saved["step"]
        self.loss_sum, self.seconds = saved["loss_sum"], saved["seconds"]
        self.history, self.timings = saved["history"], saved["timings"]

    def fingerprint(self) -> str:
        settings = asdict(self.config)
        del settings["checkpoint_every"]  # changes no result
        data = hashlib.sha256(np.ascontiguousarray(self.data.tokens)).hexdigest()
        return fingerprint({"model": self.model.name, "model_config": asdict(self.model.config), "training": settings,
                            "precision": self.precision, "data": data})


@contextmanager
def _interrupt_deferred() -> Iterator[None]:
    """Hold Ctrl-C back until the block is over: an update stopped half-way would leave weights that no step has."""
    if threading.current_thread() is not threading.main_thread():  # elsewhere no Ctrl-C arrives
        yield
        return
    arrived: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
    if arrived:
        signal.raise_signal(signal.SIGINT)


def resolve_precision(precision: str, device: torch.device) -> str:
    """What ``auto`` means here: bfloat16 where the hardware multiplies it, by a rule and never by a timing."""
    if precision != "auto":
        return precision
    if device.type == "cpu":
        capable = torch.cpu.get_capabilities()
        return "bfloat16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "float32"
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def peak_memory_mb(device: torch.device) -> float:
    """The most memory so far, in MB of 10^6 bytes: of this process (CPU), or of tensors on the device (CUDA)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB, macOS in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
