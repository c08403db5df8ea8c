"""The report's text is true to its run: from made-up results it says what they say."""

import re
import shutil
from pathlib import Path

import pytest
from report_example import Example, heard, judged, rated, spread

from pn_lib.course.trust import TRUST, fault_counts
from pn_lib.errors import InputError
from pn_lib.files import read_json, sha256, write_json
from pn_lib.run.coherence.summary import STUDY
from pn_lib.run.results.coherence_results import CoherenceResult
from pn_lib.run.results.mixers_results import DecodingStep
from pn_lib.run.results.result import Estimate
from pn_lib.run.results.trust_results import FaultOutcomes, FuzzResult, NumbersResult
from pn_lib.run.stages import REPOSITORY

import mixers  # isort: skip  (report/ is on the path by report_example)
import shipped  # isort: skip
import wording  # isort: skip
from wording import THIN, compare, exactly  # isort: skip


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example(tmp_path)


def test_numbers_are_formatted_as_the_results_have_them(example: Example) -> None:
    text = example.text()
    assert "0.912 [0.901, 0.923]" in text  # the Transformer's loss
    assert "1 234 567" in text  # training words
    assert "71.0 % [64.0 %, 78.0 %]" in text  # valid stories
    assert "1.23 PFLOP" in text
    assert "1 h 12 min" in text  # all notebooks


def test_the_argument_is_short_and_the_rest_is_an_appendix(example: Example) -> None:
    text = example.text()
    argument, appendix = text[: text.index("# References {-}")], text[text.index("# Appendix {-}") :]
    assert len(argument.split()) < 4_000 and argument.count("![**Figure") <= 8 and argument.count(": **Table") <= 8
    abstract = argument[argument.index("# Abstract {-}") : argument.index("# Question")]
    assert 100 < len(abstract.split()) < 190
    titles = re.findall(r"## ([A-M]\. [^{]*) \{#", appendix)
    assert len(titles) == 13 and all(f"[{title}](#" in appendix for title in titles)


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


def test_architectures_are_ranked_by_the_verdicts_after_correction_alone(example: Example) -> None:
    text = example.text()
    assert text.count("seeds), 1 of 3 pairs can be told apart.") == 2  # two sizes
    assert "layer included: Transformer is ahead of Mamba by 0.070; 2 of 3 pairs cannot be told apart" in text
    assert "gets 61 728 tokens: 3 of 3 pairs cannot be told apart" in text
    assert "1 of 3 pairs can be told apart after 123 456 tokens and Holm’s correction" in text
    for pair in example.jsons["mixers"]["sizes"][0]["pairs"]:
        pair["verdict"] = {"ahead": "behind"}.get(pair["verdict"], pair["verdict"])
    example.jsons["mixers"]["sizes"][0]["pairs"][0]["difference"] = spread(0.07)
    assert "Mamba is ahead of the Transformer, by 0.070 bpb" in example.text()


def test_equal_decode_memory_is_said_in_tokens_of_the_cache(example: Example) -> None:
    said = "can keep {} tokens (beside Mamba), 500 tokens (beside Hybrid). It was trained on 128"
    assert said.format(36) in " ".join(example.text().split())
    example.jsons["mixers"]["equal_context"]["mamba"] = None  # carries more at every length
    assert said.format("all") in " ".join(example.text().split())


def test_too_few_updates_rank_nothing(example: Example) -> None:
    for size in example.jsons["mixers"]["sizes"]:
        size["enough"] = False
    text = example.text()
    assert "is ahead of" not in text and " | ahead |" not in text
    assert text.count("the runs are too few or too short to tell") >= 4 and "too small to tell |" in text


def test_a_best_rate_at_the_edge_is_told(example: Example) -> None:
    assert "For Hybrid the best rate tried lies at the edge" in example.text()
    for size in example.jsons["mixers"]["sizes"]:
        for model in size["models"]:
            model["inside"] = True
    assert "Every best rate lies between two that are worse" in example.text()


