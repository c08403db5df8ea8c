"""Profiles: how large a run is. A small TOML file holds only what differs from ``profiles/defaults.toml``, or from the
profile that its ``base`` names."""

from collections.abc import Iterable
from dataclasses import asdict, field, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pn_lib.config import config_class, parse_config
from pn_lib.data.corpus_paths import Naming
from pn_lib.errors import InputError, suggestion
from pn_lib.files import read_toml
from pn_lib.run.coherence.settings import CoherenceSettings
from pn_lib.titles import Architecture
from pn_lib.training.config import TrainingConfig

# Fields of TransformerConfig or MambaConfig, but ``vocab_size`` and ``context``, which all models of a section share.
Options = dict[str, Any]
VocabSize = Annotated[int, Field(ge=258)]  # 256 bytes, the separator, and one merge
VocabSizeOfBytes = Annotated[int, Field(ge=257)]  # or no merge
Sizes = Annotated[tuple[Options, ...], Field(min_length=1)]
AtLeastTwo = Annotated[int, Field(ge=2)]  # or there are no intervals

FOLDER = resources.files(__package__).joinpath("profiles")


@config_class
class DataSettings:
    """How many stories are read, and how many of them are held out for every measure of the run."""

    train_stories: PositiveInt  # the first so many, or all if there are fewer
    validation_stories: PositiveInt
    min_characters: NonNegativeInt
    unit: str | None = None  # a story in text files: "line", "file" or "blank line"
    separator: str | None = None  # or what stands between two stories there
    field: str | None = None  # of the stories, in files with rows

    def __post_init__(self) -> None:
        _ = self.naming  # which checks its values

    @property
    def naming(self) -> Naming:
        """What a person has named of a corpus of files; the rest is found."""
        return Naming(self.field, self.unit, self.separator)


@config_class
class TokenizerSettings:
    vocab_size: VocabSize
    sweep: tuple[VocabSize, ...]  # what notebook 02 compares


@config_class
class ArchitectureSettings:
    """What all Transformers and all Mambas of the run have unless their own options say otherwise."""

    transformer: Options
    mamba: Options


@config_class
class EvaluationSettings:
    """Notebook 05: every model of the zoo finishes ``stories`` held-out beginnings, ``repeats`` times each."""

    stories: AtLeastTwo
    repeats: PositiveInt
    max_bytes: PositiveInt  # of an ending or a story: as much text for every tokenizer
    temperature: NonNegativeFloat
    temperatures: tuple[NonNegativeFloat, ...]  # what notebook 05 compares
    zoo: tuple[Options, ...]  # smaller Transformers beside the main one, as changes to it
    # Models by others, asked beside ours where the corpus is not Pocket: llama2.c files, folders, names on the Hub
    published: tuple[str, ...]
    probes: AtLeastTwo  # Pocket probes a model, and positions at which its next word is compared with the source's


@config_class
class Sprint:
    """A short training of notebook 04, to the end of a budget of its own; ``transformer`` changes the main one."""

    tokens: PositiveInt
    transformer: Options = field(default_factory=dict)


@config_class
class RecipeSettings:
    """Notebook 04: one change at a time to the training of a small Transformer.

    ``few_stories`` is how many stories there are where data are few, and ``epochs`` how often they are read;
    ``processes`` is in how many processes one training is tried, 1 leaving that out.
    """

    tokens: PositiveInt
    seeds: PositiveInt
    batch_size: AtLeastTwo  # one of the changes is half of it
    context: PositiveInt
    transformer: Options
    few_stories: PositiveInt
    epochs: PositiveInt
    sprints: tuple[Sprint, ...]
    processes: PositiveInt


@config_class
class StudySettings:
    """Notebook 07: one change at a time to a small Transformer."""

    tokens: PositiveInt
    seeds: PositiveInt
    batch_size: PositiveInt
    context: PositiveInt
    transformer: Options
    vocab_sizes: tuple[VocabSize, ...]


@config_class
class ScalingSettings:
    """Notebooks 08 and 10: Transformers (``sizes``) and Mambas of several sizes, after several budgets of tokens."""

    sizes: tuple[Options, ...]
    mamba: tuple[Options, ...]
    tokens: tuple[PositiveInt, ...]
    batch_size: PositiveInt
    context: PositiveInt


@config_class
class LanguageSettings:
    """Notebook 08: how small a Transformer may be and stay inside a language. The stories are Pocket's, whatever the
    corpus, since of these alone it can be decided; there are about as many as ``tokens`` need, but 50 at least.

    ``told`` is how many stories each model tells to be looked at.
    """

    sizes: Sizes
    tokens: PositiveInt
    seeds: PositiveInt
    vocab_size: VocabSize
    batch_size: PositiveInt
    context: PositiveInt
    told: PositiveInt


