"""Cleaning, split and leakage, on made-up damage."""

import random

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from pn_lib.data.cleaning import clean, split
from pn_lib.data.leakage import remove_leakage
from pn_lib.data.stories import to_dataset
from pn_lib.errors import InputError

GOOD = (
    "Once upon a time, there was a little girl named Lily.  She said, “It’s my café!” and ran — fast.\n"
    "The &amp; end ﬁts: ＡＢ."
)


def words(seed, n):
    rng = random.Random(seed)
    return [f"w{rng.randrange(10_000)}" for _ in range(n)]


def test_good_stories_stay_as_they_are():
    stories = [GOOD, GOOD.replace("Lily", "Zoë"), GOOD.replace("time", "day\n\n")]
    result, report = clean(to_dataset(stories))
    assert result["text"][:] == stories
    assert (report.read, report.kept, sum(report.changed.values()), sum(report.dropped.values())) == (3, 3, 0, 0)


@pytest.mark.parametrize(
    ("reason", "damage"),
    [
        ("damaged encoding", lambda s: s.encode().decode("cp1252", errors="ignore").replace("â€", "â€")),
        ("composed characters", lambda s: s.replace("é", "e\u0301")),
        ("line endings", lambda s: s.replace("\n", "\r\n")),
        ("line endings", lambda s: s.replace("\n", "\r")),
        ("outer whitespace", lambda s: f"\n {s}\t\n"),
    ],
)
def test_mended(reason, damage):
    story = GOOD.replace("”", "“").replace(" ﬁts: ＡＢ", "")  # cp1252 has no 0x9d
    damaged = damage(story)
    assert damaged != story
    result, report = clean(to_dataset([damaged]))
    assert result["text"][:] == [story]
    assert {r: n for r, n in report.changed.items() if n} == {reason: 1}


def test_reports_of_two_splits_add_up_reason_by_reason():
    _, first = clean(to_dataset([GOOD, GOOD, GOOD.replace("\n", "\r\n") + " Two."]))
    _, second = clean(to_dataset([f" {GOOD}", "too short"]))
    both = first + second
    assert (both.read, both.kept) == (5, 3) and both.dropped["duplicate"] == both.dropped["too short"] == 1
    assert both.changed["line endings"] == both.changed["outer whitespace"] == 1


def test_encoding_is_mended_beside_sound_characters():
    """Half of a story pasted in from a sound source must not keep the damaged half damaged."""
    result, _ = clean(to_dataset(["He said: “yes”. " * 10 + "Itâ€™s a big dog, said Tom."]))
    assert result["text"][0].endswith("It’s a big dog, said Tom.") and "“yes”" in result["text"][0]


@pytest.mark.parametrize(
    ("reason", "story"),
    [
        ("not text", None),
        ("not text", ""),
        ("not text", GOOD + "\x00"),
        ("not text", GOOD + "\x1b[31m"),
        ("not text", GOOD + "\ufffd"),
        ("not text", "1234567890 !? " * 20),
        ("too short", "Once upon a time there was a cat."),
        ("too short", "cat" + " " * 200),
        ("duplicate", GOOD),
        ("duplicate", GOOD.replace(" ", "  ") + "\n"),
        ("duplicate", GOOD.replace("café", "cafÃ©")),
    ],
)
def test_dropped(reason, story):
    other = "There once was a " + "very " * 30 + "big dog."
    result, report = clean(to_dataset([GOOD, story, other]))
    assert result["text"][:] == [GOOD, other]
    assert {r: n for r, n in report.dropped.items() if n} == {reason: 1}
    assert (report.read, report.kept) == (3, 2)
    assert sum(report.changed.values()) == 0  # of the stories kept


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match=r"cleaning left no story of 2 .*2 too short"):
        clean(to_dataset(["a", "b"]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=20))
def test_cleaning_clean_stories_changes_nothing(texts):
    once, report = clean(to_dataset([GOOD, *texts]), min_characters=5)
    assert report.read == report.kept + sum(report.dropped.values())
    twice, again = clean(once, min_characters=5)
    assert twice["text"][:] == once["text"][:]
    assert again.kept == again.read and not any(again.changed.values())


def test_any_dataset_can_be_cleaned():
    assert clean(Dataset.from_dict({"text": [GOOD], "origin": ["x"]}))[0].column_names == ["text"]


