"""The training loop: a token budget in, a trained model and its learning curve out; killed at any moment, it goes on.

Every update is a pure function of (weights, optimizer, seed, step): the batch and the random numbers of dropout are
derived from seed and step, so nothing needs to be remembered of a random stream, and a resumed run equals an
uninterrupted one bit for bit on the CPU (with the same number of threads and processes).
"""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch

from pn_lib.data.tokens import IGNORED, TokenFile, batch, story_batch
from pn_lib.errors import DivergenceError, InputError
from pn_lib.hardware import autocast, resolve_precision
from pn_lib.key import code, make_key
from pn_lib.models.base import LanguageModel
from pn_lib.models.grid import Grid
from pn_lib.models.quantize import rounded
from pn_lib.progress import progress
from pn_lib.training import distributed
from pn_lib.training.checkpoint import load_checkpoint, save_checkpoint, weights_hash
from pn_lib.training.config import TrainingConfig
from pn_lib.training.distillation import Teacher
from pn_lib.training.ema import Average
from pn_lib.training.interruptions import interrupt_deferred, memory_explained
from pn_lib.training.optimizer import optimizer_for
from pn_lib.training.profiling import PHASES, PhaseClock, peak_memory_mb
from pn_lib.training.spikes import SpikeWatch

HISTORY_COLUMNS = ["step", "tokens", "learning_rate", "train_loss", "nats_per_token", "bits_per_byte"]
TIMING_COLUMNS = ["step", "seconds", "tokens_per_second", "peak_memory_mb", *PHASES]
log = logging.getLogger(__name__)


class Score(Protocol):
    """What validation must give; ``pn_lib.models.likelihood.Likelihood`` does."""

    @property
    def nats_per_token(self) -> float: ...

    @property
    def bits_per_byte(self) -> float: ...


@dataclass(frozen=True)
class Training:
    """What a training run leaves, besides the weights in the model.

    ``history`` has a row for each validation and is the same however often the run was killed: step (updates made),
    tokens seen, learning_rate of the latest update, train_loss (nats per token, mean since the row before; in the
    first row that of the first batch), and nats_per_token and bits_per_byte on the validation set.
    ``timings`` has what depends on the machine: seconds of training so far (validation and checkpoints not counted),
    tokens per second since the row before, the peak memory of the process (CPU) or of the tensors (CUDA), in MB of 10^6
    bytes, and the seconds so far by phase (see ``PhaseClock``).
    ``spikes``: updates whose loss jumped, each with step, loss and expected.
    ``resumed_from`` is the step of the checkpoint that the run went on from, 0 if it began anew.
    """

    history: pd.DataFrame
    timings: pd.DataFrame
    spikes: list[dict[str, float]]
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


def train(
    model: LanguageModel,
    train_tokens: TokenFile,
    config: TrainingConfig,
    *,
    validate: Callable[[LanguageModel], Score],
    folder: Path | str | None = None,
    name: str = "training",
    teacher: Teacher | None = None,
    on_eval: Callable[[pd.DataFrame], None] | None = None,
) -> Training:
    """Train ``model`` in place, on the device it is on, for ``config.tokens`` tokens; leave it in evaluation mode.

    With a ``folder``, the run is checkpointed there. Called again with the same model, data and settings, it goes on
    from the checkpoint, and returns at once when it had finished; a checkpoint of anything else, be it of other code,
    is not used and is replaced. (What ``validate`` measures on is not known here: change the validation stories, change
    the folder.)
    With a ``teacher``, the loss (train_loss, too) is what it makes of the text; validation never asks it.
    ``validate`` must not change the model; ``on_eval`` gets the history after each validation and once on resuming.
    Ctrl-C waits for the update under way, saves a checkpoint and raises KeyboardInterrupt.

    Under torchrun, inside ``distributed.joined()``, the processes share each batch; the batches are those of one
    process. The first one validates, shows progress and writes the checkpoints, which any number of processes can go
    on from.

    Raises:
        DivergenceError: the loss or its gradient is no longer finite, or has jumped and stays high.
        InputError: the checkpoints are damaged; the batch cannot be shared; the memory does not suffice; the teacher
            has other tokens, or a shorter context.
        OSError: a checkpoint could not be written; the one before it is intact.
    """
    run = _Run(model, train_tokens, config, Path(folder) if folder is not None else None, teacher)
    run.restore()
    device = run.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # the caller's random stream stays as it is
        try:
            with interrupt_deferred() as interrupt:
                run.go(validate, name, on_eval, interrupt)
        except KeyboardInterrupt:
            run.save()
            raise
        finally:
            model.eval()
    run.average.take_over()
    return Training(
        run.table(),
        pd.DataFrame(run.timings, columns=TIMING_COLUMNS),
        run.watch.spikes,
        run.precision,
        run.resumed_from,
    )


