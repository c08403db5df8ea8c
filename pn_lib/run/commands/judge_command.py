"""``python -m pn_lib judge``: large language models grade the stories of a run, by TinyStories' protocol GPT-Eval.

What is judged are notebook 05's completions (``results/<run>/completions.json``) or, with ``--prompts``, stories that
models write from beginnings of one's own. Replies go to ``results/<run>/judge/<judge>.jsonl``, from which the summary
follows: ``judge.json``, or ``judge_prompts.json``. It names the completions by their SHA-256, so that a report knows
grades of other endings from those of its own. Given more judges or stories, the same command adds only those.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout
from pydantic import BaseModel, ValidationError

from pn_lib.errors import InputError
from pn_lib.evaluation.judge import GRADES, Sample, Task, comparison, grading, pairings
from pn_lib.evaluation.judge_settings import Judge, load_judge
from pn_lib.evaluation.judge_summary import summarize
from pn_lib.evaluation.judging import CHARACTERS_A_TOKEN, REPLY_TOKENS, JudgeLog, Judging
from pn_lib.files import read_json, sha256, write_json
from pn_lib.run.stages import output_root


class Ending(BaseModel):
    text: str


class Completions(BaseModel):
    """``completions.json``: for each teller a list of endings for each beginning, in the beginnings' order."""

    beginnings: list[str]
    tellers: dict[str, list[list[Ending]]]


def judge_run(
    run: str,
    files: Sequence[str],
    stories: int | None = None,
    pairs: int = 0,
    prompts: str | None = None,
    models: Sequence[str] = (),
    estimate_only: bool = False,
    past_limit: bool = False,
) -> Path | None:
    """Print what it will cost, then let each judge answer what it has not answered yet; returns the summary's path.

    Args:
        files: the judges' TOML files.
        stories: only the first so many beginnings.
        pairs: beginnings for which every two tellers are compared too.
        prompts, models: judge what these models write from beginnings (``read_prompts``), not ``completions.json``.
        estimate_only: end after saying what it will cost, with None; models write from ``prompts`` all the same, as
            what is to be judged sets the cost.
        past_limit: start although the estimate is above a judge's ``max_cost``, which ends the judging when reached.

    Raises:
        InputError: bad input, an estimate above ``max_cost``, an endpoint that refuses or stays out of reach, or a
            judge without one valid answer. What the judges said is kept, and in the summary.
    """
    judges = [load_judge(path) for path in files]
    _check(judges, stories, pairs, prompts, models)
    results = output_root() / "results" / run
    if prompts is None and not results.is_dir():
        raise InputError(f"there is no run {run} in {results.parent}; make it with python -m pn_lib run")
    with _alone(results / "judge"):
        source = results / "completions.json"
        if prompts is not None:
            from pn_lib.run.commands.judge_prompts import (  # seconds, for all that models need
                complete_prompts,
                read_prompts,
            )

            source = results / "judge" / "prompts.json"
            write_json(source, complete_prompts(read_prompts(prompts)[:stories], models))
        samples = read_samples(source, stories)
        digest = sha256(source)  # of what is judged, whatever stands there in the end
        compared = pairings(samples, pairs)
        judgings = [
            Judging(judge, _tasks(judge, samples, compared), JudgeLog(results / "judge" / f"{judge.name}.jsonl"))
            for judge in judges
        ]
        over = _estimate(judgings)
        if estimate_only:
            return None
        if over and not past_limit:
            advice = "judge fewer --stories, raise the limit, or start with --yes and stop where it is reached"
            raise InputError(f"{'; '.join(over)}; {advice}")
        summary = results / ("judge.json" if prompts is None else "judge_prompts.json")
        try:
            for judging in judgings:
                judging.collect()
        finally:  # whatever ended it, the summary says what the logs hold
            write_json(summary, {"completions": digest, **summarize(judgings, samples, compared)})
        _print_outcome(judgings)
    return summary