def test_split_depends_on_stories_and_seed_only():
    stories = [f"story {i}" for i in range(200)]
    train, validation = split(to_dataset(stories), 30, 7)
    backwards = split(to_dataset(stories[::-1]), 30, 7)
    assert (len(train), len(validation)) == (170, 30)
    assert sorted([*train["text"], *validation["text"]]) == sorted(stories)
    assert set(backwards[1]["text"]) == set(validation["text"])
    assert set(split(to_dataset(stories), 30, 8)[1]["text"]) != set(validation["text"])
    for n in (0, 101, 200):
        with pytest.raises(InputError, match="cannot be taken from 200"):
            split(to_dataset(stories), n, 7)


def test_leakage_finds_copies_and_leaves_stock_phrases():
    held_out = [words(i, 150) for i in range(20)]
    stock = held_out[5][:20]
    edited = list(held_out[1])
    edited[40] = edited[100] = "changed"
    train = {
        "none": words(100, 150),
        "exact": held_out[0],
        "near, edited": edited,
        "near, an excerpt": held_out[2][30:90],
        "near, continued": held_out[3] + words(101, 400),
        "shared": stock + words(102, 130),
        # stock phrases of many stories, and of none most
        "shared, patchwork": [w for story in held_out[6:14] for w in story[:20]],
        "none, too short to have a run": held_out[4][:15],
    }
    texts = {kind: " ".join(story) for kind, story in train.items()}
    texts["near, edited"] = texts["near, edited"].replace(" ", ", ").title()
    texts["exact"] = texts["exact"].replace(" ", "\n")
    sets = to_dataset(texts.values()), to_dataset(" ".join(story) for story in held_out)
    kept, report = remove_leakage(*sets)
    assert (report.ngram, report.exact, report.near, report.shared, report.removed) == (16, 1, 3, 2, 4)
    assert kept["text"][:] == [text for kind, text in texts.items() if kind.startswith(("none", "shared"))]
    assert remove_leakage(kept, sets[1])[1].removed == 0
    with pytest.raises(InputError, match="all 20 training stories"):
        remove_leakage(sets[1], sets[1])


def test_near_copies_in_scripts_without_spaces_are_found_by_characters():
    rng = random.Random(0)
    held_out = ["".join(rng.choices("あいうえおかきくけこ山川木花月日猫犬", k=200)) for _ in range(5)]
    edited, other = held_out[0][:90] + "空" + held_out[0][91:], "".join(rng.choices("さしすせそ春夏秋冬", k=200))
    thai = "กาลครั้งหนึ่งมีแมวตัวหนึ่งอาศัยอยู่ริมแม่น้ำใหญ่และชอบร้องเพลงทุกเช้า"
    train, validation = to_dataset([edited, other, thai.replace("แมว", "หมา")]), to_dataset([*held_out, thai])
    _, report = remove_leakage(train, validation)
    assert (report.near, report.shared) == (2, 0)


def test_line_ends_of_all_kinds_and_form_feeds_are_no_damage():
    kept, report = clean(
        to_dataset([f"\ufeff{GOOD}\x85Then\fthey\r\nran\vhome\rZoë.\u2028She\u2029ate."]), min_characters=5
    )
    assert kept["text"][:] == [f"{GOOD}\nThen\nthey\nran\nhome\nZoë.\nShe\nate."]
    assert report.changed["line endings"] == 1 and report.changed["damaged encoding"] == 0
    damaged = "It\x92s late\x85 said the café owl."  # code page 1252 read as Latin-1: here U+0085 is an ellipsis
    assert clean(to_dataset([damaged]), min_characters=5)[0]["text"][:] == ["It’s late… said the café owl."]


def test_pocket_stories_are_formulaic_but_no_copies():
    pocket = pytest.importorskip("pn_lib.data.pocket")
    train, validation = pocket.sample_stories(2000, 1), pocket.sample_stories(500, 1 << 33)
    _, report = remove_leakage(to_dataset(train), to_dataset(validation))
    assert report.exact + report.near < 20


def test_the_real_slice_is_clean_as_its_card_says(tinystories_dir):
    from pn_lib.data.corpora import load_corpus

    corpus = load_corpus(str(tinystories_dir), None, None, 0, tinystories_dir)
    train, report = clean(corpus.train)
    assert not any(report.changed.values()) and report.kept == 14_000
    _, leakage = remove_leakage(train, corpus.validation)
    assert (leakage.exact, leakage.near) == (0, 0)
