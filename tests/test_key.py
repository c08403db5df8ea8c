"""One key: after which edits which stages, experiments, indexes and trainings are made again, and after which none.

Each edit is made to a copy of the package and of the notebooks, in which the real keys then look.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from functools import reduce
from pathlib import Path

import pytest
from training_example import CONFIG, assert_same, make_model, scorer

from pn_lib import key
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.files import write_json
from pn_lib.models.mamba import MambaConfig
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run import report, stages
from pn_lib.run.profile import load_profile
from pn_lib.run.sections import Sections
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY, load_stages, stage_key
from pn_lib.training.experiment import Experiment
from pn_lib.training.loop import train

NUMBERS = tuple(f"{i:02}" for i in range(1, 12))
TRAINING = "04", "05", "07", "08", "10", "11"  # 06 trains nothing, 09 has a loop of its own
BUDGETED = TRAINING[:-1]  # 11 has budgets of its own
KERNEL = "pn_lib/models/cpu/scan_kernels.py"
BLOCKS = "pn_lib/models/cpu/block_kernels.py"
PROFILE = "profiles/smoke.toml"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The folder of a copy, in which keys look for code."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(key.ROOT / "pn_lib", folder / "pn_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name, source in (("notebooks", NOTEBOOKS), ("report", report.SOURCES)):
        (folder / name).mkdir()
        for path in source.glob("*.*"):
            shutil.copy(path, folder / name)
    shutil.copytree(REPOSITORY / "pn_lib" / "run" / "profiles", folder / "profiles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key, "ROOT", folder)
        patch.setattr(report, "SOURCES", folder / "report")
        yield folder


@contextmanager
def edited(path: Path, edit: Callable[[str], str]):
    before = path.read_text(encoding="utf-8")
    assert edit(before) != before, f"the edit of {path.name} finds nothing to change"
    path.write_text(edit(before), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def comment(text: str) -> str:
    return text + "# a remark\n"


def constant(text: str) -> str:
    return re.sub(r"(?m)^([A-Z_]+ = )(\d+)", r"\g<1>1\2", text, count=1)


def statement(text: str) -> str:
    return text + "print()\n"


def docstrings(text: str) -> str:
    return re.sub(r'"""(\w)', r'"""Once more: \1', text)


def replaced(pattern: str, new: str) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, new, text, count=1)


def stage_keys(house: Path, with_notebook: bool = True, profile: str | None = None) -> dict[str, str]:
    settings, nothing = load_profile(profile or str(house / PROFILE)), house / "results"
    return {
        stage.name[:2]: stage_key(stage, settings, "pocket", nothing, with_notebook=with_notebook)
        for stage in load_stages(house / "notebooks")
    }


@pytest.fixture
def experiments(prefix):
    models = TransformerConfig(vocab_size=300, context=16), MambaConfig(vocab_size=300, context=16)
    return [Experiment("e", model, CONFIG, str(prefix), str(prefix)) for model in models]


# An edit of a file, the stages that run again for it, and whether experiments do. That a stage's changed artifacts run
# others again is tested in test_pipeline.py.
EDITS = {
    "a comment in a kernel": (KERNEL, comment, [], False),
    "docstrings of kernels": (KERNEL, docstrings, [], False),
    "blank lines in a model": ("pn_lib/models/mamba.py", replaced("\n", "\n\n\n"), [], False),
    "a constant in a kernel": (BLOCKS, constant, NUMBERS[1:], True),
    "a constant in a module that functions import": (
        "pn_lib/models/cpu/attention_kernels.py",
        constant,
        NUMBERS[1:],
        True,
    ),
    "a constant that decides a precision": ("pn_lib/hardware.py", statement, NUMBERS[1:], True),
    "how a figure is drawn": ("pn_lib/run/plotting.py", replaced("#[0-9a-f]{6}", "#123456"), NUMBERS, False),
    "a cleaning rule": ("pn_lib/data/cleaning.py", statement, ["01"], False),
    "llama2.c's format": ("pn_lib/models/llama2c.py", statement, ["05", "06", "08", "10", "11"], False),
    "how an exercise is checked": ("pn_lib/course/checks/tokenizer_training.py", statement, ["02"], False),
    "words of the Pocket stories": (
        "pn_lib/data/pocket/words.toml",
        comment,
        ["01", "02", "05", "08", "10"],
        False,
    ),
    "probes of facts": ("pn_lib/evaluation/probe_data/facts.jsonl", lambda text: text[1:], ["05", "10"], False),
    "the training loop": ("pn_lib/training/loop.py", statement, TRAINING, True),
    "a package's __init__": (
        "pn_lib/evaluation/__init__.py",
        statement,
        ["03", "04", "05", "06", "07", "08", "10", "11"],
        False,
    ),
    "a command": ("pn_lib/run/commands/evaluate_command.py", statement, [], False),
    "the pipeline": ("pn_lib/run/pipeline.py", statement, [], False),
    "a profile's file that is not this run's": ("pn_lib/run/profiles/smoke.toml", comment, [], False),
    "a notebook's sentence": (
        "notebooks/03_transformer_construction.ipynb",
        replaced(r"## 3\.", "## 3,"),
        ["03"],
        False,
    ),
    "a notebook's stored output": ("notebooks/01_data_exploration.ipynb", replaced('"text": ', '"text" : '), [], False),
    "[data] train_stories": (PROFILE, replaced("train_stories = ", "train_stories = 1"), ["01"], False),
    "[mixers] seeds": (PROFILE, replaced(r"(?s)(\[mixers\].*?seeds = )", r"\g<1>1"), ["10"], False),
    "[training]": (PROFILE, replaced(r"\[training\]\n", "[training]\nema_decay = 0.5\n"), BUDGETED, False),
    "[training] context": (
        PROFILE,
        replaced(r"(?s)(\[training\].*?context = )", r"\g<1>1"),
        ("02", "03", *BUDGETED),
        False,
    ),
    "seed": (PROFILE, lambda text: "seed = 9\n" + text, NUMBERS, False),
}


@pytest.fixture(scope="module")
def before(house):
    return stage_keys(house)


@pytest.mark.parametrize("what", EDITS)
def test_what_runs_again(house, before, experiments, what):
    file, edit, numbers, trains = EDITS[what]
    trained = [experiment.key() for experiment in experiments]
    with edited(house / file, edit):
        after = stage_keys(house)
        again = [experiment.key() != old for experiment, old in zip(experiments, trained, strict=True)]
    assert [number for number in after if after[number] != before[number]] == list(numbers)
    assert again == [trains, trains]
    assert stage_keys(house) == before


def test_unfinished_work_outlives_an_edit_of_the_notebook_alone(house):
    before = stage_keys(house, with_notebook=False)
    with edited(house / "notebooks" / "04_transformer_training.ipynb", replaced(r"## 4\.", "## 4,")):
        assert stage_keys(house, with_notebook=False) == before
    with edited(house / BLOCKS, constant):
        assert stage_keys(house, with_notebook=False)["04"] != before["04"]


def test_a_reference_run_published_anew_is_shown_anew_beside_smaller_runs_alone(house, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "REFERENCE", tmp_path / stages.REFERENCE.name)
    file = stages.REFERENCE / "timings" / "mixers.json"
    file.parent.mkdir(parents=True)
    found = []
    for text in ("{}", '{"seeds": 3}'):
        file.write_text(text, encoding="utf-8")
        found.append(stage_keys(house) | {"large": stage_keys(house, profile="overnight")})
    assert [name for name in found[0] if found[0][name] != found[1][name]] == list(TRAINING)


@pytest.mark.parametrize("stage", load_stages(), ids=lambda stage: stage.name)
def test_each_notebook_declares_the_sections_that_its_cells_read(stage):
    """The guard says so too, but only once a notebook has come to the cell."""
    profile = Sections(load_profile("smoke"), stage.profile, stage.name)
    read = set(re.findall(r"\brun\.profile\.([\w.]*\w)", stage.source))
    for path in read:
        assert reduce(getattr, path.split("."), profile) is not None
    roots = {path.split(".")[0] for path in stage.profile}
    assert roots == {path.split(".")[0] for path in read} - {"seed"}
    assert list(stage.profile) == sorted(set(stage.profile))


def test_data_exploration_and_report_know_no_model(house):
    used = {*key.code(load_stages()[0].imports)}
    for path in (house / "report").glob("*.py"):
        used |= {*key.code(key.imports(path.read_text(encoding="utf-8")))}
    assert not [name for name in used if name.startswith("pn_lib.models.")]


def test_the_report_is_made_again_when_its_sources_or_the_run_changed(house, tmp_path):
    results, figures = tmp_path / "results", tmp_path / "figures"
    files = {
        results / "run.json": True,
        results / "timings" / "zoo.json": True,
        figures / "curve.json": True,
        results / "experiments" / "e" / "result.json": False,
        results / "stages" / "report.json": False,
    }
    for path in files:
        write_json(path, {"mamba": {"seeds": 2}})
    before = report.report_key(results, figures)
    for path, counts in files.items():
        with edited(path, replaced("2", "3")):
            assert (report.report_key(results, figures) != before) == counts, path
    for file, edit, counts in (
        ("report/wording.py", comment, True),
        ("pn_lib/evaluation/measures.py", statement, True),
        ("pn_lib/evaluation/measures.py", comment, False),
    ):
        with edited(house / file, edit):
            assert (report.report_key(results, figures) != before) == counts, file
    assert report.report_key(results, figures) == before


def test_an_index_is_built_again_when_its_code_changed(house, tmp_path):
    def read(story: str) -> int:
        return len(StoryIndex.build([story], tmp_path, key="the same").vocabulary)

    assert [read("Tim ran"), read("Tim ran far away")] == [2, 2]
    with edited(house / "pn_lib/evaluation/diversity.py", comment):
        assert read("Tim ran far away") == 2
    with edited(house / "pn_lib/evaluation/diversity.py", constant):
        assert read("Tim ran far away") == 4


def test_a_checkpoint_of_other_code_is_not_gone_on_from(house, tokens, straight, tmp_path):
    def resumed_from() -> int:
        model = make_model()
        done = train(model, tokens, CONFIG, validate=scorer(tokens), folder=tmp_path)
        assert_same(model, done.history, *straight)
        return done.resumed_from

    assert [resumed_from(), resumed_from()] == [0, CONFIG.steps]
    with edited(house / KERNEL, comment):
        assert resumed_from() == CONFIG.steps
    for file in ("pn_lib/training/loop.py", "pn_lib/models/transformer.py", BLOCKS):
        with edited(house / file, statement):
            assert resumed_from() == 0, file


def test_what_is_kept_is_read_under_its_key_alone_and_never_damaged(tmp_path, caplog):
    path, value = tmp_path / "kept.json", {"loss": 0.1 + 0.2, "curve": (1, 2), "by size": {3: None}}
    read = {"loss": 0.1 + 0.2, "curve": [1, 2], "by size": {"3": None}}
    assert key.kept(path, "k") is None
    key.keep(path, "k", value)
    assert key.kept(path, "k") == key.kept(path) == read and key.kept(path, "other") is None
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert key.kept(path, "k") in (None, read), position  # a bit of a space between values says nothing
    assert "kept.json is damaged (its digest is of something else); it is made anew" in caplog.text
    path.write_text('{"key": "k", "loss": 0.3}')  # of an older version
    assert key.kept(path, "k") is None and key.read_kept(path)["loss"] == 0.3


def test_keys_are_of_values_and_not_of_their_order():
    assert key.make_key({"a": 1, "b": [1, 2]}) == key.make_key({"b": [1, 2], "a": 1})
    assert key.make_key({"a": 1}) != key.make_key({"a": 2})


def test_imports_are_found_wherever_they_stand():
    source = "import os, pn_lib.files\ndef f():\n    if 1:\n        from pn_lib.models import scan as s\n"
    assert key.imports(source) == {"pn_lib.files", "pn_lib.models", "pn_lib.models.scan"}
    found = key.code(key.imports(source) | {"pn_lib.no_such_module", "numpy"})
    assert {"pn_lib", "pn_lib.files", "pn_lib.errors", "pn_lib.models.scan"} <= set(found)
    assert not {"pn_lib.no_such_module", "numpy", "", "pn_lib.models.mamba"} & set(found)


def test_no_module_imports_by_dots():
    """Such imports would be overlooked."""
    assert not [path for path in (key.ROOT / "pn_lib").rglob("*.py") if re.search(r"(?m)^\s*from \.", path.read_text())]
