"""What a run would see of a corpus is said before it begins, and whatever is too little for one is refused."""

import json
import re
from dataclasses import replace

import pytest

from pn_lib.errors import InputError
from pn_lib.run.commands import inspect_command
from pn_lib.run.commands.inspect_command import inspect, inspect_corpus
from pn_lib.run.profile import DataSettings, load_profile

TALES = [
    f"Tale {i}: One day, Tim found a red ball under the old tree, and he gave it to owl number {i}." for i in range(50)
]


def profile(train=20, validation=5, **data):
    return replace(load_profile("smoke"), data=DataSettings(train, validation, min_characters=20, **data))


def write(path, texts):
    path.write_text("".join(json.dumps({"story": x}) + "\n" for x in texts), encoding="utf-8")
    return str(path)


def test_a_corpus(tmp_path):
    (tmp_path / "mine").mkdir()
    write(tmp_path / "mine" / "a.jsonl", [*TALES[:20], 7, TALES[0], *TALES[20:]])
    (tmp_path / "mine" / "notes.xyz").write_text("x")
    said = inspect_corpus(str(tmp_path / "mine"), profile(40, 5))
    for words in (
        "one file of JSON (a.jsonl); a story is a row's 'story'",
        "train: 45 stories read; there are more",
        "5 of these are held back, chosen by hash",
        "keeps 43; drops 1 (not text), 1 (duplicate)",
        "left out: notes.xyz (no stories by its name)",
        "a.jsonl, row 21 is not text but float",
        "    | Tale 1: One day",
    ):
        assert words in said
    assert "Tale 2:" not in said


def test_paragraphs_and_scripts_are_warned_of(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(TALES), encoding="utf-8")
    assert "if they are paragraphs of longer stories" in inspect_corpus(str(tmp_path / "a.txt"), profile())
    (tmp_path / "b.txt").write_text(
        "\n\n".join("ある朝、りくはりすと" * 12 + str(i) for i in range(50)), encoding="utf-8"
    )
    said = inspect_corpus(str(tmp_path / "b.txt"), profile())
    assert "a script without spaces" in said and "paragraphs" not in said


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (TALES[:9], "5 validation stories cannot be taken from 9 stories"),
        (TALES[:3] * 8, r"3 stories after cleaning \(21 duplicate left out\), and 5 are to be held back"),
        (["short"] * 30, r"left no story of 25 \(0 not text, 25 too short.*at least 20 characters"),
    ],
)
def test_too_few_stories(tmp_path, texts, message):
    with pytest.raises(InputError, match=message):
        inspect_corpus(write(tmp_path / "a.jsonl", texts), profile())


def test_a_message_has_the_whole_path(tmp_path, monkeypatch):
    """A run keeps paths from its root, which need not be the folder where its messages are read."""
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("PN_ROOT", str(tmp_path / "root"))
    path = write(tmp_path / "a.jsonl", TALES[:8])
    with pytest.raises(InputError, match=f"^corpus {re.escape(path)}: 5 validation stories cannot be taken from 8"):
        inspect_corpus("../a.jsonl", profile())


def test_a_small_validation_split(tmp_path):
    write(tmp_path / "train.jsonl", TALES[:40])
    write(tmp_path / "validation.jsonl", TALES[40:43])
    with pytest.raises(
        InputError, match=r"3 validation stories, fewer than the 5 asked for.*\[data\] validation_stories"
    ):
        inspect_corpus(str(tmp_path), profile())


def test_corpora_of_ours_and_what_is_a_model(tmp_path, monkeypatch):
    assert "the first two stories" in inspect("pocket", "pocket", "smoke")
    assert "TinyStories" in inspect("tinystories", "tinystories", "smoke")  # nothing is fetched
    monkeypatch.setattr(inspect_command, "inspect_model", lambda target: f"model {target}")
    (tmp_path / "config.json").write_text("{}")
    for target in ("smoke-pocket/transformer", str(tmp_path), "stories15M.bin"):
        assert inspect(target, target) == f"model {target}"
    with pytest.raises(InputError, match="does not exist"):
        inspect("nowhere.jsonl", "nowhere.jsonl")
