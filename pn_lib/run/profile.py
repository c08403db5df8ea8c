"""Profiles: how large a run is. A small TOML file holds only what differs from the typed defaults here."""

import tomllib
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from pn_lib.config import parse_config
from pn_lib.data.story_files import Naming
from pn_lib.errors import InputError
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig
from pn_lib.training.config import TrainingConfig

Options = dict[str, Any]
# What a profile's models have unless it says otherwise: what notebook 04 found to help at these sizes.
RECIPE: dict[type, Options] = {
    TransformerConfig: {"qk_norm": True, "tied_embeddings": False, "initialisation": "zero"},
    MambaConfig: {"tied_embeddings": False},
}


def _at_least(low: int, **values: float) -> None:
    for key, value in values.items():
        if value < low:
            raise ValueError(f"{key} must be at least {low}, not {value}")


@dataclass(frozen=True)
class DataSettings:
    """How many stories are read, and how many of them are held out for every measure of the run."""

    train_stories: int = 10_000  # the first so many, or all if there are fewer
    validation_stories: int = 400
    min_characters: int = 100
    unit: str | None = field(default=None, repr=False)  # a story in text files: "line", "file" or "blank line"
    separator: str | None = field(default=None, repr=False)  # or what stands between two stories there
    field: str | None = field(default=None, repr=False)  # of the stories, in files with rows

    def __post_init__(self) -> None:
        _at_least(1, train_stories=self.train_stories, validation_stories=self.validation_stories)
        _ = self.naming  # which checks its values

    @property
    def naming(self) -> Naming:
        """What a person has named of a corpus of files; the rest is found."""
        return Naming(self.field, self.unit, self.separator)


@dataclass(frozen=True)
class TokenizerSettings:
    vocab_size: int = 2048
    sweep: tuple[int, ...] = (512, 1024, 2048, 4096)  # vocabulary sizes that notebook 02 compares

    def __post_init__(self) -> None:
        _at_least(258, vocab_size=self.vocab_size, **{f"sweep[{i}]": v for i, v in enumerate(self.sweep)})


@dataclass(frozen=True)
class EvaluationSettings:
    """Notebook 05: every model of the zoo finishes ``stories`` held-out beginnings, ``repeats`` times each."""

    stories: int = 200
    repeats: int = 2
    max_new_tokens: int = 200
    temperature: float = 1.0
    temperatures: tuple[float, ...] = (0.4, 0.7, 1.0, 1.3)  # what notebook 05 compares
    zoo: tuple[Options, ...] = ({"d_model": 32, "n_layers": 2, "n_heads": 2}, {"d_model": 64, "n_layers": 3})
    # Models by others, asked beside ours where the corpus is not Pocket: llama2.c files, folders, names on the Hub
    published: tuple[str, ...] = (
        "$PN_STORIES260K/stories260K.bin",
        "roneneldan/TinyStories-1M",
        "roneneldan/TinyStories-8M",
        "roneneldan/TinyStories-33M",
    )
    probes: int = 400  # Pocket probes a model, and positions at which its next word is compared with the source's

    def __post_init__(self) -> None:
        _at_least(1, repeats=self.repeats, max_new_tokens=self.max_new_tokens)
        _at_least(2, stories=self.stories, probes=self.probes)  # or there are no intervals


@dataclass(frozen=True)
class Sprint:
    """A short training of notebook 04, to the end of a budget of its own; ``transformer`` overrides the profile's."""

    tokens: int
    transformer: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least(1, tokens=self.tokens)


@dataclass(frozen=True)
class RecipeSettings:
    """Notebook 04: one change at a time to the training of a small Transformer.

    ``few_stories`` is how many stories there are where data are few, and ``epochs`` how often they are read;
    ``processes`` is in how many processes one training is tried, 1 leaving that out.
    """

    tokens: int = 200_000
    seeds: int = 3
    batch_size: int = 8
    transformer: Options = field(default_factory=lambda: {"d_model": 64, "n_layers": 2, "n_heads": 2, "context": 128})
    few_stories: int = 200
    epochs: int = 16
    sprints: tuple[Sprint, ...] = ()
    processes: int = 2

    def __post_init__(self) -> None:
        _at_least(1, tokens=self.tokens, seeds=self.seeds, few_stories=self.few_stories, epochs=self.epochs)
        _at_least(2, batch_size=self.batch_size)


