"""Asking a judge about many stories, with a log that loses and repeats no grading however the process ends."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from pn_lib.errors import InputError
from pn_lib.evaluation.judge import ReplyError, Task
from pn_lib.evaluation.judge_client import Client, Judge, Reply
from pn_lib.progress import progress

CHARACTERS_A_TOKEN = 4  # the usual rule of thumb for English, where nothing better is known
REPLY_TOKENS = 250  # expected of a reply: an assessment of some 150 words, and the grades


class Record(BaseModel):
    """One reply of a judge, good or bad: a line of its log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: str
    message: str
    judge: str
    rubric: str
    repeat: int
    outcome: Literal["valid", "invalid", "refused"]
    answer: dict | None  # the reply's fields, if it is valid
    problem: str | None  # what is wrong with it, if it is not
    reply: str
    model: str | None  # as the server calls it
    tokens_in: int
    tokens_out: int
    counted: bool  # whether the server counted the tokens; else they follow from the characters
    time: str

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        return self.sample, self.message, self.judge, self.rubric, self.repeat


class JudgeLog:
    """All replies of a judge, a line each, on disk before the next question is asked.

    A process killed while it writes leaves a piece of a line at the end; the piece is dropped, and asked for again.
    """

    def __init__(self, path: Path):
        """Raises InputError when a line before the last is damaged."""
        self.path = path
        self.records: dict[tuple, list[Record]] = {}
        self.tokens_in = self.tokens_out = 0
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                self._take(Record.model_validate_json(line))
            except ValidationError as error:
                reason = error.errors(include_url=False)[0]["msg"]
                raise InputError(
                    f"{path}, line {number} is damaged ({reason}); delete that line, and what it held is "
                    "asked for again"
                ) from None
        if len(whole) < len(content):
            os.truncate(path, len(whole))

    def _take(self, record: Record) -> None:
        self.records.setdefault(record.key, []).append(record)
        self.tokens_in += record.tokens_in
        self.tokens_out += record.tokens_out

    def append(self, record: Record) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(record.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(record)

    def valid(self, key: tuple) -> Record | None:
        return next((r for r in self.records.get(key, ()) if r.outcome == "valid"), None)

    def finished(self, key: tuple, replies: int) -> bool:
        """Whether there is a valid reply, or so many others that it is given up."""
        return self.valid(key) is not None or len(self.records.get(key, ())) >= replies


class Usage(NamedTuple):
    requests: int
    tokens_in: int
    tokens_out: int


def estimate(tasks: Sequence[Task], judge: Judge) -> Usage:
    """What the tasks will take if none is asked twice, by the rules ``CHARACTERS_A_TOKEN`` and ``REPLY_TOKENS``."""
    return Usage(
        len(tasks),
        sum(_tokens(task.rubric.text + task.message) for task in tasks),
        len(tasks) * min(REPLY_TOKENS, judge.max_tokens),
    )


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_A_TOKEN)


def unfinished(tasks: Sequence[Task], judge: Judge, log: JudgeLog) -> list[Task]:
    return [task for task in tasks if not log.finished(task.key(judge.fingerprint), judge.replies)]


def collect(judge: Judge, tasks: Sequence[Task], log: JudgeLog) -> None:
    """Ask the judge until each task has a valid reply or is given up; every reply goes into the log as it comes.

    A process killed at any moment and started again leaves one valid reply for each task. At most ``parallel`` replies
    are lost by that, and paid twice: those on their way, or come but not yet written. A failure, or Ctrl-C, loses none.

    Raises:
        InputError: the endpoint refuses, or stays out of reach; or ``max_cost`` is reached, by the tokens of the
            replies (those on their way then still come, and count).
    """
    waiting = deque(unfinished(tasks, judge, log))
    if not waiting:
        return
    with progress(total=len(waiting), description=f"Judge {judge.name}", unit="text") as bar:
        client = Client(judge, lambda trouble: bar.set_postfix_str(trouble))
        with _asking(judge, client, log) as (running, ask):
            while running or waiting:
                while waiting and len(running) < judge.parallel and not _too_dear(judge, log):
                    ask(waiting.popleft())
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    log.append(_record(judge, task, future.result()))
                    if log.finished(task.key(judge.fingerprint), judge.replies):
                        bar.update()
                    else:
                        waiting.appendleft(task)
    if waiting:
        raise InputError(
            f"judge {judge.name} has reached its max_cost of {judge.max_cost:g} (its replies cost "
            f"{judge.cost(log.tokens_in, log.tokens_out):.4g}) with {len(waiting)} texts to go; what it "
            "said is kept, and with a higher max_cost the same command goes on"
        )


@contextmanager
def _asking(judge: Judge, client: Client, log: JudgeLog) -> Iterator[tuple[dict, Callable[[Task], None]]]:
    """A pool of threads: what is running, and how to ask. Stopped early, it still keeps the replies on their way."""
    running: dict[Future, Task] = {}
    with ThreadPoolExecutor(judge.parallel) as pool:

        def ask(task: Task) -> None:
            running[pool.submit(client.ask, task.rubric, task.message)] = task

        try:
            yield running, ask
        except (InputError, KeyboardInterrupt):
            client.stop()
            for future in wait(running).done:
                if future.exception() is None:
                    log.append(_record(judge, running[future], future.result()))
            raise


def _too_dear(judge: Judge, log: JudgeLog) -> bool:
    return judge.max_cost is not None and judge.cost(log.tokens_in, log.tokens_out) >= judge.max_cost


def _record(judge: Judge, task: Task, reply: Reply) -> Record:
    answer, problem = None, reply.problem
    if problem is None:
        try:
            answer = task.rubric.parse(reply.text)
        except ReplyError as error:
            problem = str(error)
    counted = reply.tokens_in is not None and reply.tokens_out is not None
    sample, message, fingerprint, rubric, repeat = task.key(judge.fingerprint)
    return Record(
        sample=sample,
        message=message,
        judge=fingerprint,
        rubric=rubric,
        repeat=repeat,
        outcome="refused" if reply.refused else "valid" if answer else "invalid",
        answer=answer,
        problem=problem,
        reply=reply.text,
        model=reply.model,
        counted=counted,
        tokens_in=reply.tokens_in if counted else _tokens(task.rubric.text + task.message),
        tokens_out=reply.tokens_out if counted else _tokens(reply.text),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )
