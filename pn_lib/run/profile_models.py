"""A profile's models: whether each exists, asked before a run begins and not in the notebook that makes it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

from pn_lib.errors import InputError, suggestion
from pn_lib.models.architectures import MODELS
from pn_lib.models.flops import NeuralConfig
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.shapes import in_layers, shapes, total
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run.coherence.plan import grid
from pn_lib.run.profile import Options, Profile


def check_models(profile: Profile) -> None:
    """Make the config of every model that the profile asks for.

    Raises:
        InputError: options that no model has; the sentence names the profile, the section and the field.
    """
    own = ((TransformerConfig, _transformers(profile)), (MambaConfig, _mambas(profile)))
    for cls, sections in (*own, *_taught(profile)):
        for section, options in sections.items():
            where = f"profile {profile.name}.toml, [{section}]"
            if "context" in options:
                raise InputError(f"{where}: context is set in the section alone, or in [training]; delete it here")
            try:
                cls(vocab_size=profile.tokenizer.vocab_size, **options)
            except InputError as error:
                raise InputError(f"{where}: {error}") from None
    for name, options in profile.mixers.architectures.items():
        for size in profile.mixers.sizes:
            try:
                shapes(
                    name, profile.tokenizer.vocab_size, profile.mixers.context, options, size.parameters, in_layers, 1
                )
            except InputError as error:
                raise InputError(f"profile {profile.name}.toml, [mixers.architectures] {name}: {error}") from None
    plans = grid(replace(profile.coherence, seeds=1))  # many, of few models and fewer languages
    unlike = {(p.architecture, p.parameters): p for p in plans} | {(p.plots, p.words): p for p in plans}
    for plan in unlike.values():
        try:
            shapes(plan.architecture, plan.vocab_size, plan.context, plan.options, plan.parameters, total, 1)
            _ = plan.language
        except InputError as error:
            raise InputError(f"profile {profile.name}.toml, [coherence] {plan.architecture}: {error}") from None


def _transformers(profile: Profile) -> dict[str, Options]:
    p = profile
    return {
        "transformer": p.transformer,
        **{f"sizes.{name}": size for name, size in p.sizes.items()},
        **{f"evaluation.zoo[{i}]": size for i, size in enumerate(p.evaluation.zoo)},
        "recipe.transformer": p.recipe.transformer,
        **{f"recipe.sprints[{i}]": sprint.transformer for i, sprint in enumerate(p.recipe.sprints)},
        "study.transformer": p.study.transformer,
        **{f"scaling.sizes[{i}]": size for i, size in enumerate(p.scaling.sizes)},
        **{f"language.sizes[{i}]": size for i, size in enumerate(p.language.sizes)},
        **{f"frontier.models[{i}].transformer": m.transformer for i, m in enumerate(p.frontier.models)},
        **{f"frontier.vocabulary.sizes[{i}]": size for i, size in enumerate(p.frontier.vocabulary.sizes)},
    }


def _mambas(profile: Profile) -> dict[str, Options]:
    m = profile.mamba
    return {
        **{f"scaling.mamba[{i}]": size for i, size in enumerate(profile.scaling.mamba)},
        "mamba.full": m.full,
    }


def _taught(profile: Profile) -> Iterator[tuple[type[Any], dict[str, Options]]]:
    """The models of the tasks of memory, each with the config of its architecture."""
    known = [name for name, cls in MODELS.items() if cls.Config in get_args(NeuralConfig)]
    for name, taught in profile.memory.models.items():
        if name not in known:
            raise InputError(
                f"profile {profile.name}.toml, [memory.models]: no architecture is called {name!r}; there are "
                f"{', '.join(known)}{suggestion(name, known)}"
            )
        yield MODELS[name].Config, {f"memory.models.{name}": taught.model}
