"""The report is built whole, and stops where its results are broken."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.font_manager import fontManager
from report_example import FIGURES, NAME, REPORT, Example

from pn_lib.errors import InputError

import render  # isort: skip  (report/ is on the path by report_example)
from build import build  # isort: skip
from context import build_context  # isort: skip
from sources import Run  # isort: skip
from wording import THIN  # isort: skip


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished report."""
    root = Example(tmp_path_factory.mktemp("root")).write().root
    return build(root, NAME)[0].parent


def test_text_of_stories_cannot_break_the_markup(example: Example) -> None:
    example.jsons["evaluation"]["gallery"][0]["endings"]["transformer"] = '*a* [b](c) $d$ | {{ e }} @@fig-x@@ # "f" <g>'
    paths = build(example.write().root, NAME)
    html = paths[0].read_text(encoding="utf-8")
    assert "*a* [b](c) $d$ | {{ e }} @@fig-x@@ # &quot;f&quot; &lt;g&gt;" in html


def test_stories_in_letters_that_no_font_here_has_are_set_and_told_of(
    example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    own = [font for font in fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(fontManager, "ttflist", own)
    example.jsons["evaluation"]["gallery"][0]["endings"]["transformer"] = "ある朝、りすは Zoë に会いました。"
    pdf = build(example.write().root, NAME)[1]
    assert pdf.read_bytes().startswith(b"%PDF")
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == 1 and notes[0].startswith("note: no font on this machine has Japanese")


def test_a_missing_key_stops_the_build_with_one_sentence(example: Example) -> None:
    del example.jsons["training"]["transformer"]["bits_per_byte"]
    done = example.write().command()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "no 'transformer.bits_per_byte'; run notebook 04_transformer_training again" in done.stderr
    assert f"{NAME}/training.json is damaged" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["study.json", "timings/decoding.csv"])
def test_a_damaged_file_stops_the_build_with_one_sentence(example: Example, name: str) -> None:
    path = example.write().results / name
    path.write_text(path.read_text().rpartition(",")[0], encoding="utf-8")  # as a crash leaves it: the end is missing
    done = example.command()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{Path(name).name} is damaged" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("broken", ["null", '"many"', "NaN", "true"])
def test_what_is_no_number_stops_the_build(example: Example, broken: str) -> None:
    path = example.write().results / "mixers.json"
    path.write_text(path.read_text().replace("123456", broken), encoding="utf-8")
    run = Run(example.root, NAME)
    with pytest.raises(InputError, match=r"tokens|number"):
        render.render_markdown(build_context(run), render.Numbering(run))


@pytest.mark.parametrize("ending", ["svg", "json"])
def test_a_missing_or_damaged_figure_stops_the_build(example: Example, ending: str) -> None:
    path = example.figures / f"study.{ending}"
    path.write_text("<svg", encoding="utf-8")
    with pytest.raises(InputError, match=rf"study\.{ending} is damaged"):
        example.text()
    path.unlink()
    with pytest.raises(InputError, match=rf"study\.{ending} does not exist"):
        example.text()


def test_an_unknown_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run 'quick-pocket'"):
        build(tmp_path, NAME)


def test_html_is_one_file(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|data)="(?!data:)[^"]*"', html)
    assert not re.findall(r"<(?:link|script)\b|url\(", html)
    assert "<math" in html and 'id="TOC"' in html
    assert html.count("data:image/svg+xml") == len(
        {*FIGURES} - {"known_groups", "bytes"}
    )  # not tried in this run; of another corpus
    assert "A &#39;study&#39; plot" in html or "A 'study' plot" in html


def test_cross_references_and_citations_all_resolve(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    targets = set(re.findall(r'href="#([^"]+)"', html))
    assert targets <= set(re.findall(r'id="([^"]+)"', html))
    assert "???" not in html and "@@" not in html
    defined = set(re.findall(r"^@\w+\{(\w+),", (REPORT / "references.bib").read_text(encoding="utf-8"), re.M))
    assert defined == {target.removeprefix("ref-") for target in targets if target.startswith("ref-")}


def test_figures_and_tables_are_numbered_in_order(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8").replace(THIN, " ")
    for kind in ("Figure", "Table"):
        numbers = [int(n) for n in re.findall(rf"<(?:figcaption|caption)>\s*<strong>{kind} (\d+)\.", html)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 5


def test_pdf_is_a_pdf_of_reasonable_length(built: Path) -> None:
    pdf = (built / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 8 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 32  # with the appendix


def test_the_same_run_gives_the_same_bytes(built: Path) -> None:
    names = ("report.html", "report.pdf", "numbers.json")
    before = [(built / name).read_bytes() for name in names]
    build(built.parents[1], NAME)
    assert [(built / name).read_bytes() for name in names] == before


def test_numbers_trace_to_file_and_key(built: Path) -> None:
    rows = json.loads((built / "numbers.json").read_text())["numbers"]
    found = {(row["file"], row["key"]): row["value"] for row in rows}
    assert found[f"results/{NAME}/training.json", "transformer.bits_per_byte"] == 0.912
    assert found[f"results/{NAME}/timings/decoding.csv", "[0].ms_per_token"] == 2.0


def test_every_figure_and_table_is_spoken_of(built: Path) -> None:
    html = (built / "report.html").read_text(encoding="utf-8")
    placed = set(re.findall(r'id="((?:fig|tbl)-[^"]+)"', html))
    assert placed and placed <= set(re.findall(r'href="#([^"]+)"', html))
