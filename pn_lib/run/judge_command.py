"""``python -m pn_lib judge``: large language models grade the stories of a run, by TinyStories' protocol GPT-Eval.

What is judged are notebook 05's completions (``results/<run>/completions.json``) or, with ``--prompts``, stories that
models write from beginnings of one's own. Replies go to ``results/<run>/judge/<judge>.jsonl``, from which the summary
follows: ``judge.json``, or ``judge_prompts.json``. It names the completions by their SHA-256, so that a report knows
grades of other endings from those of its own. Given more judges or stories, the same command adds only those.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import yaml
from filelock import FileLock, Timeout
from huggingface_hub import hf_hub_download
from pydantic import TypeAdapter, ValidationError

from pn_lib.data.corpora import TINYSTORIES, TINYSTORIES_REVISION
from pn_lib.errors import InputError
from pn_lib.evaluation.completions import complete
from pn_lib.evaluation.judge import CRITERIA, GRADES, PAIRS, Sample, Task, comparison, grading, pairings
from pn_lib.evaluation.judge_client import Judge, load_judge
from pn_lib.evaluation.judge_summary import (
    between_judges,
    between_repeats,
    gradings_of,
    length_bias,
    position_bias,
    teller_summary,
)
from pn_lib.evaluation.judging import CHARACTERS_A_TOKEN, REPLY_TOKENS, JudgeLog, collect, estimate, unfinished
from pn_lib.files import read_json, sha256, write_json
from pn_lib.models.loading import open_model
from pn_lib.models.lossless import warn_of_changes
from pn_lib.run.stages import output_root

PROMPTS_FILE = "Evaluation prompts.yaml"
PROMPT_TOKENS = 300  # at most, of a story written from a prompt
SEED = 0


@dataclass(frozen=True)
class Told:
    text: str
    ended: bool


@dataclass(frozen=True)
class Completions:
    """``completions.json``: for each teller a list of endings for each beginning, in the beginnings' order."""

    beginnings: list[str]
    tellers: dict[str, list[list[Told]]]


@dataclass(frozen=True)
class Questions:
    """What every judge is asked: to grade samples, and to compare pairs of them in both orders."""

    samples: list[Sample]
    pairs: list[tuple[Sample, Sample]]

    def tasks(self, judge: Judge) -> list[Task]:
        graded = [grading(sample, repeat) for sample in self.samples for repeat in range(judge.repeats)]
        return graded + [comparison(*order) for a, b in self.pairs for order in ((a, b), (b, a))]


def judge_run(
    run: str,
    files: Sequence[str],
    stories: int | None = None,
    pairs: int = 0,
    prompts: str | None = None,
    models: Sequence[str] = (),
    estimate_only: bool = False,
    past_limit: bool = False,
    say: Callable[[str], None] = print,
) -> Path | None:
    """Say what it will cost, then let each judge answer what it has not answered yet; returns the summary's path.

    Args:
        files: the judges' TOML files.
        stories: only the first so many beginnings.
        pairs: beginnings for which every two tellers are compared too.
        prompts, models: judge what these models write from a YAML list of beginnings, in place of ``completions.json``.
        estimate_only: end after saying what it will cost, with None; models write from ``prompts`` all the same, as
            what is to be judged sets the cost.
        past_limit: start although the estimate is above a judge's ``max_cost``, which ends the judging when reached.

    Raises:
        InputError: bad input, an estimate above ``max_cost``, or an endpoint that refuses or stays out of reach. What
            the judges said is kept, and in the summary.
    """
    judges = [load_judge(path) for path in files]
    _check(judges, stories, pairs, prompts, models)
    results = output_root() / "results" / run
    if prompts is None and not results.is_dir():
        raise InputError(f"there is no run {run} in {results.parent}; make it with python -m pn_lib run")
    with _alone(results / "judge"):
        source = results / "completions.json"
        if prompts is not None:
            source = results / "judge" / "prompts.json"
            write_json(source, complete_prompts(read_prompts(prompts)[:stories], models))
        digest = sha256(source) if source.exists() else None  # of what is judged, whatever stands there in the end
        samples = read_samples(source, stories)
        questions = Questions(samples, pairings(samples, pairs))
        logs = {judge.name: JudgeLog(results / "judge" / f"{judge.name}.jsonl") for judge in judges}
        over = _estimate(judges, questions, logs, say)
        if estimate_only:
            return None
        if over and not past_limit:
            raise InputError(
                f"{'; '.join(over)}; judge fewer --stories, raise the limit, or start with --yes and stop "
                "where it is reached"
            )
        summary = results / ("judge.json" if prompts is None else "judge_prompts.json")
        try:
            for judge in judges:
                collect(judge, questions.tasks(judge), logs[judge.name])
        finally:  # whatever ended it, the summary says what the logs hold
            write_json(summary, {"completions": digest, **summarise(judges, questions, logs)})
    return summary


