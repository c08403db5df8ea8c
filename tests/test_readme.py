"""The README's claims: its numbers are those of the published run, and its commands and files exist."""

import json
import re
import tomllib

import pandas as pd
import pytest
import yaml

from pn_lib.cli import main
from pn_lib.course.speeds import speeds_table
from pn_lib.run.results.study_results import StudyResult
from pn_lib.run.stages import REPOSITORY
from pn_lib.run.times import SHOWN

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PUBLISHED = REPOSITORY / "results" / "published" / "laptop-tinystories"


def published(name: str) -> dict:
    return json.loads((PUBLISHED / f"{name}.json").read_text(encoding="utf-8"))


def per_cent(share: dict) -> str:
    return f"{share['value']:.0%}".replace("%", " %")


def test_the_finding_is_the_published_runs():
    finding = README.split("<!-- finding -->")[1].split("<!-- /finding -->")[0]
    training, mamba, recipe, zoo = (published(name) for name in ("training", "mamba", "recipe", "zoo"))
    assert f"{round(published('timings/training')['seconds'] / 60)} minutes on two CPU cores" in finding
    assert f"**{training['transformer']['bits_per_byte']:.3f} bits per byte**" in finding
    assert f"stops at **{training['ngram']['bits_per_byte']:.3f}**" in finding
    assert f"at {zoo['models']['stories260K']['bits_per_byte']['value']:.3f} on the same stories" in finding
    for rung in (0, 1, -1):
        assert f"{recipe['ladder'][rung]['bits_per_byte']:.2f}" in finding
    assert "is {mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f}".format(**mamba["difference"]) in finding
    whole = mamba["full"]["bits_per_byte"], training["transformer"]["bits_per_byte"]
    assert "{:.3f} versus {:.3f}".format(*whole) in finding


def test_what_is_said_of_the_architecture_survives_holms_correction():
    finding = README.split("<!-- finding -->")[1].split("<!-- /finding -->")[0]
    study = StudyResult.read(PUBLISHED)
    rows = {(axis.axis, row.variant): row for axis in study.axes for row in axis.variants}
    raising = [rows[key] for key, found in study.judgments.items() if found.verdict == "raises the loss"]
    words = f"Of {len(study.judgments)} single changes, {len(raising)} survive Holm's correction with "
    assert words + f"{study.baseline.seeds} seeds, and each raises the loss" in finding
    assert all(f"(by {row.difference:.3f})" in finding for row in raising)
    same = [found for found in study.judgments.values() if found.verdict == "not told apart"]
    assert f"The other {len(same)} cannot be told apart from the baseline" in finding
    assert len(raising) + len(same) == len(study.judgments)


def test_the_smallest_file_is_the_published_one():
    finding = README.split("<!-- finding -->")[1].split("<!-- /finding -->")[0]
    reference = PUBLISHED.parent / "reference"
    found, timed = (json.loads((reference / name / "frontier.json").read_text("utf-8")) for name in ("", "timings"))
    [model], [timing] = found["models"], timed["models"]
    loss, file = model["bits_per_byte"], reference / "models" / f"{model['name']}.safetensors"
    assert file.stat().st_size == model["file_bytes"] and f"fits into {model['file_bytes'] / 1000:.0f} kB" in finding
    assert f"{model['parameters'] / 1e6:.2f} million weights of 4 bits each" in finding and model["integers"] == "int4"
    assert f"{model['tokens'] / 1e6:.0f} million tokens in {timing['seconds'] / 60:.0f} minutes on one" in finding
    assert f"**{loss['value']:.3f} bits per byte** on the {found['stories']} stories of the test half" in finding
    assert f"(95 % interval {loss['low']:.3f} to {loss['high']:.3f})" in finding
    assert f"{loss['value'] - model['float32_bits_per_byte']:.3f} more than before" in finding


def test_what_is_said_of_stories_is_the_published_runs():
    finding = README.split("<!-- finding -->")[1].split("<!-- /finding -->")[0]
    told, safe = published("evaluation")["completions"]["tellers"], published("evaluation")["sampling"]["τ = 0.7"]
    for measure, words in (
        ("names_kept", "of the names in a beginning, {} come back, versus {} and {}"),
        (
            "sound",
            "{} of the Transformer's endings have no fault that our counts can find, "
            "versus {} of the 4-gram's and {} of the real ones",
        ),
    ):
        assert words.format(*(per_cent(told[who][measure]) for who in ("transformer", "ngram", "human"))) in finding
    assert f"At temperature 0.7 {per_cent(safe['sound'])}" in finding
    language = published("language")["sizes"]
    for row in (language[0], language[-1]):
        assert f"{row['excess']['value']:.2f}" in finding and f"{row['words']['value']:.0f}" in finding


def test_the_speeds_are_the_published_benchmarks():
    assert speeds_table() in README, "run python -m pn_lib refresh"
    [trained] = [line for line in speeds_table().splitlines() if "tokens a second" in line]
    rates = [float(cell.replace(",", "")) for cell in trained.split("|")[2:4]]
    for kind, rate in zip(SHOWN, rates, strict=True):
        table = pd.read_csv(PUBLISHED.parent / "benchmark" / kind / "training.csv")
        assert rate == pytest.approx(
            table[table["model"] == "Transformer"].query("length == 256")["tokens_per_second"].iloc[-1], abs=0.5
        )


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_links_lead_somewhere(path):
    assert (REPOSITORY / path).exists()


def test_make_targets_exist():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z-]+)", README)) - {"it"}:
        assert re.search(rf"^{target}:", makefile, re.M), f"README names make {target}"


def test_commands_exist(capsys):
    commands = set(re.findall(r"python -m pn_lib ([a-z]+)", README))
    assert main(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert commands and all(re.search(rf"^\s+{command}\s", help_text, re.M) for command in commands)


def test_the_tested_pythons_are_everywhere_the_same():
    text = {
        name: (REPOSITORY / name).read_text(encoding="utf-8")
        for name in ("pyproject.toml", "Makefile", "environment.yml", ".github/workflows/ci.yml")
    }
    project = tomllib.loads(text["pyproject.toml"])["project"]
    tested = [name.split(" :: ")[-1] for name in project["classifiers"] if name.startswith("Programming Language")]
    oldest, newest = tested[0], tested[-1]
    assert project["requires-python"] == f">={oldest}"
    assert f"Python {oldest} or newer (CI tests {oldest} and {newest})" in README
    assert f"version_info < ({oldest.replace('.', ', ')})" in text["Makefile"]
    assert f"--python-version {oldest} " in text["Makefile"]
    assert f"- python={oldest}" in text["environment.yml"]
    jobs = yaml.safe_load(text[".github/workflows/ci.yml"])["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == [oldest, newest]
    assert jobs["newest"]["continue-on-error"] is True
    assert jobs["newest"]["steps"][-1]["run"] == "make --keep-going test CONSTRAINT="
