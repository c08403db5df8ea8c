"""Every conclusion that the notebooks draw from a run, on results of both kinds: the reference's, and those of a run
that is too small. The second ranks nothing, and beside it stands what the first found."""

import inspect
import re
from types import SimpleNamespace

import pytest
from test_notebooks import STAGES, read

from pn_lib.course import verdicts
from pn_lib.evaluation.enough import LEAST, TOO_SMALL, too_small
from pn_lib.run.reference import beside, beside_column
from pn_lib.run.results.memory_results import MemoryResult
from pn_lib.run.results.mixers_results import MixersResult, MixersTimings
from pn_lib.run.results.stories_results import EvaluationResult
from pn_lib.run.results.study_results import LanguageResult, ScalingResult, StudyResult
from pn_lib.run.results.training_results import RecipeResult, TrainingResult
from pn_lib.run.results.whole_mamba_results import MambaResult
from pn_lib.run.results.zoo_results import ZooResult
from pn_lib.run.stages import REFERENCE

COMPARED = {  # what each ranks, from which results: nothing where the runs are too small
    verdicts.ladder: (RecipeResult,),
    verdicts.branches: (RecipeResult,),
    verdicts.few_stories: (RecipeResult,),
    verdicts.study: (StudyResult,),
    verdicts.mixers: (MixersResult,),
    verdicts.mixers_by_bytes: (MixersResult,),
    verdicts.mixers_in_time: (MixersResult, MixersTimings),
    verdicts.memory: (MemoryResult,),
    verdicts.endings: (EvaluationResult,),
    verdicts.novelty: (EvaluationResult,),
    verdicts.knowledge: (EvaluationResult,),
}
STATED = {  # what was measured of one model or one fit, which ranks no choice
    verdicts.mark: (TrainingResult,),
    verdicts.growth: (ScalingResult,),
    verdicts.law: (ScalingResult,),
    verdicts.language: (LanguageResult,),
    verdicts.likelihoods: (ZooResult,),
    verdicts.measures: (EvaluationResult,),
    verdicts.sampling: (EvaluationResult,),  # the reference was run before this was measured
    verdicts.exactly: (EvaluationResult,),
    verdicts.whole_mamba: (MambaResult,),
}
RANKS = re.compile(
    r"\*\*\d+ of|better|worse|is ahead|behind|largest (?:step|share)|raise|lower|not told apart|learn|turned up|learly"
)
QUICK, LARGE = (SimpleNamespace(profile=SimpleNamespace(name=name)) for name in ("quick", "overnight"))


def of_reference(kinds):
    return [kind.read(REFERENCE) for kind in kinds]


def changed(result, **values):
    """A copy whose keys of these names, wherever they are, have these values."""

    def walk(node):
        if isinstance(node, dict):
            return {key: values[key] if key in values else walk(value) for key, value in node.items()}
        return [walk(each) for each in node] if isinstance(node, list) else node

    return type(result).model_validate(walk(result.model_dump(by_alias=True)))


@pytest.mark.parametrize("say", COMPARED, ids=lambda say: say.__name__)
def test_a_comparison_ranks_in_the_reference_run_and_not_in_one_too_small(say):
    found = of_reference(COMPARED[say])
    assert TOO_SMALL not in say(*found) and RANKS.search(say(*found))
    stories = COMPARED[say] == (EvaluationResult,)
    units = [("beginnings", "n")] if stories else [("updates", "steps"), ("seeds",)]
    for names in units[:1] if say is verdicts.few_stories else units:  # one seed each, which it says
        least = LEAST["stories" if stories else names[0]]
        few = [changed(each, **dict.fromkeys(names, least - 1)) for each in found]
        assert TOO_SMALL in say(*few) and not RANKS.search(say(*few)), say(*few)


@pytest.mark.parametrize("say", STATED, ids=lambda say: say.__name__)
def test_what_one_model_reached_is_stated_and_ranks_no_choice(say):
    assert not RANKS.search(said := say(*of_reference(STATED[say]))), said