def _check(
    judges: Sequence[Judge], stories: int | None, pairs: int, prompts: str | None, models: Sequence[str]
) -> None:
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise InputError(f"two judges have the same name among {', '.join(names)}; give each file another name")
    if (stories is not None and stories < 1) or pairs < 0:
        raise InputError(f"--stories must be at least 1 and --pairs at least 0, not {stories} and {pairs}")
    if (prompts is None) != (not models):
        raise InputError("--prompts and --model go together: the beginnings, and the models that finish them")


def _alone(folder: Path) -> AcquireReturnProxy:
    """Hold the run's logs; the system lets go of the lock when this process dies, however it dies."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is judging in {folder}; wait for it to end") from None


def read_samples(path: Path, stories: int | None = None) -> list[Sample]:
    """The endings in ``completions.json`` of the first ``stories`` beginnings, by teller.

    Raises:
        InputError: the file is missing, damaged, or a teller has not as many lists of endings as there are beginnings.
    """
    try:
        found = Completions.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; make it anew") from None
    for teller, endings in found.tellers.items():
        if (n := len(endings)) != (wanted := len(found.beginnings)):
            raise InputError(f"{path}: {teller} has endings for {n} beginnings of {wanted}; make it anew")
    samples = [
        Sample(teller, beginning, number, prompt, ending.text)
        for teller, endings in found.tellers.items()
        for beginning, prompt in enumerate(found.beginnings[:stories])
        for number, ending in enumerate(endings[beginning])
    ]
    if not samples:
        raise InputError(f"{path} holds no story to judge; make it anew")
    return samples


def _tasks(judge: Judge, samples: Sequence[Sample], pairs: Sequence[tuple[Sample, Sample]]) -> list[Task]:
    """To grade each sample, and to compare each pair in both orders."""
    graded = [grading(sample, repeat) for sample in samples for repeat in range(judge.repeats)]
    return graded + [comparison(*order) for a, b in pairs for order in ((a, b), (b, a))]


def _estimate(judgings: Sequence[Judging]) -> list[str]:
    """Print what each judge will cost, before any of them is asked; returns what is above a limit."""
    over = []
    print(
        f"Estimate, at {CHARACTERS_A_TOKEN} characters a token and {REPLY_TOKENS} tokens a reply, no text asked twice:"
    )
    for judging in judgings:
        judge, (sent, received) = judging.judge, judging.estimate()
        more, limit = judge.cost(sent, received), judge.max_cost
        money = f"costs {more:.4g}, after {judging.spent:.4g} so far"
        requests = f"{len(judging.unfinished()):,} of {len(judging.tasks):,} requests to go"
        print(
            f"{judge.name}: {requests}, {sent:,} tokens in, {received:,} tokens out; "
            + (money if judge.priced else "no prices given, so the cost is not known")
            + ("" if limit is None else f", at most {limit:g} in all")
        )
        if limit is not None and judging.spent + more > limit:
            total = f"{judging.spent + more:.4g}"
            over.append(f"judge {judge.name} would cost {total} in all, above its max_cost of {limit:g}")
    return over


def _print_outcome(judgings: Sequence[Judging]) -> None:
    """Print how many of its texts each judge graded, and what hindered it most often; without any, raise InputError."""
    failed = []
    for judging in judgings:
        graded = [judging.valid(task) is not None for task in judging.tasks if task.rubric is GRADES]
        outcome = f"{judging.judge.name}: graded {sum(graded):,} of {len(graded):,}"
        if problems := Counter(r.problem for task in judging.tasks for r in judging.records(task) if r.problem):
            [(problem, times)] = problems.most_common(1)
            outcome += f"; commonest problem: {problem}, in {times:,} of its replies, kept in {judging.log.path}"
        print(outcome) if any(graded) else failed.append(outcome)
    if failed:
        raise InputError("; ".join(failed))
