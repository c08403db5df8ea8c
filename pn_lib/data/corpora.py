"""Corpora behind one interface: Pocket stories, TinyStories from the Hugging Face Hub, or anybody's own files."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import datasets
from huggingface_hub import HfApi, RepoCard

from pn_lib.data import pocket
from pn_lib.data.cleaning import split
from pn_lib.data.corpus_paths import (
    FOUND,
    TINYSTORIES,
    TINYSTORIES_REVISION,
    Naming,
    corpus_name,
    corpus_path,
    corpus_place,
)
from pn_lib.data.folders import find_files
from pn_lib.data.hub import SILENCE, limit_waiting
from pn_lib.data.stories import fingerprint, to_dataset
from pn_lib.data.story_files import StoryFile, holds_single_stories, open_stories
from pn_lib.errors import InputError, NoStoriesError
from pn_lib.network import unreachable
from pn_lib.progress import progress

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


@dataclass
class FileReader:
    """Reads the files of a split one after the other, and remembers what they were and which held no stories."""

    files: list[Path]
    naming: Naming
    opened: list[StoryFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __call__(self, _stories: int | None = None) -> Iterator[str | None]:
        self.opened, self.left_out, fault = [], [], None
        for path in self.files:
            try:
                file = open_stories(path, self.naming)
            except NoStoriesError as error:
                fault = fault or error
                self.left_out.append(str(error).replace(str(path), path.name, 1))
            else:
                self.opened.append(file)
                yield from file.stories()
        if fault and not self.opened:
            raise InputError(str(fault))


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from: its card, a reader for each split, the files left out, and what was noted."""

    card: Card
    readers: dict[str, Reader]
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def load_corpus(
    spec: str,
    train_stories: int | None,
    validation_stories: int | None,
    seed: int,
    root: Path,
    folder: Path | None = None,
    naming: Naming = FOUND,
) -> Corpus:
    """Load "pocket", "tinystories", or the file or folder of stories that ``spec`` names.

    Takes the first ``train_stories`` (fewer if the corpus has fewer) and the first ``validation_stories``, all if None;
    from the Hub no more than these is fetched. Files without a validation split give that many of their stories to one
    (a twentieth, at most 10,000, if None), chosen by ``seed``. A relative path starts at ``root``; what a story is in
    the files is found, or named by ``naming`` (see ``open_stories``), and so are the splits (see ``find_files``). A row
    that cannot be read comes as None. Stories are kept in memory or, as a corpus larger than that needs, in Arrow files
    in ``folder``; TinyStories that lie there already are not fetched again.

    Raises:
        InputError: there is no such corpus, it cannot be read or reached, it is empty, or it has too few stories.
    """
    source, place = open_corpus(spec, root, seed, naming), corpus_place(spec, root)
    card, readers = source.card, source.readers
    stem = f"tinystories-{TINYSTORIES_REVISION[:8]}" if spec == "tinystories" else card.name

    def load(part: str, stories: int | None) -> datasets.Dataset:
        file = folder and folder / f"{stem}-{part}-{'all' if stories is None else stories}.arrow"
        if spec == "tinystories" and file and file.is_file():  # a revision never changes; files are whole or absent
            return datasets.Dataset.from_file(str(file))
        stream = progress(readers[part](stories), f"Reading {card.name} ({part})", total=stories, unit="story")
        dataset = to_dataset(islice(stream, stories), file)
        if not len(dataset):
            raise InputError(f"corpus {place} holds no stories")
        return dataset

    if "validation" in readers:
        train, validation = load("train", train_stories), load("validation", validation_stories)
        check_validation(place, len(validation), validation_stories)
    else:
        everything = load("train", None if train_stories is None else train_stories + (validation_stories or 0))
        wanted = validation_stories or min(10_000, max(1, len(everything) // 20))
        train, validation = split(everything, wanted, seed, folder)
    return Corpus(card, train, validation, fingerprint(train, validation))


def check_validation(place: str, stories: int, wanted: int | None) -> None:
    """See that the own validation split of the corpus at ``place`` has as many ``stories`` as are ``wanted``.

    Raises:
        InputError: it has fewer.
    """
    if wanted and stories < wanted:
        raise InputError(
            f"corpus {place} has {stories:,} validation stories, fewer than the {wanted:,} asked for; ask for fewer "
            "([data] validation_stories in a profile of your own), or leave only the training files in the folder, "
            "of which some are then held back"
        )


def check_corpus(spec: str, root: Path, naming: Naming = FOUND) -> None:
    """See early and cheaply whether ``spec`` can be loaded: the Hub answers, or the files begin with a story.

    Raises:
        InputError: as ``load_corpus``.
    """
    if spec == "tinystories":
        _reach_hub()
    elif spec != "pocket":
        for part, reader in open_corpus(spec, root, seed=0, naming=naming).readers.items():
            if not list(islice(reader(1), 1)):
                raise InputError(f"corpus {corpus_place(spec, root)} holds no {part} stories")


def open_corpus(spec: str, root: Path, seed: int, naming: Naming = FOUND) -> Source:
    """Find a corpus; nothing of it is read but what tells the files' stories.

    Raises:
        InputError: there is none.
    """
    if spec == "pocket":
        card = Card(
            "pocket", "Pocket stories", "written by PocketNarrator (pn_lib/data/pocket)", "CC0-1.0", pocket.CARD_TEXT
        )
        seeds = {"train": seed, "validation": seed + VALIDATION_SEEDS}
        return Source(card, {part: partial(_read_pocket, part_seed) for part, part_seed in seeds.items()})
    if spec == "tinystories":
        card = Card(
            "tinystories",
            "TinyStories (Eldan & Li, 2023)",
            f"https://huggingface.co/datasets/{TINYSTORIES}, revision {TINYSTORIES_REVISION[:8]}",
            "CDLA-Sharing-1.0",
            "Short stories in the words of a four-year-old, written by GPT-3.5 and GPT-4.",
        )
        return Source(card, {part: partial(_read_hub, part) for part in ("train", "validation")})
    path = corpus_path(spec, root)
    found = find_files(path)
    if not (naming.unit or naming.separator) and holds_single_stories(found.splits["train"]):
        naming = replace(naming, unit="file")
    readers = {part: FileReader(files, naming) for part, files in found.splits.items()}
    return Source(_card(spec, path), readers, found.left_out, found.remarks)


def _read_pocket(seed: int, stories: int | None) -> list[str]:
    if stories is None:
        raise InputError("the pocket corpus has no end: say how many stories to write")
    return pocket.sample_stories(stories, seed)


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
    limit_waiting()
    try:
        HfApi().dataset_info(TINYSTORIES, revision=TINYSTORIES_REVISION, timeout=SILENCE)
    except Exception as error:  # as above
        raise _no_hub(error) from error


def _no_hub(error: Exception) -> InputError:
    return InputError(
        f"TinyStories cannot be fetched from the Hugging Face Hub{unreachable(error)}, or take the pocket corpus or "
        "the path of a copy"
    )


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