@dataclass(frozen=True)
class ScalingSettings:
    """Notebook 06: models of several sizes, each after several budgets of tokens."""

    sizes: tuple[Options, ...] = (
        {"d_model": 32, "n_layers": 2},
        {"d_model": 64, "n_layers": 3},
        {"d_model": 96, "n_layers": 4},
        {"d_model": 128, "n_layers": 5},
    )
    tokens: tuple[int, ...] = (100_000, 200_000, 400_000)
    mamba: tuple[Options, ...] = (
        {"d_model": 32, "n_layers": 3},
        {"d_model": 64, "n_layers": 5},
        {"d_model": 96, "n_layers": 7},
    )
    batch_size: int = 8
    context: int = 128
    head_dim: int = 32

    def __post_init__(self) -> None:
        _at_least(1, batch_size=self.batch_size, **{f"tokens[{i}]": n for i, n in enumerate(self.tokens)})


@dataclass(frozen=True)
class StudySettings:
    """Notebook 06: one change at a time to a small Transformer."""

    tokens: int = 200_000
    seeds: int = 3
    batch_size: int = 16
    transformer: Options = field(default_factory=lambda: {"d_model": 64, "n_layers": 2, "n_heads": 4, "context": 128})
    vocab_sizes: tuple[int, ...] = (512, 4096)

    def __post_init__(self) -> None:
        _at_least(1, tokens=self.tokens, seeds=self.seeds, batch_size=self.batch_size)


@dataclass(frozen=True)
class LanguageSettings:
    """Notebook 06: how small a Transformer may be and stay inside a language. The stories are Pocket's, whatever the
    corpus, since of these alone it can be decided; there are about as many as ``tokens`` need, but 50 at least.

    ``told`` is how many stories each model tells to be looked at.
    """

    sizes: tuple[Options, ...] = ({"d_model": 32, "n_layers": 2, "n_heads": 2}, {"d_model": 64, "n_layers": 2})
    tokens: int = 200_000
    seeds: int = 3
    vocab_size: int = 2048
    batch_size: int = 8
    context: int = 256
    told: int = 100

    def __post_init__(self) -> None:
        _at_least(
            1,
            tokens=self.tokens,
            seeds=self.seeds,
            batch_size=self.batch_size,
            told=self.told,
            **{"the number of sizes": len(self.sizes)},
        )
        _at_least(258, vocab_size=self.vocab_size)


@dataclass(frozen=True)
class TaskSettings:
    """One of notebook 07's synthetic tasks; each model has the size, steps and learning rate that suit it."""

    lengths: tuple[int, ...]  # trained on; the longest is "the trained length"
    mamba_steps: int
    mamba_learning_rate: float
    transformer_steps: int
    transformer: Options
    mamba: Options = field(default_factory=lambda: {"d_model": 64, "n_layers": 2})
    transformer_learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        _at_least(1, mamba_steps=self.mamba_steps, transformer_steps=self.transformer_steps)
        _at_least(8, **{f"lengths[{i}]": length for i, length in enumerate(self.lengths)})


def _copying() -> TaskSettings:
    attention = {"d_model": 48, "n_layers": 4, "n_heads": 4, "d_ff": 64, "tied_embeddings": False}
    return TaskSettings((16, 32, 64), 800, 8e-3, 1000, attention)


def _induction() -> TaskSettings:
    attention = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 64, "tied_embeddings": False}
    return TaskSettings((8, 16, 32, 64), 300, 1e-2, 400, attention)


