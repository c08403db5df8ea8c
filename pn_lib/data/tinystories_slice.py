"""``python -m pn_lib slice``: the stories of the published runs, gathered again from TinyStories' own files.

The repository holds no story of TinyStories, but a manifest: for each story of the slice, in order, its split, the
official file that it comes from, and the first 64 bits of the SHA-256 of its text after our own cleaning, which mends
the encoding that the official files have damaged in places. With about five million official stories and 15,448 in the
manifest, the odds that any two different ones agree in 64 bits are four in a thousand million; and if all are found,
the SHA-256 of the whole slice is compared.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import HfApi, hf_hub_download

from pn_lib.data.cleaning import mend
from pn_lib.data.corpus_paths import PROMPTS_FILE, TINYSTORIES, TINYSTORIES_REVISION, Naming, ending
from pn_lib.data.hub import limit_waiting
from pn_lib.data.stories import fingerprint, to_dataset
from pn_lib.data.story_files import open_stories
from pn_lib.errors import InputError
from pn_lib.files import atomic, write_text
from pn_lib.network import unreachable
from pn_lib.progress import progress

MANIFEST = Path(__file__).with_name("tinystories_slice.npz")
# The official files of each origin, small ones first: patterns of names, of which the first that fits is read
FILES = {
    "V2-valid": ("TinyStoriesV2-GPT4-valid.txt*",),
    "V2-train": ("TinyStoriesV2-GPT4-train.txt*",),
    "V1-train": ("train-*.parquet", "TinyStories-train.txt*"),
}
ORIGINS = tuple(FILES)
SPLITS = ("train", "validation")
SCHEMA = pa.schema([("text", pa.string()), ("origin", pa.string())])
README = f"""# A slice of TinyStories

Real stories from TinyStories (Eldan & Li, 2023, arXiv:2305.07759; `{TINYSTORIES}` on the Hugging Face Hub, license
CDLA-Sharing-1.0), gathered by `python -m pn_lib slice`. The column `origin` says which official file a story is from;
some training stories come from the official validation file, so do not score a model of this slice on that.
"""


@dataclass(frozen=True)
class Manifest:
    """The stories of each split in order: ``keys`` (uint64) and ``origins`` (uint8, places in ORIGINS); and the
    fingerprint of all texts."""

    keys: dict[str, np.ndarray]
    origins: dict[str, np.ndarray]
    fingerprint: str

    @classmethod
    def of(cls, stories: dict[str, list[tuple[str, str]]]) -> "Manifest":
        """The manifest of cleaned stories: for each split, (text, origin)."""
        return cls(
            {split: np.array([text_key(text) for text, _ in rows], np.uint64) for split, rows in stories.items()},
            {split: np.array([ORIGINS.index(name) for _, name in rows], np.uint8) for split, rows in stories.items()},
            _fingerprint([text for text, _ in rows] for rows in stories.values()),
        )

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        with np.load(path) as found:
            keys, origins = ({split: found[f"{split}_{part}"] for split in SPLITS} for part in ("keys", "origins"))
            return cls(keys, origins, str(found["fingerprint"]))

    def save(self, path: Path) -> None:
        arrays = {f"{split}_keys": self.keys[split] for split in SPLITS}
        arrays |= {f"{split}_origins": self.origins[split] for split in SPLITS}
        with atomic(path) as temporary:
            np.savez_compressed(temporary, fingerprint=np.array(self.fingerprint), **arrays)

    @property
    def wanted(self) -> dict[int, str]:
        """The origin of every story by its key."""
        both = [(self.keys[split].tolist(), self.origins[split].tolist()) for split in SPLITS]
        return {key: ORIGINS[origin] for keys, origins in both for key, origin in zip(keys, origins, strict=True)}


@dataclass(frozen=True)
class Place:
    """Where official files lie: their names, with folders, and what gives the path of one."""

    name: str
    names: list[str]
    get: Callable[[str], Path]

    def of(self, origin: str) -> list[str]:
        for pattern in FILES[origin]:
            if found := sorted(name for name in self.names if fnmatch(PurePosixPath(name).name, pattern)):
                return found
        return []


def text_key(text: str) -> int:
    """The first 64 bits of the SHA-256 of a cleaned text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def gather(out: Path, folder: Path | None = None) -> str:
    """Write the slice to ``out``, laid out as on the Hub; returns what was found, and what was not, in words.

    ``folder`` holds the Hub's files, at any depth; if None, those that are needed are fetched.

    Raises:
        InputError: the Hub or ``folder`` has none of the files, or none of the stories.
    """
    manifest = Manifest.load(MANIFEST)
    place = _hub() if folder is None else _local(folder)
    if not any(map(place.of, ORIGINS)):
        patterns = ", ".join(pattern for several in FILES.values() for pattern in several)
        raise InputError(f"{place.name} holds none of TinyStories' files ({patterns})")
    texts = _recognize(manifest, place)
    if not texts:
        raise InputError(f"none of the slice's stories is in {place.name}; are these the files of {TINYSTORIES}?")
    _write(out, manifest, texts, place)
    return _words(out, manifest, texts, place)


