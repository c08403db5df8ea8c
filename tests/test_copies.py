"""The index of training stories: against hand-made cases, against plain search, and against damage."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pn_lib.benchmark import command
from pn_lib.benchmark import copies_table as benchmark_copies
from pn_lib.cli import main
from pn_lib.data.pocket import sample_stories
from pn_lib.data.stories import read_stories
from pn_lib.errors import InputError
from pn_lib.evaluation import copies
from pn_lib.evaluation.copies import Span, StoryIndex
from pn_lib.evaluation.diversity import ngrams, words

STORIES = ["Tim had a red ball. He lost the red ball in the park.", "A cat sat on the mat.", "Tim had a cat."]
TEXTS = st.lists(st.text("ab' X", max_size=30), min_size=1, max_size=12)


@pytest.fixture
def index(tmp_path):
    return StoryIndex.build(iter(STORIES), tmp_path)


def plain_nearest(stories: list[str], text: str) -> tuple[int, float]:
    grams = set(ngrams(text, 2))
    shared = [len(grams & set(ngrams(story, 2))) for story in stories]
    return (int(np.argmax(shared)), max(shared) / len(grams)) if max(shared) else (-1, 0.0)


def plain_span(stories: list[str], text: str) -> Span:
    sequence, told = words(text), [f" {' '.join(words(story))} " for story in stories]
    found, where = [], -1
    for begin in range(len(sequence)):
        while begin + len(found) < len(sequence):
            longer = sequence[begin : begin + len(found) + 1]
            place = next((number for number, story in enumerate(told) if f" {' '.join(longer)} " in story), None)
            if place is None:
                break
            found, where = longer, place
    return Span(found, where)


def assert_as_plain_search(index: StoryIndex, stories: list[str], text: str) -> None:
    assert index.nearest(text) == plain_nearest(stories, text)
    assert index.longest_copied_span(text) == plain_span(stories, text)
    known = {word for story in stories for word in words(story)}
    assert index.known_words(text) == (np.mean([w in known for w in words(text)]) if words(text) else 1.0)


def test_the_nearest_story(index):
    # 2-grams: tim had*, had a*, a cat, cat sat, sat on -> story 1 has three, story 2 has three (tim had, had a, a cat)
    assert index.nearest("Tim had a cat sat on") == (1, pytest.approx(3 / 5))
    assert index.nearest("Tim had a purple cat") == (0, pytest.approx(2 / 4))
    assert index.nearest("the red ball, the red ball") == (0, pytest.approx(2 / 3))  # repeated 2-grams count once
    assert index.nearest("park A cat") == (1, pytest.approx(1 / 2))  # no 2-gram runs from one story into the next
    assert index.nearest("nothing alike here") == (-1, 0.0) == index.nearest("cat") == index.nearest("")


def test_two_unknown_pairs_of_words_are_two(index):
    assert index.nearest("purple green, tim had") == (0, pytest.approx(1 / 3))


def test_the_longest_copy(index):
    assert index.longest_copied_span("Then Tim had a red ball and the red ball in the park.") == (
        ["the", "red", "ball", "in", "the", "park"],
        0,
    )
    assert index.longest_copied_span("in the park a cat sat") == (["in", "the", "park"], 0)  # stops where a story ends
    assert index.longest_copied_span("tim had a, the mat") == (["tim", "had", "a"], 0)  # story 2 has it too
    assert index.longest_copied_span("purple cat") == (["cat"], 1)
    assert index.longest_copied_span("purple") == ([], -1) == index.longest_copied_span("")


def test_known_words_and_sizes(index):
    assert index.known_words("the purple cat") == pytest.approx(2 / 3)
    assert index.known_words("purple") == 0.0 and index.known_words(" ... ") == 1.0
    assert (index.stories, index.words) == (3, 23)


@settings(max_examples=60, deadline=None)
@given(stories=TEXTS, queries=TEXTS, size=st.integers(1, 20), most=st.integers(1, 4))
def test_shards_of_any_size_agree_with_plain_search(tmp_path_factory, stories, queries, size, most):
    folder = tmp_path_factory.mktemp("index")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "SHARD_WORDS", size)
        patch.setattr(copies, "SHARD_STORIES", most)
        patch.setattr(copies, "CHUNKS", 2)  # all but two chunks are looked at again each time
        if not any(map(words, stories)):
            with pytest.raises(InputError, match="no stories with words"):
                StoryIndex.build(stories, folder)
            return
        index = StoryIndex.build(stories, folder)
        assert (index.stories, index.words) == (len(stories), sum(len(words(story)) for story in stories))
        for text in queries:
            assert_as_plain_search(index, stories, text)


def test_long_copies_in_many_shards(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    letters = np.array(list("abcd"))
    stories = [" ".join(rng.choice(letters, 30)) for _ in range(40)]
    queries = [" ".join(rng.choice(letters, 25)) for _ in range(20)] + [stories[7], stories[30] + " a b"]
    whole = StoryIndex.build([*stories, stories[7]], tmp_path / "whole")
    monkeypatch.setattr(copies, "SHARD_WORDS", 100)
    parts = StoryIndex.build([*stories, stories[7]], tmp_path / "parts")
    assert len(whole._shards) == 1 and len(parts._shards) > 10
    assert whole.longest_copied_span(stories[7]).story == 7  # not 40, the same again
    for text in queries:
        assert_as_plain_search(whole, stories, text)
        assert_as_plain_search(parts, stories, text)


def test_any_text_is_cut_into_the_same_words():
    vocabulary = {}
    for space in map(chr, range(sys.maxunicode + 1)):
        if space.isspace():  # a capital sigma's small letter depends upon what stands beside it
            text = f"OΔΟΣ{space}“Zoë’s{space}ΣΑΣ'a{space}İ"
            (stream,) = copies._streams([text], vocabulary)
            told = list(vocabulary)
            assert [told[number - 1] for number in stream[:-1]] == words(text)


def test_words_of_any_script(tmp_path):
    index = StoryIndex.build(["Ζωή είδε τον ΟΔΟΣ.", "小猫 去 公园"], tmp_path)
    assert index.longest_copied_span("ζωή είδε τον οδος") == (["ζωή", "είδε", "τον", "οδος"], 0)
    assert index.longest_copied_span("去 公园") == (["去", "公", "园"], 1)


def test_reopened_it_is_the_same(index, tmp_path):
    again = StoryIndex.open(tmp_path)
    assert (again.stories, again.words, again.vocabulary) == (index.stories, index.words, index.vocabulary)
    for text in ("Tim had a cat sat on", "the red ball in the park", "purple"):
        assert again.nearest(text) == index.nearest(text)
        assert again.longest_copied_span(text) == index.longest_copied_span(text)


def test_the_same_stories_give_the_same_bytes(index, tmp_path):
    StoryIndex.build(STORIES, tmp_path / "again")
    for name in ("index.json", *copies.ARRAYS):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_finished_index_is_used_again(tmp_path):  # by the same code: test_key.py
    StoryIndex.build(STORIES, tmp_path, key="three stories")

    def refuse():
        raise AssertionError("read again")
        yield

    assert StoryIndex.build(refuse(), tmp_path, key="three stories").stories == 3
    assert StoryIndex.build(STORIES[:2], tmp_path, key="two stories").stories == 2
    assert StoryIndex.build(STORIES[:1], tmp_path).stories == 1  # no key: always anew
    assert StoryIndex.build(STORIES, tmp_path).stories == 3


def test_a_failed_build_leaves_nothing_that_opens(tmp_path):
    StoryIndex.build(STORIES, tmp_path)

    def failing():
        yield from STORIES
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="gone"):
        StoryIndex.build(failing(), tmp_path)
    with pytest.raises(InputError, match=r"index.json does not exist"):
        StoryIndex.open(tmp_path)
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_killed_build_leaves_nothing_that_opens(tmp_path):
    program = f"""
