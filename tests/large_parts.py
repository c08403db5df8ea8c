"""The parts of ``make large``, each by the code that a run uses, as a command of the command line."""

import sys
import time
from itertools import islice
from pathlib import Path

from training_example import STORIES, make_model, scorer

from pn_lib import cli
from pn_lib.data.cleaning import clean
from pn_lib.data.corpora import load_corpus
from pn_lib.data.stories import iterate, read_stories, write_parquet
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.data.tokens import TokenFile, write_tokens
from pn_lib.evaluation.judge import Sample, Task, grading
from pn_lib.evaluation.judge_settings import Judge
from pn_lib.evaluation.judging import JudgeLog, Judging
from pn_lib.files import write_json
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import train

KEY, TOLD, TOKENS = "PN_LARGE_KEY", "told.json", "tokens"
VALIDATION = 1000  # stories
ONE_STEP = TrainingConfig(tokens=4 * 16, batch_size=4, context=16, precision="float32", evals=2)


def corpus(folder: Path) -> None:
    found = load_corpus("in/tales.txt", None, VALIDATION, 0, folder, folder / "work")
    kept, report = clean(found.train, file=folder / "work" / "clean.arrow")
    stories = folder / "train.parquet"
    write_parquet(stories, iterate(kept))
    tokenizer = train_tokenizer(islice(read_stories(stories), 100_000), 300)
    write_tokens(folder / TOKENS, read_stories(stories), tokenizer)
    tokens = TokenFile(folder / TOKENS)
    train(make_model(), tokens, ONE_STEP, validate=scorer(tokens), folder=folder / "training")
    write_json(folder / TOLD, {"stories": len(tokens) + len(found.validation) + report.read - report.kept})


def tasks(texts: int) -> list[Task]:
    beginning = "Once there was a cat called Tom."
    return [grading(Sample("tim", number, 0, beginning, f"It slept {number} times.")) for number in range(texts)]


def judging(folder: Path, url: str, texts: int) -> Judging:
    judge = Judge("tester", url, "m", api_key_env=KEY, parallel=8, timeout_s=20)
    return Judging(judge, tasks(texts), JudgeLog(folder / "judge" / "tester.jsonl"))


def playground(folder: Path, seconds: float) -> None:
    from pn_lib.course.playground import Playground

    model, tokenizer = make_model().eval(), train_tokenizer(STORIES, 300)
    player = Playground({"a model": (model, tokenizer)}, "Once")
    presses, third, start = 0, None, time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        player.text.value = "Once"
        player.many.click()
        presses += 1
        if third is None and passed > seconds / 3:
            third = _megabytes()
    write_json(folder / TOLD, {"presses": presses, "grown": _megabytes() - third})


def _megabytes() -> float:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


if __name__ == "__main__":
    part, folder, *given = sys.argv[1:]
    run = {
        "corpus": lambda: corpus(Path(folder)),
        "judge": lambda: judging(Path(folder), given[0], int(given[1])).collect(),
        "playground": lambda: playground(Path(folder), float(given[0])),
    }[part]
    cli.app.command("part")(run)
    sys.exit(cli.main(["part"]))
