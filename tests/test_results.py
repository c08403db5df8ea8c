"""Result files are read whole and strictly, and written as they were read."""

import json

import numpy as np
import pytest
from published_runs import PUBLISHED, RUNS
from pydantic import ValidationError

from pn_lib.errors import InputError
from pn_lib.evaluation.enough import too_small
from pn_lib.evaluation.intervals import Interval
from pn_lib.run.results.catalogue import CATALOGUE
from pn_lib.run.results.coherence_results import CoherenceResult, CoherenceTimings
from pn_lib.run.results.data_results import DataResult
from pn_lib.run.results.fixed_data_results import FixedDataResult
from pn_lib.run.results.frontier_results import FrontierResult, FrontierTimings
from pn_lib.run.results.judge_results import JudgeResult
from pn_lib.run.results.listening_results import ListeningResult
from pn_lib.run.results.mixers_results import DecodingStep
from pn_lib.run.results.optimizers_results import OptimizersResult
from pn_lib.run.results.rating_results import RatingResult
from pn_lib.run.results.result import Estimate, Result
from pn_lib.run.results.sharing_results import SharingResult
from pn_lib.run.results.small_files_results import PublishedTimings
from pn_lib.run.results.stories_results import CompletionsResult
from pn_lib.run.results.study_results import StudyResult
from pn_lib.run.results.training_results import Construction, ConstructionResult
from pn_lib.run.stages import REPOSITORY, load_stages

NOT_PUBLISHED = (CompletionsResult, JudgeResult, ListeningResult, RatingResult)
KINDS = [kind for kind in CATALOGUE if kind not in NOT_PUBLISHED]


def damaged(tmp_path, kind, old, new):
    """A folder with one file of the published run, changed."""
    text = (PUBLISHED / "quick-pocket" / kind.FILE).read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / kind.FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("run", RUNS)
def test_the_verdicts_that_follow_from_a_published_studys_intervals_are_those_it_states(run):
    study = StudyResult.read(PUBLISHED / run)
    survives = {(axis.axis, row.variant): row.survives for axis in study.axes for row in axis.variants}
    judged = {key: found.verdict in ("raises the loss", "lowers the loss") for key, found in study.judgments.items()}
    enough = too_small(updates=study.baseline.updates, seeds=study.baseline.seeds) is None
    assert len(judged) > 10 and any(judged.values()) is enough and judged == {key: survives[key] for key in judged}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.FILE)
def test_every_published_file_is_read_and_written_again_to_the_byte(tmp_path, run, kind):
    later = (FrontierResult, FrontierTimings, CoherenceResult, CoherenceTimings)
    if kind in later and not (PUBLISHED / run / kind.FILE).exists():
        pytest.skip("a run published before this was measured")
    found, copy = kind.read(PUBLISHED / run), tmp_path / kind.FILE
    if issubclass(kind, Result):
        found.write(copy)
    else:
        kind.write(found, copy)
    assert copy.read_bytes() == (PUBLISHED / run / kind.FILE).read_bytes()


def test_files_name_the_processor_that_trained_them_as_the_guide_does(tmp_path):
    for run, cpu in (("reference", "AMD EPYC (AVX512-BF16)"), ("coherent-pocket", "AMD EPYC (AVX2)")):
        found, copy = PublishedTimings.read(PUBLISHED / run), tmp_path / run / PublishedTimings.FILE
        found.write(copy)
        assert copy.read_bytes() == (PUBLISHED / run / PublishedTimings.FILE).read_bytes()
        assert {timing.cpu for timing in found.models} == {cpu}
    findings = (REPOSITORY / "notebooks" / "guides" / "findings.md").read_text(encoding="utf-8")
    assert "All were trained on an AMD EPYC with AVX-512, in bfloat16." in findings
    assert "the `coherent-pocket` file used one core of an AMD EPYC with AVX2, in float32" in findings


def test_the_study_of_sharing_is_of_equal_bytes_and_its_verdicts_follow_from_its_numbers(tmp_path):
    found, copy = SharingResult.read(PUBLISHED / "reference"), tmp_path / SharingResult.FILE
    found.write(copy)
    assert copy.read_bytes() == (PUBLISHED / "reference" / SharingResult.FILE).read_bytes()
    for first, *others in (found.sharing, found.teaching):
        assert first.verdict is None and others
        for way in others:
            assert way.file_bytes == pytest.approx(first.file_bytes, rel=0.01)
            assert way.difference.value == pytest.approx(way.bits_per_byte - first.bits_per_byte)
            side = "ahead" if way.difference.value < 0 else "behind"
            assert way.verdict == (side if way.p_holm <= 0.05 else "not told apart")


