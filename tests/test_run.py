"""A run as a notebook sees it: declared artifacts, results, figures, work folder."""

import json
import os
import shlex
import sys
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import papermill
import pytest
import torch
import transformers
from papermill.exceptions import PapermillExecutionError

from pn_lib.cli.options import corpus_argument
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import write_tokens
from pn_lib.errors import InputError
from pn_lib.evaluation.intervals import Interval
from pn_lib.files import write_json, write_text
from pn_lib.models.likelihood import likelihood
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run import run as run_module
from pn_lib.run import surroundings
from pn_lib.run.model_folder import keep_model
from pn_lib.run.plotting import LiveCurve, draw_png, use_style
from pn_lib.run.profile import load_profile
from pn_lib.run.results.data_results import DataResult
from pn_lib.run.results.result import Result, Row
from pn_lib.run.run import open_run
from pn_lib.run.stage_records import note_by_hand, note_made
from pn_lib.run.stages import REPOSITORY, covers, load_stages, maker
from pn_lib.training.config import TrainingConfig

PUBLISHED = REPOSITORY / "results" / "published" / "quick-pocket"


class Measured(Result):
    FILE = "b.json"
    x: int


class Clock(Result):
    FILE = "timings/b.json"
    seconds: float


class Line(Row):
    FILE = "b.csv"
    a: int


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """Two declared notebooks without content, in place of the course's."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, reads, writes in [
        ("01_a", [], ["stories", "data.json"]),
        ("02_b", ["stories"], ["b.json", "timings/b.json", "b.csv"]),
    ]:
        cell = nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["parameters"]})
        declared = {"pocketnarrator": {"reads": reads, "writes": writes, "profile": ["data", "study.seeds"]}}
        notebook = nbformat.v4.new_notebook(cells=[cell], metadata=declared)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    loaded = load_stages(folder)
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    monkeypatch.setattr(run_module, "load_stages", lambda: loaded)
    return loaded


def test_only_declared_artifacts_are_given_and_missing_ones_name_their_maker(stages):
    run = open_run("smoke", "pocket", "02_b")
    assert run.name == "smoke-pocket"
    with pytest.raises(InputError, match=r"run notebook 01_a first, .* --profile smoke --corpus pocket$"):
        run.path("stories/train.parquet")
    with pytest.raises(InputError, match="does not declare"):
        run.path("data.json")
    run.save(Measured(x=1))
    assert run.read(Measured) == Measured(x=1)
    run.save(Clock(seconds=2.5))
    run.save_table(Line, pd.DataFrame({"a": [1, 2]}))
    assert (run.results / "b.csv").read_bytes() == b"a\n1\n2\n"
    with pytest.raises(InputError, match="no notebook named"):
        open_run("smoke", "pocket", "09_z")


def test_an_artifact_that_was_replaced_is_not_read(stages):
    run = open_run("smoke", "pocket", "02_b")
    story = run.results / "stories" / "train.parquet"
    write_text(story, "one")
    note_made(run.results, "01_a", "key", [story.parent])
    write_text(story.parent / ".DS_Store", "left by a file manager")
    write_text(story.parent / "notes.txt", "left by a reader")
    assert run.path("stories/train.parquet") == story and run.path("stories") == story.parent
    write_text(story, "two")
    with pytest.raises(InputError, match=r"train\.parquet is not what 01_a made"):
        run.path("stories/train.parquet")
    note_by_hand(run.results, "01_a")
    assert run.path("stories/train.parquet") == story


def test_the_command_for_what_is_missing_makes_the_very_run(stages, tmp_path, monkeypatch):
    """From any folder, whatever the notebook's profile and corpus are."""
    settings, stories = tmp_path / "my own.toml", tmp_path / "tales" / "turtles.txt"
    settings.write_text("seed = 1\n")
    stories.parent.mkdir()
    stories.write_text("Once upon a time.\n")
    run = open_run(str(settings), "tales/turtles.txt", "02_b")
    with pytest.raises(InputError) as caught:
        run.path("stories")
    python, *command = shlex.split(str(caught.value).partition("in a terminal: ")[2])
    assert python == sys.executable
    assert command == ["-m", "pn_lib", "run", "--profile", str(settings), "--corpus", str(stories)]
    monkeypatch.chdir(stories.parent)
    assert run_module.run_name(load_profile(command[4]).name, corpus_argument(command[6])) == run.name


