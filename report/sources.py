"""What the report reads: a run's results and figures, each number noted with the file and key that it came from."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pn_lib.course.address import repository_url
from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.run.results.result import Result, Row
from pn_lib.run.stages import NOTEBOOKS


class Traced:
    """A result, or a part of one, that notes each number read from it in ``used``, which becomes ``numbers.json``.

    It answers as what it shows does: a model by its fields and properties, an object by its keys, an array by index.
    """

    def __init__(
        self, value: BaseModel | dict | list | tuple, file: str, path: str, used: dict[tuple[str, str], float]
    ):
        self._value, self._file, self._path, self._used = value, file, path, used

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol that Python or Jinja asks for, not a key
            raise AttributeError(name)
        if not isinstance(self._value, BaseModel):
            return self[name]
        derived = getattr(type(self._value), name, None)
        if isinstance(derived, property):
            return derived.fget(self)  # so that what it reads is noted
        return self._show(getattr(self._value, name), f".{name}")

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(self._value, BaseModel):
            return getattr(self, key)
        if isinstance(self._value, dict):
            if key not in self._value:
                raise InputError(
                    f"{self._file} has no '{self._path}.{key}', which the report needs; make the run again"
                )
            return self._show(self._value[key], f".{key}")
        if isinstance(key, slice):
            return [self[i] for i in range(*key.indices(len(self)))]
        return self._show(self._value[key], f"[{range(len(self))[key]}]")

    def __iter__(self) -> Iterator:
        """Keys of an object, elements of an array."""
        return iter(self._value) if isinstance(self._value, dict) else (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return isinstance(self._value, BaseModel) or bool(self._value)

    def _show(self, value: object, step: str) -> object:
        path = f"{self._path}{step}".lstrip(".")
        if isinstance(value, BaseModel | dict | list | tuple):
            return Traced(value, self._file, path, self._used)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._used[self._file, path] = value
        return value


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its SVG file, what it shows in words, and the Markdown that says where it was drawn."""

    path: Path
    alt: str
    source: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in points.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            attributes = ElementTree.parse(self.path).getroot().attrib
            return float(attributes["width"].removesuffix("pt")), float(attributes["height"].removesuffix("pt"))
        except FileNotFoundError:
            raise InputError(f"{self.path} does not exist; run the notebook that draws it again") from None
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); run the notebook that draws it again") from None


def cell_link(notebook: str, commit: str, cell: str | None) -> str:
    """The cell that drew a figure in the published repository, as it was then; a commit ends in + where files differed
    from it, and the cell's id may be unknown."""
    place = f"#cell-id={cell}" if cell else ""
    then = "HEAD" if commit == "none" else commit.rstrip("+")
    url = f"{repository_url()}/blob/{then}/{NOTEBOOKS.name}/{notebook}.ipynb{place}"
    return f"[Cell in notebook {notebook[:2]}]({url}), commit `{commit[:7]}{'+' * commit.endswith('+')}`"


class Run:
    """The results and figures of one run below ``root``."""

    def __init__(self, root: Path, name: str):
        self.name, self.root = name, root
        self.results, self.figures = root / "results" / name, root / "figures" / name
        self.used: dict[tuple[str, str], float] = {}
        if not self.results.is_dir():
            raise InputError(f"there is no run '{name}' ({self.results} does not exist); `make report` makes one")

    def read(self, kind: type[Result] | type[Row]) -> Any:
        """The run's file of this kind, its numbers traced; a missing or damaged file is an InputError."""
        file = (self.results / kind.FILE).relative_to(self.root).as_posix()
        return Traced(kind.read(self.results), file, "", self.used)

    def shipped(self, kind: type[Result], folder: Path) -> Traced:
        """A file of no run, in a folder of ``results/published``, its numbers traced."""
        return Traced(kind.read(folder), f"results/published/{folder.name}/{kind.FILE}", "", self.used)

    def figure(self, name: str) -> Figure:
        """``figures/<run>/<name>.svg`` with its sidecar ``<name>.json``."""
        path = self.figures / f"{name}.svg"
        sidecar = read_json(path.with_suffix(".json"))
        try:
            alt, notebook, commit, cell = (sidecar[key] for key in ("alt", "notebook", "commit", "cell"))
        except KeyError as error:
            raise InputError(f"{path} is damaged ({error}); run the notebook that draws it again") from None
        return Figure(path, alt, cell_link(notebook, commit, cell))

    def numbers(self) -> str:
        """Every number that the report looked up, with its file and key, as JSON."""
        rows = [{"file": file, "key": key, "value": value} for (file, key), value in sorted(self.used.items())]
        return json.dumps({"run": self.name, "numbers": rows}, indent=1) + "\n"
