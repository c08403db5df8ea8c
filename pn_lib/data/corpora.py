"""Corpora behind one interface: Pocket stories, TinyStories from the Hugging Face Hub, or anybody's own files."""

import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import datasets
from huggingface_hub import HfApi, RepoCard

from pn_lib.data import pocket
from pn_lib.data.cleaning import split
from pn_lib.data.corpus_paths import TINYSTORIES, TINYSTORIES_REVISION, corpus_name, corpus_path
from pn_lib.data.stories import READERS, fingerprint, read_stories, to_dataset
from pn_lib.errors import InputError
from pn_lib.progress import progress

HUB_TIMEOUT = 10  # seconds
VALIDATION_SEEDS = 1 << 32  # the Pocket stories of training and validation are drawn from seeds this far apart

logging.getLogger("huggingface_hub.repocard").setLevel(logging.ERROR)  # a README.md without a header is no fault

Reader = Callable[[int | None], Iterable[str | None]]  # the first so many stories of a split; None: all


@dataclass(frozen=True)
class Card:
    """What a reader should know about a corpus."""

    name: str
    title: str
    source: str
    licence: str
    description: str


@dataclass(frozen=True)
class Corpus:
    """Raw stories, each split with a ``text`` column; ``fingerprint`` is the SHA-256 of them, wherever they lie."""

    card: Card
    train: datasets.Dataset
    validation: datasets.Dataset
    fingerprint: str