def test_one_rate_for_all_may_choose_the_winner(example: Example) -> None:
    small = {model["architecture"]: model for model in example.jsons["mixers"]["sizes"][0]["models"]}
    for model in small.values():
        model["rates"] = [{"rate": 0.01, "bits_per_byte": 2.0}, {"rate": 0.02, "bits_per_byte": 2.0}]
    small["mamba"]["rates"] = [{"rate": 0.01, "bits_per_byte": 1.875}, {"rate": 0.02, "bits_per_byte": 2.25}]
    told = "Mamba minus Transformer would have been anything from -0.125 to +0.250 bpb"
    assert told in example.text().replace("−", "-") and "chooses the winner" in example.text()
    small["mamba"]["rates"] = small["mamba"]["rates"][1:]
    assert told not in example.text().replace("−", "-")


def test_copying_is_judged_beside_real_endings(example: Example) -> None:
    assert "By this measure the model’s endings are no closer to the training text" in example.text()
    ahead = example.jsons["evaluation"]["ahead"]["human"]
    ahead["memorisation_rouge2"] = spread(0.2)
    assert (
        "a share higher than the" in example.text()
        and "the model’s endings lean on the training text more" in example.text()
    )
    ahead["memorisation_rouge2"] = spread(0.0)
    assert "this run cannot tell" in example.text()


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
    example.jsons["judge"] = judged(sha256(completions))
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


def test_people_are_reported_only_where_they_graded_this_runs_endings(example: Example) -> None:
    text = example.text()
    assert "Not rated: no person has graded these endings" in text and "No person and no language model graded" in text
    completions = example.write().results / "completions.json"
    example.jsons["rating"] = rated(sha256(completions))
    text = example.text()
    assert "Not rated" not in text and "No person" not in text and "2 raters graded few endings of each model" in text
    assert "| real stories | 8 | 14 | 8.2 [7.7, 8.7]" in text
    assert "0.600 [0.500, 0.700] for consistency, undefined for plot." in text
    assert "| words | +0.600 [+0.500, +0.700] |" in text and "| grammar faults | +" not in text
    example.jsons["rating"]["correlations"].pop("words")
    assert "No automatic measure is shown to go with their grades" in example.text()
    example.jsons["rating"] |= {"raters": [30], "agreement": None, "correlations": None}
    text = example.text()
    assert "One rater graded endings" in text and "that takes a second rater" in text
    example.jsons["completions"]["beginnings"] = ["Another day"]
    assert "People graded endings of another run" in example.text()


def test_a_listener_is_reported_only_where_it_heard_this_runs_endings(example: Example) -> None:
    assert "No general language model has heard the endings of this run’s models; `python -m" in example.text()
    completions = example.write().results / "completions.json"
    example.jsons["listening"] = heard(sha256(completions))
    text = example.text()
    assert "No general language model" not in text
    assert "(an\\_ear\\.gguf, 135 million parameters) heard the first" in text
    assert "| 4\\-gram | 1.500 [1.470, 1.530] | 0.030 [0.000, 0.060] | 90.0 % [87.0 %, 93.0 %] |" in text
    assert "| real stories | 0.700 [0.670, 0.730] | 0.250 [0.220, 0.280] | – |" in text
    example.jsons["completions"]["beginnings"] = ["Another day"]
    assert "has heard endings of another run than this one" in example.text()


def test_measures_are_reported_with_the_faults_that_they_notice(example: Example) -> None:
    assert "Do the measures measure?" not in example.text()
    example.jsons["evaluation"]["known_groups"] = {
        "groups": {"looping": "last sentence four times", "negated": "facts negated", "ngram": "4-gram"},
        "better": {
            "loops": {"looping": spread(0.95), "negated": spread(0.5), "ngram": spread(0.9)},
            "names_kept": {"looping": spread(0.55), "negated": None, "ngram": spread(0.9)},
        },
    }
    text = example.text()
    assert "for “last sentence four times”, says the same words three times in a row (95.0 % [92.0 %, 98.0 %])." in text
    assert "for “facts negated”" not in text and "for “4" not in text  # nobody notices; no damage


def test_tasks_say_how_far_each_architecture_keeps_its_accuracy(example: Example) -> None:
    text = example.text()
    assert "**Selective copying.** Fewer than 95 % right: Transformer beyond 32 tokens and Mamba-2 already" in text
    assert "selective copying | 32 (trained) | 98 [97, 99] |" in text


