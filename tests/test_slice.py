"""The slice of TinyStories is gathered from the Hub's files as they are: damaged, doubled, in pieces, incomplete."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pn_lib.cli import main
from pn_lib.data import tinystories_slice
from pn_lib.data.cleaning import mend
from pn_lib.data.corpora import load_corpus
from pn_lib.data.corpus_paths import PROMPTS_FILE, TINYSTORIES_REVISION
from pn_lib.data.stories import iterate
from pn_lib.data.tinystories_slice import MANIFEST, Manifest, gather, text_key
from pn_lib.errors import InputError
from pn_lib.run.results.data_results import DataResult
from pn_lib.run.stages import REPOSITORY


def story(number: int) -> str:
    return f"Once there was a cat called Tom. “I’m number {number},” it said.\nIt was a naïve café cat, and it slept."


def damaged(text: str) -> str:
    """UTF-8 read as code page 1252, as in the official files."""
    return text.encode().decode("cp1252", errors="replace") if "”" not in text else text.replace("’", "â€™")


SLICE = {
    "train": [(story(3), "V2-train"), (story(1), "V1-train"), (story(2), "V2-valid"), (story(0), "V2-train")],
    "validation": [(story(5), "V2-valid"), (story(4), "V2-valid")],
}
STRANGERS = ["A story that the slice lacks. " * 5, "Another one, of a dog. " * 6]


def joined(stories: list[str]) -> str:
    return "".join(f"{text}\n<|endoftext|>\n" for text in stories)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A folder with all stories of a made-up slice, its manifest in the place of the real one."""
    folder = tmp_path / "hub"
    (folder / "data").mkdir(parents=True)
    assert damaged(story(3)) != story(3) == mend(damaged(story(3)))[0]
    train = [STRANGERS[0], damaged(story(3)), story(3), "  " + story(0).replace("\n", "\r\n") + " \n", "", story(3)]
    (folder / "TinyStoriesV2-GPT4-train.txt").write_text(joined(train), encoding="utf-8", newline="")
    valid = [damaged(story(number)) for number in (2, 4, 5)]
    (folder / "TinyStoriesV2-GPT4-valid.txt").write_text(joined(valid), encoding="utf-8")
    for number, stories in enumerate(([STRANGERS[1]], [None, damaged(story(1))])):
        pq.write_table(pa.table({"text": stories}), folder / "data" / f"train-0000{number}-of-00002-ab.parquet")
    (folder / PROMPTS_FILE).write_text("- Once upon a time\n")
    Manifest.of(SLICE).save(tmp_path / "made_up.npz")
    monkeypatch.setattr(tinystories_slice, "MANIFEST", tmp_path / "made_up.npz")
    return folder


def texts(out: Path, split: str) -> list[tuple[str, str]]:
    rows = pq.read_table(out / "data" / f"{split}-00000-of-00001.parquet").to_pylist()
    return [(row["text"], row["origin"]) for row in rows]


def test_the_slice_comes_back_whole_and_in_order(hub, tmp_path, capsys):
    out = tmp_path / "slice"
    assert main(["slice", str(out), "--from", str(hub)]) == 0
    assert "all 6 stories of the published runs" in capsys.readouterr().out
    assert {split: texts(out, split) for split in SLICE} == SLICE
    assert (out / PROMPTS_FILE).read_bytes() == (hub / PROMPTS_FILE).read_bytes()
    corpus = load_corpus(str(out), None, None, 0, tmp_path)
    assert corpus.fingerprint == Manifest.of(SLICE).fingerprint
    assert list(iterate(corpus.validation)) == [story(5), story(4)]
    assert corpus.card.title == "A slice of TinyStories" and "CDLA-Sharing-1.0" in corpus.card.description


