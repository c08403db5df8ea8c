"""What a user brings: n stories in any container, encoding and shape come out as n stories with the same text."""

import bz2
import csv
import gzip
import io
import json
import lzma
from itertools import count
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pn_lib.data import units
from pn_lib.data.corpora import load_corpus, open_corpus
from pn_lib.data.folders import find_files
from pn_lib.data.stories import read_stories
from pn_lib.data.story_files import Naming, open_stories
from pn_lib.errors import InputError

PARAGRAPHS = [
    "One day, Tim and Zoë found a red ball under the old tree. It was wet, and nobody knew whose it was.",
    "“Let us ask the owl,” said Zoë. They asked the owl, the fox, and at last the small gray mouse by the gate.",
    "The mouse had lost it. She gave each of them a nut, and they all played until the moon came up.",
]
TALES = [f"Tale {i}: " + "\n\n".join(PARAGRAPHS[: 1 + i % 3]) for i in range(24)]
FLAT = [" ".join(tale.split()) for tale in TALES]


def read(path, **naming):
    return list(open_stories(path, Naming(**naming)).stories())


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(texts, delimiter=",", **options):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, **options)
    writer.writerows([["id", "Text"], *enumerate(texts)])
    return out.getvalue()


ROWS = {
    "a.jsonl": lambda t: lines({"text": x, "title": x[:9], "n": 9} for x in t),
    "b.jsonl": lambda t: lines({"id": i, "content": x} for i, x in enumerate(t)),
    "c.jsonl": lambda t: lines({"story": x, "instruction": {"prompt:": x[:30], "words": ["a"]}} for x in t),
    "d.jsonl": lambda t: lines(t),
    "e.jsonl": lambda t: "".join(json.dumps({"text": x}, indent=2) + "\n" for x in t),
    "f.jsonl": lambda t: lines({"text": x} for x in t).replace("}\n", "},\n"),
    "g.jsonl": lambda t: lines({"unheard": x, "id": str(i)} for i, x in enumerate(t)),
    "h.jsonl": lambda t: lines({"text": x, "score": float("nan"), "n": 10**4000} for x in t).replace("e+4000", ""),
    "a.json": lambda t: json.dumps([{"text": x} for x in t]),
    "b.json": lambda t: json.dumps([{"story": x} for x in t], indent=1, ensure_ascii=False),
    "c.json": lambda t: json.dumps({"version": "1", "data": [{"text": x} for x in t]}),
    "d.json": lambda t: json.dumps(t),
    "g.json": lambda t: json.dumps({f"story {i}": {"text": x} for i, x in enumerate(t)}),
    "h.json": lambda t: json.dumps({"text": {str(i): x for i, x in enumerate(t)}}),
    "e.json": lambda t: lines({"text": x} for x in t),
    "i.json": lambda t: json.dumps(
        {"train": [{"text": x} for x in t[:20]], "validation": [{"text": x} for x in t[20:]]}
    ),
    "j.json": lambda t: json.dumps({"train": t[:20], "test": t[20:]}),
    "k.json": lambda t: json.dumps([[x] for x in t]),
    "l.json": lambda t: json.dumps({"title": [x[:9] for x in t], "text": t}),
    "m.json": lambda t: pd.DataFrame({"id": range(len(t)), "text": t}).to_json(),
    "n.json": lambda t: pd.DataFrame({"id": range(len(t)), "text": t}).to_json(orient="split"),
    "o.json": lambda t: json.dumps({"features": [{"name": "text"}], "rows": [{"row": {"text": x}} for x in t]}),
    "i.jsonl": lambda t: lines([x] for x in t),
    "j.jsonl": lambda t: lines([i, "a title", x] for i, x in enumerate(t)),
    "k.jsonl": lambda t: lines([t[:2], t[2:3], t[3:9], t[9:]]),
    "f.txt": lambda t: lines({"text": x} for x in t),
    "a.csv": table,
    "b.csv": lambda t: table(t, ";"),
    "c.txt": table,
    "d.tsv": lambda t: table(t, "\t"),
    "e.csv": lambda t: table(t, quoting=csv.QUOTE_ALL),
    "f.csv": lambda t: table(t, ";").replace("Text", "Märchen"),
    "g.csv": lambda t: "sep=;\n" + table(t, ";"),
    "h.csv": lambda t: table(t, quoting=csv.QUOTE_ALL).replace('","', '", "'),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_with_rows(tmp_path, name, encoding):
    (tmp_path / name).write_bytes(ROWS[name](TALES).encode(encoding))
    assert read(tmp_path / name) == TALES


PACKERS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}


