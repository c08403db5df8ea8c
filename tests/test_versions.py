"""What earlier versions wrote is read, or refused in one sentence, and never read as something else.

Each folder in ``tests/versions`` holds what the version of its date wrote, with what it said then. After a change of a
format, keep a new one beside them: ``python tests/test_versions.py YYYY-MM``.
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from training_example import STORIES

from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.errors import InputError
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.judging import JudgeLog, Record
from pn_lib.files import write_json
from pn_lib.key import keep, kept
from pn_lib.models.grid import Grid
from pn_lib.models.loading import open_model
from pn_lib.models.packed import save_packed
from pn_lib.models.quantize import quantize
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.results.catalogue import CATALOGUE
from pn_lib.run.stages import REPOSITORY
from pn_lib.training.checkpoint import load_checkpoint, save_checkpoint

VERSIONS = Path(__file__).parent / "versions"
PUBLISHED = REPOSITORY / "results" / "published" / "quick-pocket"
RESULTS = [kind for kind in CATALOGUE if kind.__name__ in ("RunCard", "TokenizationResult", "CurvePoint", "Machine")]
RECORD = {
    "sample": "s", "message": "m", "judge": "j", "rubric": "r", "repeat": 0, "outcome": "valid", "answer": {"plot": 3},
    "problem": None, "reply": "{}", "model": None, "tokens_in": 3, "tokens_out": 4, "counted": True, "time": "t",
}  # fmt: skip


def logits(source: Path) -> list[float]:
    """Of the first tokens, after a story's first words."""
    model, coder = open_model(source)
    with torch.no_grad():
        return model(torch.tensor([coder.encode(STORIES[0])[:8]]))[0, -1, :5].tolist()


# What is read of each file, as JSON
READ = {
    "model": logits,
    "tiny.safetensors": logits,
    "tokenizer": lambda path: Tokenizer.load(path).encode(STORIES[1]),
    "tokens": lambda path: TokenFile(path / "train").story(2).tolist(),
    "checkpoint": lambda path: load_checkpoint(path)["weight"].tolist(),
    "kept.json": lambda path: kept(path, "key"),
    "index": lambda path: StoryIndex.open(path).longest_copied_span("a red ball in the park").words,
    "judge.jsonl": lambda path: [[r.answer for r in records] for records in JudgeLog(path).records.values()],
    **{
        f"results/{kind.FILE}": lambda path, kind=kind: json.loads(
            json.dumps(kind.read(path.parents[kind.FILE.count("/")]), default=lambda part: part.model_dump())
        )
        for kind in RESULTS
    },
}


def write(folder: Path) -> None:
    """All that ``READ`` reads, as this version writes it, and ``expected.json``, what it reads."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(STORIES, 262)
    shape = {"context": 16, "d_model": 8, "n_layers": 1, "n_heads": 1, "tied_embeddings": True}
    model = Transformer(TransformerConfig(tokenizer.vocab_size, **shape)).eval()
    model.save(folder / "model")
    tokenizer.save(folder / "model")
    tokenizer.save(folder / "tokenizer")
    save_packed(quantize(model, Grid("int4", 8)), tokenizer, folder / "tiny.safetensors")
    write_tokens(folder / "tokens" / "train", STORIES, tokenizer)
    save_checkpoint(folder / "checkpoint", 3, {"step": 3, "weight": torch.arange(4.0)})
    keep(folder / "kept.json", "key", {"bits_per_byte": 0.1 + 0.2})
    StoryIndex.build(STORIES, folder / "index")
    JudgeLog(folder / "judge.jsonl").append(Record(**RECORD))
    for kind in RESULTS:
        place = folder / "results" / kind.FILE
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((PUBLISHED / kind.FILE).read_bytes())
    write_json(folder / "expected.json", {name: read(folder / name) for name, read in READ.items()})


def holds(found, expected) -> bool:
    """Whether all that was expected is there; a newer version may say more."""
    if isinstance(expected, dict):
        return all(key in found and holds(found[key], part) for key, part in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(holds, found, expected))
    return found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("version", sorted(VERSIONS.iterdir()), ids=lambda path: path.name)
def test_what_a_version_wrote_is_read_or_refused(version, name):
    expected = json.loads((version / "expected.json").read_text())[name]
    try:
        found = READ[name](version / name)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert holds(found, expected)


def test_this_version_reads_what_it_writes(tmp_path):
    write(tmp_path)
    assert json.loads((tmp_path / "expected.json").read_text())["kept.json"] == {"bits_per_byte": 0.1 + 0.2}


if __name__ == "__main__":
    write(VERSIONS / sys.argv[1])
