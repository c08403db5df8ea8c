"""The pipeline on small notebooks of its own: order, skipping, failing, resuming, locking."""

import errno
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from filelock import FileLock
from huggingface_hub import HfApi
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

from pn_lib import hardware
from pn_lib.data import corpora
from pn_lib.errors import InputError
from pn_lib.files import read_json, write_json
from pn_lib.process import usable_cores
from pn_lib.run import report as report_module
from pn_lib.run.execution import OwnKernelManager, StageError
from pn_lib.run.pipeline import Pipeline
from pn_lib.run.results.provenance import RunCard
from pn_lib.run.stage_records import check_made, check_run, note_by_hand
from pn_lib.run.stages import REPOSITORY, load_stages

FIRST = """
import json, os
from pathlib import Path
folder = Path(os.environ["PN_ROOT"]) / "results" / "smoke-pocket"
(folder / "a.json").write_text(json.dumps({"value": 1}))
"""
SECOND = """
import json, os
from pathlib import Path
folder = Path(os.environ["PN_ROOT"]) / "results" / "smoke-pocket"
value = json.loads((folder / "a.json").read_text())["value"]
(folder / "b.json").write_text(json.dumps({"value": value + 1}))
"""
REPORT = """
import os, sys
from pathlib import Path
root = Path(os.environ["PN_ROOT"])
text = (root / "results" / sys.argv[1] / "b.json").read_text()
folder = root / "report" / sys.argv[1]
folder.mkdir(parents=True, exist_ok=True)
for name in ("report.html", "report.pdf", "numbers.json"):
    (folder / name).write_text(text)
"""


