"""``python -m pn_lib rate``: people grade the endings of a run, blind.

Without files it makes the sheet: ``results/<run>/rating/<sheet>.html``, a page to be sent to raters, and beside it
``<sheet>.json``, the key, which is not. With the files that raters send back it writes ``rating.json``.
"""

import json
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pandas as pd
from jinja2 import StrictUndefined, Template

from pn_lib.data.stories import read_stories
from pn_lib.errors import InputError
from pn_lib.evaluation.completions import Ending, Yardstick, measure
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.measures import MEASURES
from pn_lib.evaluation.rating import COLUMNS, Sheet, make_sheet, read_ratings, summarize
from pn_lib.files import read_json, sha256, write_json, write_text
from pn_lib.run.commands.judge_command import read_samples
from pn_lib.run.results.rating_results import RatingResult
from pn_lib.run.results.stories_results import CompletionsResult
from pn_lib.run.stages import output_root

PAGE = Path(__file__).with_name("rating_page.html")
TRAINING_STORIES = 20_000  # by which names and copies are known, as in the notebook
OF_A_SET = ("distinct_2", "self_rouge2")  # measures that no single ending has


def rate_run(run: str, files: Sequence[str], pages: int, seed: int) -> Path:
    """Make a sheet, or count what raters made of it; returns the path of what was written.

    Raises:
        InputError: no such run, no endings, or files that are not this run's (see ``read_ratings``).
    """
    results = output_root() / "results" / run
    if not results.is_dir():
        raise InputError(f"there is no run {run} in {results.parent}; make it with python -m pn_lib run")
    return _collect(results, [Path(file) for file in files]) if files else _make(results, run, pages, seed)


def _make(results: Path, run: str, pages: int, seed: int) -> Path:
    source = results / CompletionsResult.FILE
    samples = read_samples(source)
    sheet = make_sheet(samples, pages, seed, sha256(source))
    text = {(sample.teller, sample.beginning, sample.ending): sample for sample in samples}
    shown = [[text[one.teller, one.beginning, one.ending] for one in page] for page in sheet.pages]
    content = {
        "id": sheet.id,
        "columns": COLUMNS,
        "pages": [{"beginning": page[0].prompt, "endings": [one.text for one in page]} for page in shown],
    }
    template = Template(PAGE.read_text(encoding="utf-8"), undefined=StrictUndefined)
    # no "<" of a story may end the script that holds it
    html = template.render(run=run, pages=pages, sheet=json.dumps(content).replace("<", "\\u003c"))
    path = results / "rating" / f"{sheet.id}.html"
    write_json(path.with_suffix(".json"), sheet.model_dump())
    write_text(path, html)
    return path


def _collect(results: Path, files: Sequence[Path]) -> Path:
    name, ratings = read_ratings(files)
    key = results / "rating" / f"{name}.json"
    if not key.is_file():
        raise InputError(
            f"{files[0]} is of sheet {name}, which {results.name} does not have; name the run it was made of"
        )
    sheet = Sheet.model_validate(read_json(key))
    if sheet.completions != sha256(results / CompletionsResult.FILE):
        raise InputError(f"sheet {name} shows endings that run {results.name} has replaced since; make a new sheet")
    last, shown = ratings["ending"].max(), len(sheet.endings)
    if last > shown:
        raise InputError(f"ending {last} is graded, and sheet {name} has {shown}; was a file changed?")
    summary = summarize(sheet, ratings, _measures(results, sheet))
    RatingResult(completions=sheet.completions, **summary).write(results / RatingResult.FILE)
    return results / RatingResult.FILE


def _measures(results: Path, sheet: Sheet) -> pd.DataFrame:
    """The automatic measures of every ending of the sheet, in its order."""
    found = CompletionsResult.read(results)
    training = list(islice(read_stories(results / "stories" / "train.parquet"), TRAINING_STORIES))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        yardstick = Yardstick.of(training, StoryIndex.build(training, folder))
        for shown in sheet.endings:
            beginning = found.beginnings[shown.beginning]
            ending = found.tellers[shown.teller][shown.beginning][shown.ending]
            real = found.tellers["human"][shown.beginning][0].text
            rows.append(measure([beginning], [[Ending(ending.text, ending.ended)]], [real], yardstick))
    return pd.concat(rows)[[name for name in MEASURES if name not in OF_A_SET]]
