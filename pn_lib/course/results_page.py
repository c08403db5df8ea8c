"""The page on what a run leaves: every file with its keys, made from the descriptions of the results' fields."""

from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args, get_origin

from nbformat import NotebookNode

from pn_lib.course.pages import CONTENTS, new_page
from pn_lib.run.results.catalogue import CATALOGUE
from pn_lib.run.results.result import Estimate, Mean, Part
from pn_lib.run.stages import load_stages, maker

TITLE = """# What a run leaves

Every file below `results/<run>/`, key by key. `[]` stands for each element of a list, `*` for each key of an object. \
An estimate has three keys: `value` (or `mean`), and `low` and `high`, the ends of its 95 % interval, null where one \
seed or one story was measured. Whatever depends on the clock or the machine lies in `timings/`; the same seed and \
profile give all else again, byte for byte."""


def results_page() -> NotebookNode:
    """The notebook ``results.ipynb``."""
    stages = load_stages()
    sections = []
    for kind in CATALOGUE:
        notebook = maker(kind.FILE, stages)
        source = f"From [{notebook.name}]({notebook.path.name})." if notebook else "From a command."
        rows = "\n".join(f"| `{key}` | {meaning} |" for key, meaning in keys(kind))
        sections.append(f"## {kind.FILE}\n\n{kind.__doc__.strip()} {source}\n\n| key | meaning |\n|---|---|\n{rows}")
    return new_page("results", [f"[Contents]({CONTENTS})", TITLE, *sections])


def keys(kind: type[Part], before: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a result with its meaning, those of its parts after it; estimates are not taken apart."""
    for name, field in kind.model_fields.items():
        key = before + (field.alias or name)
        yield key, field.description
        part, step = part_of(field.annotation)
        if part not in (None, Estimate, Mean):
            yield from keys(part, f"{key}{step}.")


def part_of(annotation: Any) -> tuple[type[Part] | None, str]:
    """The part that a field holds, if any, and the step to it: "[]" in a list, ".*" in an object, "" otherwise."""
    step = {list: "[]", dict: ".*"}.get(get_origin(annotation), "")
    inner = [each for each in get_args(annotation) if each is not NoneType]
    if inner:
        part, further = part_of(inner[-1])
        return part, step + further
    return (annotation, "") if isinstance(annotation, type) and issubclass(annotation, Part) else (None, "")