class _Run:
    """The state of one training run, and how it moves by one update."""

    def __init__(
        self,
        model: LanguageModel,
        data: TokenFile,
        config: TrainingConfig,
        folder: Path | None,
        teacher: Teacher | None,
    ):
        self.model, self.data, self.config, self.folder, self.teacher = model, data, config, folder, teacher
        self.device = next(model.parameters()).device
        self.precision = resolve_precision(config.precision, self.device)
        self.masked = config.within_stories and model.takes_stories
        self.batch = story_batch if config.within_stories and not model.takes_stories else batch
        if teacher is not None:
            teacher.check(model, config.context, config.within_stories)
        for phase in config.phases:
            if phase.batch_size // (config.micro_batch or 1) % distributed.size():
                raise InputError(
                    f"{distributed.size()} processes cannot share a batch of {phase.batch_size} in parts "
                    f"of {config.micro_batch or 1}: change batch_size, micro_batch or their number"
                )
        self.parallel = distributed.together(torch.compile(model) if config.compile else model, self.device)
        self.optimizer = optimizer_for(model, config)
        self.average = Average(model, config.ema_decay)
        self.watch, self.clock = SpikeWatch(), PhaseClock()
        self.step = self.saved_step = self.resumed_from = 0
        self.loss_sum = 0.0  # of the losses since the last validation
        self.history: list[dict[str, Any]] = []
        self.timings: list[dict[str, Any]] = []
        self.identity = {"key": "", "initial_weights": ""}
        self.stop = False

    def go(
        self,
        validate: Callable[[LanguageModel], Score],
        name: str,
        on_eval: Callable[[pd.DataFrame], None] | None,
        interrupt: Event,
    ) -> None:
        config, eval_steps, first = self.config, set(self.config.eval_steps()), distributed.rank() == 0
        report = on_eval if first and on_eval else lambda history: None
        if self.history:
            report(self.table())
        with progress(description=name, total=config.planned_tokens, unit="tok", quiet=not first) as bar:
            bar.initial = bar.n = config.tokens_at(self.step)  # so that the rate counts this process only
            while True:
                if self.step in eval_steps and (not self.history or self.history[-1]["step"] < self.step):
                    self.evaluate(validate)
                    report(self.table())
                if self.step == config.steps:
                    break
                loss = self.update(interrupt)
                bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                bar.update(config.phase_at(self.step - 1).tokens)
                if self.stop:
                    raise KeyboardInterrupt
                if self.step % config.checkpoint_every == 0:
                    self.save()
        if self.saved_step < config.steps:
            self.save()

    def update(self, interrupt: Event) -> float:
        """One step of the optimizers on one batch; the loss before it."""
        self.optimizer.zero_grad()
        with self.rounding():
            loss = self.loss(backward=True)
        with self.clock("bookkeeping"):
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
            # one exchange for both: all processes must stop at the same step
            told = distributed.mean(torch.stack((loss, loss.new_tensor(float(interrupt.is_set())))))
            value, pressed = told.tolist()
            self.stop = pressed > 0
            if not (math.isfinite(value) and math.isfinite(norm.item())):
                raise DivergenceError(
                    f"training diverged at step {self.step}: the loss ({value:g}) or its gradient is "
                    f"no longer finite at learning rate {self.rate(self.step):g}; lower "
                    "learning_rate or raise warmup_fraction"
                )
            skip = self.notice_spike(value)
        with self.clock("optimizer"):
            if not skip:
                self.optimizer.step(self.config.rate_at(self.step))
                self.average.update(self.step)
        self.step += 1
        self.loss_sum += value
        return value

    def rounding(self) -> AbstractContextManager[None]:
        """Inside, the model has the weights that it is trained to do with."""
        c = self.config
        begun = c.quantize is not None and self.step >= c.quantize_from * c.steps
        return rounded(self.model, Grid(c.quantize, c.quantize_group) if begun else None)

    def loss(self, backward: bool = False) -> torch.Tensor:
        """Mean cross-entropy, nats per token, of this process's share of the batch that belongs to this step."""
        config, phase, total = self.config, self.config.phase_at(self.step), torch.zeros((), device=self.device)
        with self.clock("data"):
            x, y = self.batch(self.data, phase.batch_size, phase.context, config.seed, self.step)
            counted = (y != IGNORED).float()
            micro = config.micro_batch or phase.batch_size // distributed.size()
            parts = range(phase.batch_size // micro // distributed.size())  # for each process
        self.model.train()
        for part in parts:
            index = distributed.rank() * len(parts) + part
            rows = slice(index * micro, (index + 1) * micro)
            weight = float(counted[rows].mean() / counted.mean()) / len(parts)  # as much as it has targets
            with memory_explained(micro, phase.context):
                loss = self.forward(x[rows], y[rows], index) * weight
                if backward:
                    with self.clock("backward"), distributed.without_exchange(self.parallel, part == parts[-1]):
                        loss.backward()
            total += loss.detach()
        return total

    def forward(self, x: torch.Tensor, y: torch.Tensor, index: int) -> torch.Tensor:
        """The loss of part ``index`` of the batch; its dropout is the same whichever process works on it."""
        with self.clock("data"):
            torch.manual_seed(int(np.random.SeedSequence([self.config.seed, self.step, index]).generate_state(1)[0]))
            if self.device.type == "cuda":
                x, y = (t.pin_memory().to(self.device, non_blocking=True) for t in (x, y))
            x, y = x.to(self.device), y.to(self.device)
            # a story begins with its separator
            stories = [(x == self.data.separator_id).cumsum(1)] if self.masked else []
        with self.clock("forward"), autocast(self.device, self.precision):
            if self.teacher is not None:
                return self.teacher.loss(self.parallel, x, y, *stories)
            return self.parallel(x, y, *stories)

    def notice_spike(self, loss: float) -> bool:
        """Whether to leave out this update."""
        if not self.watch.sees(self.step, loss):
            return False
        what = "its update is left out" if self.config.skip_spikes else "set skip_spikes to leave such updates out"
        log.warning(
            "the loss of step %d jumped to %.2f, from %.2f before; %s",
            self.step,
            loss,
            self.watch.spikes[-1]["expected"],
            what,
        )
        return self.config.skip_spikes

    def rate(self, step: int) -> float:
        return self.config.learning_rate * self.config.rate_at(step)

    def evaluate(self, validate: Callable[[LanguageModel], Score]) -> None:
        """Append a row to the history and one to the timings."""
        self.model.eval()
        score = None
        with torch.no_grad():
            with self.clock("validation"):
                if distributed.rank() == 0:
                    with self.average.in_place(), self.rounding():
                        found = validate(self.model)
                    score = float(found.nats_per_token), float(found.bits_per_byte)
                nats_per_token, bits_per_byte = distributed.from_first(score)
            if self.history:
                train_loss = self.loss_sum / (self.step - self.history[-1]["step"])
            else:
                with self.rounding():
                    train_loss = distributed.mean(self.clock.unheard(self.loss)).item()
        if not math.isfinite(nats_per_token):
            raise DivergenceError(
                f"training diverged by step {self.step}: the validation loss is "
                f"{nats_per_token:g}; lower learning_rate or raise warmup_fraction"
            )
        if self.history:
            self.timings.append(self.timing())
        self.history.append(
            {
                "step": self.step,
                "tokens": self.config.tokens_at(self.step),
                "learning_rate": self.rate(max(0, self.step - 1)),
                "train_loss": train_loss,
                "nats_per_token": nats_per_token,
                "bits_per_byte": bits_per_byte,
            }
        )
        self.loss_sum = 0.0

    def timing(self) -> dict[str, Any]:
        seconds_before = self.timings[-1]["seconds"] if self.timings else 0.0
        tokens = self.config.tokens_at(self.step) - self.history[-1]["tokens"]
        seconds = self.clock.training_seconds
        return {
            "step": self.step,
            "seconds": seconds,
            "tokens_per_second": tokens / (seconds - seconds_before),
            "peak_memory_mb": peak_memory_mb(self.device),
            **self.clock.seconds,
        }

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.history, columns=HISTORY_COLUMNS)

    def save(self) -> None:
        if self.folder is None:
            return
        with self.clock("checkpoint"):
            if distributed.rank() == 0:
                save_checkpoint(
                    self.folder,
                    self.step,
                    {
                        **self.identity,
                        "model": self.model.state_dict(),
                        "optimizer": self.optimizer.state_dict(),
                        "average": self.average.state_dict(),
                        "watch": self.watch.state_dict(),
                        "step": self.step,
                        "loss_sum": self.loss_sum,
                        "seconds": self.clock.seconds,
                        "history": self.history,
                        "timings": self.timings,
                    },
                )
            distributed.wait()
        self.saved_step = self.step

    def restore(self) -> None:
        """Take up the checkpoint in the folder if it is of this very run."""
        if self.folder is None:
            return
        weights = weights_hash(self.model.state_dict())
        self.identity = {"key": self.key(), "initial_weights": weights}
        saved = load_checkpoint(self.folder, self.device)
        if saved is None:
            return
        # The model given is where the run began or, when a notebook cell is run again, where it stopped.
        known = (saved["initial_weights"], weights_hash(saved["model"]), self.average.hash_of(saved["average"]))
        if saved.get("key") != self.identity["key"] or weights not in known:
            log.info("%s holds a checkpoint of another run: training starts anew", self.folder)
            return
        self.identity["initial_weights"] = saved["initial_weights"]
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average.load_state_dict(saved["average"])
        self.watch = SpikeWatch(**saved["watch"])
        self.clock.seconds.update(saved["seconds"])
        self.step = self.saved_step = self.resumed_from = saved["step"]
        self.loss_sum, self.history, self.timings = saved["loss_sum"], saved["history"], saved["timings"]

    def key(self) -> str:
        settings = asdict(self.config)
        del settings["checkpoint_every"]  # changes no result
        data = self.data.digest()
        return make_key(
            {
                "code": code({__name__, type(self.model).__module__}),
                "model": self.model.name,
                "model_config": asdict(self.model.config),
                "training": settings,
                "teacher": None if self.teacher is None else self.teacher.key(),
                "precision": self.precision,
                "data": data,
            }
        )
