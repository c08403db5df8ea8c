"""What an experiment of the study of coherence is: a model of Pocket stories, and all that decides what it learns."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from pn_lib.data import pocket
from pn_lib.data.pocket.templates import Language
from pn_lib.key import make_key
from pn_lib.models.architectures import MODELS
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.shapes import shapes, spread, total
from pn_lib.run.coherence.settings import CoherenceSettings

TRAIN_SEED, HELD_OUT_SEED = 61, 62  # of the stories
TOKENIZER_STORIES = 2_000  # the first of the training stories, whatever the budget: one vocabulary for all
HELD_OUT = 200
TOKENS_PER_STORY = 100  # fewer than a story has: there are twice as many stories as a run reads, so few come twice


@dataclass(frozen=True)
class Plan:
    """An experiment: a model of about so many ``parameters`` trained on so many fresh ``tokens``."""

    architecture: str
    options: dict[str, Any]
    parameters: int
    tokens: int
    seed: int
    rate: float
    matrix_rate: float
    within_stories: bool
    vocab_size: int
    batch_size: int
    context: int
    told: int
    temperatures: tuple[float, ...]
    plots: int | None
    words: int | None

    @property
    def name(self) -> str:
        """Of its file: readable, and its own."""
        size, tokens = f"{self.parameters / 1e3:g}k", f"{self.tokens / 1e6:g}M"
        return f"{self.architecture}-{size}-{tokens}-seed{self.seed}-{make_key(asdict(self))[:6]}"

    @property
    def language(self) -> Language:
        return pocket.dialect(self.plots, self.words)

    @property
    def training_stories(self) -> int:
        return max(50, self.tokens // TOKENS_PER_STORY)

    @property
    def held_out(self) -> list[str]:
        return pocket.sample_stories(HELD_OUT, HELD_OUT_SEED, self.language)

    @property
    def masked(self) -> bool:
        """Whether its model takes each token's story and masks the others."""
        return MODELS[self.architecture].takes_stories

    def config(self, vocab_size: int) -> NeuralConfig:
        """The middle shape of its size."""
        return spread(shapes(self.architecture, vocab_size, self.context, self.options, self.parameters, total), 1)[0]


def grid(settings: CoherenceSettings) -> list[Plan]:
    """All experiments, in the order in which they are made: the first seed before the second, and the cheap ones first,
    so that a budget is whole before a larger one begins."""
    c = settings
    budgets = sorted(((tokens, i) for i, dialect in enumerate(c.dialects) for tokens in dialect.tokens))
    order = product(range(c.seeds), budgets, c.sizes, c.architectures.items())
    shared = {name: getattr(c, name) for name in ("vocab_size", "batch_size", "context", "told", "temperatures")}
    return [
        Plan(
            architecture=name,
            options=architecture.model,
            parameters=size,
            tokens=tokens,
            seed=seed,
            rate=architecture.rate,
            matrix_rate=architecture.matrix_rate,
            within_stories=architecture.within_stories,
            plots=c.dialects[i].plots,
            words=c.dialects[i].words,
            **shared,
        )
        for seed, (tokens, i), size, (name, architecture) in order
    ]
