"""What helps once the stories are used up, and only computing is left? ``python -m pn_lib.run.fixed_data_study RUN
FOLDER``.

A sixteenth of the stories, and a model with about as many parameters a token as the largest reference file has on all of
them. Epochs with dropout, five seeds each, and at the most epochs weight decay; at the best of the choice half an
ensemble of four seeds, and its students. The test half judges. In float32, which any processor computes alike and, at
this size, as fast as bfloat16.
"""

import sys
import time
from dataclasses import dataclass, replace
from itertools import compress, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pn_lib.data.halves import halves
from pn_lib.data.stories import read_stories
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.evaluation.intervals import Interval, bits_per_byte_interval, judge_variants, over_seeds
from pn_lib.hardware import cpu
from pn_lib.key import keep, kept, make_key
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import likelihood
from pn_lib.models.loading import load_model
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.results import fixed_data_results as results
from pn_lib.run.run import commit
from pn_lib.training.config import TrainingConfig
from pn_lib.training.distillation import Teacher
from pn_lib.training.loop import train

SHARE, VOCABULARY, MEMBERS = 16, 1024, 4
SHAPE = {"d_model": 64, "n_layers": 3, "n_heads": 2, "d_ff": 160}
SMALL = {"d_model": 48, "n_layers": 2, "n_heads": 2, "d_ff": 128}
PRECISION = "float32"
OPTIONS = {"tied_embeddings": True, "qk_norm": True, "initialisation": "zero"}
EPOCHS, DROPOUTS, DECAY, SEEDS = (4, 16), (0.0, 0.1, 0.2), 0.3, 5


class Averaged(LanguageModel):
    """The mean of the members' probabilities."""

    name = "ensemble"

    def __init__(self, members: list[LanguageModel]):
        super().__init__(members[0].config)
        self.members, self.max_length = nn.ModuleList(members), members[0].max_length

    def forward(self, ids: Tensor, targets: Tensor | None = None, *stories: Tensor) -> Tensor:
        """Logits (B, T, V): logarithms of probabilities."""
        parts = torch.stack([member(ids, None, *stories).float().log_softmax(-1) for member in self.members])
        return parts.logsumexp(0) - np.log(len(self.members))


@dataclass(frozen=True)
class Plan:
    """A training; ``taught`` by the ensemble of its folder."""

    epochs: int
    dropout: float
    decay: float = 0.1
    shape: str = "base"
    seed: int = 0
    taught: bool = False

    @property
    def name(self) -> str:
        return "-".join(str(part) for part in vars(self).values())