@dataclass(frozen=True)
class MambaSettings:
    """Notebook 07: a Mamba and a Transformer of about equal parameters, trained alike but for the learning rates.

    ``rates`` are the pairs (learning rate, that of matrices) that each of the two tries, on a seed that judges nothing,
    before it takes the one that suits it; without any, both keep what the profile says. ``full`` is the Mamba set
    beside notebook 04's Transformer, trained on as many tokens.
    """

    tokens: int = 200_000
    seeds: int = 3
    batch_size: int = 16
    learning_rate: float = 0.02  # of the Mambas' embeddings, gains, rates; the Transformer has that of [training]
    matrix_learning_rate: float = 0.02  # of the Mambas' matrices
    rates: tuple[tuple[float, float], ...] = ()
    full: Options = field(default_factory=lambda: {"d_model": 128, "n_layers": 7, "context": 256})
    mamba: Options = field(default_factory=lambda: {"d_model": 64, "n_layers": 2, "context": 128})
    transformer: Options = field(default_factory=lambda: {"d_model": 64, "n_layers": 2, "n_heads": 4, "context": 128})
    decode_contexts: tuple[int, ...] = (64, 256, 1024, 4096, 8192)
    copying: TaskSettings = field(default_factory=_copying)
    induction: TaskSettings = field(default_factory=_induction)
    task_lengths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # tested at
    task_seeds: int = 1

    def __post_init__(self) -> None:
        _at_least(1, tokens=self.tokens, seeds=self.seeds, batch_size=self.batch_size, task_seeds=self.task_seeds)
        if any(len(pair) != 2 or min(pair) <= 0 for pair in self.rates):
            raise ValueError(f"rates must be pairs of two numbers above 0, not {self.rates}")


