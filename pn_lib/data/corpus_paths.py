"""What is said of a corpus before it is read: its name, where it lies, and what a story is in its files."""

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from pn_lib.errors import InputError

TINYSTORIES = "roneneldan/TinyStories"  # on the Hugging Face Hub
TINYSTORIES_REVISION = "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64"
PROMPTS_FILE = "Evaluation prompts.yaml"  # beginnings to judge models by, in the same place
NAMED_CORPORA = ("pocket", "tinystories")  # corpora that are no paths
# Half of all corpora have one of these. A folder named tinystories is none of them: it is a copy of TinyStories, whose
# runs are compared with the published ones of that name, where the stories are the same.
COMMON_NAMES = ("corpus", "data", "dataset", "stories", "story", "test", "text", "train", "validation")
UNITS = ("line", "file", "blank line")
ROWS = {".jsonl": "JSON", ".ndjson": "JSON", ".json": "JSON", ".csv": "CSV", ".tsv": "CSV", ".tab": "CSV"}
COLUMNS = (".parquet", ".arrow")
TEXTS = (".txt", ".text", ".md")
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
ENDINGS = (*COLUMNS, *ROWS, *TEXTS)

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLITS = {name: split for split, names in _SPLIT_NAMES.items() for name in names}  # a split's name by its usual names


@dataclass(frozen=True)
class Naming:
    """How a person names what is else found: the ``field`` of the stories in files with rows, and in texts the ``unit``
    or the ``separator`` of stories."""

    field: str | None = None
    unit: str | None = None
    separator: str | None = None

    def __post_init__(self) -> None:
        if self.unit is not None and self.unit not in UNITS:
            raise InputError(f"unit is one of {', '.join(map(repr, UNITS))}, not {self.unit!r}")
        if self.unit is not None and self.separator is not None:
            raise InputError("unit and separator exclude each other; name one of them")
        if self.separator == "":
            raise InputError("separator is empty; leave it out, or name what stands between stories")


FOUND = Naming()  # nothing is named: all is found


def corpus_name(spec: str) -> str:
    """The name of a corpus in file names: "pocket", "tinystories", or that of the folder or file, in a-z, 0-9 and -.

    A path whose name does not tell it from others gets six digits of the path's hash: one with letters of other
    scripts, one called pocket, or one with a name that half of all corpora have.
    """
    if spec in NAMED_CORPORA:
        return spec
    path = Path(os.path.normpath(spec))
    known = ending(path) in ENDINGS or path.suffix.lower() in COMPRESSED
    name = path.name[: -len("".join(path.suffixes[-2:]))] if ending(path) != path.suffix.lower() else path.stem
    name = unicodedata.normalize("NFKD", name if known else path.name)  # é becomes e and an accent
    lost = [letter for letter in name if letter.isalnum() and not letter.isascii()]
    letters = name.encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-")
    if lost or plain in ("pocket", *COMMON_NAMES, ""):
        digest = hashlib.sha256(Path(os.path.normpath(spec)).as_posix().encode()).hexdigest()[:6]
        return f"{plain or 'corpus'}-{digest}"
    return plain


def corpus_path(spec: str, root: Path) -> Path:
    """Where a corpus of files lies; a relative ``spec`` starts at ``root``.

    Raises:
        InputError: nothing is there.
    """
    path = Path(os.path.normpath(root / Path(spec).expanduser()))  # without "..", as a person would write it
    if not path.exists():
        raise InputError(f"corpus {path} does not exist; give 'pocket', 'tinystories' or the path of stories")
    return path


def corpus_place(spec: str, root: Path) -> str:
    """How messages name a corpus: by its name, or its whole path, as ``root`` need not be where they are read."""
    return spec if spec in NAMED_CORPORA else str(corpus_path(spec, root))


def ending(path: Path) -> str:
    """What says the kind of a file: its ending, that of a compression apart."""
    name = path.name.lower()
    for compressed in COMPRESSED:
        name = name.removesuffix(compressed)
    return Path(name).suffix