def write_notebook(folder: Path, name: str, source: str, reads: list[str], writes: list[str]) -> Path:
    parameters = nbformat.v4.new_code_cell("profile = None\ncorpus = None", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(source)])
    notebook.metadata = {
        "pocketnarrator": {"reads": reads, "writes": writes, "profile": ["data"]},
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    }
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two small notebooks and a small report builder under ``tmp_path``; returns (make a pipeline, what it said)."""
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    notebooks, report = tmp_path / "notebooks", tmp_path / "report_sources"
    notebooks.mkdir()
    report.mkdir()
    (report / "build.py").write_text(REPORT)
    monkeypatch.setattr(report_module, "SOURCES", report)
    write_notebook(notebooks, "01_first", FIRST, [], ["a.json"])
    write_notebook(notebooks, "02_second", SECOND, ["a.json"], ["b.json"])
    said: list[str] = []

    def make(corpus: str = "pocket") -> Pipeline:
        said.clear()
        made = Pipeline("smoke", corpus, said.append)
        made.stages = load_stages(notebooks)
        return made

    return make, said


def ran(said: list[str]) -> list[str]:
    return [line.split("] ")[-1].split(":")[0] for line in said if ": done" in line]


def test_a_run_says_once_what_machine_it_found_and_records_it(world):
    make, said = world
    pipeline = make()
    pipeline.run()
    found = [line for line in said if hardware.instructions() in line and f"{torch.get_num_threads()} of" in line]
    assert said[0].startswith("corpus Pocket stories")  # what the run will see comes first
    assert found == said[1:2] and hardware.native_precisions(torch.device("cpu"))[-1] in found[0]
    machine = read_json(pipeline.results / "timings" / "machine.json")
    assert machine["instructions"] == hardware.instructions() and machine["cores"] == usable_cores()


def test_a_run_makes_everything_and_a_second_does_nothing(world, tmp_path):
    make, said = world
    files = make().run()
    assert [json.loads(f.read_text())["value"] for f in files] == [2, 2]
    assert ran(said) == ["01_first", "02_second", "report"]
    make().run()
    assert ran(said) == []
    timings = json.loads((tmp_path / "results/smoke-pocket/timings/stages.json").read_text())
    assert [row["notebook"] for row in timings["stages"]] == ["01_first", "02_second"]


def test_a_changed_notebook_reruns_with_what_depends_on_it(world, tmp_path):
    make, said = world
    make().run()
    write_notebook(tmp_path / "notebooks", "02_second", SECOND.replace("+ 1", "+ 5"), ["a.json"], ["b.json"])
    [html, _] = make().run()
    assert ran(said) == ["02_second", "report"]
    assert json.loads(html.read_text())["value"] == 6
    write_notebook(tmp_path / "notebooks", "01_first", FIRST.replace('"value": 1', '"value": 3'), [], ["a.json"])
    make().run()
    assert ran(said) == ["01_first", "02_second", "report"]
    # an edit that changes no artifact stops there
    write_notebook(tmp_path / "notebooks", "01_first", FIRST.replace('"value": 1', '"value": 1 + 2'), [], ["a.json"])
    make().run()
    assert ran(said)[0] == "01_first" and "02_second" not in ran(said)


def test_a_run_says_which_run_of_its_name_it_replaces(world, tmp_path):
    make, said = world
    write_notebook(tmp_path / "notebooks", "01_first", FIRST.replace("pocket", "tales"), [], ["a.json"])
    write_notebook(tmp_path / "notebooks", "02_second", SECOND.replace("pocket", "tales"), ["a.json"], ["b.json"])
    texts = [f"Tale {i}: one day, Tim found {i} red balls. " + "He gave them all to the owl. " * 4 for i in range(60)]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tales.txt").write_text("\n\n".join(texts))

    def replaced(corpus: str) -> list[str]:
        make(corpus).run()
        return [line.partition(":")[0] for line in said if "replaces" in line]

    assert replaced("one/tales.txt") == replaced("one/tales.txt") == []
    assert replaced("two/tales.txt") == [
        "run smoke-tales was made from one/tales.txt and is now made from two/tales.txt"
    ]
    (tmp_path / "two" / "tales.txt").write_text("\n\n".join(texts[1:]))
    assert replaced("two/tales.txt") == [
        "run smoke-tales was made from two/tales.txt as it was before; it has changed since"
    ]
    assert replaced("two/tales.txt") == []
    assert RunCard.read(tmp_path / "results" / "smoke-tales").content is not None  # the report reads it


def test_what_is_not_as_it_was_made_is_made_anew(world, tmp_path):
    make, said = world
    make().run()
    results, report = tmp_path / "results/smoke-pocket", tmp_path / "report/smoke-pocket/report.html"
    (results / "b.json").unlink()
    make().run()
    assert ran(said)[0] == "02_second"
    for path, again in ((results / "a.json", "01_first"), (results / "b.json", "02_second"), (report, "report")):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b"1", b"3").replace(b"2", b"6"))  # it could be a result
        make().run()
        assert ran(said)[0] == again and path.read_bytes() == whole
        assert any(f"{path.name} is not as it was made" in line for line in said)


def test_a_damaged_record_of_a_stage_makes_it_anew(world, tmp_path, caplog):
    make, said = world
    make().run()
    record = tmp_path / "results/smoke-pocket/stages/01_first.json"
    whole = record.read_text()
    for damaged in (whole[:-9], whole.replace("a.json", "a.jsom"), '{"key": "of an older version", "writes": []}'):
        record.write_text(damaged)
        make().run()
        assert ran(said)[0] == "01_first" and record.read_text() == whole


def test_a_notebook_run_by_hand_is_believed_by_others_and_checked_by_the_pipeline(world, tmp_path):
    make, said = world
    timed = SECOND + '(folder / "timings" / "b.json").write_text("{}")\n'
    write_notebook(tmp_path / "notebooks", "02_second", timed, ["a.json"], ["b.json", "timings/b.json"])
    results = make().results
    make().run()
    note_by_hand(results, "02_second")
    (results / "timings" / "b.json").write_text('{"seconds": 2}')
    check_made(results, "timings/b.json")
    make().run()
    assert ran(said) == ["report"]  # a time is another each time, and a new one is no damage
    (results / "timings" / "b.json").write_text('{"seconds": 3}')
    with pytest.raises(InputError, match=r"timings/b\.json is not what 02_second made .* pn_lib run"):
        check_run(results)  # nobody made it now
    make().run()
    note_by_hand(results, "02_second")
    (results / "b.json").write_text('{"value": 7}')
    check_made(results, "b.json")
    shutil.copytree(results, results.with_name("copied"))
    make().run()
    check_made(results.with_name("copied"), "a.json")  # a copy is a run of its own, whatever becomes of this one
    assert ran(said)[0] == "02_second" and read_json(results / "b.json")["value"] == 2


def test_a_failed_stage_shows_its_cell_and_keeps_what_was_done(world, tmp_path):
    make, said = world
    write_notebook(tmp_path / "notebooks", "02_second", "x = 1\nprint(x / 0)", ["a.json"], ["b.json"])
    with pytest.raises(StageError) as caught:
        make().run()
    message = str(caught.value)
    assert "02_second failed in cell" in message and "print(x / 0)" in message and "ZeroDivisionError" in message
    assert (tmp_path / "results/smoke-pocket/notebooks/02_second.ipynb").exists()
    write_notebook(tmp_path / "notebooks", "02_second", SECOND, ["a.json"], ["b.json"])
    make().run()
    assert ran(said) == ["02_second", "report"]


def test_bad_input_found_inside_a_notebook_is_one_sentence(world, tmp_path):
    make, _ = world
    source = "from pn_lib.errors import InputError\nraise InputError('the corpus is empty; give it stories')"
    write_notebook(tmp_path / "notebooks", "01_first", source, [], ["a.json"])
    with pytest.raises(InputError, match=r"^the corpus is empty; give it stories$"):
        make().run()


def test_a_full_disk_inside_a_notebook_is_one_sentence(world, tmp_path):
    make, _ = world
    write_notebook(
        tmp_path / "notebooks",
        "01_first",
        "import errno, os\nraise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))",
        [],
        ["a.json"],
    )
    with pytest.raises(InputError, match="the disk is full"):
        make().run()


def test_a_stage_must_write_what_it_declares(world, tmp_path):
    make, _ = world
    write_notebook(tmp_path / "notebooks", "01_first", FIRST, [], ["a.json", "c.json"])
    with pytest.raises(StageError, match=r"did not write c\.json"):
        make().run()


def test_what_a_killed_process_left_half_written_is_no_obstacle(world, tmp_path):
    make, said = world
    left = [tmp_path / "figures/smoke-pocket/.tmp-f-x.json", tmp_path / "results/smoke-pocket/.tmp-a-x.json"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    make().run()
    assert ran(said) == ["01_first", "02_second", "report"]
    assert not any(path.exists() for path in left)


def test_an_artifact_no_longer_declared_goes_when_its_stage_reruns(world, tmp_path):
    make, _ = world
    extra = FIRST + '(folder / "c.json").write_text("{}")\n'
    write_notebook(tmp_path / "notebooks", "01_first", extra, [], ["a.json", "c.json"])
    make().run()
    assert (tmp_path / "results/smoke-pocket/c.json").exists()
    write_notebook(tmp_path / "notebooks", "01_first", FIRST, [], ["a.json"])
    make().run()
    assert not (tmp_path / "results/smoke-pocket/c.json").exists()


def refuse(*_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize(
    ("where", "what", "message"),
    [
        ("pn_lib.files.tempfile.TemporaryFile", refuse, "nothing can be written to .*Read-only file system.*PN_ROOT"),
        ("shutil.disk_usage", lambda _: SimpleNamespace(free=2_000_000), "needs about 4. MB of disk, and 2 MB"),
    ],
)
def test_a_disk_without_room_is_noticed_before_anything_begins(world, tmp_path, monkeypatch, where, what, message):
    make, said = world
    monkeypatch.setattr(where, what)
    with pytest.raises(InputError, match=message):
        make().run()
    assert said == [] and not (tmp_path / "results").exists()


def test_the_hub_is_asked_before_the_first_notebook_if_that_must_fetch_stories(world, tmp_path, monkeypatch):
    _, said = world
    monkeypatch.setattr(corpora, "HfApi", partial(HfApi, endpoint="http://127.0.0.1:9"))  # where nobody listens
    pipeline = Pipeline("smoke", "tinystories", said.append)
    pipeline.stages = load_stages(tmp_path / "notebooks")
    with pytest.raises(InputError, match="cannot be fetched from the Hugging Face Hub"):
        pipeline.run()
    assert not any("01_first" in line for line in said)
    write_json(tmp_path / "results/smoke-tinystories/work/01_first/tinystories.arrow", {})
    with pytest.raises(StageError, match="01_first failed"):
        pipeline.run()


def test_a_second_pipeline_on_the_same_run_is_refused(world, tmp_path):
    make, _ = world
    folder = tmp_path / "results" / "smoke-pocket"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(InputError, match="is being made by another process"):
        make().run()


def test_a_failing_report_shows_why(world, tmp_path):
    make, _ = world
    build = tmp_path / "report_sources" / "build.py"
    build.write_text("import sys\nsys.stderr.write('error: data.json is damaged')\nsys.exit(2)")
    with pytest.raises(InputError, match=r"^data\.json is damaged$"):
        make().run()
    build.write_text("raise RuntimeError('broken template')")
    with pytest.raises(StageError, match="broken template"):
        make().run()


def test_a_notebook_without_declaration_or_parameters_is_named(tmp_path):
    path = write_notebook(tmp_path, "01_first", FIRST, [], [])
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata.tags = []
    nbformat.write(notebook, path)
    with pytest.raises(InputError, match="0 cells tagged 'parameters'"):
        load_stages(tmp_path)
    del notebook.metadata["pocketnarrator"]
    nbformat.write(notebook, path)
    with pytest.raises(InputError, match=r"01_first\.ipynb is not a notebook of this course"):
        load_stages(tmp_path)
    with pytest.raises(InputError, match="no notebooks in"):
        load_stages(tmp_path / "nowhere")


@pytest.mark.parametrize("slip", ["model?", "x = = 1", "print('\ud800')"])
def test_a_cell_that_is_no_python_leaves_the_other_notebooks_usable(tmp_path, slip):
    path = write_notebook(tmp_path, "01_first", "from pn_lib.files import read_json", [], [])
    notebook = json.loads(path.read_text())
    notebook["cells"].append(notebook["cells"][1] | {"id": "slip", "source": [slip]})
    path.write_text(json.dumps(notebook))
    [stage] = load_stages(tmp_path)
    assert "pn_lib.files" in stage.imports and slip in json.loads(stage.source)[2][1]


@pytest.fixture
def foreign_kernel(tmp_path, monkeypatch):
    """A ``python3`` kernel of an environment that is gone, first on Jupyter's path."""
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    argv = [str(tmp_path / "gone" / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "gone", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    return argv[0]


def test_a_kernel_is_this_interpreter_whatever_other_environments_left(world, tmp_path, foreign_kernel):
    assert KernelSpecManager().get_kernel_spec("python3").argv[0] == foreign_kernel
    make, _ = world
    source = FIRST + '(folder / "python").write_text(__import__("sys").executable)'
    write_notebook(tmp_path / "notebooks", "01_first", source, [], ["a.json", "python"])
    make().run()
    assert (tmp_path / "results" / "smoke-pocket" / "python").read_text() == sys.executable


def test_a_kernel_leaves_nothing_beside_its_notebook(world, tmp_path):
    """Its sockets lie elsewhere: the notebooks may be read-only."""
    make, _ = world
    source = FIRST + '(folder / "beside").write_text(str(sorted(os.listdir("."))))'
    write_notebook(tmp_path / "notebooks", "01_first", source, [], ["a.json"])
    make().run()
    beside = (tmp_path / "results" / "smoke-pocket" / "beside").read_text()
    assert beside == "['01_first.ipynb', '02_second.ipynb']"


def test_make_puts_its_own_kernels_first(foreign_kernel):
    """So JupyterLab's ``python3`` is that of .venv."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "-f", str(REPOSITORY / "Makefile"), "say"],
        input="say:\n\t@printenv JUPYTER_PATH\n",
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *others = done.stdout.strip().split(":")
    assert first == str(REPOSITORY / ".venv" / "share" / "jupyter") and others == [os.environ["JUPYTER_PATH"]]


def test_what_a_dying_kernel_says_is_kept_and_named(world, tmp_path, capfd):
    make, _ = world
    last_words = "os.write(2, b'out of luck'); os._exit(1)"
    write_notebook(tmp_path / "notebooks", "01_first", FIRST + last_words, [], ["a.json"])
    with pytest.raises(StageError, match="its kernel died") as caught:
        make().run()
    kept = tmp_path / "results" / "smoke-pocket" / "work" / "kernel-stderr"
    assert str(kept) in str(caught.value) and "out of luck" in kept.read_text()
    assert "out of luck" not in capfd.readouterr().err


def test_what_keeps_a_kernel_from_starting_is_shown(world, monkeypatch):
    make, _ = world
    argv = [sys.executable, "-c", "import sys; sys.exit('no kernel in this environment')"]
    monkeypatch.setattr(OwnKernelManager, "kernel_spec", KernelSpec(argv=argv, language="python"))
    with pytest.raises(StageError, match=r"01_first: its kernel does not start; it said:\nno kernel in this"):
        make().run()