def test_the_hybrid_is_ranked_by_intervals_alone(example: Example) -> None:
    text = example.text()
    assert text.count("the hybrid is ahead") == 2 and text.count("the hybrid is behind") == 1
    assert "minus Mamba-2 is 5.0 % [−5.0 %, 15.0 %]: the two cannot be told apart" in text
    for row in example.jsons["memory"]["rows"]:
        row |= {"low": None, "high": None, "seeds": 1}
    for row in example.jsons["memory"]["hybrid"]:
        row["difference"] |= {"low": None, "high": None}
    text = example.text()
    assert "With one seed each, none of this ranks two architectures" in text and "the hybrid is" not in text


def test_one_seed_has_no_interval_and_the_text_says_so(example: Example) -> None:
    for size in example.jsons["mixers"]["sizes"]:
        for model in size["models"]:
            model |= {"loss": spread(1.2) | {"low": None, "high": None}, "standard_deviation": None}
        for pair in size["pairs"]:
            pair["difference"] |= {"low": None, "high": None}
            pair |= {"p": None, "p_holm": None, "verdict": "one seed"}
    for axis in example.jsons["study"]["axes"]:
        for variant in axis["variants"]:
            variant |= {"low": None, "high": None, "difference_low": None, "difference_high": None, "seeds": 1}
    text = example.text()
    assert "the runs are too few or too short to tell" in text and "How much a seed may do" not in text
    assert text.count("too small to tell with 1 seed (we ask for 3)") == 3
    assert "loss is raised" not in text and "exclude zero" not in text


def test_a_study_of_few_updates_has_no_verdict(example: Example) -> None:
    example.jsons["study"]["baseline"]["updates"] = 27
    text = example.text()
    assert text.count("too small to tell with 27 updates (we ask for 100)") == 3
    assert "loss is raised" not in text and "exclude zero" not in text and "to lower it" not in text


def test_study_variants_are_sorted_by_holms_verdicts(example: Example) -> None:
    text = example.text()
    assert "The loss is raised by position *none*." in text and "loss is lowered" not in text
    assert "cannot show**: position *learned* and norm *layernorm*." in text and "They are hints" not in text
    assert "+0.080 [+0.075, +0.085] † |" in text and text.count("†") == 2  # and the legend
    assert "Holm’s correction, 1 of 3 single changes raises the loss (position *none*) and 0 lower it." in text
    assert "Of 3 changes to the architecture, 1 raises the loss and 0 lower it after correction." in text
    assert "gives a p of at least 0.250, so nothing could survive it" in text
    learned = example.jsons["study"]["axes"][0]["variants"][1]
    learned |= {"difference": -0.02, "difference_low": -0.03, "difference_high": -0.01}  # p = 0.013, doubled by Holm
    text = example.text()
    assert "The loss is lowered by position *learned*." in text and "cannot show**: norm *layernorm*." in text
    learned |= {"difference_low": -0.039, "difference_high": -0.001}  # excludes zero, but p = 0.045, and is doubled
    text = example.text()
    assert "The loss is lowered" not in text and "reasons to run more seeds: position *learned*." in text


def test_natural_stories_make_no_exact_claim(example: Example) -> None:
    assert "Exact entropy" in example.text()
    example.jsons["data"]["entropy"] = example.jsons["evaluation"]["pocket"] = None
    text = example.text()
    assert "cannot be known" in text
    assert "Exact entropy" not in text and "Inside the language" not in text and "places |" not in text


def test_measures_of_other_scripts_and_languages_say_what_they_are(example: Example) -> None:
    data = example.jsons["data"]
    data["splits"]["train"]["characters"] = 5 * data["splits"]["train"]["words"]
    assert "counted as a word" not in example.text() and "of the stories open with" in example.text()
    data["splits"]["train"]["characters"] = data["splits"]["train"]["words"] + 10
    data["openings"] |= {"once_upon_a_time": 0.0, "most_common": [["ある朝、りくは", 0.2]]}
    text = example.text()
    assert "each of its letters is counted as a word" in text and "of the stories open with" not in text
    assert "The most common opening words are “ある朝、りくは”" in text


def test_decoding_is_told_by_its_times(example: Example) -> None:
    text = example.text()
    assert "| Mamba | 1.00 | 1.0 | 1.25 | 0.31 | 512 on | 36 |" in text
    assert "| Transformer | 4.00 | 16.0 | 1.00 | 1.00 | – | – |" in text
    assert "in turn, on a timer's processor (AVX2): a recurrent model" in text
    assert "*Fast*: at 2 048 tokens of context, Mamba takes 0.31 of the Transformer’s time per token, and 1.25" in text


