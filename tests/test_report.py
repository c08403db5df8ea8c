"""The report is true to its run: built from made-up results, it says what they say, and stops where they are broken."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

REPORT = Path(__file__).resolve().parents[1] / "report"
sys.path.insert(0, str(REPORT))

import render  # noqa: E402
import sources  # noqa: E402
import wording  # noqa: E402
from build import build  # noqa: E402
from context import build_context  # noqa: E402
from report_example import CSVS, FIGURES, JSONS, JUDGED, spread  # noqa: E402
from sources import Run  # noqa: E402
from wording import THIN, Estimate, compare  # noqa: E402

from pn_lib.errors import InputError  # noqa: E402
from pn_lib.files import sha256, write_json, write_text  # noqa: E402
from pn_lib.workflow.stages import NOTEBOOKS  # noqa: E402

NAME = "quick-pocket"
DRAWN_BY = {name: path.stem for path in NOTEBOOKS.glob("0*.ipynb") for name in sources.drawing_cells(path.stem)}


class Example:
    """A run's folders below ``root``, with invented results that a test may change before it looks at the text."""

    def __init__(self, root: Path):
        self.root, self.jsons, self.csvs = root, copy.deepcopy(JSONS), copy.deepcopy(CSVS)
        self.results, self.figures = root / "results" / NAME, root / "figures" / NAME
        figure, axes = plt.subplots(figsize=(7, 3.6))
        axes.plot([1, 3, 2], label="invented")
        for name in FIGURES:
            self.figures.mkdir(parents=True, exist_ok=True)
            figure.savefig(self.figures / f"{name}.svg", metadata={"Date": None})
            sidecar = {"notebook": DRAWN_BY[name], "alt": f'A "{name}" plot', "commit": "0123456789ab"}
            write_json(self.figures / f"{name}.json", sidecar)
        plt.close(figure)

    def write(self) -> "Example":
        for name, values in self.jsons.items():
            write_json(self.results / f"{name}.json", values)
        for name, rows in self.csvs.items():
            write_text(self.results / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
        return self

    def text(self) -> str:
        """The report's Markdown on one line, with plain spaces."""
        run = Run(self.write().root, NAME)
        return " ".join(render.render_markdown(build_context(run), render.Numbering(run)).split())

    def command(self) -> subprocess.CompletedProcess:
        environment = os.environ | {"PN_ROOT": str(self.root)}
        command = [sys.executable, REPORT / "build.py", NAME]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished report."""
    root = Example(tmp_path_factory.mktemp("root")).write().root
    return build(root, NAME)[0].parent


def test_numbers_are_formatted_as_the_results_have_them(example: Example) -> None:
    text = example.text()
    assert "0.912 [0.901, 0.923]" in text  # the Transformer's loss
    assert "1 234 567" in text  # training words
    assert "71.0 % [64.0 %, 78.0 %]" in text  # valid stories
    assert "1.23 PFLOP" in text
    assert "1 h 12 min" in text  # all notebooks


def test_a_changed_result_changes_the_text(example: Example) -> None:
    before = example.text()
    example.jsons["tokenization"]["fertility"] = 1.77
    after = example.text()
    assert "a word takes 1.77 tokens" in after and "a word takes 1.77 tokens" not in before


def test_the_comparison_with_the_n_gram_follows_the_numbers(example: Example) -> None:
    assert "loss is lower than that of the 4-gram" in example.text()
    example.jsons["training"]["ngram"]["bits_per_byte"] = 0.8
    text = example.text()
    assert "loss is higher than that of the 4-gram" in text and "does not yet earn its price" in text
    example.jsons["training"]["ngram"]["bits_per_byte"] = 0.92  # inside the Transformer's interval
    assert "loss is not distinguishable from that of the 4-gram" in example.text()


def test_transformer_and_mamba_are_ranked_by_the_interval_of_their_difference(example: Example) -> None:
    assert "Mamba’s loss is higher than the Transformer’s" in example.text()
    example.jsons["mamba"]["difference"] = {"mean": -0.05, "low": -0.08, "high": -0.02}
    assert "Mamba’s loss is lower than the Transformer’s" in example.text()
    example.jsons["mamba"]["difference"] = {"mean": -0.05, "low": -0.12, "high": 0.02}
    assert "Mamba’s loss is not distinguishable from the Transformer’s" in example.text()


def test_equal_seconds_and_the_whole_budget_are_ranked_by_their_own_intervals(example: Example) -> None:
    text = example.text()
    assert "+0.150 [+0.120, +0.180] bpb, in favour of the Transformer" in text
    assert "On these stories this Transformer has the lower loss" in text
    example.jsons["timings/mamba"]["equal_seconds"]["difference"] = {"mean": 0.01, "low": -0.1, "high": 0.12}
    example.jsons["mamba"]["full"]["difference"] = {"mean": -0.03, "low": -0.04, "high": -0.02}
    text = example.text()
    assert "whose interval contains zero" in text and "On these stories this Mamba has the lower loss" in text


def test_copying_is_judged_beside_real_endings(example: Example) -> None:
    assert "By this measure it writes no closer to its training text" in example.text()
    ahead = example.jsons["evaluation"]["ahead"]["human"]
    ahead["memorisation_rouge2"] = spread(0.2)
    assert "a share higher than the" in example.text() and "they lean on the training text more" in example.text()
    ahead["memorisation_rouge2"] = spread(0.0)
    assert "this run cannot tell" in example.text()


def test_settings_within_lists_are_spelled_out(example: Example) -> None:
    text = example.text().replace("\\", "")
    assert "(d_model 32, n_layers 2), (tokens 9, transformer (d_model 48))" in text and "object at" not in text


def test_a_run_without_failures_has_none_to_show(example: Example) -> None:
    assert "ending that repeats itself most" in example.text()
    example.jsons["evaluation"]["failures"] = []
    assert "And the Transformer’s ending that" not in example.text()


def test_probes_count_beyond_guessing_and_beyond_the_n_gram_alone(example: Example) -> None:
    assert "lies above zero) for facts. These are 2 comparisons" in example.text()  # its lead in pronouns may be chance
    assert "In 1 of 2 kinds of probe (pronouns)" in example.text()
    example.jsons["evaluation"]["beyond_ngram"]["facts"] = spread(-0.1)
    assert "For no kind is the Transformer shown to be right more often" in example.text()
    assert "In 2 of 2 kinds of probe (facts and pronouns)" in example.text()


def test_a_judge_is_reported_only_where_it_graded_this_runs_endings(example: Example) -> None:
    assert "No language-model judge was run" in example.text()
    completions = example.write().results / "completions.json"
    example.jsons["judge"] = {"completions": sha256(completions), **JUDGED}
    text = example.text()
    assert "No language-model judge" not in text and "Grades by model\\-of\\-two" in text
    assert "| real stories | 30 | 7.2 [6.8, 7.8]" in text.replace("7.3 [", "7.2 [")  # binary 7.25 rounds either way
    assert "with a correlation (Spearman) of 0.71 for grammar" in text
    assert "grades go with length for plot (+0.040 [+0.030, +0.050] points a word)" in text
    assert "the verdict changed with the order in 25.0 %" in text and "| 6–7 |" in text
    for slope in example.jsons["judge"]["judges"]["two"]["length_bias"].values():
        slope["points_per_word"] = {"value": 0.4, "low": None, "high": None}  # one beginning has no interval
    assert "Too few stories were graded to say" in example.text()
    example.jsons["completions"]["beginnings"] = ["Another day"]
    assert "for endings of another run than this one" in example.text()


def test_tasks_say_how_far_each_model_keeps_its_accuracy(example: Example) -> None:
    said = "the Transformer keeps 95 % at the trained length and no further, and Mamba keeps 95 % up to 256 tokens"
    assert f"In selective copying, {said}" in example.text()
    for row in example.jsons["mamba"]["tasks"][1]["rows"]:
        row["mamba"] = 0.5
    assert "Mamba does not reach 95" in example.text()


def test_one_seed_has_no_interval_and_the_text_says_so(example: Example) -> None:
    for model in example.jsons["mamba"]["models"].values():
        model |= {"low": None, "high": None, "seeds": 1}
    example.jsons["mamba"]["difference"] |= {"low": None, "high": None}
    for axis in example.jsons["study"]["axes"]:
        for variant in axis["variants"]:
            variant |= {"low": None, "high": None, "difference_low": None, "difference_high": None, "seeds": 1}
    text = example.text()
    assert "With one seed each there is no interval" in text and "How much a seed may do" not in text
    assert "One seed was run for each variant" in text
    assert "quality is lost" not in text and "excludes zero" not in text


def test_study_variants_are_sorted_by_their_intervals(example: Example) -> None:
    text = example.text()
    assert "quality is lost with position *none*." in text and "Quality is gained" not in text
    assert "can show: position *learned* and norm *layernorm*." in text
    assert "+0.080 [+0.075, +0.085] † |" in text and text.count("†") == 2  # and the legend
    assert "Of the differences shown, 1 of 1 survive" in text
    learned = example.jsons["study"]["axes"][0]["variants"][1]
    learned |= {"difference": -0.02, "difference_low": -0.03, "difference_high": -0.01}
    text = example.text()
    assert "Quality is gained with position *learned*." in text and "can show: norm *layernorm*." in text


def test_natural_stories_make_no_exact_claim(example: Example) -> None:
    assert "Exact entropy" in example.text()
    example.jsons["data"]["entropy"] = example.jsons["evaluation"]["pocket"] = None
    text = example.text()
    assert "cannot be known" in text
    assert "Exact entropy" not in text and "Inside the language" not in text and "places |" not in text


def test_timings_closer_than_ten_percent_are_called_the_same(example: Example) -> None:
    assert "the Transformer trains 2.0 times as fast as the Mamba" in example.text()
    example.jsons["timings/mamba"]["models"]["mamba"]["tokens_per_second"] = 7800
    assert "The two train at speeds within 10 % of one another" in example.text()


def test_the_ladder_is_told_by_its_numbers(example: Example) -> None:
    text = example.text()
    assert "goes from 1.800" in text and "The largest single gain is that of *Muon for matrices*, 0.300 bpb" in text
    assert "seeds: *batch grows*. Worse: *cosine to zero*. Not distinguishable from it: *average of weights*" in text
    assert "lowest after 4.0 epochs and rose from there by 0.60" in text and "had not risen again at the end" in text
    example.jsons["recipe"]["seeds"] = 1
    assert "With one seed each they rank nothing." in example.text()
    example.jsons["timings/recipe"]["ladder"].pop()
    with pytest.raises(InputError, match="no rung 'Muon for matrices'"):
        example.text()


def test_the_scaling_law_is_compared_with_the_source(example: Example) -> None:
    assert "the fitted $c_0$ is not distinguishable from that" in example.text()
    assert "half or twice as large as the best costs up to 0.031 bpb" in example.text()
    example.jsons["scaling"]["exact"] = 0.5
    assert "the fitted $c_0$ is higher than that" in example.text()
    example.jsons["scaling"]["law"]["E"] = spread(0.1, 0.05)
    assert "promises what is impossible" in example.text()
    assert "| 3.00 TFLOP\\* | 210 000 [150 000, 300 000]" in example.text()  # beyond what was trained
    assert "take its constants at their word" not in example.text()
    example.jsons["scaling"]["misfit"] = 0.2
    assert "That is too much to take its constants at their word" in example.text()
    example.jsons["scaling"] |= {"law": {}, "best": [], "misfit": None}
    assert "too few for a scaling law" in example.text()


def test_models_of_a_known_language_are_told_by_size(example: Example) -> None:
    text = example.text()
    assert "| 700 000 | **0.100** [0.090, 0.110] | **130.0** [125.0, 135.0] | 61.0 % [58.0 %, 64.0 %] |" in text
    assert "700 000 parameters are the fewest with which at least half are valid" in text
    for row in example.jsons["language"]["sizes"]:
        row["valid"] = spread(0.0, 0.0)
    assert "None of the 300 stories of the largest is valid" in example.text()


def test_the_noise_of_a_seed_is_told_where_it_is_known(example: Example) -> None:
    # 1.25 +- 0.02 from three seeds, with Student's 4.303: 0.02 / 4.303 * sqrt(3)
    assert "over 3 seeds the smaller Transformer of" in example.text() and "scatters by 0.0081 bpb" in example.text()


def test_learning_rates_tried_for_the_pair_are_told(example: Example) -> None:
    assert "each first tried 2 pairs of learning rates" in example.text()
    assert "Mamba 0.04, 0.08 (1.270 bpb, the worst pair 1.310)" in example.text()
    example.jsons["mamba"]["rates"]["tried"] = []
    text = example.text()
    assert "the learning rates that the profile gives it, 0.02 and 0.04" in text and "Mamba perhaps among them" in text


def test_energy_is_told_where_the_machine_tells_it(example: Example) -> None:
    assert "The processor took" not in example.text()
    example.jsons["timings/training"]["joules"] = 2310.0
    assert "The processor took 2.31 kJ meanwhile" in example.text()


def test_text_of_stories_cannot_break_the_markup(example: Example) -> None:
    example.jsons["evaluation"]["gallery"][0]["endings"]["transformer"] = '*a* [b](c) $d$ | {{ e }} @@fig-x@@ # "f" <g>'
    paths = build(example.write().root, NAME)
    html = paths[0].read_text(encoding="utf-8")
    assert "*a* [b](c) $d$ | {{ e }} @@fig-x@@ # &quot;f&quot; &lt;g&gt;" in html


def test_intervals_and_points_compare() -> None:
    assert compare(Estimate(1.0, 0.9, 1.1), Estimate(1.3, 1.2, 1.4)) == "lower than"
    assert compare(Estimate(1.0, 0.9, 1.2), Estimate(1.3, 1.2, 1.4)) == "not distinguishable from"
    assert compare(Estimate(1.5), Estimate(1.3, 1.2, 1.4)) == "higher than"
    assert compare(Estimate(1.5), Estimate(1.5)) == "equal to"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (wording.bpb, 0.8124, "0.812"),
        (wording.bpb, None, "–"),
        (wording.count, 1234567, "1 234 567"),
        (wording.signed, -0.0312, "−0.031"),
        (wording.signed, -0.0001, "0.000"),
        (wording.percent, 0.4321, "43.2 %"),
        (wording.power, 3.21e-6, "3.2 × 10^−6^"),
        (wording.power, 0.0, "0"),
        (wording.large, 1_234_567, "1.23 million"),
        (wording.large, 42_000_000, "42.0 million"),
        (wording.large, 864256, "864 256"),
        (wording.duration, 8.44, "8.4 s"),
        (wording.duration, 192.2, "3 min 12 s"),
        (wording.duration, 3900, "1 h 5 min"),
    ],
)
def test_formats(form: object, value: float | None, text: str) -> None:
    assert form(value).replace(THIN, " ") == text


def test_a_missing_key_stops_the_build_with_one_sentence(example: Example) -> None:
    del example.jsons["training"]["transformer"]["bits_per_byte"]
    done = example.write().command()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "training.json has no 'transformer.bits_per_byte'" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["study.json", "timings/decoding.csv"])
def test_a_damaged_file_stops_the_build_with_one_sentence(example: Example, name: str) -> None:
    path = example.write().results / name
    path.write_text(path.read_text().rpartition(",")[0], encoding="utf-8")  # as a crash leaves it: the end is missing
    done = example.command()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"{Path(name).name} is damaged" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("broken", ["null", '"many"', "NaN", "true"])
def test_what_is_no_number_stops_the_build(example: Example, broken: str) -> None:
    path = example.write().results / "mamba.json"
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
    assert html.count("data:image/svg+xml") == len(FIGURES)
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
    assert 8 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 25


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
