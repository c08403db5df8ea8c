"""What a corpus is called and where it lies. Apart from reading it, which decides no other result than the stories."""

import os
import re
import unicodedata
from pathlib import Path

from pn_lib.data.stories import READERS
from pn_lib.errors import InputError

TINYSTORIES = "roneneldan/TinyStories"  # on the Hugging Face Hub
TINYSTORIES_REVISION = "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64"


def corpus_name(spec: str) -> str:
    """The name of a corpus in file names: "pocket", "tinystories", or that of the folder or file, in a-z, 0-9 and -."""
    path = Path(spec)
    name = path.stem if path.suffix.lower() in READERS else path.name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()  # é becomes e
    return re.sub(r"[^a-z0-9]+", "-", letters.lower()).strip("-") or "corpus"


def corpus_path(spec: str, root: Path) -> Path:
    """Where a corpus of files lies; a relative ``spec`` starts at ``root``.

    Raises:
        InputError: nothing is there.
    """
    path = Path(os.path.normpath(root / Path(spec).expanduser()))  # without "..", as a person would write it
    if not path.exists():
        raise InputError(f"corpus {path} does not exist; give 'pocket', 'tinystories' or the path of stories")
    return path
