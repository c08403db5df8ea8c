"""``python -m pn_lib evaluate`` and what it takes for a model."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pn_lib.cli import main
from pn_lib.data import pocket
from pn_lib.data.stories import write_parquet
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation.completions import MEASURES
from pn_lib.files import write_json
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.commands.evaluate_command import Extent, _stories, check_prompt, evaluate
from pn_lib.run.saved_models import model_source

SMALL = ["--stories", "12", "--train-stories", "60", "--completions", "4", "--max-bytes", "120"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    results = tmp_path / "results" / "smoke-pocket"
    tokenizer = train_tokenizer(pocket.sample_stories(50, 1), 400)
    tokenizer.save(results / "tokenizer")
    torch.manual_seed(0)
    Transformer(TransformerConfig(tokenizer.vocab_size, context=128, d_model=16, n_layers=1, n_heads=2)).save(
        results / "models" / "transformer"
    )
    write_json(results / "run.json", {"corpus": "another"})
    return tmp_path


def test_everything_is_measured_and_the_same_each_time(run, capsys):
    out = run / "found.json"
    arguments = ["evaluate", "smoke-pocket/transformer", *SMALL, "--out", str(out)]
    assert main(arguments) == 0
    text, found = capsys.readouterr().out, out.read_bytes()
    assert all(meaning in text for meaning in MEASURES.values())
    result = json.loads(found)
    assert result["likelihood"]["low"] < result["likelihood"]["value"] < result["likelihood"]["high"]
    excess = result["pocket"]["excess_bits_per_byte"]["value"]
    assert 1 < excess < result["likelihood"]["value"]  # it has learnt nothing
    assert set(result["probes"]) == {"facts", "reasoning", "tracking", "grammar", "facts of the story", "pronouns"}
    measures = result["completions"]["measures"]
    shared = {who: values["rouge2_reference"]["value"] for who, values in measures.items()}
    assert shared["real endings"] > 0.9 > shared["model"]  # below 1, as the limit may cut a word
    assert main(arguments) == 0
    assert out.read_bytes() == found


def test_other_corpora_have_no_exact_part(run, capsys):
    (run / "mine.txt").write_text("\n\n".join(pocket.sample_stories(80, 5)).replace("\n\n", "\n<|endoftext|>\n"))
    assert main(["evaluate", "smoke-pocket/transformer", "--corpus", str(run / "mine.txt"), *SMALL]) == 0
    text = capsys.readouterr().out
    assert "exact source" not in text and "pronouns" not in text and "bits per byte" in text


def test_a_profile_names_what_a_story_is_in_a_file(run, capsys):
    (run / "mine.txt").write_text("\n=====\n".join(pocket.sample_stories(240, 5)))
    (run / "named.toml").write_text('base = "quick"\n[data]\nseparator = "====="\n')
    command = ["evaluate", "smoke-pocket/transformer", "--corpus", str(run / "mine.txt"), *SMALL]
    out = run / "found.json"
    assert main([*command, "--profile", str(run / "named.toml"), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["corpus"]["training_stories"] == 60
    small = ["quantize", "smoke-pocket/transformer", str(run / "small.safetensors"), "--corpus", str(run / "mine.txt")]
    assert main([*small, "--profile", str(run / "named.toml")]) == 0
    assert "on 100 validation stories" in capsys.readouterr().out


def test_a_runs_model_is_asked_about_the_stories_its_run_held_out(run):
    results = run / "results" / "smoke-pocket"
    told = pocket.sample_stories(70, 9)
    write_parquet(results / "stories" / "train.parquet", told[:50])
    write_parquet(results / "stories" / "validation.parquet", told[50:])
    write_json(results / "run.json", {"corpus": "mine.txt"})
    write_json(results / "data.json", {"corpus": {"title": "Mine"}})
    (run / "mine.txt").write_text("\n<|endoftext|>\n".join(told[::-1]))
    extent = Extent(stories=12, train_stories=30, completions=4)
    assert _stories("smoke-pocket/transformer", "mine.txt", extent) == (told[:30], told[50:62], "Mine")
    folder = str(results / "models" / "transformer")  # named by its place, it is anybody's
    split = [_stories(folder, "mine.txt", replace(extent, seed=seed)) for seed in (0, 1)]
    assert split[0] == split[1] and set(split[0][1]) <= set(told)


def test_bad_places_for_the_figures_are_refused_at_once(run):
    for bad in (run, run / "no" / "such" / "folder.json"):
        with pytest.raises(InputError, match="--out"):
            evaluate("smoke-pocket/transformer", "pocket", Extent(), str(bad))


def test_what_a_model_is_called(run, monkeypatch):
    folder = run / "results" / "smoke-pocket" / "models" / "transformer"
    assert model_source("smoke-pocket/transformer") == folder
    assert model_source(str(folder)) == str(folder)
    assert model_source("roneneldan/TinyStories-1M") == "roneneldan/TinyStories-1M"
    with pytest.raises(InputError, match="has no model 'mamba'; it has transformer"):
        model_source("smoke-pocket/mamba")


def test_prompts():
    assert check_prompt("Once upon a time <3 [ok]") == "Once upon a time <3 [ok]"
    for bad in ("", " \n", "<s>Once", "Once<|im_start|>", "<0x0A>", "[inst]"):
        with pytest.raises(InputError):
            check_prompt(bad)


def test_extents_that_cannot_be():
    for bad in ({"stories": 1}, {"completions": 1}, {"repeats": 0}, {"completions": 301}, {"max_bytes": 0}):
        with pytest.raises(InputError, match=next(iter(bad)).replace("_", "-")):
            Extent(**bad)


@pytest.mark.skipif(
    "PN_STORIES260K" not in os.environ or "PN_TINYSTORIES" not in os.environ,
    reason="PN_STORIES260K and PN_TINYSTORIES name the folders of the model and the slice",
)
def test_a_published_model_on_real_stories(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    model = Path(os.environ["PN_STORIES260K"]) / "stories260K.bin"
    out = tmp_path / "found.json"
    assert (
        main(
            [
                "evaluate",
                str(model),
                "--corpus",
                os.environ["PN_TINYSTORIES"],
                "--out",
                str(out),
                "--stories",
                "40",
                "--train-stories",
                "100",
                "--completions",
                "3",
                "--max-bytes",
                "60",
            ]
        )
        == 0
    )
    result = json.loads(out.read_text())
    assert 0.85 < result["likelihood"]["value"] < 1.05 and result["probes"]["grammar"]["value"] > 0.7
    assert "stories260K.bin: transformer" in capsys.readouterr().out