def test_a_notebook_wants_the_pn_lib_of_its_own_repository(stages, tmp_path, monkeypatch):
    other = tmp_path / "clone"
    (other / "pn_lib").mkdir(parents=True)
    (other / "pn_lib" / "__init__.py").touch()
    (other / "notebooks").mkdir()
    monkeypatch.chdir(other / "notebooks")
    with pytest.raises(
        InputError, match=f"this notebook lies in {other}, but its kernel has the pn_lib of {REPOSITORY};"
    ):
        open_run("smoke", "pocket", "01_a")
    (other / "pn_lib" / "__init__.py").unlink()
    assert open_run("smoke", "pocket", "01_a").name == "smoke-pocket"


def test_little_memory_is_said_before_it_is_too_little(stages, tmp_path, monkeypatch, capsys):
    for name in ("CI", "PN_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(surroundings, "PUBLISHED", tmp_path)
    write_json(tmp_path / "smoke-pocket" / "timings" / "stages.json", {"peak_memory_mb": 1200})
    little = "0.8 GB of memory are free, and notebooks of profile smoke took up to 1.2 GB"
    for free, said in ((2e9, ""), (0.8e9, little)):
        monkeypatch.setattr(surroundings, "available_memory", lambda free=free: free)
        open_run("smoke", "pocket", "01_a")
        heard = capsys.readouterr().err
        assert heard.startswith(said) and bool(heard) == bool(said)
    open_run("quick", "pocket", "01_a")  # never measured
    assert not capsys.readouterr().err


def test_only_declared_sections_of_the_profile_are_given(stages):
    run = open_run("smoke", "pocket", "02_b")
    whole = load_profile("smoke")
    assert (run.profile.name, run.profile.seed, run.profile.data) == ("smoke", whole.seed, whole.data)
    assert run.profile.study.seeds == whole.study.seeds
    for read, path in (
        (lambda profile: profile.tokenizer, "tokenizer"),
        (lambda profile: profile.study.tokens, r"study\.tokens"),
    ):
        with pytest.raises(InputError, match=f"02_b reads '{path}' of the profile, .* does not declare"):
            read(run.profile)
    with pytest.raises(AttributeError):
        _ = run.profile.no_such_section


def test_a_declared_section_that_no_profile_has_is_named(stages, monkeypatch):
    wrong = [replace(stage, profile=("data.colour",)) for stage in stages]
    monkeypatch.setattr(run_module, "load_stages", lambda: wrong)
    with pytest.raises(
        InputError, match=r"01_a declares that it reads 'data\.colour' of the profile, which has no 'colour'"
    ):
        open_run("smoke", "pocket", "01_a")


def test_a_kept_model_opens_in_transformers_and_its_card_says_what_it_is(tmp_path, monkeypatch):
    """As notebook 04 keeps its Transformer: the folder hf/ is enough, and gives the same logits."""
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    run = open_run("smoke", "pocket", "04_transformer_training")
    stories = ["Once upon a time there was a red kite. Mia was happy.", "Tom lost his ball. Mia found it."]
    tokenizer = train_tokenizer(stories, 300)
    DataResult.read(PUBLISHED).write(run.results / DataResult.FILE)
    for name in ("tokenizer/none", "tokens/none"):
        write_json(run.results / name, {})
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(tokenizer.vocab_size, context=32, d_model=16, n_layers=1, n_heads=2)).eval()
    tokens = write_tokens(tmp_path / "validation", stories, tokenizer)
    config = TrainingConfig(tokens=2048, batch_size=4, context=32)
    score = likelihood(model, tokens, context=32)
    folder = keep_model(run, "transformer", model, tokenizer, config, score, Interval(score.bits_per_byte, 1.0, 9.0))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = transformers.AutoTokenizer.from_pretrained(folder)(stories[0], return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == tokenizer.encode(stories[0])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids[:, :20]).logits, model(ids[:, :20]), rtol=0, atol=1e-4)
    text = (folder / "README.md").read_text(encoding="utf-8")
    for said in ("CC0-1.0", "2,048 tokens", f"{score.bits_per_byte:.3f}", "2 validation stories", "license: mit"):
        assert said in text, said