def load_corpus(
    spec: str,
    train_stories: int | None,
    validation_stories: int | None,
    seed: int,
    root: Path,
    folder: Path | None = None,
) -> Corpus:
    """Load "pocket", "tinystories", or the folder or .parquet, .jsonl or .txt file that ``spec`` names.

    Takes the first ``train_stories`` (fewer if the corpus has fewer) and the first ``validation_stories``, all if None;
    from the Hub no more than these is fetched. Files without a validation split give that many of their stories to one
    (a twentieth, at most 10,000, if None), chosen by ``seed``. A relative path starts at ``root``; in a folder, files
    and splits are found as ``datasets.load_dataset`` finds them. Stories are kept in memory or, as a corpus larger than
    that needs, in Arrow files in ``folder``; TinyStories that lie there already are not fetched again.

    Raises:
        InputError: there is no such corpus, it cannot be read or reached, it is empty, or it has too few stories.
    """
    card, readers = _open(spec, root, seed)
    stem = f"tinystories-{TINYSTORIES_REVISION[:8]}" if spec == "tinystories" else card.name

    def load(part: str, stories: int | None) -> datasets.Dataset:
        file = folder and folder / f"{stem}-{part}-{'all' if stories is None else stories}.arrow"
        if spec == "tinystories" and file and file.is_file():  # a revision never changes; files are whole or absent
            return datasets.Dataset.from_file(str(file))
        stream = progress(readers[part](stories), f"Reading {card.name} ({part})", total=stories, unit="story")
        dataset = to_dataset(islice(stream, stories), file)
        if not len(dataset):
            raise InputError(f"corpus {spec} holds no stories")
        return dataset

    if "validation" in readers:
        train, validation = load("train", train_stories), load("validation", validation_stories)
        if validation_stories and len(validation) < validation_stories:
            raise InputError(
                f"corpus {spec} has {len(validation):,} validation stories, fewer than the "
                f"{validation_stories:,} asked for; ask for fewer"
            )
    else:
        everything = load("train", None if train_stories is None else train_stories + (validation_stories or 0))
        wanted = validation_stories or min(10_000, max(1, len(everything) // 20))
        train, validation = split(everything, wanted, seed, folder)
    return Corpus(card, train, validation, fingerprint(train, validation))


def check_corpus(spec: str, root: Path) -> None:
    """See early and cheaply whether ``spec`` can be loaded: the Hub answers, or the files begin with a story.

    Raises:
        InputError: as ``load_corpus``.
    """
    if spec == "tinystories":
        _reach_hub()
    elif spec != "pocket":
        for part, reader in _open(spec, root, seed=0)[1].items():
            if not list(islice(reader(1), 1)):
                raise InputError(f"corpus {spec} holds no {part} stories")


def _open(spec: str, root: Path, seed: int) -> tuple[Card, dict[str, Reader]]:
    """The card and, by split, the readers of a corpus."""
    if spec == "pocket":
        card = Card(
            "pocket", "Pocket stories", "written by PocketNarrator (pn_lib/data/pocket)", "CC0-1.0", pocket.CARD_TEXT
        )
        seeds = {"train": seed, "validation": seed + VALIDATION_SEEDS}
        return card, {part: partial(_read_pocket, part_seed) for part, part_seed in seeds.items()}
    if spec == "tinystories":
        card = Card(
            "tinystories",
            "TinyStories (Eldan & Li, 2023)",
            f"https://huggingface.co/datasets/{TINYSTORIES}, revision {TINYSTORIES_REVISION[:8]}",
            "CDLA-Sharing-1.0",
            "Short stories in the words of a four-year-old, written by GPT-3.5 and GPT-4.",
        )
        return card, {part: partial(_read_hub, part) for part in ("train", "validation")}
    path = corpus_path(spec, root)
    return _card(spec, path), {part: partial(_read_files, files) for part, files in _find_files(path).items()}


def _read_pocket(seed: int, stories: int | None) -> list[str]:
    if stories is None:
        raise InputError("the pocket corpus has no end: say how many stories to write")
    return pocket.sample_stories(stories, seed)


def _read_files(files: list[Path], _stories: int | None) -> Iterator[str | None]:
    for file in files:
        yield from read_stories(file)


def _read_hub(part: str, _stories: int | None) -> Iterator[str | None]:
    """Stream a split, fetching as it is read."""
    _reach_hub()
    datasets.disable_progress_bars()
    try:
        stream = datasets.load_dataset(TINYSTORIES, revision=TINYSTORIES_REVISION, split=part, streaming=True)
        for row in stream.select_columns("text"):  # one by one: batches would be filled from the next file
            yield row["text"]
    except Exception as error:  # datasets, huggingface_hub, fsspec and httpx share no class of network error
        raise _no_hub(error) from error


def _reach_hub() -> None:
    """One question, without the half minute of retries that ``datasets`` makes where there is no network."""
    try:
        HfApi().dataset_info(TINYSTORIES, revision=TINYSTORIES_REVISION, timeout=HUB_TIMEOUT)
    except Exception as error:  # as above
        raise _no_hub(error) from error


def _no_hub(error: Exception) -> InputError:
    return InputError(
        f"TinyStories cannot be fetched from the Hugging Face Hub ({type(error).__name__}: {error}); "
        "go online, or take the pocket corpus or the path of a copy"
    )


def _find_files(path: Path) -> dict[str, list[Path]]:
    """The story files of a path by split: "train" and, if there is one, "validation"."""
    if path.is_file():
        return {"train": [path]}
    try:
        with tempfile.TemporaryDirectory() as cache:  # where datasets would leave lock files
            found = datasets.load_dataset_builder(str(path.resolve()), cache_dir=cache).config.data_files
    except (FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        raise InputError(f"folder {path} has no story files ({', '.join(READERS)})") from error
    except (ValueError, RuntimeError) as error:  # bad settings in its README.md, or made by save_to_disk
        raise InputError(f"folder {path} is no dataset folder ({error})") from error
    splits = {str(part): [Path(file) for file in files] for part, files in found.items()}
    if "train" not in splits:
        raise InputError(f"folder {path} has no training stories, only {', '.join(splits)}; name a file train-*")
    return {part: splits[part] for part in ("train", "validation") if part in splits}


def _card(spec: str, path: Path) -> Card:
    """A card from the folder's README.md: its first heading, first paragraph, and licence if its header states one."""
    readme = path / "README.md"
    content = readme.read_text("utf-8", errors="replace") if readme.is_file() else ""
    data, body = {}, content
    if content.startswith("---"):
        card = RepoCard(content, ignore_metadata_errors=True)
        data, body = card.data.to_dict(), card.text
    heading = re.search(r"^# +(.+)$", body, re.MULTILINE)
    paragraph = re.search(r"(?:^|\n\n)(?![#<`|\-!])(\w.+?)(?:\n\n|$)", body.strip(), re.DOTALL)
    return Card(
        name=corpus_name(spec),
        title=data.get("pretty_name") or (heading[1] if heading else path.name),
        source=f"{'folder' if path.is_dir() else 'file'} {path.name}",  # not where it lies: that is nobody's business
        licence=str(data.get("license") or ("see its description" if content else "not stated")),
        description=" ".join(paragraph[1].split()) if paragraph else "Stories from files.",
    )