def test_a_model_is_faster_from_the_context_on_from_which_it_stays_so() -> None:
    times = {"transformer": (2, 2, 2, 3), "mamba": (1, 2, 1, 1), "mamba2": (2, 2, 2, 1), "hybrid": (1, 1, 1, 4)}
    steps = [
        DecodingStep(model=who, context=T, ms_per_token=float(ms), state_bytes=1, cpu="")
        for who, row in times.items()
        for T, ms in zip((64, 128, 256, 512), row, strict=True)
    ]
    rows = mixers.decoding(steps, list(times), 128)["rows"]
    assert [row["trained"] for row in rows.values()] == [1, 1, 1, 0.5]
    assert {who: row["faster_from"] for who, row in rows.items()} == {
        "transformer": None, "mamba": 256, "mamba2": 512, "hybrid": None}  # fmt: skip


def test_the_ladder_is_told_by_its_numbers(example: Example) -> None:
    text = example.text()
    assert "our recipe ends 0.400 bpb below that of 2017" in text
    assert "The largest single gain comes from *Muon for matrices*, 0.300 bpb" in text
    assert "Better: *batch grows*. Worse: *cosine to zero*. Not distinguishable from it: *average" in text
    assert "At equal seconds, measured once, the sign is reversed for *batch grows*. The main model uses none" in text
    assert (
        "nats per token after 4.0 epochs; from there it rose by 0.60" in text
        and "had not risen again at the end" in text
    )
    assert "On the ladder’s stories the 4-gram reaches 0.500; none of the 3 rungs end below it." in text
    example.jsons["recipe"]["updates"] = 99
    text = example.text()
    assert "The ladder is too small to tell with 99 updates (we ask for 100)" in text
    assert "These too rank nothing." in text and "largest single" not in text and "Worse than" not in text
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
    del example.jsons["scaling"]["best"][0]
    assert "names sizes beyond what was trained; no size is recommended" in (text := example.text())
    assert "| 3.00 TFLOP" not in text
    example.jsons["scaling"] |= {"law": {}, "best": [], "misfit": None}
    assert "too few for a scaling law" in example.text()


def test_the_law_is_held_to_its_promise(example: Example) -> None:
    text = example.text()
    assert "the law promises 1.020 [0.950, 1.100] bpb; that model came to 0.912, which is better than the whole" in text
    assert "it promised 1.020 bpb, and the run reached 0.912" in text
    example.jsons["scaling"]["promise"]["measured"] = 1.2
    assert "came to 1.200, which is worse than the whole interval" in example.text()
    assert "The law fails a test of its own, so no size is advised from it" in example.text()
    example.jsons["scaling"]["promise"]["measured"] = 1.0
    text = example.text()
    assert "came to 1.000, which is inside the interval" in text and "it promised 1.020 bpb" not in text
    assert "no size is advised" not in text
    # E + A / M^alpha + B / R^beta at 200 000 parameters: 0.75 + 30 / 132 + 60 / 1 225
    assert "on as many tokens, it promised 1.026 for Transformer 0\\.2 M, which came to 1.020." in text


def test_the_answers_follow_the_numbers(example: Example) -> None:
    text = example.text()
    assert "the shortest that beats the 4-gram took 2 min 21 s, with 1.50 million tokens" in text
    assert "| Transformer 0\\.2 M | 200 000 | 1.020 [1.010, 1.030] | 55.0 %" in text
    assert "A story has 143 tokens on average; a rival whose number is smaller" in text
    assert "after 123 456 tokens and Holm’s correction. At 400 000" in text, "the Transformer is ahead, not a rival"
    for size in example.jsons["mixers"]["sizes"]:
        size["pairs"][0]["verdict"] = "behind"
    assert "correction; Mamba is ahead of the Transformer, by" in example.text()
    assert "loses some of a beginning’s names" in (text := example.text())
    assert "it keeps 90.0 % [87.0 %, 93.0 %] of them, more than the 30.0 %" in text
    example.jsons["evaluation"]["ahead"]["human"]["names_kept"] = spread(0.0)
    assert "loses some of a beginning’s names" not in example.text()
    example.jsons["training"]["ngram"]["bits_per_byte"] = 0.8
    assert "beats the 4-gram took" not in example.text()


