"""What faults are done to: each unit is a part of a run, by the real code on little data, which takes a second or two.

A unit goes on in its folder from whatever an earlier attempt left there, as the commands do.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from judge_server import JudgeServer
from training_example import CONFIG, STORIES, make_model, scorer

from pn_lib.data.cleaning import clean
from pn_lib.data.corpora import load_corpus
from pn_lib.data.stories import iterate, write_parquet
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.judge import Sample, grading
from pn_lib.evaluation.judge_settings import Judge
from pn_lib.evaluation.judging import JudgeLog, Judging
from pn_lib.files import write_json, write_text
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run import publish as publish_module
from pn_lib.run import report as report_module
from pn_lib.run.frontier import FrontierModel, train_packed
from pn_lib.run.pipeline import Pipeline
from pn_lib.run.stages import load_stages
from pn_lib.training.config import TrainingConfig
from pn_lib.training.experiment import Experiment
from pn_lib.training.loop import train
from pn_lib.training.study import run_study

RUN = "smoke-pocket"
SAME = ("name", "seed", "parameters", "tokens", "steps", "bits_per_byte", "nats_per_token", "told", "curve")
SHORT = TrainingConfig(tokens=12 * 64, batch_size=4, context=16, precision="float32", evals=3, checkpoint_every=2)
NOTEBOOKS = {  # name: what it does with the folder of results, what it reads, what it writes
    "01_first": ("write_json(folder / 'a.json', {'value': 0 + 1})", [], ["a.json"]),
    "02_second": (
        "write_json(folder / 'b.json', {'value': read_json(folder / 'a.json')['value'] + 1})\n"
        "figure = folder.parents[1] / 'figures' / folder.name / 'f'\n"
        "for ending in ('.json', '.svg', '.png'):\n"
        "    write_json(figure.with_suffix(ending), {'notebook': '02_second'})",
        ["a.json"],
        ["b.json"],
    ),
}
BUILD = """
import os, sys
from pathlib import Path
from pn_lib.files import write_text
root = Path(os.environ["PN_ROOT"])
for name in ("report.html", "report.pdf", "numbers.json"):
    write_text(root / "report" / sys.argv[1] / name, (root / "results" / sys.argv[1] / "b.json").read_text())
