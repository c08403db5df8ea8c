"""Do shared weights make a better file of 100 kB, or does a teacher?

``python -m pn_lib.run.sharing STORIES FOLDER TOKENS SEEDS``, for example 1_000_000 tokens and 3 seeds of each way.

Only what wins at equal bytes becomes an option of the models. The other ways to share are written here and nowhere
else, so that their published figures can be made again: layers used more than once (Dehghani et al., 2019), one head of
keys and values (Shazeer, 2019), those of the first layer for all (Brandon et al., 2024), and a table of tokens that is
the product of two (Lan et al., 2020). What is saved makes the MLPs, or all layers, wider.
"""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pn_lib.data.halves import halves
from pn_lib.data.stories import read_stories
from pn_lib.evaluation.intervals import compare_models, holm
from pn_lib.hardware import instructions, processor
from pn_lib.models.attention import Rotation, SoftmaxAttention
from pn_lib.models.base import LanguageModel
from pn_lib.models.grid import Grid
from pn_lib.models.packed import load_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import MLP, Transformer, TransformerConfig
from pn_lib.run.frontier import Encoded, packed_once
from pn_lib.run.profile import FrontierModel, Options
from pn_lib.run.results.sharing_results import SharingResult, Way
from pn_lib.run.run import commit
from pn_lib.run.stages import REPOSITORY
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import Training

REFERENCE = REPOSITORY / "results" / "published" / "reference"
BASE = {"n_layers": 3, "d_model": 64, "n_heads": 2, "d_ff": 160, "qk_norm": True, "initialisation": "zero"}
RECIPE = TrainingConfig(
    batch_size=8, learning_rate=0.02, quantize="int4", quantize_group=512, quantize_from=0.85, evals=2
)
RATES, MORE_RATES = (1.0, 2.0), (0.5, 4.0)  # multiples of the recipe's; the baseline alone tries the last two as well
SCREENING, SCREENING_SEED = 102_400, 100  # of the short runs that choose the rates


class KeptKeys(SoftmaxAttention):
    """Attention to the keys and values of ``source``, which was called before; to its own without one."""

    def __init__(self, c: TransformerConfig, source: "KeptKeys | None"):
        super().__init__(c.d_model, c.n_heads, c.kv_heads, c.bias, qk_norm_eps=c.norm_eps)
        self.source, self.kept = [source], None  # in a list, or it would be a module of this one
        if source is not None:
            self.qkv = nn.Linear(c.d_model, c.d_model, bias=False)

    def forward(self, x: Tensor, rotation: Rotation | None = None, cache: None = None, stories: None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D)"""
        from pn_lib.models.cpu.fused_blocks import attention  # needs Numba, which need not be there

        [source], qkv = self.source, self.qkv(x)
        if source is None:
            self.kept = qkv[..., x.shape[-1] :]
        else:
            qkv = torch.cat((qkv, source.kept), -1)
        gains, first = torch.stack((self.q_norm.weight, self.k_norm.weight)), self._first_seen(*x.shape[:2], None)
        scale, eps = 1 / self.divisor, self.q_norm.eps
        return self.out(attention(qkv, self.n_heads, self.n_kv_heads, scale, first, gains, eps, rotation))


class Factored(Transformer):
    """The table of tokens is a narrow one, (V, r), times a matrix (r, D); so is the output layer."""

    def __init__(self, config: TransformerConfig, rank: int = 32):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, rank)
        self.widen = nn.Linear(rank, config.d_model, bias=False)
        self._initialise()
        nn.init.normal_(self.widen.weight, std=rank**-0.5)

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        return self.widen(super()._embed(ids, start))

    def output_weight(self) -> Tensor:
        return self.widen(self.embedding.weight)


def looped(config: TransformerConfig, times: int) -> Transformer:
    """All layers are used so many times, one after another."""
    model = Transformer(config)
    model.blocks = nn.ModuleList(list(model.blocks) * times)
    return model


def kept_keys(config: TransformerConfig) -> Transformer:
    model = Transformer(config)
    first = KeptKeys(config, None)
    for i, block in enumerate(model.blocks):
        block.attention = KeptKeys(config, first) if i else first
    model._initialise()
    return model


def wider(model: Transformer, *widths: int) -> Transformer:
    """The MLPs of the model's layers get these widths."""
    for block, width in zip(model.blocks, widths, strict=True):
        block.mlp = MLP(replace(model.config, d_ff=width))
        nn.init.zeros_(block.mlp.down.weight)
        nn.init.normal_(block.mlp.up.weight, std=model.config.d_model**-0.5)
    return model


