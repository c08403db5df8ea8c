"""Profiles: the four that ship load, and mistakes are named."""

import pytest

from pn_lib.errors import InputError
from pn_lib.run.profile import load_profile, profile_names


def test_the_four_profiles_load_and_grow():
    assert profile_names() == ["smoke", "quick", "laptop", "paper"]
    profiles = [load_profile(name) for name in profile_names()]
    tokens = [profile.training.tokens for profile in profiles]
    assert tokens == sorted(tokens)
    assert load_profile("laptop").study.seeds >= 3


def test_model_configs_take_the_vocabulary_and_changes():
    profile = load_profile("smoke")
    config = profile.transformer_config(300, position="learned")
    assert (config.vocab_size, config.position, config.d_model) == (300, "learned", profile.transformer["d_model"])


def test_settings_hold_defaults_too():
    settings = load_profile("smoke").settings()
    assert settings["name"] == "smoke"
    assert "min_characters" in settings["data"]


def test_unknown_profile_names_the_known_ones():
    with pytest.raises(InputError, match="unknown profile 'huge'; choose one of smoke, quick, laptop, paper"):
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
        ("[mamba]\nmamba = { d_modle = 3 }", "d_modle"),
        ("[mamba]\nrates = [[0.02, 0.0]]", "rates must be pairs of two numbers above 0"),
        ("[mamba]\nrates = [[0.02]]", "rates"),
        ("[language]\nsizes = []", "the number of sizes must be at least 1"),
        ("name = 'x'", "unknown key 'name'"),
        ("[data", "no valid TOML"),
    ],
)
def test_mistakes_in_a_profile_are_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.toml") as caught:
        load_profile(str(path))
    assert message in str(caught.value)


def test_a_missing_profile_file(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_profile(str(tmp_path / "none.toml"))