@pytest.mark.parametrize("say", COMPARED | STATED, ids=lambda say: say.__name__)
def test_the_references_sentence_stands_beside_a_smaller_runs_and_alone_in_one_as_large(say):
    found = of_reference((COMPARED | STATED)[say])
    both = beside(QUICK, say, *found)
    assert both.count("\n  - ") == 2 and both.count(say(*found)) == 2
    assert beside(LARGE, say, *found).lower() == say(*found).lower()


def test_each_conclusion_is_drawn_in_a_notebook_beside_the_references():
    code = "\n".join(cell.source for stage in STAGES for cell in read(stage.path).cells if cell.cell_type == "code")
    drawn = set(re.findall(r"beside\(run, verdicts\.(\w+)", code))
    public = {name for name, one in inspect.getmembers(verdicts, inspect.isfunction)
              if one.__module__ == verdicts.__name__ and name[0] != "_"}  # fmt: skip
    assert drawn == public - {"pairs"}  # which others are made of
    assert drawn - {"rounding"} == {say.__name__ for say in COMPARED | STATED}  # the reference has no such file yet
    assert not re.findall(r"too (?:few|small) to|\b(?:ENOUGH|LEAST_\w+) =", code)


def test_a_column_of_the_references_numbers():
    [column] = beside_column(QUICK, "there", RecipeResult, lambda found: found.gains).values()
    assert column["Muon for matrices"] == RecipeResult.read(REFERENCE).gains["Muon for matrices"] > 0.3
    assert beside_column(LARGE, "there", RecipeResult, lambda found: found.gains) == {}


def test_the_rule():
    assert too_small(updates=100, seeds=3, stories=30) is None
    told = "too small to tell with 99 updates (we ask for 100) and 1 seed (we ask for 3)"
    assert too_small(updates=99, seeds=1) == told
    assert too_small(updates=100, stories=1) == "too small to tell with 1 story (we ask for 30)"


def test_the_ladder_says_which_rungs_beat_counting():
    [recipe] = of_reference([RecipeResult])
    assert "none of the 12 rungs beats it" in verdicts.ladder(recipe.model_copy(update={"ngram": 0.1}))
    assert "12 of 12 rungs beat it" in verdicts.ladder(recipe.model_copy(update={"ngram": 9.0}))


def test_a_law_that_fails_a_test_advises_nothing():
    [scaling] = of_reference([ScalingResult])
    sound = changed(scaling, exact=0.5, misfit=0.01)
    sound = sound.model_copy(update={"law": sound.law | {"E": sound.law["E"].model_copy(
        update={"value": 0.5, "low": 0.4, "high": 0.6})}})  # fmt: skip
    assert not sound.faults and "it chooses 346 thousand parameters [134, 484], inside" in verdicts.law(sound)
    for fault, told in (
        ({"exact": 0.7}, "misses the source's own 0.700"), ({"misfit": 0.2}, "by 20% on average"),
        ({"promise": sound.promise.model_copy(update={"measured": 0.5})}, "but 0.500 was measured"),
        ({"law": sound.law | {"E": sound.law["E"].model_copy(update={"value": 0.7})}}, "outside of its own interval"),
    ):  # fmt: skip
        said = verdicts.law(sound.model_copy(update=fault))
        assert told in said and said.endswith("So no size is advised from it.") and "chooses" not in said
    assert "too few sizes" in verdicts.law(sound.model_copy(update={"law": {}}))


def test_what_is_not_above_guessing_is_not_called_above_the_n_gram():
    [found] = of_reference((EvaluationResult,))
    kind = next(kind for kind, gap in found.beyond_ngram.items() if gap.low > 0)
    assert kind in verdicts.knowledge(found).split("4-gram, too: ")[1].split(".")[0]
    asked = found.probes["transformer"]
    guessed = asked[kind].model_copy(update={"low": asked[kind].chance})
    as_guessed = found.model_copy(update={"probes": {"transformer": asked | {kind: guessed}}})
    assert kind not in verdicts.knowledge(as_guessed).split("4-gram, too: ")[1].split(".")[0]