def test_muon_and_adamw_are_compared_where_each_has_its_best_rates(tmp_path):
    found, copy = OptimizersResult.read(PUBLISHED / "reference"), tmp_path / OptimizersResult.FILE
    found.write(copy)
    assert copy.read_bytes() == (PUBLISHED / "reference" / OptimizersResult.FILE).read_bytes()
    for side in (found.adamw, found.muon):
        best, tried = min(side.trials, key=lambda trial: trial.bits_per_byte), {one.matrix_rate for one in side.trials}
        assert (side.matrix_rate, side.rate) == (best.matrix_rate, best.rate)
        assert len(tried) >= 6 and min(tried) < side.matrix_rate < max(tried)
    assert found.difference.value == pytest.approx(found.muon.bits_per_byte - found.adamw.bits_per_byte)
    assert found.seeds >= 5


def test_what_helps_on_fixed_data_is_chosen_on_one_half_and_judged_on_the_other(tmp_path):
    found, copy = FixedDataResult.read(PUBLISHED / "reference"), tmp_path / FixedDataResult.FILE
    found.write(copy)
    assert copy.read_bytes() == (PUBLISHED / "reference" / FixedDataResult.FILE).read_bytes()
    *grid, decayed = found.models
    assert len(grid) == len({one.epochs for one in grid}) * len({one.dropout for one in grid})
    member = min(grid, key=lambda one: np.mean(one.choice_bits_per_byte))
    assert (member.epochs, member.dropout) == (
        found.epochs,
        found.dropout,
    ) and decayed.weight_decay > member.weight_decay
    for ensemble in found.ensembles:
        assert ensemble.difference.value == pytest.approx(ensemble.bits_per_byte - member.bits_per_byte[0])
    assert found.seeds >= 5 and all(len(one.bits_per_byte) == found.seeds for one in found.models)
    for change in found.changes:
        first, second = (np.array(found.models[place].bits_per_byte) for place in (change.first, change.second))
        assert change.difference.value == pytest.approx((first - second).mean()) and change.p <= change.p_holm
    for student in found.students:
        assert student.difference.value == pytest.approx(student.bits_per_byte - student.alone)


def test_there_is_a_model_for_every_file_that_a_notebook_declares():
    written = {name for stage in load_stages() for name in stage.writes if name.endswith((".json", ".csv"))}
    by_the_pipeline = {"run.json", "timings/machine.json", "timings/stages.json"}
    alone = {JudgeResult.FILE, ListeningResult.FILE, RatingResult.FILE}  # made by commands
    assert {kind.FILE for kind in CATALOGUE} == written | by_the_pipeline | alone


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        (DataResult, '"kept": 10300', '"keep": 10300', r"data\.json .*no 'cleaning\.kept', and 1 more; .*01_data"),
        (DataResult, '"words": {', '"more": 1,\n "words": {', r"data\.json .*'more' is no key of it; .*01_data"),
        (DataResult, '"kept": 10300', '"kept": "many"', r"'cleaning\.kept': .*integer, got 'many'; .*01_data"),
        (DataResult, '"kept": 10300', '"kept": true', r"'cleaning\.kept': .*integer"),
        (DataResult, '"mean_words": 163.3296', '"mean_words": NaN', r"'splits\.train\.mean_words': .*finite"),
        (DecodingStep, ",64,", ",sixty,", r"decoding\.csv .*'\[0\]\.context': .*got 'sixty'; .*10_mixer"),
        (DecodingStep, ",state_bytes", ",bytes", r"decoding\.csv .*no '\[0\]\.state_bytes'"),
        (DecodingStep, ",49152,", ",49152,5,", r"decoding\.csv is damaged"),
    ],
)
def test_what_is_missing_unknown_or_no_number_is_one_sentence_with_the_notebook(tmp_path, kind, old, new, words):
    with pytest.raises(InputError, match=words) as error:
        kind.read(damaged(tmp_path, kind, old, new))
    assert "\n" not in str(error.value)


def test_a_table_without_rows_or_without_a_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"decoding\.csv does not exist; run notebook 10_mixer_comparison again"):
        DecodingStep.read(tmp_path)
    DecodingStep.write([], tmp_path / DecodingStep.FILE)
    with pytest.raises(InputError, match="has no rows"):
        DecodingStep.read(tmp_path)


def test_an_estimate_takes_an_interval_with_both_ends_or_none():
    assert json.loads(Estimate.model_validate(Interval(1.0, 0.5, 2.0)).model_dump_json()) == {
        "value": 1.0,
        "low": 0.5,
        "high": 2.0,
    }
    assert Estimate.model_validate((1.0, None, None)).low is None
    with pytest.raises(ValidationError, match="both ends or none"):
        Estimate.model_validate((1.0, 0.5, None))


def test_a_configuration_is_kept_as_its_file_has_it():
    given = ConstructionResult.read(PUBLISHED / "quick-pocket").transformer.model_dump() | {
        "config": {"betas": (0.9, 0.95)}
    }
    assert Construction.model_validate(given).config == {"betas": [0.9, 0.95]}