def test_models_that_others_trained_are_told_apart_from_ours(example: Example) -> None:
    assert "others trained" not in example.text()
    models = example.jsons["zoo"]["models"]
    models["stories260K"] = models["transformer_48"] | {"label": "stories260K", "published": True}
    models["transformer_tiny"] = models["transformer_48"] | {"label": "TinyStories 1 M", "published": True}
    text = example.text()
    assert "stories260K (200 000 parameters), which others trained on far more text (it may have read" in text
    assert "stories260K [@karpathy2023llama2c] was trained by others" in text
    assert "TinyStories 1 M [@eldan2023tinystories] was trained by others" in text
    assert "TinyStories 1" not in text[text.index("# And still a story?") : text.index("# How cheap?")]  # of ours alone


def test_a_rung_that_made_things_worse_is_named(example: Example) -> None:
    assert "On the ladder itself" not in example.text()
    example.jsons["recipe"]["ladder"][1] |= {"bits_per_byte": 1.9, "low": 1.88, "high": 1.92}
    assert (
        "On the ladder itself, *nanoGPT\\'s recipe* raised the loss at the place where it was tried" in example.text()
    )


def test_one_size_of_a_known_language_is_compared_with_nothing(example: Example) -> None:
    del example.jsons["language"]["sizes"][0]
    text = example.text()
    assert "times the parameters of the smallest" not in text
    assert "It stays inside the language in 61.0 % [58.0 %, 64.0 %] of its stories" in text
    assert "| 700 000 | 0.100 [0.090, 0.110] | 130.0" in text  # nothing is the best of one


def test_models_of_a_known_language_are_told_by_size(example: Example) -> None:
    text = example.text()
    assert "| 700 000 | **0.100** [0.090, 0.110] | **130.0** [125.0, 135.0] | 61.0 % [58.0 %, 64.0 %] |" in text
    assert "700 000 parameters are the fewest with which at least half are valid" in text
    for row in example.jsons["language"]["sizes"]:
        row["valid"] = spread(0.0, 0.0)
    assert "None of its 300 stories is valid" in example.text()


def test_coherence_is_told_language_by_language(example: Example) -> None:
    text = example.text()
    assert "93.0 % [90.0 %, 96.0 %] of its stories are valid at temperature 1" in text
    assert "**One plot, at most 4 words to choose from.**" in text and "**The whole language.**" in text
    assert text.count("No model tells one story in ten") == 1  # of the whole language
    assert "45.0 % [42.0 %, 48.0 %] is probability spent on texts that are not stories" in text
    assert "at an excess of 2.2 bits per story" in text
    assert "| 0.21 [0.20, 0.22] | 0.31 [0.30, 0.32] | > 0.50 |" in text
    example.jsons["coherence"]["thresholds"][0]["tokens"]["value"] = 250_000  # the smallest budget tried
    assert "| ≤ 0.25 | 0.31" in example.text()
    assert "| 4.0 | 14.0 |" in text  # facts broken near and far, in percent
    assert "of 4 pairs of a model and a fact, 3 do at least 95 % of the time" in text
    assert "The others: `colour` (500 000 tokens, seed 1), 60 %." in text
    assert "models lacks one fact" in text
    example.jsons["coherence"]["memories"][0]["broken"] = 20  # of the same model another fact
    assert "models lacks one fact" not in example.text()
    assert "Of 1 600 stories that models wrote, 0 are word for word in the training text" in text


def test_a_run_without_the_study_of_coherence_shows_the_published_one(example: Example) -> None:
    for name in ("coherence", "timings/coherence"):
        del example.jsons[name]
    half = next(row for row in CoherenceResult.read(REPOSITORY / STUDY).least if row.level == 0.5)
    assert f"write {100 * half.valid.value:.0f} % of their stories without one that the" in (text := example.text())
    assert "Drawn by `python -m pn_lib refresh`" in text


def test_the_noise_of_a_seed_is_told_where_it_is_known(example: Example) -> None:
    assert (
        "Over 10 seeds, the smallest Transformer of" in (text := example.text()) and "deviation of 0.0081 bpb" in text
    )


