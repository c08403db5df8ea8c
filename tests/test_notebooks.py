"""What every numbered notebook must have: declarations, parameters, checked outputs, links that lead somewhere."""

import ast
import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from pn_lib.course.address import first_cell
from pn_lib.course.exercises import lesson_paths
from pn_lib.course.small_files import RUNS
from pn_lib.run.results.optimizers_results import OptimizersResult
from pn_lib.run.results.sharing_results import SharingResult
from pn_lib.run.results.vocabulary_results import VocabularyResult
from pn_lib.run.stages import NAVIGATION_TAG, NOTEBOOKS, PUBLISHED, REFERENCE, REPOSITORY, covers, load_stages

STAGES = load_stages()
LESSONS = lesson_paths()  # and appendices
RESULTS = {kind.__name__: kind for kind in (OptimizersResult, SharingResult, VocabularyResult)}  # read by notebooks
SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
LARGER = {
    "04_transformer_training": (108, 500_000),  # the loop, a recipe found by measuring, and an appendix
    "05_story_evaluation": (102, 700_000),  # a zoo, measures that are measured, the exact source, six exercises
    "11_making_it_small": (115, 400_000),  # the frontier, vocabularies, sharing, and teachers
    "10_mixer_comparison": (115, 450_000),  # five mixers on every term, and a whole Mamba beside them
}
LONGER = {
    "03_transformer_construction": 12,  # whole classes by hand, each with its check
    "04_transformer_training": 9,  # plots in calls
    "06_looking_inside": 11,  # what is seen is drawn
}
LINK = re.compile(r"\]\((?!https?:|#|attachment:)([^)\s#]+)")