@config_class
class MambaSettings:
    """The whole Mamba of notebook 10; ``full`` is set beside the Transformer of notebook 04 and trained as that was."""

    learning_rate: PositiveFloat  # of embeddings, gains, rates; the Transformer has that of [training]
    matrix_learning_rate: PositiveFloat  # of matrices
    full: Options


@config_class
class TaskSettings:
    """How one task of memory is taught, to all architectures alike."""

    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]  # the longest is "the trained length"
    steps: PositiveInt


@config_class
class TaughtSettings:
    """An architecture in the tasks of memory: its options, and the learning rates and the optimizer that suit it."""

    model: Options
    learning_rate: PositiveFloat
    matrix_learning_rate: PositiveFloat | None = None  # of Muon; None: AdamW moves the matrices too


@config_class
class MemorySettings:
    """Notebook 10: tasks that test memory alone, each taught to all ``architectures``, anew with every seed.

    They are named as in MODELS. Each is asked ``sequences`` new sequences at each length ``tested``.
    """

    architectures: Annotated[tuple[str, ...], Field(min_length=1)]
    models: dict[str, TaughtSettings]  # of these
    seeds: PositiveInt
    batch_size: PositiveInt
    tested: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    sequences: PositiveInt
    copying: TaskSettings
    induction: TaskSettings
    recall: TaskSettings

    def __post_init__(self) -> None:
        for name in self.architectures:
            if name not in self.models:
                raise ValueError(f"architectures names {name!r}, for which models has no settings")


@config_class
class MixerSize:
    """A size at which notebook 10 compares: each architecture has about ``parameters`` in its layers."""

    parameters: PositiveInt
    tokens: PositiveInt  # of each run that judges
    seeds: PositiveInt
    sweep_tokens: PositiveInt  # of each run that chooses a rate or a shape
    shapes: PositiveInt  # of width and depth that are tried, at most


@config_class
class MixerSettings:
    """Notebook 10: architectures side by side, each at its own best rate and shape, the first of them the yardstick.

    ``rates`` are tried first, then rates beyond them while the best lies at an edge, ``extensions`` times at most.
    """

    architectures: dict[Architecture, Options]
    sizes: Annotated[tuple[MixerSize, ...], Field(min_length=1)]  # the smallest first
    rates: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    extensions: NonNegativeInt
    batch_size: PositiveInt
    context: PositiveInt
    decode_contexts: tuple[PositiveInt, ...]


@config_class
class FrontierModel:
    """A Transformer that becomes one small file, its weights rounded as its ``training`` rounded them."""

    name: Annotated[str, Field(pattern=r"^[\w-]+$")]  # of its file
    vocab_size: VocabSizeOfBytes  # of a tokenizer of its own, which is in the file too
    transformer: Options
    training: TrainingConfig
    teacher: str | None = None  # a model earlier in the list, of as many tokens, whose probabilities it is taught

    def __post_init__(self) -> None:
        if self.training.quantize is None:
            raise ValueError(f"training.quantize of {self.name} must name the integers that its file holds")


@config_class
class VocabularySettings:
    """Notebook 11: each size with each vocabulary, tied and not, the smallest (the first) with several seeds.

    ``training`` is written for bytes: where a token stands for more than one, there are fewer tokens in the context and
    in all, so that each vocabulary reads the same text in as many updates. 257 is the vocabulary of bytes.
    """

    vocab_sizes: Annotated[tuple[VocabSizeOfBytes, ...], Field(min_length=1)]
    sizes: Sizes
    seeds: PositiveInt
    training: TrainingConfig

    def __post_init__(self) -> None:
        if self.training.quantize is None or self.training.growth:
            raise ValueError(
                "training of the vocabularies must have quantize, the integers of the files, and no growth"
            )


@config_class
class FrontierSettings:
    """Notebook 11: how well a file of so many bytes can tell stories, its tokenizer included."""

    models: Annotated[tuple[FrontierModel, ...], Field(min_length=1)]
    vocabulary: VocabularySettings

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"two models have the same name: {', '.join(names)}")
        for i, model in enumerate(self.models):
            earlier = {m.name for m in self.models[:i] if m.vocab_size == model.vocab_size}
            if model.teacher is not None and model.teacher not in earlier:
                raise ValueError(
                    f"the teacher of {model.name}, {model.teacher!r}, must be a model listed before it that has the "
                    "same vocab_size"
                )