@dataclass(frozen=True)
class Profile:
    """Everything that sets the size of a run. Budgets are in tokens, so a run means the same on every machine."""

    name: str
    seed: int = 0
    data: DataSettings = field(default_factory=DataSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    transformer: Options = field(default_factory=dict)  # TransformerConfig without vocab_size
    sizes: dict[str, Options] = field(default_factory=dict)  # named variants of it, for python -m pn_lib train
    training: TrainingConfig = field(default_factory=TrainingConfig)  # its own seed is that of the batches
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    recipe: RecipeSettings = field(default_factory=RecipeSettings)
    study: StudySettings = field(default_factory=StudySettings)
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    language: LanguageSettings = field(default_factory=LanguageSettings)
    mamba: MambaSettings = field(default_factory=MambaSettings)

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed)

    def transformer_config(self, vocab_size: int, **changes: Any) -> TransformerConfig:
        """The Transformer of notebooks 03-05 for a tokenizer of ``vocab_size``; ``changes`` override the profile."""
        return _model_config(TransformerConfig, self.transformer, vocab_size, changes)

    def zoo_configs(self, vocab_size: int) -> list[TransformerConfig]:
        """The smaller Transformers that notebook 05 sets beside the main one."""
        return [self.transformer_config(vocab_size, **size) for size in self.evaluation.zoo]

    def recipe_config(self, vocab_size: int, **changes: Any) -> TransformerConfig:
        """The small Transformer whose training notebook 04 varies."""
        return _model_config(TransformerConfig, self.recipe.transformer, vocab_size, changes)

    def scaling_configs(self, vocab_size: int) -> list[TransformerConfig]:
        """The Transformers of notebook 06's scaling study."""
        s = self.scaling
        heads = [max(1, size.get("d_model", 0) // s.head_dim) for size in s.sizes]
        return [
            _model_config(TransformerConfig, {"n_heads": n, **size}, vocab_size, {"context": s.context})
            for size, n in zip(s.sizes, heads, strict=True)
        ]

    def scaling_mambas(self, vocab_size: int) -> list[MambaConfig]:
        """The Mambas of notebook 06's scaling study."""
        return [
            _model_config(MambaConfig, size, vocab_size, {"context": self.scaling.context})
            for size in self.scaling.mamba
        ]

    def language_configs(self, vocab_size: int) -> list[TransformerConfig]:
        """The Transformers of notebook 06 that learn Pocket stories, smallest first."""
        return [
            _model_config(TransformerConfig, size, vocab_size, {"context": self.language.context})
            for size in self.language.sizes
        ]

    def study_config(self, vocab_size: int, **changes: Any) -> TransformerConfig:
        """The small Transformer that notebook 06 varies."""
        return _model_config(TransformerConfig, self.study.transformer, vocab_size, changes)

    def mamba_config(self, vocab_size: int, **changes: Any) -> MambaConfig:
        """The Mamba of notebook 07."""
        return _model_config(MambaConfig, self.mamba.mamba, vocab_size, changes)

    def full_mamba_config(self, vocab_size: int, **changes: Any) -> MambaConfig:
        """The Mamba of notebook 07 that gets the whole budget of notebook 04."""
        return _model_config(MambaConfig, self.mamba.full, vocab_size, changes)

    def matched_config(self, vocab_size: int, **changes: Any) -> TransformerConfig:
        """The Transformer that notebook 07 sets beside the Mamba."""
        return _model_config(TransformerConfig, self.mamba.transformer, vocab_size, changes)

    def settings(self) -> dict:
        """All values, defaults included, as plain JSON types."""
        return asdict(self)


def _model_config(cls: type, options: Options, vocab_size: int, changes: Options) -> Any:
    return parse_config(cls, {"vocab_size": vocab_size, **RECIPE[cls], **options, **changes}, cls.__name__)


def profile_names() -> list[str]:
    """The profiles that come with the package, smallest first."""
    known = {p.name.removesuffix(".toml") for p in resources.files(__package__).joinpath("profiles").iterdir()}
    order = ["smoke", "quick", "laptop", "paper"]
    return sorted(known, key=lambda name: (order.index(name) if name in order else len(order), name))


def load_profile(name: str) -> Profile:
    """Read a profile by its name, or from the path of a TOML file of your own.

    Raises:
        InputError: no such profile, no valid TOML, or a key or value that no setting takes (it is named).
    """
    if name.endswith(".toml"):
        path = Path(name)
    elif name in profile_names():
        path = resources.files(__package__).joinpath("profiles", f"{name}.toml")
    else:
        known = ", ".join(profile_names())
        raise InputError(f"unknown profile {name!r}; choose one of {known}, or name a .toml file")
    where = f"profile {path.name}"
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"profile file {name} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where} is no valid TOML: {error}") from None
    if "name" in settings:
        raise InputError(f"{where}: unknown key 'name'; a profile is named by its file")
    profile = parse_config(Profile, {"name": path.name.removesuffix(".toml"), **settings}, where)
    _check_models(profile, where)
    return profile


def _check_models(profile: Profile, where: str) -> None:
    """Model options meet their dataclass only once the vocabulary is known; find their mistakes now."""
    makers = {
        "transformer": profile.transformer_config,
        "evaluation.zoo": profile.zoo_configs,
        "recipe.transformer": profile.recipe_config,
        "scaling.sizes": profile.scaling_configs,
        "scaling.mamba": profile.scaling_mambas,
        "language.sizes": profile.language_configs,
        "study.transformer": profile.study_config,
        "mamba.full": profile.full_mamba_config,
        "mamba.mamba": profile.mamba_config,
        "mamba.transformer": profile.matched_config,
    }
    makers |= {f"sizes.{name}": partial(profile.transformer_config, **size) for name, size in profile.sizes.items()}
    makers |= {
        f"recipe.sprints[{i}]": partial(profile.transformer_config, **sprint.transformer)
        for i, sprint in enumerate(profile.recipe.sprints)
    }
    for section, make in makers.items():
        try:
            make(profile.tokenizer.vocab_size)
        except (InputError, TypeError) as error:
            raise InputError(f"{where}, [{section}]: {error}") from None
