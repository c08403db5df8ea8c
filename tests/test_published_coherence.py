"""The published study of coherence says what its experiments say together, and the pages say what it says."""

import math
import re

import pytest

from pn_lib.course.published_coherence import PICTURE, coherence_finding, coherence_picture
from pn_lib.evaluation.intervals import wilson_interval
from pn_lib.evaluation.validity import departures
from pn_lib.models.packed import load_packed
from pn_lib.run.coherence import smallest
from pn_lib.run.coherence_judge import tell
from pn_lib.run.coherence_plan import Plan, grid
from pn_lib.run.coherence_summary import PUBLISHED, STUDY, read_experiments, summarize
from pn_lib.run.profile import load_profile
from pn_lib.run.results.coherence_results import CoherenceResult, CoherenceTimings
from pn_lib.run.saved_models import find_model
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

MINUTES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
MODELS = read_experiments((REPOSITORY / PUBLISHED).glob("*.json"))


@pytest.fixture(scope="module")
def found() -> CoherenceResult:
    return CoherenceResult.read(REPOSITORY / STUDY)


def test_it_is_what_its_experiments_say_together(tmp_path):
    for result in summarize(MODELS):
        result.write(tmp_path / result.FILE)
        published = REPOSITORY / STUDY / result.FILE
        assert (tmp_path / result.FILE).read_bytes() == published.read_bytes(), "run python -m pn_lib publish coherence"


def test_its_experiments_are_those_that_a_profile_asks_for():
    asked = {plan.name for plan in grid(load_profile("overnight").coherence)}
    assert MODELS and set(MODELS) <= asked


def test_no_model_breaks_the_bound_but_by_chance(found):
    """The share of valid stories is at least 2 to the power of minus the excess in bits."""
    for cell in found.cells:
        assert cell.valid.high >= 2**-cell.excess_bits


def test_the_finding_and_the_picture_are_made_of_it(found):
    text = (NOTEBOOKS / "guides" / "findings.md").read_text(encoding="utf-8")
    assert f"<!-- coherence -->\n{coherence_finding()}\n<!-- /coherence -->" in text, "run python -m pn_lib refresh"
    assert PICTURE.read_text(encoding="utf-8") == coherence_picture()


def test_the_readme_says_what_the_smallest_file_that_tells_has_and_writes(found):
    rows = [row for row in found.least if row.cost == "bytes" and row.dialect == found.least[0].dialect]
    file = max(rows, key=lambda row: row.level)
    made = {row.name: row for row in CoherenceTimings.read(REPOSITORY / STUDY).made}
    seconds = [made[name].seconds for name, _ in smallest(MODELS)]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [(size, minutes, share)] = re.findall(
        r"a file of (\d+) kB \(sixty thousand parameters, trained for under (\w+) minutes on one core of an AMD EPYC\) "
        r"writes \*\*(\d+) %\*\* of its stories without a fault",
        readme,
    )
    assert size == f"{file.value / 1000:.0f}" and share == f"{100 * file.valid.value:.0f}"
    assert round(file.parameters, -4) == 60_000 and all(row.cpu.startswith("AMD EPYC") for row in made.values())
    assert MINUTES.index(minutes) == math.ceil(max(seconds) / 60)


def test_the_smallest_file_that_tells_can_be_heard():
    name, integers = smallest(MODELS)[0]
    settings = MODELS[name].settings | {"told": 40, "temperatures": tuple(MODELS[name].settings["temperatures"])}
    plan, told = Plan(**settings), next(told for told in MODELS[name].told if told.integers == integers)
    path = find_model(f"coherence/{name.split('-')[1]}")
    model, tokenizer = load_packed(path)
    assert path.stat().st_size == told.file_bytes and model.n_parameters() == MODELS[name].parameters
    faults = departures(tell(model, tokenizer, plan, 1.0), plan.language)
    assert wilson_interval(40 - len(set(faults["story"])), 40).high > told.valid.low