"""


@dataclass(frozen=True)
class Unit:
    """``prepare`` makes its inputs, of a ``seed``; ``run`` its results, which the patterns in ``results`` find and
    which are the same byte for byte each time; ``made`` finds all that it keeps and may be damaged."""

    prepare: Callable[[Path, int], None]
    run: Callable[[Path], None]
    results: tuple[str, ...]
    made: tuple[str, ...]


def _tokens(folder: Path, seed: int) -> None:
    write_tokens(folder / "in" / "train", STORIES[seed % 9 :], train_tokenizer(STORIES, 280))


def _train(folder: Path) -> None:
    tokens, model = TokenFile(folder / "in" / "train"), make_model()
    done = train(model, tokens, replace(CONFIG, tokens=60 * 64), validate=scorer(tokens), folder=folder / "work")
    write_text(folder / "history.csv", done.history.to_csv())
    model.save(folder / "model")


def _study(folder: Path) -> None:
    settings = {"vocab_size": 300, "context": 16, "d_model": 16, "n_layers": 1}
    models = {"transformer": TransformerConfig(**settings, n_heads=2), "mamba": MambaConfig(**settings, d_state=4)}
    prefix = os.path.relpath(folder / "in" / "train")
    experiments = [
        Experiment(f"{name}-{seed}", model, replace(SHORT, seed=seed), prefix, prefix, stories=6, told=2)
        for name, model in models.items()
        for seed in (0, 1)
    ]
    found = run_study(experiments, folder / "experiments", "study")
    write_json(folder / "study.json", {each["name"]: {key: each[key] for key in SAME} for each in found})


def _two_splits(folder: Path, seed: int) -> None:
    for part in ("train", "validation"):
        write_parquet(folder / "in" / f"{part}.parquet", [f"{story} {part}" for story in STORIES[seed % 9 :]])


def _pack(folder: Path) -> None:
    training = replace(SHORT, quantize="int4", quantize_group=16, quantize_from=0.5)
    shape = {"d_model": 16, "n_layers": 1, "n_heads": 2, "tied_embeddings": True}
    packed = train_packed(FrontierModel("tiny", 270, shape, training), folder / "in", folder / "models")
    write_json(folder / "packed.json", packed.model.model_dump())


def _tales(folder: Path, seed: int) -> None:
    rows = [{"text": f"Tale {i + seed}. {' '.join(STORIES[: 3 + i % 5])}"} for i in range(40)]
    write_text(folder / "in" / "tales.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _collect(folder: Path) -> None:
    corpus = load_corpus("in", None, 4, 0, folder, folder / "work")
    train = list(iterate(clean(corpus.train)[0]))
    write_parquet(folder / "stories" / "train.parquet", train)
    tokenizer = train_tokenizer(train, 300)
    tokenizer.save(folder / "tokenizer")
    write_tokens(folder / "tokens" / "train", train, tokenizer)
    index = StoryIndex.build(train, folder / "index", key=corpus.fingerprint)
    copied = [index.longest_copied_span(story)._asdict() for story in iterate(corpus.validation)]
    write_json(folder / "copies.json", {"fingerprint": corpus.fingerprint, "copied": copied})


def _judge(folder: Path) -> None:
    os.environ.update(FAULTS_KEY="sk-canary-of-the-faults", NO_PROXY="127.0.0.1")
    tasks = [grading(Sample("tim", number, 0, story, story[::-1])) for number, story in enumerate(STORIES)]
    with JudgeServer(delay=0.02) as server:
        judge = Judge("tester", server.url, "m", api_key_env="FAULTS_KEY", timeout_s=5)
        judging = Judging(judge, tasks, JudgeLog(folder / "judge" / "tester.jsonl"))
        judging.collect()
    write_json(folder / "grades.json", {task.message: judging.valid(task).answer for task in tasks})


def _notebooks(folder: Path, seed: int) -> None:
    for name, (source, reads, writes) in NOTEBOOKS.items():
        source = source.replace("+ 1", f"+ {seed % 5 + 1}")
        begin = "import os\nfrom pathlib import Path\nfrom pn_lib.files import read_json, write_json\n"
        place = f"folder = Path(os.environ['PN_ROOT']) / 'results' / {RUN!r}\n"
        parameters = {"metadata": {"tags": ["parameters"]}, "source": "profile = corpus = None"}
        cells = [
            {"cell_type": "code", "execution_count": None, "outputs": [], "metadata": {}, "id": f"c{i}", **cell}
            for i, cell in enumerate((parameters, {"source": begin + place + source}))
        ]
        declared = {"reads": reads, "writes": writes, "profile": ["data"]}
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        metadata = {"pocketnarrator": declared, "kernelspec": kernel}
        notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        write_json(folder / "in" / f"{name}.ipynb", notebook)


def _run(folder: Path) -> None:
    os.environ["PN_ROOT"] = str(folder)
    write_text(folder / "in" / "build.py", BUILD)
    stages, report_module.SOURCES = load_stages(folder / "in"), folder / "in"
    pipeline = Pipeline("smoke", "pocket", lambda line: None)
    pipeline.stages, publish_module.load_stages = stages, lambda: stages
    pipeline.run()
    publish_module.publish(RUN)


def _smoke(folder: Path) -> None:
    os.environ["PN_ROOT"] = str(folder)
    Pipeline("smoke", "pocket", lambda line: print(line, file=sys.stderr)).run()


UNITS = {
    "training": Unit(_tokens, _train, ("history.csv", "model/*"), ("work/*.pt",)),
    "study": Unit(_tokens, _study, ("study.json",), ("experiments/*/*",)),
    "packed": Unit(_two_splits, _pack, ("packed.json", "models/tiny/tiny.safetensors"), ("models/tiny/*",)),
    "stories": Unit(_tales, _collect, ("copies.json", "stories/*", "tokenizer/*", "tokens/*"), ("index/*", "work/*")),
    "judge": Unit(lambda folder, seed: None, _judge, ("grades.json",), ("judge/*.jsonl",)),
    "notebooks": Unit(
        _notebooks,
        _run,
        (f"results/{RUN}/*.json", f"results/published/{RUN}/*.json", f"report/**/{RUN}/*"),
        (f"results/{RUN}/*.json", f"results/{RUN}/stages/*.json", f"report/{RUN}/*"),
    ),
    "smoke": Unit(
        lambda folder, seed: None,
        _smoke,
        (f"results/{RUN}/*.json", f"results/{RUN}/study.csv", f"results/{RUN}/training_curve.csv"),
        tuple(
            f"results/{RUN}/{each}"
            for each in ("*.json", "stages/*.json", "experiments/**/*.json", "t*/*", "models/**/*")
        ),
    ),
}


def describe(unit: Unit, folder: Path) -> dict[str, bytes]:
    """The results' files, by their paths in ``folder``."""
    found = {path for pattern in unit.results for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if not path.name.startswith(".")}