def test_the_files_of_the_repository_are_shown_in_a_run_of_their_corpus_alone(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "reference"
    shutil.copytree(shipped.FOLDER, folder)
    monkeypatch.setattr(shipped, "FOLDER", folder)
    general = read_json(folder / "general.json")
    assert "Files trained for hours" not in example.text()
    example.jsons["data"]["corpus"]["title"] = general["corpus"]
    for model in general["models"]:
        if model["difference"]:
            model |= {"bits_per_byte": spread(0.9), "difference": spread(0.1)}
    small, large = (next(m for m in general["models"] if m["name"] == f"reference/{name}") for name in ("100k", "300k"))
    small |= {"bits_per_byte": spread(0.8), "file_bytes": 77_000}
    large |= {"difference": spread(-0.2), "file_bytes": 333_000}
    write_json(folder / "general.json", general)
    text = example.text()
    assert "a file of 77 kB, tokenizer included, predicts stories better than a 4\\-gram" in text
    assert "| our 77 kB file |" in text and "| stories260K |" in text
    assert "and one of 333 kB better than SmolLM2-135M-Instruct" in text.replace("\\-", "-")
    assert (
        "the difference is −0.200 [−0.230, −0.170]. Ours have the advantage here" in text and "A stranger’s ear" in text
    )
    assert "*Coherent*: in an invented language, where a program can check every word (one plot" in text
    for row in example.jsons["language"]["sizes"]:
        row["valid"] = spread(0.0, 0.0)
    heard = read_json(folder / "listening.json")
    for share, shown in ((0.7, True), (0.535, False), (0.5, False)):  # the second does not survive a correction
        heard["known_groups"]["better"]["worth"]["reference/1m"] = spread(share)
        write_json(folder / "listening.json", heard)
        text = example.text()
        assert ("Fluency is cheap" in text) == ("loosely tied" in text) == shown
    large |= {"difference": spread(0.0)}  # zero lies inside
    write_json(folder / "general.json", general)
    text = example.text()
    assert "None is shown to predict them better than" in text and "the advantage here" not in text
    (folder / "general.json").unlink()
    assert "Files trained for hours" not in example.text()


def test_energy_is_told_where_the_machine_tells_it(example: Example) -> None:
    assert "The processor took" not in example.text()
    example.jsons["timings/training"]["joules"] = 2310.0
    assert "The processor took 2.31 kJ meanwhile" in example.text()


def test_intervals_and_points_compare() -> None:
    def interval(*numbers: float) -> Estimate:
        return Estimate.model_validate(numbers)

    assert compare(interval(1.0, 0.9, 1.1), interval(1.3, 1.2, 1.4)) == "lower than"
    assert compare(interval(1.0, 0.9, 1.2), interval(1.3, 1.2, 1.4)) == "not distinguishable from"
    assert compare(exactly(1.5), interval(1.3, 1.2, 1.4)) == "higher than"
    assert compare(exactly(1.5), exactly(1.5)) == "equal to"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (wording.bpb, 0.8124, "0.812"),
        (wording.bpb, None, "–"),
        (wording.count, 1234567, "1 234 567"),
        (wording.signed, -0.0312, "−0.031"),
        (wording.signed, -0.0001, "0.000"),
        (wording.percent, 0.4321, "43.2 %"),
        (wording.hundredths, 0.4378, "44"),
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


def test_small_files_are_judged_by_their_intervals(example: Example) -> None:
    text = example.text()
    assert "Rounding raises the loss of the Mamba in int4. Rounding makes no difference" in text
    assert "Compensation lowers the loss of the Mamba in int4, compared with rounding" in text
    assert "at best they write 1.5 times as many tokens as in float32 (the Mamba in int8, 3 000 a second)" in text
    example.jsons["frontier"]["rounded"][2]["difference"] = spread(0.0004, 0.0001)  # above zero, and reads as 0.000
    assert "raises the loss of" not in example.text()
    example.jsons["frontier"]["rounded"][3]["gain"] = spread(0.0)
    assert "Compensation cannot be told apart from rounding for the Mamba in int4." in example.text()
    assert "file of this run whose loss is shown to lie below the 4-gram’s takes 640" in example.text()
    for row in [*example.jsons["frontier"]["rounded"], *example.jsons["frontier"]["models"]]:
        row["bits_per_byte"] = spread(1.103)  # lower, and by less than the intervals leave open
    assert "No file of this run is shown to have a loss below the 4-gram’s." in example.text()
    example.jsons["frontier"]["stories"] = 29
    text = example.text()
    assert "So few stories rank nothing" in text and "raises the loss of the Mamba" not in text


def test_a_taught_model_is_judged_by_its_intervals(example: Example) -> None:
    text = example.text()
    assert "Taught, 20k is better than alone on equal text and is worse than alone with equal operations." in text
    assert "| alone, equal operations | 200 000 | 8.0 s |" in text.replace(THIN, " ")
    example.jsons["frontier"]["taught"][0]["difference"] = spread(0.0)
    assert "Taught, 20k cannot be told apart from alone on equal text" in example.text()
    del example.jsons["frontier"]["sharing"]  # which speaks of a teacher too
    del example.jsons["frontier"]["taught"], example.jsons["timings/frontier"]["taught"]  # as a run made before
    text = example.text()
    assert "tbl-taught" not in text and "teach a small one" not in text


def test_ways_to_share_are_told_by_their_verdicts(example: Example) -> None:
    text = example.text().replace(THIN, " ")
    said = "*nothing shared*, at 1.840 bits per byte after 204 800 tokens: *one layer, three times* beats it"
    assert f"The baseline is {said}" in text
    assert "; *factored table* cannot be told apart from it (+0.004" in text
    assert "*taught* beats it (−0.050" in text and "*taught, half as long* loses to it (+0.100" in text
    del example.jsons["frontier"]["sharing"]  # as a run made before
    assert "nothing shared" not in example.text()


def test_vocabularies_are_ranked_only_where_the_study_did(example: Example) -> None:
    text = example.text()
    assert "257 from 21 kB on; 1 024 from 38 kB on (its best model, of 38 kB, has a lower loss than the best" in text
    assert "1.270 [1.240" in text and "1.277" not in text, "the table has the first seeds alone"
    assert "a standard deviation of 0.012 over seeds" in text
    study = example.jsons["frontier"]["vocabulary"]
    study["seed_spread"] = study["envelope"][1]["verdict"] = None
    text = example.text()
    assert "1 024 from 38 kB on." in text and "With one run of each, nothing is ranked here" in text
    example.jsons["frontier"]["vocabulary"] = example.jsons["timings/frontier"]["vocabulary"] = None
    assert "How large should a small model" not in example.text()


def test_a_run_without_a_frontier_says_so(example: Example) -> None:
    del example.jsons["frontier"], example.jsons["timings/frontier"]
    text = example.text()
    assert "before its models were rounded and packed (notebook 11)" in text and "token tables" not in text


def test_notebooks_that_ran_elsewhere_are_told(example: Example) -> None:
    assert "on another occasion" not in example.text()
    stages, machine = example.jsons["timings/stages"]["stages"], example.jsons["timings/machine"]
    again = {"cpu": "Other CPU", "commit": "1" * 12}
    here = {"cpu": machine["cpu"], "commit": machine["commit"]}
    stages[:] = [
        {"notebook": name, "seconds": 1.0} | row for name, row in (("02_a", here), ("07_b", again), ("08_c", again))
    ]
    text = example.text()
    assert "Notebooks 07 and 08 ran on another occasion: on Other CPU, from commit `111111111111`." in text
    stages.pop()
    assert "Notebook 07 ran on another occasion" in example.text()


def test_the_appendix_tells_each_fault_and_every_setting(example: Example) -> None:
    text = example.text()
    tried = text[text.index("{#trust .unnumbered}") :]
    outcomes = FaultOutcomes.read(TRUST)
    counts = {name: sum(counted) for name, *counted in fault_counts(outcomes.rows)}
    assert counts["all"] == outcomes.faults == sum(counts.values()) / 2
    for name, times in counts.items():
        assert re.search(rf"\| {re.escape(name)} \| {times} \|", tried), name
    for row in NumbersResult.read(TRUST).rows:
        assert f"| {row.setting} |" in tried.replace("\\", "")
    plain = re.sub(r"(?<=\d)\s(?=\d)", "", tried)
    for row in FuzzResult.read(TRUST).rows:
        assert f"| {row.reader} | {row.files} | {row.whole_lines} → {row.lines} |" in plain
