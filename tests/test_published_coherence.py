"""The published study of coherence says what its experiments say together, and the pages say what it says."""

import pytest

from pn_lib.course.published_coherence import PICTURE, coherence_finding, coherence_picture
from pn_lib.run.coherence_plan import grid
from pn_lib.run.coherence_summary import PUBLISHED, STUDY, read_experiments, summarize
from pn_lib.run.profile import load_profile
from pn_lib.run.results.coherence_results import CoherenceResult, CoherenceTimings
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

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


def test_the_readme_says_how_small_a_model_writes_half_of_its_stories_well(found):
    seconds = CoherenceTimings.read(REPOSITORY / STUDY).made
    file = next(row for row in found.least if (row.level, row.cost) == (0.5, "bytes"))
    same = [made.seconds for made in seconds if MODELS[made.name].tokens == file.tokens and _size(made) == "60k"]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert f"a file of {file.value / 1000:.0f} kB (sixty thousand parameters, trained for under three minutes" in readme
    assert "on one core of an AMD EPYC)" in readme and all(made.cpu.startswith("AMD EPYC") for made in seconds)
    assert f"writes **{100 * file.valid.value:.0f} %** of its stories without a fault" in readme
    assert round(file.parameters, -4) == 60_000 and max(same) < 180


def _size(made) -> str:
    return made.name.split("-")[1]
