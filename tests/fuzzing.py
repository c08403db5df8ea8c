"""Readers of what comes from outside, each with whole files that it reads, and how those files are spoiled."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from judge_server import BAD_REPLIES, LOOSE_REPLIES
from safetensors.torch import load_file
from training_example import STORIES, make_model

from pn_lib import cli
from pn_lib.data.stories import read_stories, write_parquet
from pn_lib.data.story_files import Naming, open_stories
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.data.tokens import TokenFile, batch, write_tokens
from pn_lib.errors import InputError
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.judge import GRADES
from pn_lib.evaluation.judge_reply import ReplyError, read_answer
from pn_lib.evaluation.judge_settings import load_judge
from pn_lib.evaluation.judging import JudgeLog
from pn_lib.key import keep, read_kept
from pn_lib.models.export import export_transformers
from pn_lib.models.grid import Grid
from pn_lib.models.llama2c import export_llama2c
from pn_lib.models.loading import open_model
from pn_lib.models.packed import load_packed, save_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.commands.judge_command import read_samples
from pn_lib.run.commands.judge_prompts import read_prompts
from pn_lib.run.profile import load_profile
from pn_lib.run.profile_models import check_models
from pn_lib.run.results.catalogue import CATALOGUE
from pn_lib.run.run import check_parameters
from pn_lib.run.stages import REPOSITORY, load_stages
from pn_lib.training.checkpoint import load_checkpoint, save_checkpoint

NASTY = [
    b"null", b"true", b"-1", b"0", b"1e999", b"-1e-400", b"NaN", b"99999999999999999999", b"4294967296", b'"\\ud800"',
    b"[]", b"{}", b'""', b"[" * 5000, b"{" * 200, b'"', b",", b"\n", b"\r\n\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    "\u202e".encode(), b"../../../../tmp/x", b"__class__", b"%s%n", b"=cmd|' /C calc'!A0", b"\xff\xff\xff\x7f", b"'''",
]  # fmt: skip
PUBLISHED = REPOSITORY / "results" / "published" / "quick-pocket"


def spoiled(rng: random.Random, whole: bytes, others: list[bytes]) -> bytes:
    """``whole`` with one to four changes of the kinds that accidents and attackers make."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        other = rng.choice(others)
        match rng.randrange(9):
            case 0:
                del data[at:]
            case 1:
                del data[at : min(end, at + rng.randrange(1, 64))]
            case 2 | 3:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 4:
                data[at:at] = data[at : min(end, at + 4096)] * rng.randrange(1, 4)
            case 5:
                data[at:end] = other[at:end]
            case 6:
                data[at:at] = rng.choice(NASTY)
            case _:  # a whole value, where the file is a text
                spots = [m.span() for m in re.finditer(rb'-?\d[\d.e+-]*|"[^"\n]*"|true|false|null', data)]
                first, last = rng.choice(spots) if spots else (at, at + 1)
                data[first:last] = rng.choice(NASTY)
    return bytes(data)


class Reader(NamedTuple):
    """``make`` fills a folder with whole files; one of those that ``spoils`` finds is spoiled; ``read`` reads them and
    does a little with what it has read. ``ends`` are the ways in which it may refuse."""

    make: Callable[[Path], Any]
    spoils: str
    read: Callable[[Path], Any]
    ends: tuple[type[Exception], ...] = (InputError,)


def _text(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def _corpus(name: str) -> Callable[[Path], Any]:
    return lambda folder: sum(map(len, filter(None, open_stories(folder / name, Naming()).stories())))


def _tables(folder: Path) -> None:
    pd.DataFrame({"text": STORIES, "n": range(len(STORIES))}).to_csv(folder / "a.csv", index=False)


def _tokens(folder: Path) -> None:
    write_tokens(folder / "train", STORIES, train_tokenizer(STORIES, 280))


def _read_tokens(folder: Path) -> None:
    tokens = TokenFile(folder / "train")
    for i in range(len(tokens)):
        tokens.story(i)
    assert tokens.separator_id >= 0 and batch(tokens, 2, 8, 0, 0)[0].shape == (2, 8)


def _tokenizer() -> Tokenizer:
    return train_tokenizer(STORIES, 280)


def _read_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.load(folder)
    tokenizer.decode(tokenizer.encode(STORIES[0])[:9])


def _small(**options) -> Transformer:
    torch.manual_seed(0)
    shape = {"context": 16, "d_model": 16, "n_layers": 1, "n_heads": 2}
    return Transformer(TransformerConfig(_tokenizer().vocab_size, **shape, **options)).eval()


def _ours(folder: Path) -> None:
    _small().save(folder)
    _tokenizer().save(folder)


def _pickled(folder: Path) -> None:
    export_transformers(_small(), _tokenizer(), folder)
    model = folder / "model.safetensors"

    torch.save(load_file(model), folder / "pytorch_model.bin")
    model.unlink()


def _open(folder: Path) -> None:
    _ask(*open_model(folder))


def _ask(model, coder) -> None:
    ids = coder.encode("Tim ran.")[:8] or [0]
    with torch.no_grad():
        model(torch.tensor([ids]))
    coder.decode(ids)


def _open_llama2c(folder: Path) -> None:
    [file] = [path for path in folder.glob("*.bin") if not path.name.startswith("tok")]
    _ask(*open_model(file))


def _pack(folder: Path) -> None:
    save_packed(quantize(_small(tied_embeddings=True), Grid("int4", 16)), _tokenizer(), folder / "tiny.safetensors")


def _replies(folder: Path) -> None:
    for name, text in (LOOSE_REPLIES | BAD_REPLIES).items():
        (folder / name).write_text(text)


def _read_replies(folder: Path) -> None:
    for path in folder.iterdir():
        try:
            read_answer(path.read_text(errors="replace"), GRADES.reply)
        except ReplyError as error:
            assert str(error)


def _log(folder: Path) -> None:
    line = {
        "sample": "s", "message": "m", "judge": "j", "rubric": "r", "repeat": 0, "outcome": "valid",
        "answer": {"plot": 3}, "problem": None, "reply": "{}", "model": "m", "tokens_in": 3, "tokens_out": 4,
        "counted": True, "time": "now",
    }  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(line | {"repeat": i}) + "\n" for i in range(3)))