@config_class
class Profile:
    """Everything that sets the size of a run. Budgets are in tokens, so a run means the same on every machine."""

    name: str
    seed: NonNegativeInt
    data: DataSettings
    tokenizer: TokenizerSettings
    architecture: ArchitectureSettings
    evaluation: EvaluationSettings
    recipe: RecipeSettings
    study: StudySettings
    scaling: ScalingSettings
    language: LanguageSettings
    coherence: CoherenceSettings
    mamba: MambaSettings
    mixers: MixerSettings
    memory: MemorySettings
    frontier: FrontierSettings
    transformer: Options = field(default_factory=dict)  # the main one, of notebooks 03 to 05
    sizes: dict[str, Options] = field(default_factory=dict)  # named changes to it, for python -m pn_lib train
    training: TrainingConfig = field(default_factory=TrainingConfig)  # its own seed is that of the batches

    def settings(self) -> dict:
        """All values, inherited ones included, as plain JSON types."""
        return asdict(self)


def profile_names() -> list[str]:
    """The profiles that come with the package, smallest first."""
    known = {p.name.removesuffix(".toml") for p in FOLDER.iterdir()} - {"defaults"}
    order = ["smoke", "quick", "laptop", "overnight", "coherent", "paper"]
    return sorted(known, key=lambda name: (order.index(name) if name in order else len(order), name))


def load_profile(name: str) -> Profile:
    """Read a profile by its name, or from the path of a TOML file of your own; its models' options are complete.

    Whether the options are those of a model is not known here, see ``check_models``.

    Raises:
        InputError: no such profile, no valid TOML, or a key or value that no setting takes (it is named).
    """
    path = _profile_path(name)
    return _complete(parse_config(Profile, {"name": path.stem, **_settings(path)}, f"profile {path.name}"))


def _profile_path(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    if name in profile_names():
        return Path(str(FOLDER / f"{name}.toml"))
    known, near = ", ".join(profile_names()), suggestion(name, profile_names())
    raise InputError(f"unknown profile {name!r}; choose one of {known}, or name a .toml file{near}")


def _settings(path: Path) -> Options:
    """What the file says, and what it leaves out: as in the profile that its ``base`` names, or as in the defaults."""
    where = f"profile {path.name}"
    settings = read_toml(path, "profile file")
    if "name" in settings:
        raise InputError(f"{where}: unknown key 'name'; a profile takes its name from its file")
    base = settings.pop("base", None)
    if base is None:
        return _inherit(settings, read_toml(FOLDER / "defaults.toml", "profile file"))
    if base not in profile_names():
        raise InputError(f"{where}: base must be one of {', '.join(profile_names())}; got {base!r}")
    return _inherit(settings, _settings(_profile_path(base)))


def _inherit(settings: Options, defaults: Options) -> Options:
    """``defaults`` with the keys of ``settings`` in their place, section by section."""
    merged = defaults | settings
    for section in defaults.keys() & settings.keys():
        if isinstance(settings[section], dict) and isinstance(defaults[section], dict):
            merged[section] = defaults[section] | settings[section]
    return merged


def _complete(profile: Profile) -> Profile:
    """Every model's options with what they inherit: from [architecture] and, as changes to it, from [transformer]."""
    p, transformer, mamba = profile, profile.architecture.transformer, profile.architecture.mamba
    main = transformer | p.transformer

    def each(base: Options, changes: Iterable[Options]) -> tuple[Options, ...]:
        return tuple(base | change for change in changes)

    sprints = tuple(replace(sprint, transformer=main | sprint.transformer) for sprint in p.recipe.sprints)
    return replace(
        p,
        transformer=main,
        sizes={name: main | size for name, size in p.sizes.items()},
        evaluation=replace(p.evaluation, zoo=each(main, p.evaluation.zoo)),
        recipe=replace(p.recipe, transformer=transformer | p.recipe.transformer, sprints=sprints),
        study=replace(p.study, transformer=transformer | p.study.transformer),
        scaling=replace(p.scaling, sizes=each(transformer, p.scaling.sizes), mamba=each(mamba, p.scaling.mamba)),
        language=replace(p.language, sizes=each(transformer, p.language.sizes)),
        mamba=replace(p.mamba, full=mamba | p.mamba.full),
        mixers=replace(
            p.mixers,
            architectures={
                name: (transformer if name == "transformer" else mamba) | options
                for name, options in p.mixers.architectures.items()
            },
        ),
        frontier=replace(
            p.frontier,
            models=tuple(replace(m, transformer=transformer | m.transformer) for m in p.frontier.models),
            vocabulary=replace(p.frontier.vocabulary, sizes=each(transformer, p.frontier.vocabulary.sizes)),
        ),
    )