def _local(folder: Path) -> Place:
    if not folder.is_dir():
        raise InputError(f"--from {folder} is no folder; give one with the files of {TINYSTORIES}")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return Place(str(folder), names, folder.joinpath)


def _hub() -> Place:
    where = {"repo_type": "dataset", "revision": TINYSTORIES_REVISION}

    def get(name: str) -> Path:
        try:
            return Path(hf_hub_download(TINYSTORIES, name, **where))
        except Exception as error:
            raise _no_hub(name, error) from None

    limit_waiting()
    try:
        names = HfApi().list_repo_files(TINYSTORIES, **where)
    except Exception as error:  # huggingface_hub and httpx share no class of network error
        raise _no_hub("the list of files", error) from None
    return Place(f"{TINYSTORIES} on the Hub", names, get)


def _no_hub(what: str, error: Exception) -> InputError:
    return InputError(
        f"TinyStories' {what} cannot be fetched from the Hugging Face Hub{unreachable(error)}, or give a folder with "
        "its files: --from FOLDER"
    )


def _recognize(manifest: Manifest, place: Place) -> dict[int, str]:
    """The texts of the slice that are in the official files, by their keys. A file is fetched and read while a story of
    its origin is missing."""
    wanted, texts = manifest.wanted, {}
    missing = Counter(wanted.values())
    for origin in ORIGINS:
        for name in place.of(origin):
            if not missing[origin]:
                break
            for text in _read(place.get(name)):
                key = text_key(text)
                if key in wanted and key not in texts:
                    texts[key] = text
                    missing[wanted[key]] -= 1
    return texts


def _read(path: Path) -> Iterator[str]:
    """The cleaned stories of an official file."""
    naming = Naming() if ending(path) == ".parquet" else Naming(separator="<|endoftext|>")
    for text in progress(open_stories(path, naming).stories(), f"Reading {path.name}", unit="story"):
        if text is not None:  # a row without a story, or one that is not whole Unicode text
            yield mend(text)[0]


def _write(out: Path, manifest: Manifest, texts: dict[int, str], place: Place) -> None:
    for split in SPLITS:
        rows = zip(manifest.keys[split].tolist(), manifest.origins[split].tolist(), strict=True)
        kept = [{"text": texts[key], "origin": ORIGINS[origin]} for key, origin in rows if key in texts]
        table = pa.Table.from_pylist(kept, SCHEMA)
        with atomic(out / "data" / f"{split}-00000-of-00001.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
    write_text(out / "README.md", README)
    if prompts := [name for name in place.names if PurePosixPath(name).name == PROMPTS_FILE]:
        with atomic(out / PROMPTS_FILE) as temporary:
            shutil.copyfile(place.get(prompts[0]), temporary)


def _words(out: Path, manifest: Manifest, texts: dict[int, str], place: Place) -> str:
    wanted = manifest.wanted
    lost = Counter(origin for key, origin in wanted.items() if key not in texts)
    if not lost:
        found = _fingerprint([texts[key] for key in manifest.keys[split].tolist()] for split in SPLITS)
        if found != manifest.fingerprint:
            raise InputError(f"the stories in {out} have the fingerprint {found}, not {manifest.fingerprint}")
        return f"{out}: all {len(wanted):,} stories of the published runs, by their SHA-256 letter by letter"
    reasons = [f"{lost[origin]:,} of {origin}" + ("" if place.of(origin) else f" ({FILES[origin][0]} is not there)")
               for origin in ORIGINS if lost[origin]]  # fmt: skip
    return (
        f"{out}: {len(texts):,} of {len(wanted):,} stories; not found in {place.name}: {', '.join(reasons)}. A run on "
        "these is not that of the published results"
    )


def _fingerprint(splits: Iterator[list[str]]) -> str:
    return fingerprint(*map(to_dataset, splits))
