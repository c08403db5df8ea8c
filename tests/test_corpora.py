"""Corpora: the same stories from any kind of file, bounded memory, and one clear sentence for whatever is wrong."""

import gzip
import json
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from pn_lib.data import corpora, stories
from pn_lib.data.corpora import check_corpus, load_corpus
from pn_lib.data.corpus_paths import corpus_name
from pn_lib.errors import InputError

STORIES = [f"Story {i} of Tim\nand “Zoë” 🐢.\nThe end." for i in range(40)]


def write(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"origin": ["x"] * len(texts), "text": texts}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"text": t, "n": 1}) + "\n\n" for t in texts), encoding="utf-8")
    else:
        path.write_text("\n\n \n".join(texts), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "txt"])
def test_every_kind_of_file_gives_the_same_corpus(tmp_path, ending):
    expected = load_corpus(str(write(tmp_path / "other" / "a.parquet", STORIES)), None, 10, 0, tmp_path)
    corpus = load_corpus(str(write(tmp_path / f"b.{ending}", STORIES)), None, 10, 0, tmp_path)
    assert corpus.fingerprint == expected.fingerprint
    assert sorted([*corpus.train["text"], *corpus.validation["text"]]) == sorted(STORIES)
    assert len(corpus.validation) == 10
    assert isinstance(corpus.train, datasets.Dataset) and corpus.train.column_names == ["text"]


def test_folder_with_splits_is_taken_as_laid_out(tmp_path):
    write(tmp_path / "data" / "train-00000-of-00002.parquet", STORIES[:10])
    write(tmp_path / "data" / "train-00001-of-00002.parquet", STORIES[10:20])
    write(tmp_path / "data" / "validation-00000-of-00001.parquet", STORIES[20:])
    (tmp_path / "README.md").write_text("---\nlicense: cc0-1.0\n---\n# Turtle tales\n\nTold by\nturtles.\n\nMore.\n")
    corpus = load_corpus(".", 15, 5, 0, tmp_path)
    assert corpus.train["text"][:] == STORIES[:15]
    assert corpus.validation["text"][:] == STORIES[20:25]
    assert (corpus.card.title, corpus.card.licence, corpus.card.description) == (
        "Turtle tales",
        "cc0-1.0",
        "Told by turtles.",
    )
    assert str(tmp_path.parent) not in str(corpus.card)
    with pytest.raises(InputError, match="20 validation stories, fewer than the 30 asked for"):
        load_corpus(str(tmp_path), None, 30, 0, tmp_path)


def test_fingerprint_is_of_the_stories(tmp_path):
    same = [
        load_corpus(str(write(tmp_path / name, STORIES)), None, 5, 3, tmp_path, folder).fingerprint
        for name, folder in (("a.txt", None), ("b.jsonl", tmp_path / "arrow"))
    ]
    others = [
        load_corpus(str(write(tmp_path / "c.txt", texts)), None, n, seed, tmp_path).fingerprint
        for texts, n, seed in ((STORIES[1:], 5, 3), (STORIES, 6, 3), (STORIES, 5, 4))
    ]
    assert same[0] == same[1] and len({same[0], *others}) == 4


def test_limits_and_arrow_files(tmp_path):
    spec = str(write(tmp_path / "a.jsonl", STORIES))
    corpus = load_corpus(spec, 20, 5, 0, tmp_path, tmp_path / "work")
    assert (len(corpus.train), len(corpus.validation)) == (20, 5)
    assert set(corpus.train["text"]) | set(corpus.validation["text"]) == set(STORIES[:25])
    assert list(stories.iterate(corpus.train)) == corpus.train["text"][:]
    assert list(stories.iterate(corpus.train.select(range(3, 7)))) == corpus.train["text"][3:7]
    assert list(stories.iterate(corpus.train.select([5, 1]))) == [corpus.train["text"][i] for i in (5, 1)]


def test_stories_go_through_parquet(tmp_path):
    stories.write_parquet(tmp_path / "s.parquet", iter(STORIES))
    assert list(stories.read_stories(tmp_path / "s.parquet")) == STORIES


def test_nulls_and_bad_rows_are_left_for_cleaning(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"text": null}\n' + '{"text": "x"}\n' * 5 + '{"text": "\\ud800"}\n{"txt": "x"}\n'
    )
    corpus = load_corpus("a.jsonl", None, 1, 0, tmp_path)
    assert sorted([*corpus.train["text"], *corpus.validation["text"]], key=str) == [None] * 3 + ["x"] * 5


def _missing(path):
    return path / "nowhere.txt"


def _file(name, data):
    def make(path):
        (path / name).write_bytes(data)
        return path / name

    return make


def _folder(**contents):
    def make(path):
        folder = path / "folder"
        folder.mkdir()
        for name, data in contents.items():
            (folder / name.replace("__", ".")).write_bytes(data)
        return folder

    return make