def _check(
    judges: Sequence[Judge], stories: int | None, pairs: int, prompts: str | None, models: Sequence[str]
) -> None:
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise InputError(f"two judges have one name among {', '.join(names)}; give each file another name")
    if (stories is not None and stories < 1) or pairs < 0:
        raise InputError(f"--stories must be at least 1 and --pairs at least 0, not {stories} and {pairs}")
    if (prompts is None) != (not models):
        raise InputError("--prompts and --model go together: the beginnings, and the models that finish them")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the run's logs; the system lets go of the lock when this process dies, however it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is judging in {folder}; wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def read_samples(path: Path, stories: int | None = None) -> list[Sample]:
    """The endings in ``completions.json`` of the first ``stories`` beginnings, by teller.

    Raises:
        InputError: the file is missing, damaged, or a teller has not as many lists of endings as there are beginnings.
    """
    try:
        found = TypeAdapter(Completions).validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; make it anew") from None
    for teller, endings in found.tellers.items():
        if len(endings) != len(found.beginnings):
            raise InputError(
                f"{path}: {teller} has endings for {len(endings)} beginnings of {len(found.beginnings)}; make it anew"
            )
    samples = [
        Sample(teller, b, e, prompt, told.text)
        for teller, endings in found.tellers.items()
        for b, prompt in enumerate(found.beginnings[:stories])
        for e, told in enumerate(endings[b])
    ]
    if not samples:
        raise InputError(f"{path} holds no story to judge; make it anew")
    return samples


