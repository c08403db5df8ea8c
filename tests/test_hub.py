"""Whatever a proxy before the Hub does, a command ends soon, in one sentence; once the Hub answers, all is well."""

import time

import datasets
import huggingface_hub.constants
import pytest
from hub_server import MISCHIEF, HubServer
from training_example import STORIES, make_model

from pn_lib.cli import main
from pn_lib.data import corpora, hub, tinystories_slice
from pn_lib.data.corpora import load_corpus
from pn_lib.data.stories import fingerprint, to_dataset, write_parquet
from pn_lib.data.tinystories_slice import Manifest
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError

TRAIN, VALIDATION = STORIES[:12], STORIES[12:]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """What the Hub holds: stories in two forms, and a model."""
    folder = tmp_path_factory.mktemp("hub")
    write_parquet(folder / "data" / "train-00000-of-00001-ab.parquet", TRAIN)
    write_parquet(folder / "data" / "validation-00000-of-00001-ab.parquet", VALIDATION)
    (folder / "TinyStoriesV2-GPT4-valid.txt").write_text("\n<|endoftext|>\n".join(VALIDATION))
    make_model().save(folder)
    train_tokenizer(STORIES, 300).save(folder)
    return folder


@pytest.fixture
def ask(repository, tmp_path, monkeypatch):
    """Starts a server of some mischief, which is the Hub from then on."""
    manifest = {"train": [(text, "V1-train") for text in TRAIN], "validation": [(t, "V2-valid") for t in VALIDATION]}
    Manifest.of(manifest).save(tmp_path / "manifest.npz")
    monkeypatch.setattr(tinystories_slice, "MANIFEST", tmp_path / "manifest.npz")
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE"):
        monkeypatch.setattr(datasets.config, name, tmp_path / "cache")
    for place, name in ((constants, "HF_HUB_DOWNLOAD_TIMEOUT"), (constants, "HF_HUB_ETAG_TIMEOUT")):
        monkeypatch.setattr(place, name, 0.3)
    for place in (hub, corpora):
        monkeypatch.setattr(place, "SILENCE", 0.3)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between two tries
    servers = []

    def start(mischief: str | None) -> None:
        servers.append(HubServer(repository, mischief).__enter__())
        monkeypatch.setattr(constants, "ENDPOINT", servers[-1].url)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", servers[-1].url)
        template = servers[-1].url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    yield start
    for server in servers:
        server.__exit__()


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_the_slice_is_refused_in_one_sentence_and_fetched_later(ask, tmp_path, capfd, mischief):
    ask(mischief)
    assert main(["slice", str(tmp_path / "slice")]) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[-1].startswith("error: TinyStories' ") and not any("Traceback" in line for line in said)
    assert not (tmp_path / "slice").exists()
    ask(None)
    assert main(["slice", str(tmp_path / "slice")]) == 0
    assert f"all {len(STORIES)} stories" in capfd.readouterr().out  # by their digest


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_the_corpus_is_refused_in_one_sentence_and_read_later(ask, tmp_path, mischief):
    ask(mischief)
    with pytest.raises(InputError, match="cannot be fetched from the Hugging Face Hub"):
        load_corpus("tinystories", 12, 6, 0, tmp_path, tmp_path / "work")
    ask(None)
    found = load_corpus("tinystories", 12, 6, 0, tmp_path, tmp_path / "work")
    assert found.fingerprint == fingerprint(to_dataset(TRAIN), to_dataset(VALIDATION))


@pytest.mark.parametrize("mischief", [kind for kind in MISCHIEF if kind != "stalls at the list"])
def test_a_model_is_refused_in_one_sentence_and_opened_later(ask, capfd, mischief):
    ask(mischief)
    assert main(["generate", "somebody/something", "Tim"]) == 2
    said = capfd.readouterr().err.splitlines()
    assert said[-1].startswith("error: ") and not any("Traceback" in line for line in said)
    ask(None)
    assert main(["generate", "somebody/something", "Tim", "--max-new-tokens", "3"]) == 0