@dataclass(frozen=True)
class Setup:
    """A way to make the file: what it changes, options beside those of its study, and who makes the model of them."""

    change: str
    options: Options = field(default_factory=dict)
    make: Callable[[TransformerConfig], LanguageModel] = Transformer
    teacher: str | None = None
    text: float = 1.0  # as a share of the others'


@dataclass(frozen=True)
class Study:
    """Ways to make one file, the first being the baseline of the others; ``file``'s tokenizer serves them all."""

    file: str
    options: Options
    ways: dict[str, Setup]


SHARING = Study(
    "100k",
    BASE,
    {
        "nothing shared": Setup("three layers of width 64, as in reference/100k"),
        "one layer, three times": Setup(
            "one layer of width 96, used three times",
            {"n_layers": 1, "d_model": 96, "n_heads": 3, "d_ff": 304},
            lambda c: looped(c, 3),
        ),
        "three layers, twice": Setup("the three layers, all used twice", make=lambda c: looped(c, 2)),
        "multi-query": Setup(
            "one head of keys and values; wider MLPs",
            {"n_kv_heads": 1},
            lambda c: wider(Transformer(c), 184, 184, 176),
        ),
        "first layer's keys": Setup(
            "keys and values of the first layer for all; wider MLPs", make=lambda c: wider(kept_keys(c), 192, 192, 184)
        ),
        "factored table": Setup(
            "a table of 640 x 32 times a matrix; wider MLPs", make=lambda c: wider(Factored(c), 192, 192, 184)
        ),
    },
)
TEACHING = Study(
    "300k",
    BASE | {"d_model": 56},
    {
        "alone": Setup("text alone"),
        "taught": Setup("half of the loss is the word of reference/300k", teacher="300k"),
        "taught, half as long": Setup(
            "the same on half the text, for as many seconds as alone", teacher="300k", text=0.5
        ),
    },
)


@dataclass(frozen=True)
class Bench:
    """Where a study is run: its stories, as a run's folder ``stories`` has them; the folder that keeps its models."""

    study: Study
    stories: Path
    folder: Path
    tokens: int
    seeds: int

    def run(self, name: str, rate: float, seed: int, tokens: int) -> dict[str, Any]:
        """What is known of one trained file; what was found before is read."""
        way = self.study.ways[name]
        _, tokenizer = load_packed(REFERENCE / "models" / f"{self.study.file}.safetensors")
        training = replace(
            RECIPE,
            tokens=round(tokens * way.text),
            learning_rate=RECIPE.learning_rate * rate,
            matrix_learning_rate=RECIPE.matrix_learning_rate * rate,
            seed=seed,
        )
        place = re.sub(r"\W+", "-", f"{self.study.file} {name} {rate:g} {seed} {tokens}")
        settings = FrontierModel(place, tokenizer.vocab_size, self.study.options | way.options, training, way.teacher)
        encoded, started = Encoded(lambda: tokenizer, self.stories, self.folder / f"tokens-{self.study.file}"), []
        encoded.tokens("train")  # before the clock starts

        def make(config: TransformerConfig) -> LanguageModel:
            started.append(time.process_time())
            return way.make(config)

        def judge(_: FrontierModel, model: LanguageModel, training: Training, path: Path, encoded: Encoded) -> Options:
            seconds = time.process_time() - started[-1]
            return {"seconds": seconds} | _judged(model, path, encoded, "choice" if seed == SCREENING_SEED else "test")

        return packed_once(settings, encoded, self.folder, judge, make, way=name)[1]

    def screened(self) -> dict[str, dict[str, Any]]:
        """For each way the short run, of one seed, with the rate that is best on the choice half."""
        found = {}
        for number, name in enumerate(self.study.ways):
            rates = RATES if number else sorted(RATES + MORE_RATES)
            runs = [self.run(name, rate, SCREENING_SEED, SCREENING) | {"rate": rate} for rate in rates]
            found[name] = min(runs, key=lambda run: run["bits_per_byte"])
        return found

    def ways(self) -> list[Way]:
        """All ways, judged with all seeds on the test half."""
        short = self.screened()
        runs = {
            name: [self.run(name, run["rate"], seed, self.tokens) for seed in range(self.seeds)]
            for name, run in short.items()
        }
        return summary(self.study, self.tokens, short, runs)