def read_prompts(source: str) -> list[str]:
    """A YAML list of beginnings: that file, TinyStories' ``Evaluation prompts.yaml`` in a folder of the dataset, or,
    for ``source`` "tinystories", the same from the Hub.

    Raises:
        InputError: there is none, it is no list of texts, or the Hub cannot be reached.
    """
    path = _hub_prompts() if source == "tinystories" else Path(source)
    if path.is_dir():
        path = path / PROMPTS_FILE
    try:
        prompts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"prompts file {path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"prompts file {path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not (isinstance(prompts, list) and prompts and all(isinstance(p, str) and p.strip() for p in prompts)):
        raise InputError(f"prompts file {path} must be a YAML list of beginnings, each of them a text")
    return prompts


def _hub_prompts() -> Path:
    try:
        return Path(hf_hub_download(TINYSTORIES, PROMPTS_FILE, repo_type="dataset", revision=TINYSTORIES_REVISION))
    except Exception as error:  # huggingface_hub and httpx share no class of network error
        raise InputError(
            f"TinyStories' {PROMPTS_FILE!r} cannot be fetched from the Hugging Face Hub "
            f"({type(error).__name__}); go online, or give the path of a YAML list"
        ) from None


def complete_prompts(prompts: Sequence[str], models: Sequence[str]) -> dict:
    """What each model (see ``model_source``) writes from each beginning, once at temperature 1, as a
    ``completions.json``. The same each time."""
    from pn_lib.run.evaluate_command import model_source

    tellers = {}
    for source in models:
        model, tokenizer = open_model(model_source(source))
        warn_of_changes(tokenizer, prompts)
        # a path is kept relative to the output root, so that no record names this machine
        name = os.path.relpath(source, output_root()) if Path(source).exists() else source
        told = complete(model, tokenizer, prompts, max_new_tokens=PROMPT_TOKENS, temperature=1.0, seed=SEED, name=name)
        tellers[name] = [[ending._asdict() for ending in endings] for endings in told]
    return {"beginnings": list(prompts), "tellers": tellers, "temperature": 1.0}


def _estimate(
    judges: Sequence[Judge], questions: Questions, logs: dict[str, JudgeLog], say: Callable[[str], None]
) -> list[str]:
    """Say what each judge will cost, before any of them is asked; returns what is above a limit."""
    over = []
    say(f"Estimate, at {CHARACTERS_A_TOKEN} characters a token and {REPLY_TOKENS} tokens a reply, no text asked twice:")
    for judge in judges:
        log, tasks = logs[judge.name], questions.tasks(judge)
        usage = estimate(unfinished(tasks, judge, log), judge)
        spent, more = (judge.cost(*tokens) for tokens in ((log.tokens_in, log.tokens_out), usage[1:]))
        money = (
            f"costs {more:.4g}, after {spent:.4g} so far"
            if judge.priced
            else "no prices given, so the cost is not known"
        )
        limit = f", at most {judge.max_cost:g} in all" if judge.max_cost is not None else ""
        say(
            f"{judge.name}: {usage.requests:,} of {len(tasks):,} requests to go, {usage.tokens_in:,} tokens in, "
            f"{usage.tokens_out:,} tokens out; {money}{limit}"
        )
        if judge.max_cost is not None and spent + more > judge.max_cost:
            over.append(
                f"judge {judge.name} would cost {spent + more:.4g} in all, above its max_cost of {judge.max_cost:g}"
            )
    return over


def summarise(judges: Sequence[Judge], questions: Questions, logs: dict[str, JudgeLog]) -> dict:
    """What ``judge.json`` holds: follows from the logs, whatever the order of their lines."""
    tables = {judge.name: gradings_of(judge, logs[judge.name], questions.samples) for judge in judges}
    tellers = dict.fromkeys(sample.teller for sample in questions.samples)
    return {
        "protocol": {
            "criteria": list(CRITERIA),
            "scale": [1, 10],
            "grades_rubric": GRADES.fingerprint,
            "pairs_rubric": PAIRS.fingerprint,
        },
        "stories": {teller: sum(s.teller == teller for s in questions.samples) for teller in tellers},
        "judges": {
            judge.name: {
                **_identity(judge),
                **_replies(judge, questions.tasks(judge), logs[judge.name]),
                "tellers": teller_summary(tables[judge.name]),
                "between_repeats": between_repeats(tables[judge.name]) if judge.repeats > 1 else None,
                "length_bias": length_bias(tables[judge.name]),
                "pairs": position_bias(judge, logs[judge.name], questions.pairs),
            }
            for judge in judges
        },
        "between_judges": [
            {"judges": [a.name, b.name], **between_judges(tables[a.name], tables[b.name])}
            for a, b in combinations(judges, 2)
        ],
    }


def _identity(judge: Judge) -> dict:
    return {
        "model": judge.model,
        "host": judge.host,
        "fingerprint": judge.fingerprint,
        "temperature": judge.temperature,
        "structured": judge.structured,
        "repeats": judge.repeats,
    }


def _replies(judge: Judge, tasks: Sequence[Task], log: JudgeLog) -> dict:
    """How many of the texts were judged and how many given up, and what all replies about them took."""
    keys = [task.key(judge.fingerprint) for task in tasks]
    records = [record for key in keys for record in log.records.get(key, ())]
    given_up = [log.records[key][-1] for key in keys if log.valid(key) is None and log.finished(key, judge.replies)]
    tokens_in, tokens_out = (sum(getattr(r, name) for r in records) for name in ("tokens_in", "tokens_out"))
    return {
        "model_served": sorted({record.model for record in records if record.model}),
        "requested": len(keys),
        "judged": sum(log.valid(key) is not None for key in keys),
        "refused": sum(r.outcome == "refused" for r in given_up),
        "invalid": sum(r.outcome == "invalid" for r in given_up),
        "replies": len(records),
        "replies_counted_by_server": sum(r.counted for r in records),
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "cost": judge.cost(tokens_in, tokens_out) if judge.priced else None,
    }
