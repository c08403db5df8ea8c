"""The claims of the README and the guides: their numbers are those of the published runs, commands and files exist."""

import json
import re
import tomllib

import numpy as np
import pandas as pd
import pytest
import yaml
from fuzzing import READERS

from pn_lib import __version__
from pn_lib.cli import app
from pn_lib.course.address import citation, clone_command, repository_url
from pn_lib.course.frontier_figure import PICTURE, frontier_markdown
from pn_lib.course.pages import GUIDE_NAMES, GUIDES
from pn_lib.course.small_files import RUNS, small_files_table
from pn_lib.course.speeds import speeds_table
from pn_lib.course.trust import TRUST, faults_table, fuzz_table, large_table, numbers_table
from pn_lib.course.voices import FILES, SHOWN_WORDS, first_sentences, one_line, voices
from pn_lib.run.comparison import TRAINED
from pn_lib.run.results.fixed_data_results import FixedDataResult
from pn_lib.run.results.listening_results import GeneralResult, ListeningResult
from pn_lib.run.results.optimizers_results import OptimizersResult
from pn_lib.run.results.study_results import StudyResult
from pn_lib.run.results.training_results import RecipeResult
from pn_lib.run.results.trust_results import FaultOutcomes, FuzzResult, LargeResult, NumbersResult
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY
from pn_lib.run.times import SHOWN

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
GUIDE = {path.stem: path.read_text(encoding="utf-8") for path in sorted((NOTEBOOKS / GUIDES).glob("*.md"))}
EVERYTHING = "\n".join([README, *GUIDE.values()])
MOST_WORDS = 900
PUBLISHED = REPOSITORY / "results" / "published" / "overnight-tinystories"
REFERENCE = PUBLISHED.parent / "reference"


def published(name: str) -> dict:
    return json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))


def per_cent(share: dict) -> str:
    return f"{share['value']:.0%}".replace("%", " %")


def part(text: str, name: str) -> str:
    return text.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- /{name} -->")[0]


def test_the_readme_is_a_page():
    """Counted: every word, also of the stories; not: blocks of code, the table of notebooks, comments, addresses, and
    the words for pictures."""
    prose = README.replace(part(README, "map"), "")
    for left_out in (r"```.*?```", r"<!--.*?-->", r"!\[[^\]]*\]", r"\]\([^)]*\)"):
        prose = re.sub(left_out, " ", prose, flags=re.S)
    assert len(re.findall(r"\S*\w\S*", prose)) <= MOST_WORDS


STORIES = json.loads((REFERENCE / "frontier.json").read_text(encoding="utf-8"))["stories"]


def small_file(name: str) -> list[dict]:
    """A published file of ``reference``: what it reached, and what that took."""
    both = [json.loads((REFERENCE / room / "frontier.json").read_text(encoding="utf-8")) for room in ("", "timings")]
    return [next(model for model in found["models"] if model["name"] == name) for found in both]


