"""The story files of a path, by split: which file belongs to which, which are left out, and why."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import RepoCard

from pn_lib.data.corpus_paths import COMPRESSED, ENDINGS, SPLITS, ending
from pn_lib.errors import InputError, one_line

_SHARD = r"(?:[-_.]?\d+(?:[-_]of[-_]\d+)?)?(?:-[0-9a-f]{8,})?"  # train-00000-of-00004-2d5a1467fff1081b
_WHOLE_NAME = re.compile(rf"({'|'.join(SPLITS)}){_SHARD}")
_PART_OF_NAME = re.compile(rf"(?:(.*)[-_.])?({'|'.join(SPLITS)})(?:[-_.](.*?))?{_SHARD}")
# What lies beside data, by name, and holds no stories.
_ABOUT = re.compile(
    r"(readme|license|licence|copying|notice|changelog|requirements|dataset_infos?|dataset_dict|state|config"
    r"|metadata|package|tokenizer|tokenizer_config|generation_config|special_tokens_map|added_tokens|vocab|merges"
    r"|contributing|code_of_conduct|citation|authors|checksums?|(sha|md5)\w*sums?|readme[-_]\w+)(\.\w+)?|cache-.*"
    r"|(notes?|sources?|urls?|links?|credits|todo|manifest)\.(txt|text|md|csv|tsv)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Found:
    """The files of a corpus by split ("train" and, if there is one, "validation"), and what is left out or noted."""

    splits: dict[str, list[Path]]
    left_out: list[str]
    remarks: list[str]


def find_files(path: Path) -> Found:
    """The story files at ``path``, itself a file or a folder with them at any depth.

    In a folder, a README.md that declares its ``configs`` is followed, as on the Hub. Else splits are told by whole
    names, of files or of the folders around them (``train.jsonl``, ``train-00000-of-00002.parquet``, ``train/``), or by
    a part of the name where two differ in nothing else (``Tales-train.txt``, ``Tales-valid.txt``): a title may hold the
    word "train". Where no validation split is, a test split is taken for it.

    Raises:
        InputError: no story files, several configurations, or splits without one to train on.
    """
    if path.is_file():
        return Found({"train": [path]}, [], [])
    if not path.is_dir():
        raise InputError(f"{path} is neither a file nor a folder, but a pipe or a device; save what it gives in a file")
    declared = _declared(path)
    everything = sorted(p for p in _walk(path) if p.is_file() and not _is_hidden(p.relative_to(path)))
    files = [p for p in everything if _is_story_file(p)]
    if not files:
        names = ", ".join(p.name for p in everything[:5]) or "it is empty"
        raise InputError(f"folder {path} has no story files ({', '.join(ENDINGS)}, or compressed), but: {names}")
    splits, remarks = declared or _splits(path, files), []
    if not splits.get("train"):
        raise InputError(f"folder {path} has no training stories, only {', '.join(splits)}; name a file train-*")
    if "validation" not in splits and "test" in splits:
        splits["validation"] = splits.pop("test")
        remarks.append("there is no validation split; the test split is taken for it")
    used = {p for part in ("train", "validation") for p in splits.get(part, [])}
    reasons = dict.fromkeys(files, "no part of the set")
    reasons |= dict.fromkeys(splits.get("test", []), "of the test split, which a run has no need of")
    left_out = [
        f"{p.relative_to(path)} ({reasons.get(p, 'no stories by its name')})" for p in everything if p not in used
    ]
    return Found({part: splits[part] for part in ("train", "validation") if part in splits}, left_out, remarks)


def _walk(folder: Path) -> Iterator[Path]:
    """All that lies in a folder at any depth, behind links too, each folder once."""
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
        else:
            seen.add(real)
            yield from (Path(root) / name for name in names)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _is_story_file(path: Path) -> bool:
    return ending(path) in ENDINGS and not _ABOUT.fullmatch(path.name)


def _stem(path: Path) -> str:
    name = path.name.lower()
    for compressed in COMPRESSED:
        name = name.removesuffix(compressed)
    return name.removesuffix(ending(path))


def _splits(folder: Path, files: list[Path]) -> dict[str, list[Path]]:
    """The files by split, all "train" where their names do not tell."""
    told = {file: _split_of(file.relative_to(folder)) for file in files}
    if not any(told.values()):
        told |= _told_by_parts(files)
    elif "train" not in told.values() and None in told.values() and "validation" not in told.values():
        told = dict.fromkeys(files)  # a story called "test" among others
    splits: dict[str, list[Path]] = {}
    for file, split in told.items():
        splits.setdefault(split or "train", []).append(file)
    return splits


def _told_by_parts(files: list[Path]) -> dict[Path, str]:
    """The splits of files whose names are alike but for the name of a split, "train" among them."""
    alike: dict[tuple, dict[Path, str]] = {}
    for file in files:
        if match := _PART_OF_NAME.fullmatch(_stem(file)):
            alike.setdefault((file.parent, match[1], match[3]), {})[file] = SPLITS[match[2]]
    told: dict[Path, str] = {}
    for group in alike.values():
        if "train" in group.values() and len(set(group.values())) > 1:
            told |= group
    return told


def _split_of(path: Path) -> str | None:
    """The split that a file's whole name tells, or the name of a folder around it."""
    match = _WHOLE_NAME.fullmatch(_stem(path))
    if match:
        return SPLITS[match[1]]
    return next((SPLITS[part.lower()] for part in path.parts[-2::-1] if part.lower() in SPLITS), None)