import os, signal
from pn_lib.evaluation import copies
copies.SHARD_WORDS = 5
def stories():
    yield from {STORIES!r}
    os.kill(os.getpid(), signal.SIGKILL)
copies.StoryIndex.build(stories(), {str(tmp_path)!r})
"""
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"CI": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".tmp-*"))) == 3
    with pytest.raises(InputError, match=r"index.json does not exist"):
        StoryIndex.open(tmp_path)
    assert StoryIndex.build(STORIES, tmp_path).stories == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", *sorted(copies.ARRAYS)]


@pytest.mark.parametrize("name", copies.ARRAYS)
@pytest.mark.parametrize("damage", ["missing", "shorter", "changed"])
def test_damaged_arrays_are_refused(index, tmp_path, name, damage):
    path = tmp_path / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[:-1] if damage == "shorter" else whole[:-1] + bytes([whole[-1] ^ 255]))
    with pytest.raises(InputError, match=rf"{name} is missing or damaged; delete .* and index the stories again"):
        StoryIndex.open(tmp_path)


def test_a_damaged_manifest_is_refused(index, tmp_path):
    manifest = tmp_path / "index.json"
    manifest.write_text(manifest.read_text()[:-20])
    with pytest.raises(InputError, match=r"index\.json is damaged"):
        StoryIndex.open(tmp_path)
    manifest.write_text('{"digests": {}}')  # whose digest fell away with the rest
    with pytest.raises(InputError, match=r"index\.json has no digest of itself; delete .* and index the stories again"):
        StoryIndex.open(tmp_path)


def test_tinystories(tinystories_dir, tmp_path):
    [train], [validation] = (tinystories_dir.glob(f"data/{split}-*.parquet") for split in ("train", "validation"))
    stories = [story for _, story in zip(range(300), read_stories(train), strict=False)]
    index = StoryIndex.build(stories, tmp_path)
    for _, text in zip(range(3), read_stories(validation), strict=False):
        assert_as_plain_search(index, stories, text)
    assert index.longest_copied_span(stories[123])[0] == words(stories[123])


def test_table_of_the_benchmark(monkeypatch):
    monkeypatch.delenv("PN_TINYSTORIES", raising=False)
    monkeypatch.setattr(benchmark_copies, "fresh_peak_mb", lambda work, case, tiny: work(*case) or 1.5)
    table = benchmark_copies.measure_copies(20)
    assert table[["corpus", "stories", "words"]].values.tolist() == [
        ["pocket", 20, sum(len(words(story)) for story in sample_stories(20, 0))]
    ]
    assert (table[["build_s", "peak_memory_mb", "disk_mb", "nearest_ms", "span_ms"]] > 0).all(axis=None)


def test_the_benchmark_measures_copies_only_where_asked():
    names = [[name for name, *_ in command._tables(command.QUICK, peers=False, copies=n)] for n in (None, 10)]
    assert names[1] == [*names[0], "copies"] and "copies" not in names[0]


def test_copies_from_no_story_are_refused_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    assert main(["benchmark", "--copies", "0"]) == 2
    assert capsys.readouterr().err == "error: --copies takes a number of stories from 1 on, not 0\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(copies.files, "atomic", lambda _: nullcontext(Path("/dev/full")))
    monkeypatch.setattr(copies.files, "sha256", lambda _: "")  # which would read without end
    with pytest.raises(OSError) as refused:
        StoryIndex.build(sample_stories(3, seed=1), tmp_path)
    assert refused.value.errno == errno.ENOSPC