def test_the_three_findings_are_the_published_runs():
    finding, (model, timing) = part(README, "finding"), small_file("300k")
    assert f"The {model['file_bytes'] / 1000:.0f} kB file, tokenizer included" in finding
    assert f"{model['parameters'] / 1e6:.2f} million weights of 4 bits" in finding and model["integers"] == "int4"
    assert f"**{model['bits_per_byte']['value']:.3f} bits per byte**" in finding
    larger, _ = small_file("3m")
    general = {row.name: row for row in GeneralResult.read(REFERENCE).models}
    stranger = general["SmolLM2-135M-Instruct"]
    assert general["reference/3m"].difference.high < 0
    assert (
        f"the {larger['file_bytes'] / 1000:,.0f} kB file, **{larger['bits_per_byte']['value']:.3f}**, ahead of "
        f"{stranger.name}, a general model of {stranger.file_bytes / 1e6:.0f} MB" in finding
    )
    small = published("mixers")["sizes"][0]
    behind = [pair["difference"]["value"] for pair in small["pairs"] if pair["verdict"] == "behind"]
    assert [pair["first"] for pair in small["pairs"][:4]] == ["transformer"] * 4 and len(behind) == 4
    assert f"With {told_size(small)}, each" in finding
    assert f"**{min(behind):.3f} to {max(behind):.3f} bits per byte** ({small['seeds']} seeds" in finding
    timed = published("timings/mixers")["equal_seconds"]["pairs"][:4]
    assert [pair["second"] for pair in timed if pair["verdict"] == "behind"] == ["mamba", "hybrid"]
    assert "At equal seconds (EPYC, AVX-512), only Mamba and the hybrid do" in finding
    heard = ListeningResult.read(REFERENCE)
    human, ours = heard.tellers["human"], heard.tellers["reference/1m"]
    better = {measure: heard.known_groups.better[measure]["reference/1m"] for measure in ("surprise", "worth")}
    assert better["surprise"].low < 0.5 < better["surprise"].high and better["worth"].low > 0.5
    costs = f"{ours.surprise.value:.2f} bits per byte, versus {human.surprise.value:.2f}"
    assert f"as plausible as the real ones ({costs})" in finding
    assert f"{ours.worth.value:.2f} bits per byte on ours, versus {human.worth.value:.2f} on real ones" in finding
    assert f"in **{per_cent(better['worth'].model_dump())} of pairs** ({heard.beginnings} beginnings" in finding
    answer = f"{model['file_bytes'] / 1000:.0f} kB, trained for {timing['seconds'] / 60:.0f} minutes on one CPU core"
    assert f"{answer} (AMD EPYC, AVX-512), writes {1000 * round(timing['decoding'] / 1000):,} tokens a second" in README


def test_the_frontier_is_of_the_published_files():
    assert part(README, "frontier") == frontier_markdown(), "run python -m pn_lib refresh"
    model, _ = small_file("300k")
    assert f"ours, {model['file_bytes'] / 1000:.0f} kB: {model['bits_per_byte']['value']:.2f}" in part(
        README, "frontier"
    )
    assert PICTURE.is_file()


def test_one_beginning_goes_on_as_its_author_and_the_models_wrote_it():
    assert part(README, "voices") == voices(), "run python -m pn_lib refresh"
    beginning, _, _, _, whole, *ours = part(README, "voices").splitlines()
    assert len(ours) == len(FILES)
    [example] = [e for e in published("evaluation")["gallery"] if beginning == f"> {one_line(e['beginning'])} …"]
    [shown] = re.findall(r"\| …(.+?) … \|", whole)
    assert one_line(example["endings"]["human"]).startswith(shown) and len(shown.split()) >= SHOWN_WORDS


def test_an_ending_is_shown_to_the_end_of_a_sentence():
    assert first_sentences('the pit." They\nlooked. * Then') == 'the pit." They looked. \\* Then'
    long = "one " * 29 + "end. Two words. More."
    assert first_sentences(long) == "one " * 29 + "end. …"
    assert first_sentences("no end at all") == "no end at all"


def test_the_clone_command_names_the_published_repository():
    assert part(README, "clone") == clone_command(), "run python -m pn_lib refresh"
    assert f"git clone {repository_url()} && cd " in README


def test_the_citation_is_of_this_version_and_address():
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert text == citation(), "run python -m pn_lib refresh"
    assert f"version: {__version__}\n" in text and f"repository-code: {repository_url()}\n" in text
    assert yaml.safe_load(text)["cff-version"] == "1.2.0" and "](CITATION.cff)" in README


def test_every_guide_is_in_the_menu_and_the_readme_leads_to_it():
    assert sorted(GUIDE_NAMES) == list(GUIDE)
    assert all(f"({NOTEBOOKS.name}/{GUIDES}/{name}.md)" in README for name in GUIDE_NAMES)