@pytest.mark.parametrize("packer", PACKERS)
def test_compressed_whatever_the_name(tmp_path, packer):
    data = PACKERS[packer](ROWS["a.jsonl"](TALES).encode())
    for name in (f"a.jsonl.{packer}", "a.jsonl"):
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name) == TALES


COLUMNS = {
    "string": pa.array(TALES),
    "large": pa.array(TALES, pa.large_string()),
    "view": pa.array(TALES, pa.string_view()),
    "categories": pa.array(TALES).dictionary_encode(),
    "bytes": pa.array([x.encode() for x in TALES]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns(tmp_path, kind):
    rows = pa.table({"id": range(len(TALES)), "story": COLUMNS[kind]})
    pq.write_table(rows, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", rows.schema) as file:
        file.write_table(rows)
    assert read(tmp_path / "a.parquet") == read(tmp_path / "a.arrow") == TALES


def test_columns_that_hold_no_stories_may_be_of_one_name_or_times_that_python_lacks(tmp_path):
    late = pa.array([2**62 // 10**6] * len(TALES), pa.timestamp("ms"))  # beyond the year 9999
    rows = pa.Table.from_arrays([late, pa.array(TALES), pa.array(TALES[::-1])], names=["made", "text", "text"])
    with pa.ipc.new_file(tmp_path / "a.arrow", rows.schema) as file:
        file.write_table(rows)
    assert read(tmp_path / "a.arrow") == TALES
    pq.write_table(rows.select([0, 1]), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == TALES


def test_what_is_no_regular_file_is_one_sentence():
    with pytest.raises(InputError, match=r"/dev/null is neither a file nor a folder, .* save what it gives in a file"):
        open_corpus("/dev/null", Path(), 0)


def test_nested_columns_and_saved_datasets(tmp_path):
    pq.write_table(pa.table({"data": [{"text": x, "n": 1} for x in TALES]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == TALES
    data = datasets.Dataset.from_dict({"text": TALES})
    data.save_to_disk(tmp_path / "one")
    assert sorted(everything(tmp_path / "one")) == sorted(TALES)
    parts = {"train": data.select(range(20)), "test": data.select(range(20, 24))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "two")
    corpus = load_corpus("two", None, 4, 0, tmp_path)
    assert (corpus.train["text"][:], corpus.validation["text"][:]) == (TALES[:20], TALES[20:])


def everything(path, **naming):
    corpus = load_corpus(str(path), None, 2, 0, path, naming=Naming(**naming))
    return [*corpus.train["text"], *corpus.validation["text"]]


SHAPES = {
    "blank lines": (FLAT, "\n\n".join),
    "many blank lines": (TALES, "\n\n\n\n".join),
    "lines": (FLAT, "\n".join),
    "lines of Windows": (FLAT, "\r\n".join),
    "lines of old Macs": (FLAT, "\r".join),
    "end of text": (TALES, lambda t: "".join(f"{x}\n<|endoftext|>\n" for x in t)),
    "end of text behind the story": (TALES, lambda t: "<|endoftext|>".join(t)),
    "begin and end of text": (TALES, lambda t: "".join(f"<|startoftext|>{x}<|endoftext|>\n" for x in t)),
    "end of text with spaces, in one line": (FLAT, " <|endoftext|> ".join),
    "another token": (TALES, lambda t: "".join(f"{x}\n<|end_of_story|>\n\n" for x in t)),
    "sentence tokens": (TALES, lambda t: "".join(f"<s> {x} </s>\n" for x in t)),
    "dashes": (TALES, "\n\n-----\n\n".join),
    "stars": (TALES, "\n* * *\n".join),
    "percent": (TALES, "\n%\n".join),
    "labels": (TALES, lambda t: "".join(f"=== Story {i} ===\n{x}\n\n" for i, x in enumerate(t))),
    "numbers": (TALES, lambda t: "".join(f"{i}.\n\n{x}\n\n" for i, x in enumerate(t, 1))),
    "headings": (TALES, lambda t: "# Tales\n\n" + "".join(f"## The {i}th\n\n{x}\n\n" for i, x in enumerate(t))),
    "other signs": (TALES, "\n$$$\n".join),
    "two dashes": (TALES, "\n--\n".join),
    "dots": (TALES, "\n· · ·\n".join),
    "form feeds": (TALES, "\n\f\n".join),
    "form feeds before stories": (TALES, "\n\f".join),
    "form feeds in lines": (TALES, "\f".join),
    "front matter": (TALES, lambda t: "---\ntitle: The owl\n---\n" + "\n-----\n".join(t)),
    "front matters": (
        TALES,
        lambda t: "".join(f"---\ntitle: {i}\ntags:\n  - owl\nlang: en\n---\n{x}\n" for i, x in enumerate(t)),
    ),
    "a word in capitals": (TALES, "\nEND\n".join),
    "titles": (TALES, lambda t: "".join(f"Story {i}: The ball\n\n{x}\n\n" for i, x in enumerate(t))),
    "Roman chapters": (TALES, lambda t: "".join(f"CHAPTER {'XIV'[i % 3]}\n\n{x}\n\n" for i, x in enumerate(t))),
    "last lines": ([f"{x}\n\nThe End." for x in TALES], "\n\n".join),
    "tokens of two kinds": (
        TALES,
        lambda t: "".join(f"{x}\n{('</s>', '<|endoftext|>')[i % 2]}\n" for i, x in enumerate(t)),
    ),
    "mentioned": ([f"{x} He wrote <|endoftext|> on it." for x in FLAT], "\n\n".join),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_what_a_story_is_in_a_text(tmp_path, shape, encoding):
    texts, write = SHAPES[shape]
    (tmp_path / "a.txt").write_bytes(write(texts).encode(encoding))
    assert read(tmp_path / "a.txt") == texts


@pytest.mark.parametrize("shape", SHAPES)
def test_texts_are_cut_anywhere_in_reading(tmp_path, shape, monkeypatch):
    texts, write = SHAPES[shape]
    (tmp_path / "a.txt").write_text(write(texts), encoding="utf-8")
    file = open_stories(tmp_path / "a.txt")
    monkeypatch.setattr(units, "SAMPLE", 61)
    assert list(file.stories()) == texts


MANY = [f"{tale} This is the {i}th." for i in range(10) for tale in FLAT]


@pytest.mark.parametrize("accident", ["-----", "# A part", "Oda wrote <unk>", "12", "<|endoftext|>"])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_what_stands_at_a_few_of_many_lines_or_blocks_separates_no_stories(tmp_path, accident, between):
    long = MANY if between == "\n" else [f"{tale} {tale}" for tale in MANY]
    (tmp_path / "a.txt").write_text(
        between.join([*long[:80], accident, *long[80:]] + [accident] * (accident[0] != "<"))
    )
    if accident == "<|endoftext|>":  # one alone says that all of the file is a story, unless it is the last line
        (tmp_path / "a.txt").write_text("\n".join([*MANY, accident]))
        long = MANY
    assert [text for text in read(tmp_path / "a.txt") if text != accident] == long


def test_a_table_of_one_column_need_not_quote(tmp_path):
    (tmp_path / "a.csv").write_text("text\n" + "\n".join(FLAT), encoding="utf-8")
    assert read(tmp_path / "a.csv") == FLAT


def test_quotation_marks_may_be_escaped(tmp_path):
    said = [f'{x} "Good night," said the owl.' for x in TALES]
    for options in ({"doublequote": False, "escapechar": "\\"}, {}):
        rows = table(said, quoting=csv.QUOTE_ALL, **options).replace('"3",', '"",')  # a cell that is empty
        (tmp_path / "a.csv").write_text(rows)
        assert '"",' in rows and read(tmp_path / "a.csv") == said


def test_breaks_within_a_line_are_no_separators(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(tale.replace("ball ", "ball. <newline> ") for tale in FLAT))
    assert len(read(tmp_path / "a.txt")) == len(FLAT)


def test_what_is_named_is_taken(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n~o~\n\n".join(TALES), encoding="utf-8")
    assert read(tmp_path / "a.txt", separator="~o~") == TALES
    (tmp_path / "a.txt").write_text("\n\n\n".join(TALES), encoding="utf-8")
    assert read(tmp_path / "a.txt", unit="file") == ["\n\n\n".join(TALES)]
    assert read(tmp_path / "a.txt", unit="line")[1] == FLAT[1].partition(" “")[0]
    assert len(read(tmp_path / "a.txt", unit="blank line")) == 48
    (tmp_path / "a.jsonl").write_text(lines({"text": "no", "tale": x} for x in TALES))
    assert read(tmp_path / "a.jsonl", field="tale") == TALES
    with pytest.raises(InputError, match="has no text in a field 'tail'; it has text, tale"):
        read(tmp_path / "a.jsonl", field="tail")
    with pytest.raises(InputError, match="unit is one of 'line', 'file', 'blank line', not 'page'"):
        Naming(unit="page")


def test_a_file_each(tmp_path):
    for number, tale in zip(count(), TALES, strict=False):
        (tmp_path / f"{number:04}.txt").write_text(tale, encoding="utf-8")
    assert sorted(everything(tmp_path)) == sorted(TALES)


def test_titles_are_no_splits(tmp_path):
    titles = ["a walk", "dev and the drum", "the little red train", "the-spelling-test", "val's kite", "moon", "test"]
    texts = [f"{text} {text}" for text in FLAT]
    for number, title in enumerate(titles):
        (tmp_path / f"{title}.txt").write_text("\n\n".join(texts[3 * number : 3 * number + 3]), encoding="utf-8")
    assert sorted(everything(tmp_path)) == sorted(texts[: 3 * len(titles)])


@pytest.mark.parametrize(
    ("names", "train", "validation"),
    [
        (["train.txt", "validation.txt", "test.txt"], 1, 1),
        (["train.jsonl.gz", "dev.jsonl.gz"], 1, 1),
        (["data/train-00000-of-00002-2d5a1467fff1081b.parquet", "data/train-00001-of-00002.parquet"], 2, 0),
        (["train/a.txt", "train/b.txt", "valid/a.txt"], 2, 1),
        (["TinyStories-train.txt", "TinyStories-valid.txt", "V2-train.txt", "V2-valid.txt"], 2, 2),
        (["train.txt", "test.txt"], 1, 1),
        (["TinyStoriesV2-GPT4-train.txt"], 1, 0),
        (["train.txt", "more.csv", "README.txt", "notes.bin", ".hidden.txt"], 2, 0),
    ],
)
def test_splits_by_whole_names(tmp_path, names, train, validation):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    found = find_files(tmp_path)
    assert {part: len(files) for part, files in found.splits.items()} == (
        {"train": train, "validation": validation} if validation else {"train": train}
    )
    read_or_listed = sum(map(len, found.splits.values())) + len(found.left_out)
    assert read_or_listed == sum(not name.startswith(".") for name in names)


@pytest.mark.parametrize("declared", ["data_dir: data", "data_dir: data, data_files: {train: train*, validation: v*}"])
def test_a_declared_folder_is_the_corpus(tmp_path, declared):
    for name in ("other.txt", "data/train-1.txt", "data/train-2.txt", "data/validation.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Once upon a time.\n")
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- {{{declared}}}\n---\n")
    found = find_files(tmp_path)
    names = {split: [path.name for path in files] for split, files in found.splits.items()}
    assert names == {"train": ["train-1.txt", "train-2.txt"], "validation": ["validation.txt"]}
    assert "other.txt (no part of the set)" in found.left_out


def test_all_kinds_in_a_folder_are_read_and_what_is_none_is_left_out(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(FLAT[:8]), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text(lines({"text": x} for x in FLAT[8:16]))
    (tmp_path / "c.csv").write_text(table(FLAT[16:]), encoding="utf-8")
    (tmp_path / "d.csv").write_text("id,n\n1,2\n")
    (tmp_path / "e.txt").write_text("")
    reader = open_corpus(str(tmp_path), tmp_path, 0).readers["train"]
    assert list(reader(None)) == FLAT
    assert len(reader.left_out) == 2 and "d.csv has no field" in reader.left_out[0] and "empty" in reader.left_out[1]


def test_what_lies_behind_links_is_read_once(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("\n\n".join(FLAT), encoding="utf-8")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "inner").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "again").symlink_to(tmp_path / "near")  # a circle
    assert [path.name for path in find_files(tmp_path / "near").splits["train"]] == ["a.txt"]


def test_what_tells_about_stories_is_left_out(tmp_path):
    about = ["CONTRIBUTING.md", "AUTHORS.txt", "SHA256SUMS.txt", "vocab.txt", "README_de.md"]
    about += ["notes.txt", "sources.csv", "urls.txt"]
    for name in [*about, "a.txt"]:
        (tmp_path / name).write_text("x")
    found = find_files(tmp_path)
    assert [path.name for path in found.splits["train"]] == ["a.txt"] and len(found.left_out) == len(about)


def test_lines_that_look_like_titles_may_be_stories(tmp_path):
    texts = [f"Story {i}: One day, Tim found a red ball under the old tree and ran home." for i in range(24)]
    (tmp_path / "a.txt").write_text("\n".join(texts), encoding="utf-8")
    assert read(tmp_path / "a.txt") in (texts, ["\n".join(texts)])  # nothing of them is lost


def test_a_file_each_with_front_matter(tmp_path):
    for number, tale in enumerate(TALES):
        (tmp_path / f"{number:04}.md").write_text(f"---\ntitle: Tale {number}\n---\n\n{tale}\n", encoding="utf-8")
    assert sorted(everything(tmp_path)) == sorted(TALES)


def test_splits_in_one_file_and_front_matter_are_named(tmp_path):
    (tmp_path / "a.json").write_text(ROWS["j.json"](TALES))
    (tmp_path / "b.txt").write_text(SHAPES["front matter"][1](TALES), encoding="utf-8")
    (tmp_path / "c.txt").write_text("---\nTom: Good day, owl, and thank you!\n---\n" * 9)  # a play has no front matter
    remarks = [" ".join(open_stories(tmp_path / name).remarks) for name in ("a.json", "b.txt", "c.txt")]
    assert "holds splits, which are read as one" in remarks[0] and "'---' that tell about it" in remarks[1]
    assert remarks[2] == ""


def test_pages_that_end_within_sentences_are_no_stories(tmp_path):
    text = "\n\n".join(FLAT)
    (tmp_path / "a.txt").write_text("\f".join(text[i : i + 300] for i in range(0, len(text), 300)), encoding="utf-8")
    assert len(read(tmp_path / "a.txt")) == len(FLAT)


def test_rules_of_two_kinds_are_named(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{x}\n{('---', '***')[i % 2]}\n" for i, x in enumerate(TALES)), "utf-8")
    assert "lines of '***', 12 to 12, are taken for a part of stories" in open_stories(tmp_path / "a.txt").unit


def test_a_chat_has_no_stories(tmp_path):
    chat = [{"role": "user", "content": "Tell me a story."}, {"role": "assistant", "content": FLAT[0]}]
    (tmp_path / "a.jsonl").write_text(lines([{"messages": chat}] * 9))
    with pytest.raises(InputError, match="holds chats \\(in its field 'messages'\\), not stories; write each"):
        open_stories(tmp_path / "a.jsonl")


def test_bad_rows_are_counted_and_shown(tmp_path):
    good = [json.dumps({"text": x}).encode() for x in FLAT]
    bad = [b'{"text": "half \\ud83d"}', b'{"text": 7}', b'{"txt": "x"}', b"{text: x}", b'{"text": "caf\xe9"}', b"[1]"]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*good, *bad, *good * 10]) + b"\n")
    file = open_stories(tmp_path / "a.jsonl")
    assert list(file.stories()) == FLAT + [None] * 6 + FLAT * 10
    assert sum(file.bad.values()) == 6 and len(file.examples) == 3
    assert file.examples[1] == "a.jsonl, row 26 is not text but float"
    pq.write_table(pa.table({"text": pa.array([b"caf\xe9", b"tea"]).view(pa.string())}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [None, "tea"]


def test_a_line_of_another_encoding_is_dropped_alone(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\n\n".join([*(x.encode() for x in FLAT * 3), "Zoë is here.".encode("cp1252")]))
    assert read(tmp_path / "a.txt") == [*FLAT * 3, None]


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=80)
STORIES = st.lists(WORDS.map(str.strip).filter(lambda t: any(map(str.isalpha, t))), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    STORIES,
    st.sampled_from(["a.jsonl", "e.jsonl", "a.json", "b.json", "a.csv", "d.tsv"]),
    st.sampled_from([*PACKERS, ""]),
)
def test_any_text_goes_through_any_container(tmp_path, texts, name, packer):
    data = ROWS[name](texts).encode()
    (tmp_path / name).write_bytes(PACKERS[packer](data) if packer else data)
    assert read(tmp_path / name) == texts


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STORIES, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]), st.sampled_from(["~o~", "\n\n", "</s>"]))
def test_any_text_comes_back_between_named_separators(tmp_path, texts, encoding, separator):
    texts = [text.replace(separator, "") for text in texts]
    (tmp_path / "a.txt").write_bytes(separator.join(texts).encode(encoding))
    assert read(tmp_path / "a.txt", separator=separator) == [t for t in map(str.strip, texts) if t]


WORDS_TOLD = """
    the owl ran home Zoë's naïve 3 — and, “Yes!” said (perhaps) ёлка 猫が 「はい」 กระต่าย 🐢 x<y 50% A
"""
SENTENCE = st.lists(st.sampled_from(WORDS_TOLD.split()), min_size=6, max_size=14).map(
    lambda words: f"Then {' '.join(words)} slept."
)
PARAGRAPH = st.lists(SENTENCE, min_size=2, max_size=4).map(" ".join)
TOLD = st.lists(st.lists(PARAGRAPH, min_size=1, max_size=3), min_size=6, max_size=16).map(
    lambda tales: ["\n\n".join(tale) + f" It was tale {number}." for number, tale in enumerate(tales)]
)
LAID_OUT = st.tuples(
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([*PACKERS, ""]),
)
GUESSED = ("many blank lines", "last lines", "mentioned")  # by how often a thing comes, which is fixed there


def lay_out(path, text, layout):
    encoding, line_end, packer = layout
    data = text.replace("\n", line_end).encode(encoding)
    path.write_bytes(PACKERS[packer](data) if packer else data)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TOLD, st.sampled_from(sorted(ROWS)), LAID_OUT)
def test_any_tales_come_back_from_rows_of_any_kind(tmp_path, tales, name, layout):
    lay_out(tmp_path / name, ROWS[name](tales), layout)
    assert read(tmp_path / name) == tales


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TOLD, st.sampled_from(sorted(SHAPES.keys() - set(GUESSED))), LAID_OUT)
def test_any_tales_come_back_from_texts_of_any_shape(tmp_path, tales, shape, layout):
    texts, write = SHAPES[shape]
    tales = [" ".join(tale.split()) for tale in tales] if texts is FLAT else tales
    lay_out(tmp_path / "a.txt", write(tales), layout)
    assert read(tmp_path / "a.txt") == tales


@pytest.mark.parametrize(
    ("column", "words"), [(pa.array([b"\xa8tale"]).view(pa.binary()).view(pa.string()), "utf-8"), (None, "text")]
)
def test_a_parquet_file_that_is_no_text_is_refused(tmp_path, column, words):
    table = {"tale": pa.array(["Tim ran."])} if column is None else {"text": column}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=rf"a\.parquet is no Parquet file of stories, or a damaged one \(.*{words}"):
        list(read_stories(tmp_path / "a.parquet"))
