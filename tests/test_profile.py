"""Profiles: the four that ship load, and mistakes are named."""

from contextlib import nullcontext

import pytest

from pn_lib.errors import InputError
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run.pipeline import Pipeline
from pn_lib.run.profile import load_profile, profile_names
from pn_lib.run.profile_models import check_models


def test_the_profiles_load_and_grow():
    assert profile_names() == ["smoke", "quick", "laptop", "overnight", "coherent", "paper"]
    profiles = [load_profile(name) for name in profile_names()]
    tokens = [profile.training.tokens for profile in profiles]
    assert tokens == sorted(tokens)
    assert load_profile("laptop").study.seeds >= 3


@pytest.mark.parametrize("name", profile_names())
def test_every_model_of_a_profile_can_be_made(name):
    check_models(load_profile(name))


def test_models_inherit_what_the_recipe_found():
    """Notebook 04's recipe is visible in defaults.toml, and reaches every model but those of the synthetic tasks."""
    p = load_profile("quick")
    transformers = [p.transformer, p.recipe.transformer, p.study.transformer]
    transformers += [*p.evaluation.zoo, *p.scaling.sizes, *p.language.sizes]
    transformers += [sprint.transformer for sprint in p.recipe.sprints]
    for options in transformers:
        config = TransformerConfig(300, **options)
        assert (config.qk_norm, config.tied_embeddings, config.initialisation) == (True, False, "zero")
    for options in (p.mamba.full, *p.scaling.mamba):
        assert not MambaConfig(300, **options).tied_embeddings
    assert load_profile("paper").transformer["tied_embeddings"]  # a section's own choice comes last


def test_variants_are_changes_to_the_main_transformer(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[architecture]\ntransformer = { bias = true }\n[transformer]\nd_model = 48\nn_layers = 3\n"
        "[sizes]\nflat = { n_layers = 1 }\n[evaluation]\nzoo = [{ d_model = 16 }]\n"
        "[recipe]\nsprints = [{ tokens = 9 }]\n[study]\ntransformer = { d_model = 64 }\n"
    )
    p = load_profile(str(path))
    main = {"bias": True, "d_model": 48, "n_layers": 3}
    assert p.transformer == p.recipe.sprints[0].transformer == main
    assert p.sizes["flat"] == main | {"n_layers": 1}
    assert p.evaluation.zoo == (main | {"d_model": 16},)
    assert p.study.transformer == {"bias": True, "d_model": 64}


def test_a_profile_says_what_differs_from_its_base(tmp_path):
    path, quick = tmp_path / "mine.toml", load_profile("quick")
    path.write_text('base = "quick"\n[training]\ntokens = 9_000\n')
    p = load_profile(str(path))
    assert (p.name, p.training.tokens, p.training.batch_size) == ("mine", 9_000, quick.training.batch_size)
    assert (p.transformer, p.mixers, p.seed) == (quick.transformer, quick.mixers, quick.seed)
    path.write_text('base = "quik"\n')
    with pytest.raises(InputError, match=r"profile mine\.toml: base must be one of smoke, quick, .*; got 'quik'"):
        load_profile(str(path))


def test_an_architecture_that_no_shape_gives_so_few_parameters_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[mixers]\nsizes = [{ parameters = 900, tokens = 9, seeds = 1, sweep_tokens = 9, shapes = 1 }]\n"
        "architectures = { mamba = {}, hybrid = {} }\n"
    )
    with pytest.raises(InputError, match=r"mine\.toml, \[mixers\.architectures\] mamba: .*900 parameters"):
        check_models(load_profile(str(path)))


