"""Progress: one line that goes away, in a notebook as in the file that the pipeline watches, and never a widget."""

import nbformat
import pytest
from nbclient import NotebookClient
from tqdm import tqdm

from pn_lib.progress import progress
from pn_lib.run.execution import OwnKernelManager


@pytest.fixture
def without_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)


def test_an_executed_notebook_has_no_widget_and_no_line_left(without_ci, monkeypatch):
    monkeypatch.delenv("PN_PROGRESS", raising=False)
    source = (
        "from pn_lib.progress import progress\nfor _ in progress([1, 2], 'outer'): list(progress(range(3), 'inner'))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_manager_class=OwnKernelManager).execute()
    outputs = notebook.cells[0].outputs
    assert len(outputs) == 3  # a place for each bar
    assert all(output.data == {"text/plain": ""} for output in outputs)


def test_the_status_file_holds_the_latest_line_only(tmp_path, without_ci, monkeypatch):
    status = tmp_path / "progress"
    monkeypatch.setenv("PN_PROGRESS", str(status))
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    with progress(total=4, description="Baking") as outer:
        outer.update(2)
        outer.refresh()
        assert status.read_text().startswith("Baking  50%") and "\n" not in status.read_text()
        for _ in progress([1], "Stirring"):
            assert status.read_text().startswith("Stirring")
        outer.refresh()
        assert status.read_text().startswith("Baking  50%")
    assert status.read_text() == ""
