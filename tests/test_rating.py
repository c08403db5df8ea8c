"""People's grades: a blind sheet, files that come back in every state, and what they say together."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pn_lib.cli import main
from pn_lib.data.stories import write_parquet
from pn_lib.errors import InputError
from pn_lib.evaluation.agreement import krippendorff_alpha, rank_correlations
from pn_lib.evaluation.judge import Sample
from pn_lib.evaluation.judge_reply import CRITERIA
from pn_lib.evaluation.rating import COLUMNS, ENDINGS, Sheet, make_sheet, read_ratings
from pn_lib.files import read_json, write_json
from pn_lib.run.results.rating_results import RatingResult

TELLERS = ("ngram", "transformer", "mamba", "human")
TEXTS = {  # from worst to best
    "ngram": " dog dog dog dog dog dog dog dog",
    "transformer": " a dog and a dog. The dog a cat",
    "mamba": " ran to the park </script><b> and was glad.",
    "human": " found the red ball. Everybody was glad, and they went home.",
}
NAN = float("nan")


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """The results of a made-up run, with all that rating reads."""
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    folder = tmp_path / "results" / "mine"
    tellers = {who: [[{"text": f"{text} {b}", "ended": True}] * 2 for b in range(8)] for who, text in TEXTS.items()}
    beginnings = [f"Tom had a ball, number {b}. One day he" for b in range(8)]
    write_json(folder / "completions.json", {"beginnings": beginnings, "temperature": 1.0, "tellers": tellers})
    write_parquet(
        folder / "stories" / "train.parquet", [f"Tom had a red ball. A dog ran home, {b}." for b in range(30)]
    )
    return folder


@pytest.fixture
def sheet(results, capsys) -> Sheet:
    assert main(["rate", "mine", "--pages", "8"]) == 0
    page = Path(capsys.readouterr().out.strip())
    return Sheet.model_validate(read_json(page.with_suffix(".json")))


def file_of(folder: Path, sheet: Sheet, rater: str, grade, numbers: range | None = None) -> Path:
    """A rater's file: ``grade`` gives a grade for an ending of the sheet and a criterion."""
    rows = [
        [sheet.id, rater, number, *(grade(shown, criterion) for criterion in CRITERIA)]
        for number, shown in enumerate(sheet.endings, 1)
        if numbers is None or number in numbers
    ]
    path = folder / f"{rater}.csv"
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(path, index=False)
    return path


def by_merit(shown, criterion) -> int:
    return 2 + 2 * TELLERS.index(shown.teller)


def by_whim(shown, criterion) -> int:
    return 1 + (7 * shown.beginning + len(criterion) + 3 * TELLERS.index(shown.teller)) % 10


# --- the sheet


def test_a_sheet_shows_every_teller_equally_often_and_depends_on_the_seed_alone():
    samples = [Sample(who, b, e, "", "") for who in TELLERS for b in range(30) for e in range(2)]
    sheets = [make_sheet(samples, 10, seed, "digest") for seed in (0, 0, 1)]
    assert sheets[0] == sheets[1] != sheets[2] and sheets[0].id != sheets[2].id
    counts = pd.Series([shown.teller for shown in sheets[0].endings]).value_counts()
    assert counts.sum() == 10 * ENDINGS and counts.max() - counts.min() <= 1
    for page in sheets[0].pages:
        assert len({shown.beginning for shown in page}) == 1 and len({shown.teller for shown in page}) == ENDINGS
    orders = {tuple(shown.teller for shown in page) for page in sheets[0].pages}
    assert len(orders) > 5  # nobody learns where the real one is
    assert make_sheet(samples[:60], 2, 0, "").pages[0] and len(make_sheet(samples[:60], 2, 0, "").endings) == 2
    with pytest.raises(InputError, match="--pages must be 1 to 30"):
        make_sheet(samples, 31, 0, "digest")


