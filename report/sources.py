"""What the report reads: a run's results and figures, where every missing or damaged value is one clear sentence."""

import csv
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pn_lib.course.pages import repository_url
from pn_lib.errors import InputError
from pn_lib.files import read_json
from pn_lib.run.stages import NOTEBOOKS

REMEDY = "run the notebook that makes it again"


class Record:
    """A JSON object or array that knows which file and key it came from.

    ``record.key`` and ``record["key"]`` give the value, nested objects as records again. A key that is missing or null
    raises; `optional` allows null, because some of the contract's values may be unknown (an interval with one seed).
    Each number handed out is noted in ``used``, which becomes ``numbers.json``.
    """

    def __init__(self, value: dict | list, file: Path, path: str, used: dict[tuple[str, str], float]):
        self._value, self._file, self._path, self._used = value, file, path, used

    def optional(self, key: str) -> object:
        """The value, or None where the file says null; the key itself must be there.

        Raises:
            InputError: the key is missing, or its value is not a finite number, text, flag, object, array or null.
        """
        where = f"{self._path}.{key}".lstrip(".")
        if not isinstance(self._value, dict) or key not in self._value:
            raise InputError(f"{self._file} has no '{where}', which the report needs; {REMEDY}")
        return self._wrap(self._value[key], where)

    def __getitem__(self, key: str) -> object:
        value = self.optional(key)
        if value is None:
            where = f"{self._path}.{key}".lstrip(".")
            raise InputError(f"{self._file}: '{where}' is null, but the report needs a value; {REMEDY}")
        return value

    def __getattr__(self, key: str) -> object:
        if key.startswith("__"):  # a protocol that Python or Jinja asks for, not a key
            raise AttributeError(key)
        return self[key]

    def __iter__(self) -> Iterator:
        """Elements of an array, keys of an object."""
        if isinstance(self._value, dict):
            return iter(self._value)
        return (self._wrap(item, f"{self._path}[{i}]") for i, item in enumerate(self._value))

    def __len__(self) -> int:
        return len(self._value)

    def _wrap(self, value: object, where: str) -> object:
        if isinstance(value, dict | list):
            return Record(value, self._file, where, self._used)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise InputError(f"{self._file}: '{where}' is {value}, not a number; {REMEDY}")
            self._used[self._file.as_posix(), where] = value
        return value


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its SVG file, size in points, and what its sidecar says."""

    path: Path
    width: float
    height: float
    alt: str
    notebook: str
    commit: str  # that drew it; with + where files differed from it
    cell: str  # id of the cell that drew it

    @property
    def url(self) -> str:
        """The cell in the published repository, as it was when it drew the figure."""
        commit = "HEAD" if self.commit == "none" else self.commit.rstrip("+")
        return f"{repository_url()}/blob/{commit}/{NOTEBOOKS.name}/{self.notebook}.ipynb#cell-id={self.cell}"


@cache
def drawing_cells(notebook: str) -> dict[str, str]:
    """By figure, the id of the cell of ``notebook`` that draws it.

    Raises:
        InputError: there is no such notebook.
    """
    found = {}
    for cell in read_json(NOTEBOOKS / f"{notebook}.ipynb")["cells"]:
        if cell["cell_type"] == "code":
            names = re.findall(r'\.save_figure\(\s*\w+,\s*"(\w+)"', "".join(cell["source"]))
            found |= dict.fromkeys(names, cell["id"])
    return found


class Run:
    """The results and figures of one run below ``root``."""

    def __init__(self, root: Path, name: str):
        self.name, self.root = name, root
        self.results, self.figures = root / "results" / name, root / "figures" / name
        self.used: dict[tuple[str, str], float] = {}
        if not self.results.is_dir():
            raise InputError(f"there is no run '{name}' ({self.results} does not exist); `make report` makes one")

    def json(self, name: str) -> Record:
        """``results/<run>/<name>.json``; a missing or damaged file is an InputError."""
        path = self.results / f"{name}.json"
        return Record(read_json(path), self._shown(path), "", self.used)

    def optional_json(self, name: str) -> Record | None:
        """`json`, or None where the run has no such file."""
        return self.json(name) if (self.results / f"{name}.json").exists() else None

    def csv(self, name: str, columns: dict[str, type]) -> Record:
        """``results/<run>/<name>.csv`` as an array of rows with these columns, each turned into its type."""
        path = self.results / f"{name}.csv"
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream, restval=""))
            typed = [{key: kind(row[key]) for key, kind in columns.items()} for row in rows]
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; {REMEDY}") from None
        except KeyError as error:
            raise InputError(f"{path} has no column {error}, which the report needs; {REMEDY}") from None
        except (ValueError, TypeError, csv.Error) as error:
            raise InputError(f"{path} is damaged ({error}); delete it and {REMEDY}") from None
        if not typed:
            raise InputError(f"{path} has no rows; delete it and {REMEDY}")
        return Record(typed, self._shown(path), "", self.used)

    def figure(self, name: str) -> Figure:
        """``figures/<run>/<name>.svg`` with its sidecar ``<name>.json``."""
        path = self.figures / f"{name}.svg"
        sidecar = Record(read_json(path.with_suffix(".json")), self._shown(path.with_suffix(".json")), "", {})
        try:
            attributes = ElementTree.parse(path).getroot().attrib
            width, height = (float(re.sub("pt$", "", attributes[side])) for side in ("width", "height"))
        except FileNotFoundError:
            raise InputError(f"{path} does not exist; {REMEDY}") from None
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it and {REMEDY}") from None
        cells = drawing_cells(sidecar.notebook)
        if name not in cells:
            raise InputError(f"notebook {sidecar.notebook} no longer draws {path}; {REMEDY}")
        return Figure(path, width, height, sidecar.alt, sidecar.notebook, sidecar.commit, cells[name])

    def numbers(self) -> str:
        """Every number that the report looked up, with its file and key, as JSON."""
        rows = [{"file": file, "key": key, "value": value} for (file, key), value in sorted(self.used.items())]
        return json.dumps({"run": self.name, "numbers": rows}, indent=1) + "\n"

    def _shown(self, path: Path) -> Path:
        """Paths in messages and in ``numbers.json`` start at the root, so that they are the same on any machine."""
        return path.relative_to(self.root)