def _is_drawing(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("draw_")


def read(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def test_there_are_eleven_notebooks():
    assert [stage.name[:2] for stage in STAGES] == [f"{i:02}" for i in range(1, 12)]


def test_an_appendix_belongs_to_no_run_and_comes_last():
    [appendix] = [path for path in LESSONS if path not in {stage.path for stage in STAGES}]
    assert LESSONS[-1] == appendix and appendix.stem == "A1_a_kernel_on_a_cpu"
    source = "\n".join(cell.source for cell in read(appendix).cells[3:])
    assert "open_run" not in source and "PN_PROFILE" not in source


def published_files_of(source: str) -> set[str]:
    """What a notebook's code takes from ``results/published``, as it would declare it."""
    models = {
        f"{PUBLISHED}/{run}/models/{name}.safetensors"
        for run, name in re.findall(r'"(reference|coherent-pocket)/(\w+)"', source)
    }
    read = re.findall(r'(\w+)\.read\(PUBLISHED / "([\w-]+)"\)', source)
    results = {f"{PUBLISHED}/{run}/{RESULTS[kind].FILE}" for kind, run in read if run != REFERENCE.name}
    tables = {f"{PUBLISHED}/{run}/frontier.json" for run in RUNS} if "small_files_in_words" in source else set()
    return models | results | tables


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_notebook_runs_again_when_a_published_file_that_it_shows_is_another(stage):
    source = "\n".join(cell.source for cell in read(stage.path).cells if cell.cell_type == "code")
    taken = published_files_of(source)
    assert taken <= set(stage.reads)
    assert all((REPOSITORY / "results" / path).exists() for path in taken)


def test_each_artifact_is_made_once_and_before_it_is_read():
    made: set[str] = set()
    for stage in STAGES:
        own = [r for r in stage.reads if not covers(PUBLISHED, r)]  # the others are committed
        missing = [r for r in own if not any(r == m or r.startswith(m + "/") for m in made)]
        assert not missing, f"{stage.name} reads {missing}, which no notebook before it writes"
        assert not made & set(stage.writes), f"{stage.name} writes what another notebook writes"
        made |= set(stage.writes)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
class TestNotebook:
    def test_nbval_compares_at_least_six_stored_outputs(self, path):
        checked = [c for c in read(path).cells if "nbval-check-output" in tags(c)]
        assert sum(bool(c.outputs) for c in checked) >= 6
        assert all(c.outputs for c in checked), "a cell is tagged to be compared but has no stored output"

    def test_stored_outputs_hold_no_error_and_no_path_of_a_machine(self, path):
        text = path.read_text(encoding="utf-8")
        outputs = [o for c in read(path).cells if c.cell_type == "code" for o in c.outputs]
        assert not [o for o in outputs if o.output_type == "error"]
        assert not re.search(r"/(home|root|work|Users|tmp)/\w", text)

    def test_every_stored_picture_has_words_for_those_who_cannot_see_it(self, path):
        outputs = [o for c in read(path).cells if c.cell_type == "code" for o in c.outputs]
        pictures = [o for o in outputs if "image/png" in o.get("data", {})]
        assert pictures
        for output in pictures:
            words = output.metadata["image/png"]["alt"]
            assert len(words) > 20 and output.data["text/plain"] == words

    def test_the_first_cell_of_code_fetches_the_course_or_says_what_is_missing(self, path):
        assert read(path).cells[2].source == first_cell(), "run python -m pn_lib refresh"

    def test_size_and_rhythm(self, path):
        cells_read = [c for c in read(path).cells if "drawing" not in tags(c)]
        code = [c for c in cells_read if c.cell_type == "code"]
        lines = sorted(len(c.source.splitlines()) for c in code)
        cells, size = LARGER.get(path.stem, (120, 400_000))
        assert 40 <= len(cells_read) <= cells
        assert lines[len(lines) // 2] <= LONGER.get(path.stem, 8), "code cells should be short: one idea a cell"
        assert sum(n > 25 for n in lines) <= 2
        assert path.stat().st_size < size

    def test_a_drawing_is_a_collapsed_call_and_nothing_more(self, path):
        for cell in (c for c in read(path).cells if "drawing" in tags(c)):
            assert cell.metadata["jupyter"]["source_hidden"]
            lines = cell.source.splitlines()
            assert lines[0].startswith("from pn_lib.course.drawings.") and len(lines) <= 6
            assert any(line.startswith("draw_") for line in lines) and "save" not in cell.source

    def test_what_a_live_drawing_uses_stays_as_it_is(self, path):
        """A control is moved after all cells ran: a name that a later cell gives to something else would kill it."""
        cells = (cell.source for cell in read(path).cells if cell.cell_type == "code")
        trees = [ast.parse(TransformerManager().transform_cell(source)) for source in cells]
        given = Counter(
            name.id
            for tree in trees
            for statement in tree.body
            if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)
            for name in ast.walk(statement)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        )
        drawn = [call for tree in trees for call in ast.walk(tree) if _is_drawing(call)]
        for drawing in (lambda_ for call in drawn for lambda_ in ast.walk(call) if isinstance(lambda_, ast.Lambda)):
            used = {name.id for name in ast.walk(drawing.body) if isinstance(name, ast.Name)}
            used -= {argument.arg for argument in drawing.args.args}
            assert not {name for name in used if given[name] > 1}

    def test_title_links_and_headings(self, path):
        cells = read(path).cells
        assert [i for i, c in enumerate(cells) if NAVIGATION_TAG in tags(c)] == [0, 2, len(cells) - 1]
        headings = [
            line
            for c in cells
            if c.cell_type == "markdown"
            for line in re.sub(r"```.*?```", "", c.source, flags=re.S).splitlines()
            if re.match(r"#+ ", line)
        ]
        levels = [len(line.split()[0]) for line in headings]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
        number = path.stem.split("_")[0].lstrip("0")
        sections = [match[1] for line in headings if (match := re.match(r"## (A?\d+\.\d+) ", line))]
        assert sections == [f"{number}.{i + 1}" for i in range(len(sections))] and len(sections) >= 5
        unnumbered = [line for line in headings if re.match(r"## (?!A?\d+\.)", line)]
        assert unnumbered[:3] == ["## What we found", "## Exercises", "## Further reading"]
        assert all(line.startswith("## Appendix: ") for line in unnumbered[3:])
        prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        for link in LINK.findall(re.sub(r"`[^`]*`", "", prose)):
            assert (path.parent / link).exists(), f"link to {link} leads nowhere"


PLAIN = [line for line in first_cell().splitlines() if not line.lstrip().startswith(("!", "%"))]  # magics left out


@pytest.mark.parametrize(
    ("options", "before", "missing"),
    [
        (["-I", "-S"], "", "pn_lib"),  # another kernel: nothing is installed
        ([], f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); sys.modules['pandas'] = None", "pandas"),
    ],
)
def test_the_first_cell_names_what_is_missing_and_what_to_do(tmp_path, options, before, missing):
    command = [sys.executable, *options, "-c", "\n".join([before, *PLAIN])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    *_, error = done.stderr.splitlines()
    assert error.startswith(f"ModuleNotFoundError: {missing} is missing from this notebook's Python, {sys.executable}:")
    assert "`make lab`" in error and "During handling" not in done.stderr


def test_the_first_cell_does_nothing_where_all_is_well(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n" + "\n".join(PLAIN)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_the_first_cell_fetches_the_course_on_colab_alone():
    _, _, _, condition, *rest = first_cell().splitlines()
    assert condition.startswith('if "google.colab" in sys.modules:')
    magics = [line for line in rest if line.lstrip().startswith(("!", "%"))]
    assert len(magics) == 3 and rest[:3] == magics and all(line.startswith("    ") for line in magics)


def test_each_notebook_has_solutions_to_its_exercises():
    assert [path.name for path in SOLUTIONS] == [path.name for path in LESSONS]


def test_the_readme_names_every_notebook():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for path in LESSONS:
        assert f"notebooks/{path.name}" in readme