def test_the_findings_are_the_published_runs():
    finding = part(GUIDE["findings"], "finding")
    training, recipe, zoo = (published(name) for name in ("training", "recipe", "zoo"))
    assert f"{round(published('timings/training')['seconds'] / 60)} minutes on two CPU cores" in finding
    assert f"**{training['transformer']['bits_per_byte']:.3f} bits per byte**" in finding
    assert f"stops at **{training['ngram']['bits_per_byte']:.3f}**" in finding
    assert f"at {zoo['models']['stories260K']['bits_per_byte']['value']:.3f} on the same stories" in finding
    for rung in (0, 1, -1):
        assert f"{recipe['ladder'][rung]['bits_per_byte']:.2f}" in finding
    step, fair = RecipeResult.read(PUBLISHED).gains["Muon for matrices"], OptimizersResult.read(REFERENCE)
    left = fair.difference
    assert step == max(RecipeResult.read(PUBLISHED).gains.values()) and -left.low < step / 2
    assert f"The largest step, {step:.3f}, is the one from AdamW to the optimizer Muon" in finding
    assert f"Muon ends {-left.value:.3f} ({-left.high:.3f} to {-left.low:.3f}) below AdamW" in finding
    assert f"({fair.seeds} seeds, {fair.stories} stories)" in finding


def told_size(size: dict) -> str:
    return (
        f"{size['budget'] / 1000:.0f} thousand parameters in the layers and {size['tokens'] / 1e6:.1f} million tokens"
    )


def test_what_is_said_of_remembering_survives_holms_correction():
    finding, timed = part(GUIDE["findings"], "finding"), published("timings/mixers")["equal_seconds"]["pairs"]
    small, large = published("mixers")["sizes"]
    for size in (small, large):
        behind = [pair["difference"]["value"] for pair in size["pairs"][:4] if pair["verdict"] == "behind"]
        assert len(behind) == 4
        said = told_size(size) if size is small else told_size(size).replace(" in the layers", "")
        assert f"at {said}, by {min(behind):.3f} to {max(behind):.3f}" in finding
    assert f"({small['seeds']} seeds, Holm's correction)" in finding and f"({large['seeds']} seeds)" in finding
    [clear] = [pair for pair in large["pairs"][4:] if pair["verdict"] != "not told apart"]
    assert (clear["first"], clear["second"], clear["verdict"]) == ("mamba2", "hybrid", "behind")
    assert f"Mamba-2, by {clear['difference']['value']:.3f}" in finding
    words = {(pair["second"], pair["verdict"]): f"{abs(pair['difference']['value']):.3f}" for pair in timed[:4]}
    assert f"only Mamba (by {words['mamba', 'behind']}) and the hybrid (by {words['hybrid', 'behind']}) stay" in finding
    assert {verdict for name, verdict in words if name in ("mamba2", "deltanet")} == {"not told apart"}
    rows = [row for row in published("memory")["rows"] if row["task"] == "associative recall" and row["length"] == 128]
    share = {row["architecture"]: f"{100 * row['mean']:.0f} %" for row in rows}
    said = "hybrid gives {hybrid} right answers, Mamba-2 {mamba2}, Gated DeltaNet {deltanet}, Mamba {mamba}, and the"
    assert (said + " Transformer {transformer}").format(**share) in finding


def test_what_is_said_of_the_architecture_survives_holms_correction():
    finding = part(GUIDE["findings"], "finding")
    study = StudyResult.read(PUBLISHED)
    rows = {(axis.axis, row.variant): row for axis in study.axes for row in axis.variants}
    raising, lowering, same = (
        [rows[key] for key, found in study.judgments.items() if found.verdict == verdict]
        for verdict in ("raises the loss", "lowers the loss", "not told apart")
    )
    clear = len(raising) + len(lowering)
    assert clear + len(same) == len(study.judgments)
    words = f"Of {len(study.judgments)} single changes to a small Transformer, {clear} survive Holm's correction with "
    assert words + f"{study.baseline.seeds} seeds" in finding
    assert [row.variant for row in lowering] == ["H=1"]
    assert (
        f"One head instead of four lowers the loss (by {-lowering[0].difference:.3f}). The others raise it" in finding
    )
    assert all(f"(by {row.difference:.3f})" in finding for row in raising)
    assert f"The other {len(same)} cannot be told apart from the baseline" in finding
    assert {row.variant for row in same} == {"layernorm, pre", "layernorm, post", "gelu", "relu"}
    assert f"Each model read {study.baseline.tokens / 1e6:.1f} million tokens." in finding