def test_the_page_names_no_teller_and_holds_all_endings(results, sheet):
    html = (results / "rating" / f"{sheet.id}.html").read_text(encoding="utf-8")
    words = html.replace("mine", "")
    assert not [who for who in TELLERS if who in words.replace("transformers", "")]
    [content] = re.findall(r'<script type="application/json" id="sheet">(.*?)</script>', html, re.S)
    pages = json.loads(content)["pages"]
    shown = [text for page in pages for text in page["endings"]]
    assert shown == [f"{TEXTS[one.teller]} {one.beginning}" for one in sheet.endings]
    assert all(page["beginning"].startswith("Tom had a ball") for page in pages)


# --- what comes back


def test_two_raters_who_agree(results, sheet, tmp_path, capsys):
    files = [file_of(tmp_path, sheet, rater, by_merit) for rater in ("Anna", "Ben")]
    assert main(["rate", "mine", *map(str, files)]) == 0
    found = RatingResult.read(results)
    assert found.raters == [24, 24] and found.endings == 24 and found.scale == (1, 10)
    assert {who: one.grades.plot.value for who, one in found.tellers.items()} == {
        who: 2 + 2 * place for place, who in enumerate(TELLERS)
    }
    assert found.tellers["human"].ratings == 2 * found.tellers["human"].endings == 12
    assert found.agreement.grammar.value == 1 == found.agreement.grammar.high
    repeated, longest = found.correlations["repetition"].plot, found.correlations["words"].plot
    assert repeated.high < 0 and -1 <= repeated.low <= repeated.value <= repeated.high
    assert longest.value > 0.4 and found.correlations["ended"].plot is None  # it never varies
    assert not {"self_rouge2", "distinct_2"} & found.correlations.keys()
    assert "Anna" not in (results / "rating.json").read_text().title()


def test_raters_who_do_not_agree_and_grade_different_parts(results, sheet, tmp_path):
    files = [
        file_of(tmp_path, sheet, "a", by_merit, range(1, 13)),
        file_of(tmp_path, sheet, "b", by_whim),
        file_of(tmp_path, sheet, "c", by_whim, range(20, 22)),
    ]
    assert main(["rate", "mine", *map(str, files)]) == 0
    found = RatingResult.read(results)
    assert found.raters == [24, 12, 2]
    alpha = found.agreement.plot
    assert alpha.low < alpha.value < alpha.high and alpha.value < 0.6
    assert sum(one.ratings for one in found.tellers.values()) == 38


def test_one_rater_has_means_and_nothing_else(results, sheet, tmp_path):
    assert main(["rate", "mine", str(file_of(tmp_path, sheet, "a", by_whim, range(1, 5)))]) == 0
    found = RatingResult.read(results)
    assert found.agreement is None and found.correlations is None and found.raters == [4]
    assert all(1 <= one.grades.plot.value <= 10 for one in found.tellers.values())