def test_what_is_not_found_is_said(hub, tmp_path):
    (hub / "TinyStoriesV2-GPT4-valid.txt").unlink()
    (hub / "TinyStoriesV2-GPT4-train.txt").write_text(joined([story(3)]), encoding="utf-8")
    said = gather(tmp_path / "slice", hub)
    assert "2 of 6 stories" in said and "1 of V2-train" in said and "V1-train" not in said
    assert "3 of V2-valid (TinyStoriesV2-GPT4-valid.txt* is not there)" in said
    assert texts(tmp_path / "slice", "train") == SLICE["train"][:2] and texts(tmp_path / "slice", "validation") == []


def test_the_first_version_may_be_a_text(hub, tmp_path):
    for path in (hub / "data").iterdir():
        path.unlink()
    (hub / "TinyStories-train.txt").write_text(joined([STRANGERS[1], damaged(story(1))]), encoding="utf-8")
    assert "all 6 stories" in gather(tmp_path / "slice", hub)


def test_a_folder_without_them_is_refused(hub, tmp_path, capsys):
    assert main(["slice", str(tmp_path / "slice"), "--from", str(tmp_path / "nowhere")]) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds none of TinyStories' files"):
        gather(tmp_path / "slice", tmp_path / "empty")
    for path in (hub / "data").iterdir():
        path.unlink()
    (hub / "TinyStoriesV2-GPT4-valid.txt").unlink()
    (hub / "TinyStoriesV2-GPT4-train.txt").write_text(joined(STRANGERS), encoding="utf-8")
    with pytest.raises(InputError, match="none of the slice's stories"):
        gather(tmp_path / "slice", hub)
    assert not (tmp_path / "slice").exists()


def test_other_letters_than_the_manifests_are_never_taken_for_whole(hub, tmp_path, monkeypatch):
    made = Manifest.of(SLICE)
    Manifest(made.keys, made.origins, "0" * 64).save(tinystories_slice.MANIFEST)
    with pytest.raises(InputError, match="have the fingerprint"):
        gather(tmp_path / "slice", hub)


def test_the_hub_is_asked_for_what_is_needed_at_the_pinned_revision(hub, tmp_path, monkeypatch):
    fetched = []

    def names(_, repository, *, repo_type, revision):
        assert (repository, repo_type, revision) == ("roneneldan/TinyStories", "dataset", TINYSTORIES_REVISION)
        return [path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file()]

    def download(_repository, name, *, repo_type, revision):
        assert (repo_type, revision) == ("dataset", TINYSTORIES_REVISION)
        fetched.append(name)
        return str(hub / name)

    monkeypatch.setattr(tinystories_slice.HfApi, "list_repo_files", names)
    monkeypatch.setattr(tinystories_slice, "hf_hub_download", download)
    Manifest.of({"train": SLICE["train"][2:], "validation": SLICE["validation"]}).save(tinystories_slice.MANIFEST)
    assert "all 4 stories" in gather(tmp_path / "slice")
    assert fetched == ["TinyStoriesV2-GPT4-valid.txt", "TinyStoriesV2-GPT4-train.txt", PROMPTS_FILE]

    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(tinystories_slice, "hf_hub_download", refuse)
    with pytest.raises(InputError, match=r"valid\.txt cannot be fetched .*--from FOLDER"):
        gather(tmp_path / "slice")
    monkeypatch.setattr(tinystories_slice.HfApi, "list_repo_files", refuse)
    with pytest.raises(InputError, match="list of files cannot be fetched"):
        gather(tmp_path / "slice")


def test_the_manifest_is_of_the_published_run():
    manifest = Manifest.load(MANIFEST)
    data = DataResult.read(REPOSITORY / "results" / "published" / "overnight-tinystories")
    assert manifest.fingerprint == data.corpus.fingerprint
    assert {split: len(keys) for split, keys in manifest.keys.items()} == {
        "train": data.splits.train.stories,
        "validation": data.splits.validation.stories,
    }
    assert len(manifest.wanted) == data.cleaning.kept and MANIFEST.stat().st_size < 150_000
    assert text_key("") == 0xE3B0C44298FC1C14  # the SHA-256 of nothing begins so