def test_the_smallest_file_is_the_published_one():
    finding = part(GUIDE["findings"], "finding")
    model, timing = small_file("300k")
    loss, file = model["bits_per_byte"], REFERENCE / "models" / f"{model['name']}.safetensors"
    assert file.stat().st_size == model["file_bytes"] and f"fits into {model['file_bytes'] / 1000:.0f} kB" in finding
    assert f"{model['parameters'] / 1e6:.2f} million weights of 4 bits each" in finding and model["integers"] == "int4"
    assert f"{model['tokens'] / 1e6:.0f} million tokens in {timing['seconds'] / 60:.0f} minutes on one" in finding
    assert f"**{loss['value']:.3f} bits per byte** on the {STORIES} stories of the test half" in finding
    assert f"(95 % interval {loss['low']:.3f} to {loss['high']:.3f})" in finding
    assert f"{loss['value'] - model['float32_bits_per_byte']:.3f} more than before" in finding
    for name in ("1m", "3m"):
        model, timing = small_file(name)
        loss = model["bits_per_byte"]
        for said in (
            f"of {model['file_bytes'] / 1000:,.0f} kB, {model['parameters'] / 1e6:.1f} million weights of 4 bits each, "
            f"trained for {model['tokens'] / 1e6:.0f} million tokens in {timing['seconds'] / 60:.0f} minutes",
            f"reaches **{loss['value']:.3f}** ({loss['low']:.3f} to {loss['high']:.3f})",
        ):
            assert said in finding


def test_the_table_of_files_is_of_those_that_are_there():
    assert part(GUIDE["findings"], "files") == small_files_table(), "run python -m pn_lib refresh"
    assert f"on the {STORIES} stories of the test half" in GUIDE["findings"].split("## Files")[1]
    rows = small_files_table().splitlines()[2:]
    told, total = [row.split(" | ")[:3] for row in rows], 0
    for run, stories in RUNS.items():
        sizes = {path.stem: path.stat().st_size for path in (PUBLISHED.parent / run / "models").glob("*.safetensors")}
        names, total = sorted(sizes, key=sizes.get), total + sum(sizes.values())
        assert told[: len(names)] == [[f"| `{run}/{name}`", stories, f"{sizes[name] / 1000:.0f}"] for name in names]
        told = told[len(names) :]
    assert not told and total < 6_000_000


def test_what_is_said_of_a_general_model_is_the_published_comparison():
    finding, found = part(GUIDE["findings"], "finding"), GeneralResult.read(REFERENCE)
    by_name = {model.name: model for model in found.models}
    general, ours, less = by_name[found.general], by_name["reference/3m"], by_name["reference/300k"]
    ahead, even, middle = ours.difference, less.difference, by_name["reference/1m"].difference
    assert ahead.high < 0 and even.low < 0 < even.high and middle.high < 0 and ours.ending.high < general.ending.low
    assert f"kB file is also ahead, by {-middle.value:.3f}" in finding
    for said in (
        f"On {found.stories} stories of the test half, the {ours.file_bytes / 1000:,.0f} kB file needs "
        f"{ours.bits_per_byte.value:.3f} bits per byte",
        f"a general model of {general.file_bytes / 1e6:.0f} MB, which needs {general.bits_per_byte.value:.3f}",
        f"the difference is {ahead.value:.3f} ({ahead.low:.3f} to {ahead.high:.3f})",
        f"The {less.file_bytes / 1000:.0f} kB file needs {less.bits_per_byte.value:.3f}, and the interval of its "
        f"difference, {even.low:.3f} to {even.high:.3f}, includes zero",
        f"pays {general.first_word:.1f} bits for a first word",
        f"needs more on the endings ({general.ending.value:.3f} versus {ours.ending.value:.3f})",
        f"facts it answers {per_cent(general.probes['facts'].model_dump())}, the largest file "
        f"{per_cent(ours.probes['facts'].model_dump())}",
    ):
        assert said in finding


