"""The published study of coherence says what its experiments say together, and the pages say what it says."""

import math
import re

import pytest

from pn_lib.course.published_coherence import PICTURE, coherence_finding, coherence_picture, facts_finding
from pn_lib.evaluation.intervals import wilson_interval
from pn_lib.evaluation.validity import departures
from pn_lib.models.packed import load_packed
from pn_lib.run.coherence.measurement import tell
from pn_lib.run.coherence.plan import Plan, grid
from pn_lib.run.coherence.summary import PUBLISHED, STUDY, SURE, read_experiments, smallest, summarize
from pn_lib.run.profile import load_profile
from pn_lib.run.results.coherence_results import CoherenceResult
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


def test_what_is_said_of_facts_follows_the_counts(found):
    """What the published models lack, exchanged for nothing, for a second fact, and for a fact of the best model."""
    lacking = {(memory.experiment, memory.slot) for memory in found.memories if memory.right < SURE}

    def said(broken: set[tuple[str, str]]) -> str:
        rows = []
        for memory in found.memories:
            wrong = memory.repeated // 4 if (memory.experiment, memory.slot) in broken else 0
            rows.append(memory.model_copy(update={"broken": wrong}))
        return facts_finding(found.model_copy(update={"memories": rows}))

    best = max(found.memories, key=lambda memory: memory.valid).experiment
    assert "the fewest valid stories" in said(lacking)
    assert "the other" not in said(set()) and facts_finding(found.model_copy(update={"memories": []})) == ""
    for more in ({(next(iter(lacking))[0], "hero")}, {(best, "hero")}):
        assert "get `colour`, `hero` right" in said(lacking | more) and "fewest" not in said(lacking | more)


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


def test_the_readme_says_what_the_smallest_file_that_tells_has_and_writes():
    name, told = smallest(MODELS)[0]
    model = MODELS[name]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    [(size, minutes, share, *others)] = re.findall(
        r"a file of (\d+) kB \(sixty thousand parameters, trained for under (\w+) minutes on one core of an AMD EPYC "
        r"with AVX2\) writes \*\*(\d+) %\*\* of its stories without a fault.*? "
        r"\(Best seed; others: (\d+) %, (\d+) %.\)",
        readme,
    )
    assert size == f"{told.file_bytes / 1000:.0f}" and share == f"{100 * told.valid.value:.0f}"
    assert round(model.parameters, -4) == 60_000 and model.cpu == "AMD EPYC (AVX2)" and model.threads == 1
    assert MINUTES.index(minutes) == math.ceil(model.seconds / 60)
    seeds = [MODELS[each] for each in MODELS if MODELS[each].settings | {"seed": 0} == model.settings | {"seed": 0}]
    shares = [next(t.valid.value for t in seed.told if t.integers == told.integers) for seed in seeds]
    assert sorted(map(int, (share, *others))) == sorted(round(100 * each) for each in shares)


def test_the_smallest_file_that_tells_can_be_heard():
    name, told = smallest(MODELS)[0]
    settings = MODELS[name].settings | {"told": 40, "temperatures": tuple(MODELS[name].settings["temperatures"])}
    plan = Plan(**settings)
    path = find_model(f"coherence/{name.split('-')[1]}")
    model, tokenizer = load_packed(path)
    assert path.stat().st_size == told.file_bytes and model.n_parameters() == MODELS[name].parameters
    faults = departures(tell(model, tokenizer, plan, 1.0), plan.language)
    assert wilson_interval(40 - len(set(faults["story"])), 40).high > told.valid.low