def _parquet(table):
    def make(path):
        pq.write_table(table, path / "a.parquet")
        return path / "a.parquet"

    return make


BAD = {
    "does not exist": _missing,
    "is a ZIP archive or an office document": _file("a.docx", b"PK\x03\x04"),
    "is empty": _file("a.txt", b" \n\n "),
    "holds no stories": _file("a.json", b"[]"),
    "holds zero bytes": _file("a.txt", b"Once\0upon"),
    "its encoding cannot be known": _file("a.txt", "Жили были дед и баба.".encode("cp1251")),
    "is not JSON": _file("a.jsonl", b"once\n"),
    "has no field 'text' or another .*, only tale": _file("a.jsonl", b'{"tale": "x"}\n'),
    "row 1 is no object": _file("a.jsonl", b"[1]\n"),
    "only text": _file("a.jsonl", b'{"text": 3}\n'),
    "no Parquet file": _file("a.parquet", b"PAR1 nonsense"),
    "no field 'text' .*, only n": _parquet(pa.table({"n": ["x"]})),
    r"clearly the stories, only text \(no strings\)": _parquet(pa.table({"text": [["Once"]]})),
    "it has no rows": _parquet(pa.table({"text": pa.array([], pa.string())})),
    "Git LFS pointer": _file("a.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:5e\nsize 2\n"),
    "is a web page": _file("a.jsonl", b"\n<!DOCTYPE html>\n<html>"),
    "is a tar archive": _file("a.tar", b"x".ljust(257, b"\0") + b"ustar".ljust(600, b"\0")),
    "ends within line 2": _file("a.jsonl", b'{"text": "x"}\n{"text": "Once upo'),
    "not JSON, or not to its end": _file("a.json", b'[{"text": "x"}, {"text": "Once upo'),
    "cannot be read": _file("a.txt.gz", gzip.compress(os.urandom(3000))[:900]),
    "nothing was found that separates stories": _file("a.txt", b"once upon a time " * 10_000),
    "has no story files": _folder(),
    "no story files .* but: notes.bin": _folder(notes__bin=b"x"),
    "no training stories, only validation": _folder(validation__txt=b"x"),
    "several sets of stories, short, long": _folder(
        README__md=b"---\nconfigs:\n- {config_name: short, data_files: a.txt}\n"
        b"- {config_name: long, data_files: b.txt}\n---\n",
        a__txt=b"x",
        b__txt=b"y",
    ),
    "patterns of file names, .*, not 5": _folder(README__md=b"---\nconfigs:\n- {data_files: 5}\n---\n", a__txt=b"x"),
    "patterns of file names, .*'split': 1": _folder(
        README__md=b"---\nconfigs:\n- data_files: [{split: 1, path: a.txt}]\n---\n", a__txt=b"x"
    ),
    "no folder 'data', which": _folder(README__md=b"---\nconfigs:\n- {data_dir: data}\n---\n", a__txt=b"x"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_sentence_early_and_late(tmp_path, message):
    spec = str(BAD[message](tmp_path))
    with pytest.raises(InputError, match=message) as early:
        check_corpus(spec, tmp_path)
    assert "\n" not in str(early.value)
    with pytest.raises(InputError, match=message):
        load_corpus(spec, None, 1, 0, tmp_path)


def test_damage_further_on_is_found_in_loading(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' * 200 + '{"text": "on')
    check_corpus("a.jsonl", tmp_path)
    with pytest.raises(InputError, match="ends within line 201, as half a download does"):
        load_corpus("a.jsonl", None, 1, 0, tmp_path)


def test_too_few_stories_to_split(tmp_path):
    write(tmp_path / "a.txt", STORIES)
    assert len(load_corpus("a.txt", None, 20, 0, tmp_path).train) == 20
    with pytest.raises(InputError, match="21 validation stories cannot be taken from 40"):
        load_corpus("a.txt", None, 21, 0, tmp_path)


def test_unreachable_hub_is_said_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "HfApi", partial(HfApi, endpoint="http://127.0.0.1:9"))  # where nobody listens
    begin = time.monotonic()
    for call in (lambda: check_corpus("tinystories", tmp_path), lambda: load_corpus("tinystories", 5, 5, 0, tmp_path)):
        with pytest.raises(InputError, match="cannot be fetched from the Hugging Face Hub") as error:
            call()
        assert "\n" not in str(error.value)
    assert time.monotonic() - begin < 8


def test_hub_lost_on_the_way(tmp_path, monkeypatch):
    def lost(*args, **kwargs):
        raise ConnectionError("Couldn't reach the Hub")

    monkeypatch.setattr(corpora, "_reach_hub", lambda: None)
    monkeypatch.setattr(datasets, "load_dataset", lost)
    with pytest.raises(InputError, match="Couldn't reach the Hub"):
        load_corpus("tinystories", 5, 5, 0, tmp_path)


def test_tinystories_is_streamed_once_and_no_further_than_needed(tmp_path, monkeypatch):
    hub = tmp_path / "hub"
    for i in range(3):
        write(hub / "data" / f"train-0000{i}-of-00003.parquet", [f"part {i} {s}" for s in STORIES])
    write(hub / "data" / "validation-00000-of-00001.parquet", STORIES)
    (hub / "data" / "train-00002-of-00003.parquet").write_bytes(b"never fetched")
    monkeypatch.setattr(corpora, "TINYSTORIES", str(hub))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")  # for the lock file it leaves
    monkeypatch.setattr(corpora, "_reach_hub", lambda: None)
    corpus = load_corpus("tinystories", 60, 7, 0, tmp_path, tmp_path / "work")
    assert corpus.train["text"][:] == [f"part {i} {s}" for i in range(2) for s in STORIES][:60]
    assert corpus.validation["text"][:] == STORIES[:7]
    assert corpus.card.licence == "CDLA-Sharing-1.0"

    def gone():
        raise AssertionError("fetched again")

    monkeypatch.setattr(corpora, "_reach_hub", gone)
    assert load_corpus("tinystories", 60, 7, 0, tmp_path, tmp_path / "work").fingerprint == corpus.fingerprint


def test_names():
    names = {"pocket": "pocket", "../My Tales.v2/": "my-tales-v2", "a/Été.txt": "ete", "x.jsonl": "x", "y.csv.gz": "y"}
    names |= {"../shared/tinystories": "tinystories"}  # a copy of it, whose runs have the published names
    assert {spec: corpus_name(spec) for spec in names} == names


def test_names_that_could_meet_are_told_apart():
    specs = ["./pocket", "/a/pocket", "日本語.txt", "中文.txt", "a/stories.txt", "b/stories.txt", ".."]
    names = [corpus_name(spec) for spec in specs]
    assert len(set(names)) == len(names) and not {"pocket", "tinystories", "stories"} & set(names)
    assert all(re.fullmatch("[a-z]+-[0-9a-f]{6}", name) for name in names)
    assert corpus_name("a/x/../stories.txt") == corpus_name("a/stories.txt")


def test_pocket_stories_of_the_two_splits_differ(tmp_path):
    corpus = load_corpus("pocket", 50, 20, 1, tmp_path)
    assert (len(corpus.train), len(corpus.validation)) == (50, 20)
    assert not set(corpus.train["text"]) & set(corpus.validation["text"])
    assert load_corpus("pocket", 50, 20, 1, tmp_path).fingerprint == corpus.fingerprint
    assert load_corpus("pocket", 50, 20, 2, tmp_path).fingerprint != corpus.fingerprint
    check_corpus("pocket", tmp_path)
    with pytest.raises(InputError, match="say how many"):
        load_corpus("pocket", None, 20, 1, tmp_path)


def test_a_real_slice_loads_whole(tinystories_dir, tmp_path):
    check_corpus(str(tinystories_dir), tmp_path)
    corpus = load_corpus(str(tinystories_dir), None, None, 0, tmp_path)
    assert len(corpus.train) == 14_000 and len(corpus.validation) == 1_448
    assert "CDLA-Sharing-1.0" in corpus.card.description


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from Linux's /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """Read, split, cleaned and compared in a process of its own: 50 MB of stories in under 40 MB of further memory."""
    script = r"""
        import re, sys
        from pathlib import Path
        from pn_lib.data import corpora, cleaning, leakage
        folder = Path(sys.argv[1])
        def peak():  # kB; getrusage's would begin at the parent's
            return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
        def prepare(name):
            corpus = corpora.load_corpus(name, None, 50, 0, folder, folder / "work")
            train, report = cleaning.clean(corpus.train, file=folder / "work" / "clean.arrow")
            train, _ = leakage.remove_leakage(train, corpus.validation, file=folder / "work" / "train.arrow")
            return len(train), report.dropped["duplicate"]
        prepare("small.txt")
        before = peak()
        kept = prepare("big.txt")
        print(*kept, (peak() - before) / 1024)
    """
    rng = random.Random(0)
    vocabulary = [f"supercalifragilistic{i}" for i in range(5000)]
    for name, n in (("big", 4000), ("small", 100)):
        texts = (" ".join(rng.choices(vocabulary, k=550)) for _ in range(n))
        (tmp_path / f"{name}.txt").write_text("\n\n".join(texts))
    assert (tmp_path / "big.txt").stat().st_size > 50e6
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path]
    quiet = os.environ | {"CI": "1"}
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=quiet).stdout
    kept, duplicates, growth = map(float, output.split())
    assert (kept, duplicates) == (3950, 0)
    assert growth < 40