def _results(folder: Path) -> None:
    for kind in CATALOGUE:
        if (PUBLISHED / kind.FILE).exists():
            (folder / kind.FILE).parent.mkdir(exist_ok=True)
            (folder / kind.FILE).write_bytes((PUBLISHED / kind.FILE).read_bytes())


def _read_results(folder: Path) -> None:
    for kind in CATALOGUE:
        if (folder / kind.FILE).exists():
            kind.read(folder)


def _notebook(folder: Path) -> None:
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["profile = None\n", "corpus = None"]}
    declared = {"pocketnarrator": {"reads": ["a"], "writes": ["b"], "profile": ["data"]}}
    (folder / "01_a.ipynb").write_text(json.dumps({"cells": [cell], "metadata": declared, "nbformat": 4}))


def _read_notebook(folder: Path) -> None:
    for stage in load_stages(folder):
        check_parameters(["# Parameters\n" + "".join(json.loads(stage.source)[0][1])])


def _index(folder: Path) -> None:
    StoryIndex.build(STORIES, folder)


def _search(folder: Path) -> None:
    index = StoryIndex.open(folder)
    index.longest_copied_span("Tim had a red ball"), index.nearest("Tim had a hat")


def _command(folder: Path) -> None:
    """Words that may be commands, options and their values, one a line."""
    words = (folder / "words").read_text(errors="replace").split("\n")[:8]
    if words and words[0] in ("lab", "refresh", "publish", "run", "train"):
        words = words[1:]  # these would work
    words = [word.replace("/", "-").replace("\0", "") for word in words if len(word) < 500]
    if words:
        assert cli.main(words) in (0, cli.EXIT_BAD_INPUT), words


WORDS = "generate\nsmoke-nothing\nOne day\n--temperature\n0.5\n--seed\n3\n--max-new-tokens\n1"
PROFILE = (REPOSITORY / "pn_lib/run/profiles/smoke.toml").read_text()
JUDGE = 'name = "j"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\napi_key_env = "K"\ntemperature = 0.5'
COMPLETIONS = {"beginnings": ["Tim", "Zoë"], "tellers": {"human": [[{"text": "ran."}], [{"text": "sat."}]]}}
ROWS = [{"text": story, "n": i} for i, story in enumerate(STORIES)]
READERS = {
    "profile": Reader(_text("p.toml", PROFILE), "*", lambda f: check_models(load_profile(str(f / "p.toml")))),
    "jsonl": Reader(_text("a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)), "*", _corpus("a.jsonl")),
    "json": Reader(_text("a.json", json.dumps(ROWS)), "*", _corpus("a.json")),
    "csv": Reader(_tables, "*", _corpus("a.csv")),
    "txt": Reader(_text("a.txt", "\n\n".join(STORIES)), "*", _corpus("a.txt")),
    "parquet": Reader(lambda f: write_parquet(f / "a.parquet", STORIES), "*", _corpus("a.parquet")),
    "stories": Reader(
        lambda f: write_parquet(f / "a.parquet", STORIES), "*", lambda f: [*read_stories(f / "a.parquet")]
    ),
    "tokenizer": Reader(lambda f: _tokenizer().save(f), "*", _read_tokenizer),
    "tokens": Reader(_tokens, "*", _read_tokens),
    "model": Reader(_ours, "*", _open),
    "transformers": Reader(lambda f: export_transformers(_small(), _tokenizer(), f), "*.[js]*", _open),
    "pickled": Reader(_pickled, "*.bin", _open),
    "packed": Reader(_pack, "*", lambda f: _ask(*load_packed(f / "tiny.safetensors"))),
    "llama2c": Reader(lambda f: export_llama2c(_small(activation="swiglu"), _tokenizer(), f), "*.bin", _open_llama2c),
    "checkpoint": Reader(
        lambda f: save_checkpoint(f, 3, {"step": 3, "model": make_model().state_dict()}), "*", load_checkpoint
    ),
    "kept": Reader(lambda f: keep(f / "k.json", "k", {"loss": [0.5]}), "*", lambda f: read_kept(f / "k.json")),
    "index": Reader(_index, "*", _search),
    "results": Reader(_results, "**/*.*", _read_results),
    "completions": Reader(_text("c.json", json.dumps(COMPLETIONS)), "*", lambda f: read_samples(f / "c.json")),
    "beginnings": Reader(_text("b.txt", "\n".join(STORIES)), "*", lambda f: read_prompts(str(f / "b.txt"))),
    "judge": Reader(_text("j.toml", JUDGE), "*", lambda f: load_judge(f / "j.toml")),
    "replies": Reader(_replies, "*", _read_replies),
    "log": Reader(_log, "*", lambda f: JudgeLog(f / "log.jsonl")),
    "notebook": Reader(_notebook, "*", _read_notebook),
    "command line": Reader(_text("words", WORDS), "*", _command),
}