def _declared(folder: Path) -> dict[str, list[Path]] | None:
    """The files by split that README.md declares in ``configs``, if it does."""
    readme = folder / "README.md"
    content = readme.read_text("utf-8", errors="replace") if readme.is_file() else ""
    if not content.startswith("---"):
        return None
    try:
        configs = RepoCard(content, ignore_metadata_errors=True).data.to_dict().get("configs")
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"folder {folder} has a README.md with a header that is no YAML ({one_line(error)})") from None
    configs = [c for c in configs or [] if isinstance(c, dict) and (c.get("data_files") or c.get("data_dir"))]
    if not configs:
        return None
    chosen = [c for c in configs if c.get("config_name", "default") == "default" or c.get("default")] or configs
    if len(chosen) > 1:
        files = _of_config(folder, chosen[0]).get("train") or [folder]
        raise InputError(
            f"folder {folder} holds several sets of stories, {', '.join(str(c.get('config_name')) for c in chosen)}; "
            f"give the path of one of its files or folders, such as {files[0]}"
        )
    return _of_config(folder, chosen[0])


def _of_config(folder: Path, config: dict[str, object]) -> dict[str, list[Path]]:
    """The files by split of one of README.md's ``configs``: its ``data_files``, or what lies in its ``data_dir``."""
    data_dir, data_files = config.get("data_dir") or ".", config.get("data_files")
    if not isinstance(data_dir, str) or not (folder / data_dir).is_dir():
        raise InputError(f"folder {folder} has no folder {data_dir!r}, which its README.md declares as data_dir")
    if data_files:
        return _by_split(folder / data_dir, data_files)
    return _splits(folder, sorted(p for p in _walk(folder / data_dir) if p.is_file() and _is_story_file(p)))


def _by_split(folder: Path, data_files: object) -> dict[str, list[Path]]:
    """``data_files`` as the Hub takes them: patterns, or for each split its patterns."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    if isinstance(data_files, dict):
        entries = [{"split": split, "path": patterns} for split, patterns in data_files.items()]
    splits: dict[str, list[Path]] = {}
    for entry in entries:
        split, patterns = (entry.get("split"), entry.get("path")) if isinstance(entry, dict) else ("train", entry)
        patterns = patterns if isinstance(patterns, list) else [patterns]
        if not all(isinstance(one, str) and one and not one.startswith("/") for one in (split, *patterns)):
            raise InputError(
                f"folder {folder}: data_files of its README.md are patterns of file names, or a split and its path "
                f"each, not {entry!r}"
            )
        for pattern in patterns:
            found = sorted(p for p in folder.glob(pattern) if p.is_file())
            if not found:
                raise InputError(f"folder {folder} lacks {pattern}, which its README.md declares")
            splits.setdefault(SPLITS.get(split.lower(), split), []).extend(found)
    return splits