def summary(
    study: Study, tokens: int, short: dict[str, dict[str, Any]], runs: dict[str, list[dict[str, Any]]]
) -> list[Way]:
    """Each way beside the first, by a bootstrap over seeds and stories, with Holm's correction over all that ran."""
    baseline, *judged = runs
    sizes, found = np.array(runs[baseline][0]["story_bytes"]), {}
    nats = {name: np.array([run["story_nats"] for run in same]) for name, same in runs.items()}
    pairs = [compare_models({name: nats[name], baseline: nats[baseline]}, sizes)[0] for name in judged]
    several = len(runs[baseline]) > 1
    corrected = holm(np.array([pair.p for pair in pairs])).tolist() if several else [None] * len(pairs)
    for name, pair, p in zip(judged, pairs, corrected, strict=True):
        word = "ahead" if pair.difference.value < 0 else "behind"
        verdict = "one seed" if p is None else "not told apart" if p > 0.05 else word
        found[name] = {"difference": pair.difference, "p_holm": p, "verdict": verdict}
    for name in runs:
        means = {key: float(np.mean([run[key] for run in runs[name]])) for key in ("bits_per_byte", "seconds")}
        found[name] = {"difference": None, "p_holm": None, "verdict": None} | means | found.get(name, {})
    nothing = dict.fromkeys(("bits_per_byte", "seconds", "difference", "p_holm")) | {"verdict": "left out"}
    return [
        Way(
            name=name,
            change=setup.change,
            parameters=short[name]["parameters"],
            file_bytes=short[name]["file_bytes"],
            rate=short[name]["rate"],
            screening=short[name]["bits_per_byte"],
            tokens=round(tokens * setup.text),
            **nothing | found.get(name, {}),
        )
        for name, setup in study.ways.items()
    ]


def _judged(model: LanguageModel, path: Path, encoded: Encoded, half: Literal["choice", "test"]) -> dict[str, Any]:
    """By the weights that the file holds: what shares them is not in it, so that none of these can be opened."""
    found = encoded.score(quantize(model, Grid(RECIPE.quantize, RECIPE.quantize_group)), half)
    return {
        "parameters": model.n_parameters(),
        "file_bytes": path.stat().st_size,
        "bits_per_byte": found.bits_per_byte,
        "story_nats": found.story_nats.tolist(),
        "story_bytes": found.story_bytes.tolist(),
    }


def main() -> None:
    """STORIES has train.parquet and validation.parquet, as notebook 01 leaves them; FOLDER gets sharing.json."""
    stories, folder, tokens, seeds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    load_packed(REFERENCE / "models" / "300k.safetensors")[0].save(folder / "300k")  # where a teacher is looked for
    sharing, teaching = (Bench(study, stories, folder, tokens, seeds).ways() for study in (SHARING, TEACHING))
    validation = list(read_stories(stories / "validation.parquet"))
    SharingResult(
        commit=commit(),
        machine=f"{processor()} ({instructions()}), one thread",
        stories=int(halves(validation).test.sum()),
        seeds=seeds,
        screening_tokens=SCREENING,
        sharing=sharing,
        teaching=teaching,
    ).write(folder / SharingResult.FILE)


if __name__ == "__main__":
    main()