def test_a_misspelled_parameter_of_papermill_is_an_error(stages, tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    parameters = nbformat.v4.new_code_cell("profile = corpus = None", metadata={"tags": ["parameters"]})
    source = "from pn_lib.run.run import open_run\nopen_run('smoke', 'pocket', '01_data_exploration')"
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[parameters, nbformat.v4.new_code_cell(source)],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        ),
        tmp_path / "a.ipynb",
    )

    def run(**given: str) -> None:
        papermill.execute_notebook(tmp_path / "a.ipynb", tmp_path / "b.ipynb", given, progress_bar=False)

    with pytest.raises(PapermillExecutionError, match=r"has a parameter 'profil'.*did you mean 'profile'\?"):
        run(profil="smoke")
    run(profile="smoke", corpus="pocket")


def test_artifacts_are_found_by_folder(stages):
    assert covers("stories", "stories/train.parquet") and not covers("stories", "stories2")
    assert maker("stories/train.parquet", stages).name == "01_a"
    assert maker("nothing", stages) is None


def test_figures_are_the_same_bytes_each_time_and_carry_their_origin(stages):
    use_style()
    run = open_run("smoke", "pocket", "01_a")
    pictures = []
    for _ in range(2):
        figure, axes = plt.subplots()
        axes.plot([1, 2], [3, 4], label="a")
        axes.legend()
        run.save_figure(figure, "line", alt="a rising line")
        plt.close(figure)
        pictures.append([(run.figures / f"line.{end}").read_bytes() for end in ("svg", "png", "json")])
    assert pictures[0] == pictures[1]
    sidecar = json.loads(pictures[0][2])
    assert (sidecar["notebook"], sidecar["alt"]) == ("01_a", "a rising line")
    assert sidecar["parameters"] == {"profile": "smoke", "corpus": "pocket"} and sidecar["cell"] is None


def test_a_figure_knows_the_cell_that_drew_it(stages, monkeypatch):
    path = open_run("smoke", "pocket", "01_a").stage.path
    (cell,) = nbformat.read(path, as_version=4).cells
    for ran, expected in ((cell.source, cell.id), ("edited and not saved", None)):
        shell = SimpleNamespace(history_manager=SimpleNamespace(input_hist_raw=["", "before", ran]))
        monkeypatch.setattr(run_module, "get_ipython", lambda shell=shell: shell)
        assert run_module.executing_cell(path) == expected


def test_a_figure_is_drawn_anew_only_when_it_has_changed():
    use_style()
    figure, axes = plt.subplots()
    axes.plot([1, 2], [3, 4])
    first = draw_png(figure)
    assert draw_png(figure) is first
    axes.set_title("more")
    assert draw_png(figure) != first
    plt.close(figure)


def test_work_is_kept_while_nothing_changed_and_wiped_when_the_profile_did(stages, tmp_path):
    settings = tmp_path / "mine.toml"
    settings.write_text("seed = 1\n")
    run = open_run(str(settings), "pocket", "01_a")
    (run.work / "checkpoint").write_text("half")
    assert (open_run(str(settings), "pocket", "01_a").work / "checkpoint").exists()
    settings.write_text("seed = 2\n")
    assert not (open_run(str(settings), "pocket", "01_a").work / "checkpoint").exists()


def test_the_live_curve_is_silent_where_nobody_watches(monkeypatch):
    monkeypatch.setenv("CI", "true")
    use_style()
    curve = LiveCurve(100)
    curve(pd.DataFrame({"tokens": [50], "bits_per_byte": [1.0]}))
    assert curve.handle is None
    figure = curve.draw(pd.DataFrame({"tokens": [50], "bits_per_byte": [1.0]}))
    assert "50%" in figure.axes[0].get_title(loc="left")
    plt.close(figure)


def test_the_memory_that_is_left_is_some_and_no_more_than_the_machine_has():
    assert 0 < surroundings.available_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