def test_what_a_listener_heard_is_the_published_file():
    finding, heard = part(GUIDE["findings"], "finding"), ListeningResult.read(REFERENCE)
    surprise, worth = (
        {who: f"{getattr(one, measure).value:.2f}" for who, one in heard.tellers.items()}
        for measure in ("surprise", "worth")
    )
    known = heard.known_groups.better["worth"]
    shuffled, another, looping = (per_cent(known[group].model_dump()) for group in ("shuffled", "another", "looping"))
    assert heard.known_groups.better["surprise"]["looping"].value < 0.5 and known["looping"].low > 0.5
    for said in (
        f"endings of {heard.beginnings} beginnings of the test half, written at temperature {heard.temperature}",
        f"cost it {surprise['reference/1m']} bits per byte, and the real ones {surprise['human']}",
        *(f"in {per_cent(known[f'reference/{name}'].model_dump())}" for name in ("1m", "3m")),
        f"saves it {worth['human']} bits per byte on the real endings, {worth['reference/3m']} on those of the 2,345",
        f"{worth['reference/1m']} on those of the 969 kB file, {worth['reference/300k']} and {worth['reference/100k']}",
        f"and {worth['4-gram']} on a 4-gram's",
        f"in {shuffled} of pairs the real ending",
        f"in {another} more than another story's ending does, and in {looping} more than one that repeats itself",
    ):
        assert said in finding


def test_what_is_said_of_stories_is_the_published_runs():
    finding = part(GUIDE["findings"], "finding")
    told = published("evaluation")["completions"]["tellers"]
    words = (
        "{} of a beginning's names come back in our Transformer's endings, versus {} in a 4-gram's and {} in the real"
    )
    kept = (per_cent(told[who]["names_kept"]) for who in ("transformer", "ngram", "human"))
    assert words.format(*kept) in finding
    language = published("language")["sizes"]
    for row in (language[0], language[-1]):
        assert f"{row['excess']['value']:.2f}" in finding and f"{row['words']['value']:.0f}" in finding


def test_what_is_said_of_fixed_data_is_the_published_study():
    finding, found = part(GUIDE["findings"], "finding"), FixedDataResult.read(REFERENCE)
    base = found.models[0]
    loss = {(one.epochs, one.dropout, one.weight_decay): np.mean(one.bits_per_byte) for one in found.models}
    plain, dropped = loss[16, 0.0, 0.1], loss[16, 0.1, 0.1]
    verdicts = ["raises the loss", "raises the loss", "lowers the loss", "raises the loss", "not told apart"]
    assert [change.verdict for change in found.changes] == verdicts
    *_, ensemble = found.ensembles
    student = found.students[-1]
    assert (found.epochs, found.dropout) == (16, 0.1) and len(found.changes) == 5
    assert found.precision == "float32" and "Intel(R) Xeon(R)" in found.machine and "AVX512" in found.machine
    assert ensemble.difference.high < 0 and student.difference.high < 0 and student.parameters == base.parameters
    for said in (
        f"A Transformer of {base.parameters / 1e6:.2f} million parameters read {found.text_bytes / 1e6:.1f} MB of",
        f"After 4 epochs, a dropout of 0.1 raises the loss, by {found.changes[0].difference.value:.3f} bits per byte (",
        f"after 16, it lowers it, from {plain:.3f} to **{dropped:.3f}** ({found.seeds} seeds",
        f"Averaging the probabilities of {ensemble.members} seeds takes off {-ensemble.difference.value:.3f} from",
        "A dropout of 0.2 is worse than 0.1 at both, and a weight decay of 0.3 instead of 0.1 cannot be told apart",
        f"one student of the same size keeps {-student.difference.value:.3f} of that",
    ):
        assert said in finding, said


