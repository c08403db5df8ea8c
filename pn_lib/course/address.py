"""Where the repository is published, as pyproject.toml says: what git, Binder and Colab fetch. A fork changes
it there."""

import tomllib
from pathlib import Path

import yaml

from pn_lib import __version__
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

GITHUB = "https://github.com/"
FIRST_CELL = """import importlib
import sys

if "google.colab" in sys.modules:  # on Colab: fetch the course and install it; anywhere else this does nothing
    !git clone --quiet --depth 1 {url} /content/{name}
    %pip install --quiet --editable /content/{name}
    %cd -q /content/{name}/notebooks
    sys.path.insert(0, "/content/{name}")
try:  # the right kernel, with all that the course needs?
    importlib.import_module("pn_lib.run.run")
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{{error.name}} is missing from this notebook's Python, {{sys.executable}}: close JupyterLab, type `make lab` "
        "in the course's folder, and take its kernel, Python 3 (ipykernel)"
    ) from None"""


def repository_url() -> str:
    """The page of the repository."""
    return _project()["urls"]["Repository"].rstrip("/")


def citation() -> str:
    """``CITATION.cff``, by which GitHub and reference managers cite the repository (Citation File Format 1.2.0)."""
    project = _project()
    fields = {
        "cff-version": "1.2.0",
        "message": "If you use PocketNarrator, cite it with the commit that you used; every report names its own.",
        "type": "software",
        "title": "PocketNarrator",
        "abstract": project["description"],
        "authors": [{"name": "The PocketNarrator contributors"}],
        "version": __version__,
        "license": project["license"],
        "repository-code": repository_url(),
    }
    return yaml.safe_dump(fields, sort_keys=False, width=120)


def _project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def binder_link(path: Path) -> str:
    """Where Binder opens a notebook of the published repository."""
    return f"https://mybinder.org/v2/gh/{_slug()}/HEAD?urlpath=lab/tree/{NOTEBOOKS.name}/{path.name}"


def colab_link(path: Path) -> str:
    """Where Colab opens it."""
    return f"https://colab.research.google.com/github/{_slug()}/blob/HEAD/{NOTEBOOKS.name}/{path.name}"


def first_cell() -> str:
    """The first cell of code of every notebook, in plain Python: it fetches the course on Colab, and says what to do
    where the kernel lacks it or a package."""
    url = repository_url()
    return FIRST_CELL.format(url=url, name=_name(url))


def clone_command() -> str:
    """What fetches the repository, as Markdown to be copied."""
    url = repository_url()
    return f"```sh\ngit clone {url} && cd {_name(url)}\n```"


def _slug() -> str:
    return repository_url().removeprefix(GITHUB)


def _name(url: str) -> str:
    """The folder that git clones it into."""
    return url.rpartition("/")[2]
