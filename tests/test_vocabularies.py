"""The published study of vocabularies is what its profile asks for; the notebook and the guides say what it found."""

import re
from itertools import product

import pytest

from pn_lib.course.small_files import PUBLISHED
from pn_lib.course.vocabularies import (
    draw_vocabularies,
    first_seeds,
    vocabularies_in_words,
    vocabulary_finding,
    vocabulary_table,
)
from pn_lib.models.flops import training_flops_per_token
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run.profile import load_profile
from pn_lib.run.results.vocabulary_results import VocabularyResult
from pn_lib.run.stages import NOTEBOOKS
from pn_lib.run.vocabulary import seed_spread


@pytest.fixture(scope="module")
def found() -> VocabularyResult:
    return VocabularyResult.read(PUBLISHED / "reference")


def test_its_models_are_the_profiles(found, tmp_path):
    found.write(tmp_path / VocabularyResult.FILE)
    assert (tmp_path / VocabularyResult.FILE).read_bytes() == (
        PUBLISHED / "reference" / VocabularyResult.FILE
    ).read_bytes()
    asked = load_profile(found.profile).frontier.vocabulary
    seeds = [range(1 if number else asked.seeds) for number in range(len(asked.sizes))]
    planned = {
        (f"{size}-{tying}-{number}-{seed}", size, tying == "tied", asked.sizes[number]["d_model"])
        for size, tying in product(asked.vocab_sizes, ("tied", "untied"))
        for number, these in enumerate(seeds)
        for seed in these
    }
    models = found.study.models
    theirs = {(m.name, m.config["vocab_size"], m.config["tied_embeddings"], m.config["d_model"]) for m in models}
    assert len(theirs) == len(models) and theirs <= planned and found.planned == len(planned)
    assert [timing.name for timing in found.seconds] == [model.name for model in models]


def test_all_have_read_the_same_text_at_a_price_that_is_theirs(found):
    asked = load_profile(found.profile).frontier.vocabulary.training
    assert found.study.text_bytes == asked.planned_tokens
    for model in found.study.models:
        assert model.tokens == asked.steps * asked.batch_size * model.config["context"]
        assert model.flops == model.tokens * training_flops_per_token(TransformerConfig(**model.config))


def test_the_envelope_is_that_of_the_models(found):
    study, files = found.study, sorted(first_seeds(found.study), key=lambda model: model.file_bytes)
    edge = [m for i, m in enumerate(files) if all(m.bits_per_byte.value < n.bits_per_byte.value for n in files[:i])]
    starts = [m for m, before in zip(edge, [None, *edge], strict=False)
              if before is None or before.config["vocab_size"] != m.config["vocab_size"]]  # fmt: skip
    assert [(part.vocab_size, part.from_bytes) for part in study.envelope] == [
        (model.config["vocab_size"], model.file_bytes) for model in starts
    ]
    assert study.seed_spread == pytest.approx(seed_spread(study.models))
    for part in study.envelope:
        assert part.verdict is None or (part.verdict == "ahead") <= (part.difference.high < 0)


def test_the_finding_is_made_of_it(found):
    text = (NOTEBOOKS / "guides" / "findings.md").read_text(encoding="utf-8")
    finding = text.partition("<!-- vocabulary -->\n")[2].partition("\n<!-- /vocabulary -->")[0]
    assert finding == vocabulary_finding(), "run python -m pn_lib refresh"
    for part in found.study.envelope:
        assert f"{part.vocab_size:,} from {part.from_bytes / 1000:.0f} kB on" in finding
    finished = len(found.study.models)
    assert (f"so far {finished} of {found.planned}" in finding) == (finished < found.planned)


def test_no_ranking_without_a_verdict(found):
    words = vocabularies_in_words(found.study)
    unranked = found.study.model_copy(
        update={"envelope": [part.model_copy(update={"verdict": None}) for part in found.study.envelope]}
    )
    assert "Not ranked" in vocabularies_in_words(unranked) and not re.search(
        "ahead|told", vocabularies_in_words(unranked)
    )
    assert ("Not ranked" in words) == all(part.verdict is None for part in found.study.envelope)


def test_the_table_and_the_figure_have_every_model_of_the_first_seed(found):
    models, table = first_seeds(found.study), vocabulary_table(found.study, found.seconds)
    [axes] = draw_vocabularies(found.study).axes
    drawn = sorted((x, y) for line in axes.lines for x, y in line.get_xydata().tolist())
    assert drawn == sorted((model.file_bytes / 1000, model.bits_per_byte.value) for model in models)
    assert table["kilobytes"].tolist() == [round(model.file_bytes / 1000, 3) for model in models]
    lines = {(model.config["vocab_size"], model.config["tied_embeddings"]) for model in models}
    assert len(axes.get_legend().get_texts()) == len(axes.lines) == len(lines)