def change(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


SPOILT = {
    "columns": (lambda path, sheet: change(path, "grammar", "gramar"), "must have the columns sheet,rater,ending"),
    "a workbook": (lambda path, sheet: path.write_bytes(b"PK\3\4"), "is a spreadsheet; save it as CSV"),
    "off the scale": (lambda path, sheet: change(path, ",a,2,", ",a,2,1"), "line 3: grammar: Input should be less"),
    "half a grade": (lambda path, sheet: change(path, ",a,1,", ",a,1,."), "line 2: grammar: Input should be"),
    "missing": (lambda path, sheet: change(path, ",a,1,", f",a,1\n{sheet.id},b,1,"), "line 2: grammar"),
    "too many": (lambda path, sheet: change(path, ",a,1,", ",a,1,5,"), "line 2: more"),
    "no name": (lambda path, sheet: change(path, ",a,1,", ",  ,1,"), "line 2: rater: String should have at least 1"),
    "twice": (lambda path, sheet: change(path, ",a,2,", ",A ,1,"), "line 3: rater 'a' graded ending 1 already"),
    "another ending": (lambda path, sheet: change(path, ",a,24,", ",a,99,"), "ending 99 is graded, and sheet"),
    "other sheets": (lambda path, sheet: change(path, f"{sheet.id},a,2,", f"{0:016},a,2,"), "are of different sheets"),
    "another run's": (lambda path, sheet: path.write_text(path.read_text().replace(sheet.id, "f" * 16)), "which mine"),
    "empty": (lambda path, sheet: path.write_text(path.read_text().split("\n")[0]), "holds no ratings"),
    "nothing": (lambda path, sheet: path.write_bytes(b""), "not none"),
    "a picture": (lambda path, sheet: path.write_bytes(b"\x89PNG\xff" + bytes(20)), "is not a text file"),
    "gone": (lambda path, sheet: path.unlink(), "cannot be read as CSV"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_one_sentence(results, sheet, tmp_path, capsys, name):
    spoil, message = SPOILT[name]
    path = file_of(tmp_path, sheet, "a", by_whim)
    spoil(path, sheet)
    assert main(["rate", "mine", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1
    assert not (results / "rating.json").exists()


def test_files_of_spreadsheets_and_two_raters_of_one_name(results, sheet, tmp_path, capsys):
    path = file_of(tmp_path, sheet, "a", by_whim)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_ratings([path])[1]) == 24
    plain = path.read_bytes().decode("utf-8-sig").replace(",a,", ",Zoë,")
    for text, encoding in (
        (plain.replace(",", ";"), "utf-8-sig"),
        ("sep=;\r\n" + plain.replace(",", ";"), "cp1252"),
        (plain.replace(",", "\t"), "utf-16"),
        (plain.replace(",", ", ").replace("sheet", "Sheet", 1) + ",,,,,,\r\n", "utf-8"),
    ):
        path.write_bytes(text.encode(encoding))
        assert set(read_ratings([path])[1]["rater"]) == {"zoë"}
    assert main(["rate", "mine", str(path), str(path)]) == 2
    assert "two raters need two names" in capsys.readouterr().err


def test_endings_that_were_replaced_are_not_graded_by_old_files(results, sheet, tmp_path, capsys):
    path = file_of(tmp_path, sheet, "a", by_whim)
    change(results / "completions.json", "dog dog", "cat dog")
    assert main(["rate", "mine", str(path)]) == 2
    assert "has replaced since; make a new sheet" in capsys.readouterr().err
    assert main(["rate", "nowhere"]) == 2 and "there is no run nowhere" in capsys.readouterr().err


# --- agreement


def test_alpha_is_that_of_krippendorffs_example():
    """Krippendorff 2011, section E: four observers, twelve units, missing values; ordinal 0.815."""
    grades = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
            [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
        ]
    )
    alpha = krippendorff_alpha(grades, range(12))
    assert alpha.value == pytest.approx(0.815, abs=5e-4) and alpha.low < alpha.value < alpha.high <= 1
    stretched = np.where(grades == 5, 500.0, grades)  # only the order counts
    assert krippendorff_alpha(stretched, range(12)) == alpha
    alone = krippendorff_alpha(grades, [0] * 12)
    assert alone.value == alpha.value and alone.low is None


def test_alpha_of_chance_is_zero_and_of_contradiction_below():
    rng = np.random.default_rng(0)
    chance = krippendorff_alpha(rng.integers(1, 11, (2, 400)).astype(float), range(400))
    assert chance.low < 0 < chance.high and abs(chance.value) < 0.12
    up = np.arange(10.0)
    assert krippendorff_alpha(np.stack([up, up[::-1]]), range(10)).value < -0.8
    assert krippendorff_alpha(np.stack([up, up]), range(10)).value == 1


def test_alpha_may_be_undefined():
    assert krippendorff_alpha(np.array([[1.0, NAN], [NAN, 2.0]]), [0, 1]) is None
    assert krippendorff_alpha(np.full((2, 3), 7.0), [0, 1, 2]) is None


def test_rank_correlations_see_order_and_leave_out_what_has_no_value():
    grades = pd.DataFrame({"plot": [1.0, 2.0, 3.0, 5.0, 8.0]})
    measures = pd.DataFrame({"up": [1, 10, 100, 1000, 10000], "half": [5.0, NAN, 4.0, NAN, 3.0], "flat": [1.0] * 5,
                             "two": [1.0, 2.0, NAN, NAN, NAN]})  # fmt: skip
    found = rank_correlations(measures, grades, range(5))
    assert found["up"]["plot"].value == 1 and found["half"]["plot"].value == -1
    assert found["flat"]["plot"] is None and found["two"]["plot"] is None