def test_the_speeds_are_the_published_benchmarks():
    assert part(GUIDE["speed"], "speeds") == speeds_table(), "run python -m pn_lib refresh"
    [trained] = [line for line in speeds_table().splitlines() if "tokens a second" in line]
    rates = [float(cell.replace(",", "")) for cell in trained.split("|")[2:4]]
    for kind, rate in zip(SHOWN, rates, strict=True):
        table = pd.read_csv(PUBLISHED.parent / "benchmark" / kind / "training.csv")
        assert rate == pytest.approx(
            table[table["model"] == "Transformer"].query("length == 256")["tokens_per_second"].iloc[-1], abs=0.5
        )


def test_no_fault_lost_anything():
    assert part(GUIDE["trust"], "faults") == faults_table(), "run python -m pn_lib refresh"
    assert not [row for row in FaultOutcomes.read(TRUST).rows if row.failed]


def test_no_spoiled_file_did_more_than_to_be_refused():
    assert part(GUIDE["trust"], "fuzz") == fuzz_table(), "run python -m pn_lib refresh"
    rows = FuzzResult.read(TRUST).rows
    assert [row.reader for row in rows] == list(READERS)
    assert not [row for row in rows if row.failed]


def test_what_is_large_was_done_in_the_memory_that_is_promised():
    assert part(GUIDE["trust"], "large") == large_table(), "run python -m pn_lib refresh"
    [promised] = re.findall(r"less than (\d) GB of memory", GUIDE["trust"])
    rows = LargeResult.read(TRUST).rows
    assert rows and not [row for row in rows if row.failed or row.peak_megabytes > 1000 * int(promised)]


def test_numbers_move_less_than_a_report_allows():
    assert part(GUIDE["trust"], "numbers") == numbers_table(), "run python -m pn_lib refresh"
    rows = NumbersResult.read(TRUST).rows
    most = max(row.bits_per_byte or 0 for row in rows)
    assert most < TRAINED < 2 * most and f"{TRAINED:g} bits per byte" in GUIDE["trust"]


@pytest.mark.parametrize("page", ["README.md", *(f"{NOTEBOOKS.name}/{GUIDES}/{name}.md" for name in GUIDE)])
def test_links_lead_somewhere(page):
    path = REPOSITORY / page
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8"))
    for target, _, section in (link.partition("#") for link in links):
        to = path.parent / target if target else path
        assert to.exists(), f"{page} leads to {target}"
        assert not section or f"\n## {section.capitalize()}\n" in to.read_text(encoding="utf-8"), f"{page}: {section}"


def test_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", EVERYTHING, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), f"somewhere make {target} is named"


def test_commands_exist():
    commands = set(re.findall(r"python -m pn_lib ([a-z]+)", EVERYTHING))
    assert commands and commands <= {command.callback.__name__ for command in app.registered_commands}


def test_the_tested_pythons_are_everywhere_the_same():
    text = {
        name: (REPOSITORY / name).read_text(encoding="utf-8")
        for name in ("pyproject.toml", "Makefile", "environment.yml", ".github/workflows/ci.yml")
    }
    project = tomllib.loads(text["pyproject.toml"])["project"]
    tested = [name.split(" :: ")[-1] for name in project["classifiers"] if name.startswith("Programming Language")]
    oldest, newest = tested[0], tested[-1]
    assert project["requires-python"] == f">={oldest}"
    for page in (README, GUIDE["running"]):
        assert f"Python {oldest} or newer (CI tests {oldest} and {newest})" in page
    assert f"version_info < ({oldest.replace('.', ', ')})" in text["Makefile"]
    assert f"--python-version {oldest} " in text["Makefile"]
    assert f"- python={oldest}" in text["environment.yml"]
    jobs = yaml.safe_load(text[".github/workflows/ci.yml"])["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == [oldest, newest]
    assert jobs["newest"]["continue-on-error"] is True
    assert jobs["newest"]["steps"][-1]["run"] == "make --keep-going test CONSTRAINT="