class Study:
    def __init__(self, run: Path, folder: Path):
        self.folder = folder
        train_file = run / "stories" / "train.parquet"
        tokenizer = train_tokenizer(read_stories(train_file), VOCABULARY)
        texts = list(read_stories(train_file))
        text = texts[: len(texts) // SHARE]
        self.text_bytes = sum(len(story.encode()) for story in text)
        write_tokens(folder / "train", text, tokenizer)
        validation = list(read_stories(run / "stories" / "validation.parquet"))
        for name, mask in halves(validation)._asdict().items():
            write_tokens(folder / name, compress(validation, mask), tokenizer)
        self.train, self.choice, self.test = (TokenFile(folder / name) for name in ("train", "choice", "test"))
        self.teacher: Teacher | None = None

    def trained(self, plan: Plan) -> dict[str, Any]:
        """What became of it, once."""
        shape = {"base": SHAPE, "small": SMALL}[plan.shape]
        model_config = TransformerConfig(VOCABULARY, 256, **shape, **OPTIONS, dropout=plan.dropout)
        tokens = plan.epochs * len(self.train.tokens)
        config = TrainingConfig(
            tokens=tokens,
            batch_size=8,
            context=256,
            evals=2,
            weight_decay=plan.decay,
            seed=plan.seed,
            precision=PRECISION,
        )
        home, teacher = self.folder / plan.name, self.teacher if plan.taught else None
        parts = [model_config, config, None if teacher is None else teacher.key()]
        key = make_key([str(part) for part in parts])
        known = kept(home / "result.json", key)
        if known is None:
            torch.manual_seed(plan.seed)
            model, start = Transformer(model_config), time.perf_counter()
            training = train(
                model,
                self.train,
                config,
                validate=lambda model: likelihood(model, self.choice, 256, stories=16),
                folder=home,
                name=plan.name,
                teacher=teacher,
            )
            seconds = time.perf_counter() - start
            model.save(home)
            known = self.judged(model) | {
                "parameters": model.n_parameters(),
                "train_loss": float(training.history["train_loss"].iloc[-1]),
                "seconds": seconds,
            }
            keep(home / "result.json", key, known)
            print(f"{plan}: {known['choice']:.4f}, {seconds:.0f} s", flush=True)
        return known

    def judged(self, model: LanguageModel) -> dict[str, Any]:
        choice, test = (likelihood(model.eval(), tokens, 256) for tokens in (self.choice, self.test))
        return {"choice": choice.bits_per_byte, "test": test.bits_per_byte, "nats": test.story_nats.tolist()}

    def difference(self, less: dict[str, Any], more: dict[str, Any]) -> Interval:
        """Of two losses on the test half, in bits per byte, over stories."""
        return bits_per_byte_interval(np.subtract(less["nats"], more["nats"]), self.test.story_bytes)

    def row(self, plan: Plan) -> results.Trained:
        known = [self.trained(replace(plan, seed=seed)) for seed in range(SEEDS)]
        return results.Trained(
            epochs=plan.epochs,
            dropout=plan.dropout,
            weight_decay=plan.decay,
            parameters=known[0]["parameters"],
            choice_bits_per_byte=[one["choice"] for one in known],
            bits_per_byte=[one["test"] for one in known],
            train_loss=[one["train_loss"] for one in known],
        )

    def changes(self, plans: list[Plan], pairs: list[tuple[Plan, Plan]]) -> list[results.Change]:
        """The first of each pair beside the second, over seeds."""
        losses = [
            [[self.trained(replace(one, seed=seed))["test"] for seed in range(SEEDS)] for one in pair] for pair in pairs
        ]
        differences = [over_seeds(np.subtract(*both)) for both in losses]
        updates = EPOCHS[0] * len(self.train.tokens) // (8 * 256)
        return [
            results.Change(
                first=plans.index(first), second=plans.index(second), difference=difference, **told._asdict()
            )
            for (first, second), difference, told in zip(
                pairs, differences, judge_variants(differences, [SEEDS] * len(pairs), updates), strict=True
            )
        ]

    def ensembles(self, best: Plan) -> list[results.Ensemble]:
        """Of two members, of four, and so on; the last one teaches."""
        plans = [replace(best, seed=seed) for seed in range(MEMBERS)]
        alone = [self.trained(plan) for plan in plans]
        models, found = [load_model(self.folder / plan.name) for plan in plans], []
        for members in (2, 4):
            ensemble = Averaged(models[:members]).eval()
            judged = self.judged(ensemble)
            difference = self.difference(judged, alone[0])
            found.append(results.Ensemble(members=members, bits_per_byte=judged["test"], difference=difference))
            print(found[-1], flush=True)
        self.teacher = Teacher(ensemble)
        return found

    def student(self, plan: Plan) -> results.Student:
        alone, taught = self.trained(plan), self.trained(replace(plan, taught=True))
        return results.Student(
            parameters=taught["parameters"],
            epochs=plan.epochs,
            dropout=plan.dropout,
            alone=alone["test"],
            bits_per_byte=taught["test"],
            difference=self.difference(taught, alone),
        )


def main() -> None:
    """RUN is a run's folder of results, with notebook 01 done; FOLDER gets fixed_data.json."""
    run, folder = (Path(argument) for argument in sys.argv[1:])
    torch.set_num_threads(1)
    study = Study(run, folder)
    grid = [Plan(epochs, dropout) for epochs in EPOCHS for dropout in DROPOUTS]
    most = grid[-2]
    plans = [*grid, replace(most, decay=DECAY)]
    for seed in range(SEEDS):  # whole seeds first: what is cut short is still a study
        for plan in plans:
            study.trained(replace(plan, seed=seed))
    rows = [study.row(plan) for plan in plans]
    pairs = [(Plan(epochs, more), Plan(epochs, less)) for epochs in EPOCHS for less, more in pairwise(DROPOUTS)]
    member = min(grid, key=lambda plan: np.mean(rows[grid.index(plan)].choice_bits_per_byte))
    ensembles = study.ensembles(member)
    students = [study.student(replace(member, shape=shape)) for shape in ("small", "base")]
    results.FixedDataResult(
        commit=commit(),
        machine=f"{cpu()}, one thread",
        precision=PRECISION,
        text_bytes=study.text_bytes,
        tokens=len(study.train.tokens),
        stories=len(study.test),
        seeds=SEEDS,
        models=rows,
        changes=study.changes(plans, [*pairs, (plans[-1], most)]),
        epochs=member.epochs,
        dropout=member.dropout,
        ensembles=ensembles,
        students=students,
    ).write(folder / results.FixedDataResult.FILE)


if __name__ == "__main__":
    main()
