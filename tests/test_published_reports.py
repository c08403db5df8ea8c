"""The committed reports: every number in one traces to a committed result, and a changed result changes the text."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, nodes
from published_runs import RUNS

from pn_lib.run.stages import REPOSITORY

REPORT = REPOSITORY / "report"
sys.path.insert(0, str(REPORT))

import render  # noqa: E402
from context import build_context  # noqa: E402
from sources import Run  # noqa: E402

# Numbers that the template says itself, since they are no results: names, definitions, conventions, quotations
SAID = {
    "2017",  # the year of a recipe
    "95",
    "95th",
    "90",
    "99",
    "50",  # per cent, of intervals, shares of text and right answers
    "256",  # values of a byte
    "257",  # and the separator
    "3",  # per cent, within which budgets are met
    "20",  # tokens a parameter, quoted from Hoffmann et al.
    "1",
    "10",  # temperature, batch and grades of a judge
    "sec. 4.1",
    "notebook 03",
    "notebook 11",
    "11",  # at the start of a sentence
    "300",  # kB, a file's name
    "100",  # characters, behind which a fact is far
    "0",  # decimals
    "memorisation_rouge2",  # a key
    "float16",
    "float32",
    "int4",
    "int8",  # formats
    "3.11",
    "4.0",  # of a paper, the course, Python, and CC BY
    "1.297",
    "260",
    "512",
    "1.072",
    "0.847",
    "0.760",
    "15",
    "42",
    "110",
    "32",  # quoted from llama2.c
    "UTF-8",
    "ROUGE-2",
    "32-bit",
    "bfloat16",
    "llama2.c",
}


@pytest.fixture(params=RUNS)
def run(request) -> str:
    return request.param


@pytest.fixture
def root(run, tmp_path) -> Path:
    """A folder that has the published results and figures where a local run has its own."""
    for room in ("results", "figures"):
        shutil.copytree(REPOSITORY / room / "published" / run, tmp_path / room / run)
    return tmp_path


def text_of(root: Path, run: str) -> tuple[str, dict]:
    found = Run(root, run)
    return render.render_markdown(build_context(found), render.Numbering(found)), found.used


def values_at(value: object, path: str) -> Iterator[object]:
    """What lies at ``path``, such as axes[0].mean; a key may hold dots and brackets itself."""
    if not path:
        yield value
    elif isinstance(value, list) and (index := re.match(r"\[(\d+)\]", path)):
        yield from values_at(value[int(index[1])], path[index.end() :])
    elif isinstance(value, dict):
        path = path.removeprefix(".")
        for key in value:
            if path.startswith(key):
                yield from values_at(value[key], path[len(key) :])


def read(path: Path) -> object:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_number_of_the_report_is_a_committed_result(run):
    numbers = json.loads((REPORT / "published" / run / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["run"] == run and len(numbers["numbers"]) > 300
    for row in numbers["numbers"]:
        path = REPOSITORY / "results" / "published" / row["file"].removeprefix("results/").removeprefix("published/")
        assert row["value"] in [float(value) for value in values_at(read(path), row["key"]) if value is not None], row


def test_the_committed_report_is_the_one_that_the_committed_results_give(run, root):
    html = (REPORT / "published" / run / "report.html").read_text(encoding="utf-8")
    text, used = text_of(root, run)
    numbers = json.loads((REPORT / "published" / run / "numbers.json").read_text(encoding="utf-8"))["numbers"]
    assert {(row["file"], row["key"]): row["value"] for row in numbers} == {
        (Path(file).as_posix(), key): value for (file, key), value in used.items()
    }
    intervals = set(re.findall(r"[−+]?\d+\.\d+\xa0\[[^\]]+\]", text))
    assert len(intervals) > 20 and all(interval in html for interval in intervals)
    placed = re.findall(r"#((?:fig|tbl)-[\w-]+)[ }]", text)
    assert sorted(re.findall(r'id="((?:fig|tbl)-[\w-]+)"', html)) == sorted(placed)


HIGHEST_ALONE = "timings/frontier.json"  # of its speeds the text names the highest, whichever that is


def test_a_changed_result_changes_the_text(run, root):
    before, used = text_of(root, run)
    numbers = {}
    for (file, _), value in used.items():
        numbers.setdefault(file, []).append(value)
    assert len(numbers) > 15
    for file, values in numbers.items():
        if file.startswith("results/published/"):  # the repository's, beside every run of these stories
            continue
        path = root / file
        whole = path.read_text(encoding="utf-8")

        def changes(value, path=path, whole=whole):
            # as it stands in the file, changed wherever it stands, so that files do not contradict themselves
            number = rf"(?<![\w.]){re.escape(repr(value))}(?![\w.])"
            changed = re.sub(number, repr(value + 3 + abs(value) // 9), whole)
            assert changed != whole, (path, value)
            path.write_text(changed, encoding="utf-8")
            return text_of(root, run)[0] != before

        tried = values if file.endswith(HIGHEST_ALONE) else values[:20]  # some choose a sentence and stand in none
        assert any(changes(value) for value in tried), file
        path.write_text(whole, encoding="utf-8")


def test_the_template_says_no_number_that_a_run_could_make():
    environment = Environment(comment_start_string="<#", comment_end_string="#>", extensions=["jinja2.ext.do"])
    said = set()
    for path in [REPORT / "report.md", *(REPORT / "sections").rglob("*.md")]:
        for node in environment.parse(path.read_text(encoding="utf-8")).find_all((nodes.TemplateData, nodes.Const)):
            text = node.data if isinstance(node, nodes.TemplateData) else node.value
            if isinstance(text, str):
                plain = re.sub(r"@[\w-]+|\$\$?[^$]+\$\$?|\bp95_words\b", "", text)  # citations, formulas, a key
                said |= set(re.findall(r"sec\. \d\.\d|notebook \d\d|[\w.-]*\d(?:[\w.-]*\w)?", plain))
    assert said == SAID, f"new: {said - SAID}; no longer said: {SAID - said}"
