"""Where the models of runs lie: RUN/NAME, as the commands take it, is a folder or a packed file below ``models/``."""

from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.run.stage_records import check_made
from pn_lib.run.stages import REPOSITORY, output_root

PACKED = ".safetensors"  # ending of a quantized model's file: models/NAME.safetensors


def model_source(name: str) -> Path | str:
    """Where a model is: ``name`` itself if it is a path; for RUN/NAME what ``find_model`` finds; else ``name``, which
    may be on the Hub.

    Raises:
        InputError: the run is there, but has no such model.
    """
    run, _, model = name.partition("/")
    rooms = _rooms(run)
    if Path(name).exists() or not (model and rooms):
        return name
    found = find_model(name)
    if found is None:
        there = ", ".join(sorted({each for room in rooms for each in _names(room)}))
        more = "" if rooms[0].is_relative_to(_own(run)) else ", as published; run it to have the others"
        raise InputError(f"run {run} has no model {model!r}; it has {there or 'none'}{more}")
    return found


def find_model(name: str) -> Path | None:
    """The model RUN/NAME of your own run or, failing that, of the published one: a folder with a ``config.json``, or
    the file of a quantized model. None: there is none.

    Raises:
        InputError: the model of your own run, or its tokenizer, is not as the run made it.
    """
    run, _, model = name.partition("/")
    for room in _rooms(run):
        for artifact in (f"models/{model}", f"models/{model}{PACKED}", "tokenizer"):
            check_made(room.parent, artifact)
        if (room / model / "config.json").is_file():
            return room / model
        if (room / f"{model}{PACKED}").is_file():
            return room / f"{model}{PACKED}"
    return None


def _own(run: str) -> Path:
    return output_root() / "results" / run


def _rooms(run: str) -> list[Path]:
    """The folders ``models`` of a run, your own and the published one, that there are."""
    results = (_own(run), REPOSITORY / "results" / "published" / run)
    return [folder / "models" for folder in results if (folder / "models").is_dir()]


def _names(room: Path) -> list[str]:
    """What ``find_model`` finds there; not what a folder holds of a model beside it, for other programs."""
    folders = [path.parent for path in room.rglob("config.json") if path.parent.name != "hf"]
    files = [path for path in room.rglob(f"*{PACKED}") if not (path.parent / "config.json").exists()]
    names = [path.relative_to(room).as_posix() for path in (*folders, *files)]
    return [name.removesuffix(PACKED) for name in names]