def test_a_misspelled_key_of_an_architecture_is_named_and_mended(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[coherence.architectures.mamba]\nmodle = {}\nrate = 0.02\nmatrix_rate = 0.02\n")
    with pytest.raises(InputError, match=r"unknown key 'coherence\.architectures\.mamba\.modle'; did you mean 'model'"):
        load_profile(str(path))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("settings", ["sizes = [1_000_000_000_000_000]", "seeds = 1_000_000_000_000"])
def test_a_study_of_coherence_beyond_all_measure_is_read_or_refused_at_once(tmp_path, settings):
    """Neither one shape after another is tried, nor a plan made for every seed."""
    path = tmp_path / "mine.toml"
    path.write_text(f"[coherence]\n{settings}\n")
    with pytest.raises(InputError, match="give it fewer") if "sizes" in settings else nullcontext():
        check_models(load_profile(str(path)))


def test_the_mixers_inherit_what_the_recipe_found_by_their_kind():
    found = load_profile("laptop").mixers.architectures
    assert list(found) == ["transformer", "mamba", "mamba2", "deltanet", "hybrid"]
    assert found["transformer"]["qk_norm"] and not any(options["tied_embeddings"] for options in found.values())
    assert found["hybrid"]["pattern"] == "MMA"


def test_settings_hold_defaults_too():
    settings = load_profile("smoke").settings()
    assert settings["name"] == "smoke"
    assert "min_characters" in settings["data"]


def test_unknown_profile_names_the_known_ones():
    with pytest.raises(
        InputError, match="profile 'huge'; choose one of smoke, quick, laptop, overnight, coherent, paper"
    ):
        load_profile("huge")


def test_a_profile_of_ones_own(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text("seed = 7\n[data]\ntrain_stories = 50\n")
    profile = load_profile(str(path))
    assert (profile.name, profile.seed, profile.data.train_stories) == ("tiny", 7, 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\nstories = 3", "unknown key 'data.stories'"),
        ("[data]\ntrain_stories = 'many'", "data.train_stories"),
        ("[training]\ntokens = 0", "tokens"),
        ("[transformer]\nn_head = 3", "n_head"),
        ("[transformer]\nd_model = 30\nn_heads = 4", "[transformer]"),
        ("[mamba]\nfull = { d_modle = 3 }", "d_modle"),
        ("[mixers]\nrates = [0.02, 0.0]", "mixers.rates.1 must be greater than 0 (got 0.0)"),
        ("[mixers]\nsizes = [{ tokens = 3 }]", "mixers.sizes.0.parameters is missing"),
        ("[language]\nsizes = []", "language.sizes is wrong: Tuple should have at least 1 item"),
        ("[coherence]\ndialects = [{ words = 3 }]", "coherence.dialects.0.tokens is missing"),
        (
            "[coherence]\ndialects = [{ plots = 12, tokens = [9] }]",
            "[coherence] transformer: a dialect has 1 to 9 plots",
        ),
        ("[coherence]\nsizes = [900]", "[coherence] transformer: no transformer"),
        ("[memory]\narchitectures = ['rnn']", "memory: architectures names 'rnn', for which models has no settings"),
        (
            "[memory.models.mamba3]\nmodel = {}\nlearning_rate = 0.1\nmatrix_learning_rate = 0.1",
            "memory: architectures",
        ),
        ("[memory]\ncopying = { lengths = [], steps = 1 }", "memory.copying.lengths"),
        ("[transformer]\ncontext = 64", "[transformer]: context is set in the section alone, or in [training]"),
        ("[scaling]\nmamba = [{ d_state = 0 }]", "[scaling.mamba[0]]: MambaConfig: d_state must be greater than 0"),
        ("[recipe]\nsprints = [{ tokens = 9, transformer = { dropuot = 0.1 } }]", "unknown key 'dropuot'"),
        ("data = 3", "data must be an object"),
        ("name = 'x'", "unknown key 'name'"),
        ("[data", "no valid TOML"),
    ],
)
def test_mistakes_in_a_profile_are_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.toml") as caught:
        Pipeline(str(path), "pocket")
    assert message in str(caught.value)


def test_a_missing_profile_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_profile(str(tmp_path / "none.toml"))
