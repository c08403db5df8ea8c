"""Asking a judge about many stories, with a log that loses and repeats no grading however the process ends."""

import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pn_lib.errors import InputError
from pn_lib.evaluation.judge import Key, Task
from pn_lib.evaluation.judge_client import Client, Reply, Stopped
from pn_lib.evaluation.judge_reply import ReplyError, read_answer, without_thinking
from pn_lib.evaluation.judge_settings import Judge
from pn_lib.key import make_key
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
    digest: str | None = None  # of all the others; none in logs of older versions

    @property
    def key(self) -> Key:
        return Key(self.sample, self.message, self.judge, self.rubric, self.repeat)


class JudgeLog:
    """All replies of a judge, a line each, on disk before the next question is asked; several threads may append.

    Each line has its digest, so that no grade changes unseen.
    A process killed while it writes leaves a piece of a line at the end; the piece is dropped, and asked for again.
    """

    def __init__(self, path: Path):
        """Raises InputError when a line before the last is damaged."""
        self.path = path
        self.records: dict[Key, list[Record]] = {}
        self.tokens_in = self.tokens_out = 0
        self._lock = threading.Lock()
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                self._take(_checked(Record.model_validate_json(line)))
            except ValueError as error:
                said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
                damage = f"{path}, line {number} is damaged ({said})"
                raise InputError(f"{damage}; delete that line, and what it held is asked for again") from None
        if len(whole) < len(content):
            os.truncate(path, len(whole))

    def _take(self, record: Record) -> None:
        self.records.setdefault(record.key, []).append(record)
        self.tokens_in += record.tokens_in
        self.tokens_out += record.tokens_out

    def append(self, record: Record) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = record.model_copy(update={"digest": _digest(record)})
        with self._lock, self.path.open("ab") as file:
            file.write(record.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._take(record)


def _digest(record: Record) -> str:
    return make_key(record.model_dump(mode="json", exclude={"digest"}))


def _checked(record: Record) -> Record:
    if record.digest not in (None, _digest(record)):
        raise ValueError("its digest is of something else")
    return record


@dataclass(frozen=True)
class Judging:
    """A judge, what it is asked, and what it has answered so far."""

    judge: Judge
    tasks: Sequence[Task]
    log: JudgeLog

    def records(self, task: Task) -> list[Record]:
        return self.log.records.get(task.key(self.judge.fingerprint), [])

    def valid(self, task: Task) -> Record | None:
        return next((record for record in self.records(task) if record.outcome == "valid"), None)

    def finished(self, task: Task) -> bool:
        """Whether there is a valid reply, or so many others that the task is given up."""
        return self.valid(task) is not None or len(self.records(task)) >= self.judge.replies

    def unfinished(self) -> list[Task]:
        return [task for task in self.tasks if not self.finished(task)]

    @property
    def spent(self) -> float:
        return self.judge.cost(self.log.tokens_in, self.log.tokens_out)

    def estimate(self) -> tuple[int, int]:
        """Tokens that unfinished tasks send and receive, none asked twice, by the two rules above."""
        waiting = self.unfinished()
        sent = sum(_tokens(task.rubric.text + task.message) for task in waiting)
        return sent, len(waiting) * min(REPLY_TOKENS, self.judge.max_tokens)

    def collect(self) -> None:
        """Ask until each task has a valid reply or is given up; every reply goes into the log as it comes.

        A process killed at any moment and started again leaves one valid reply for each task. At most ``parallel``
        replies are lost by that, and paid twice: those on their way, or come but not yet written. A failure, or
        Ctrl-C, loses none.

        Raises:
            InputError: the endpoint refuses, or stays out of reach; or ``max_cost`` is reached, by the tokens of the
                replies (those on their way then still come, and count).
        """
        judge, waiting = self.judge, self.unfinished()
        if not waiting:
            return
        client = Client(judge)
        bar = progress(total=len(waiting), description=f"Judge {judge.name}")
        with bar, ThreadPoolExecutor(judge.parallel) as pool:  # left, the pool waits for what is on its way
            try:
                for done in as_completed([pool.submit(self._answer, task, client) for task in waiting]):
                    done.result()
                    bar.update()
            except BaseException:  # Ctrl-C, too
                client.stop()
                raise
        if left := len(self.unfinished()):
            reached = f"has reached its max_cost of {judge.max_cost:g} (its replies cost {self.spent:.4g})"
            advice = "what it said is kept, and with a higher max_cost the same command goes on"
            raise InputError(f"judge {judge.name} {reached} with {left} texts to go; {advice}")

    def _answer(self, task: Task, client: Client) -> None:
        try:
            while not self.finished(task) and self.spent < (self.judge.max_cost or math.inf):
                self.log.append(_record(self.judge, task, client.ask(task.rubric, task.message)))
        except Stopped:
            pass  # another task failed, and says why
        except InputError:
            client.stop()
            raise


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_A_TOKEN)


def _record(judge: Judge, task: Task, reply: Reply) -> Record:
    answer = problem = None
    try:
        answer = _fields(task, reply)
    except ReplyError as error:
        problem = str(error)
    tokens_in, tokens_out = reply.tokens or (_tokens(task.rubric.text + task.message), _tokens(reply.text))
    return Record(
        **task.key(judge.fingerprint)._asdict(),
        outcome="refused" if reply.refused else "valid" if answer else "invalid",
        answer=answer,
        problem=problem,
        reply=reply.text,
        model=reply.model,
        counted=reply.tokens is not None,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _fields(task: Task, reply: Reply) -> dict:
    """The reply's fields. Raises ReplyError if it was not given whole, or by ``read_answer``."""
    if reply.refused:
        raise ReplyError("the judge refuses")
    if reply.cut:  # also where an object can be read: it may be thinking that was not marked as such
        thinking = "" if without_thinking(reply.text) else " while thinking"
        raise ReplyError(f"cut off{thinking} (raise max_tokens)")
    return read_answer(reply.text, task.rubric.reply)
