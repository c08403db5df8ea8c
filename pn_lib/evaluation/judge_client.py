"""A judge behind any OpenAI-compatible endpoint: its settings, and how it is asked until it answers.

The ``openai`` client sends the requests. It would also try again by itself, but with pauses that are not ours to set,
past our limit of requests per minute, and deaf to a stop; so trying again is done here.
"""

import math
import os
import random
import re
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, Field, ValidationError

from pn_lib.config import parse_config
from pn_lib.errors import InputError
from pn_lib.evaluation.judge import Rubric, digest

LONGEST_WAIT_S = 600  # a server that asks for more is not waited for
SECRET_CHARACTERS = 8  # a shorter key is a placeholder; to cut it out of texts would spoil them


@dataclass(frozen=True)
class Judge:
    """A judge as its TOML file describes it. Prices and ``max_cost`` are in one currency, whichever it is."""

    name: str  # its log is named after it
    base_url: str
    model: str
    api_key_env: str | None = None  # the NAME of the environment variable with the key; None: the endpoint wants none
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"  # what the endpoint takes as format
    temperature: float = 1.0
    max_tokens: int = 1000  # of a reply
    limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # OpenAI's newer models want the latter
    repeats: int = 1  # gradings of each story
    replies: int = 3  # asked for until one is valid; then the story is given up
    requests_per_minute: float | None = None
    parallel: int = 4  # requests at a time
    timeout_s: float = 60.0
    tries: int = 8  # of a request that meets a busy or broken server
    retry_base_s: float = 1.0  # the pause after the first try; it doubles up to
    retry_cap_s: float = 60.0
    price_input: float = 0.0  # per million tokens
    price_output: float = 0.0
    max_cost: float | None = None  # of all replies in the log, over all calls of the command

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(
                f"name must be letters, digits, '.', '_' and '-', as a file is named after it, not {self.name!r}"
            )
        try:
            address = urlsplit(self.base_url)
            good = address.scheme in ("http", "https") and address.hostname and not address.query
        except ValueError:
            good = False
        if not good or address.username or address.password:
            raise ValueError("base_url must be http(s)://host/path, without a password or a query")
        least = {
            "max_tokens": 1,
            "repeats": 1,
            "replies": 1,
            "parallel": 1,
            "tries": 1,
            "temperature": 0,
            "retry_base_s": 0,
            "retry_cap_s": 0,
            "price_input": 0,
            "price_output": 0,
        }
        above = ("timeout_s", "requests_per_minute", "max_cost")
        for key, low in least.items():
            if not low <= getattr(self, key) < math.inf:
                raise ValueError(f"{key} must be a number of at least {low}, not {getattr(self, key)}")
        for key in above:
            if getattr(self, key) is not None and not 0 < getattr(self, key) < math.inf:
                raise ValueError(f"{key} must be a number above 0, not {getattr(self, key)}")
        if self.max_cost is not None and not self.priced:
            raise ValueError("max_cost needs price_input and price_output, or nothing would ever count")

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that the replies depend on."""
        return digest(self.base_url, self.model, self.structured, str(float(self.temperature)), str(self.max_tokens))

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def priced(self) -> bool:
        return self.price_input > 0 or self.price_output > 0

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_input + tokens_out * self.price_output) / 1e6


def load_judge(path: Path | str) -> Judge:
    """Read a judge's TOML file.

    Raises:
        InputError: no such file, no TOML, or a key or value that no setting takes (it is named).
    """
    try:
        settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"judge file {path} cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"judge file {path} is no valid TOML: {error}") from None
    return parse_config(Judge, settings, f"judge file {path}")


class Reply(NamedTuple):
    """What came back from an endpoint."""

    text: str
    refused: bool
    problem: str | None  # what is wrong with it whatever it says
    model: str | None
    tokens_in: int | None
    tokens_out: int | None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    """What is used of an endpoint's answer. The client's own class takes anything for a completion."""

    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: dict | None = None

    def reply(self, hide: Callable[[str], str]) -> Reply:
        message, reason = self.choices[0].message, self.choices[0].finish_reason
        refused = bool(message.refusal) or reason == "content_filter"
        problem = (
            "the judge refuses"
            if refused
            else "cut off at max_tokens"
            if reason == "length"
            else None
            if message.content
            else "empty"
        )
        return Reply(
            hide(message.refusal or message.content or ""),
            refused,
            problem,
            hide(self.model) if self.model else None,
            self._count("prompt_tokens"),
            self._count("completion_tokens"),
        )

    def _count(self, key: str) -> int | None:
        number = (self.usage or {}).get(key)
        return number if type(number) is int and number >= 0 else None


class _Trouble(Exception):
    """Something that may pass; ``wait_s`` is what the server asks to wait."""

    def __init__(self, what: str, wait_s: float | None = None):
        super().__init__(what)
        self.wait_s = wait_s


class Client:
    """Asks a judge, from several threads if need be, and tries again where that may help."""

    def __init__(self, judge: Judge, notice: Callable[[str], None] = lambda trouble: None):
        """``notice`` is told why a request is tried again. Raises InputError if the key is not there."""
        self.judge = judge
        self._notice = notice
        self._key = _key(judge)
        self._client = openai.OpenAI(api_key=self._key, base_url=judge.base_url, timeout=judge.timeout_s, max_retries=0)
        # Set in the environment for one endpoint, they are no business of another.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._next = 0.0  # when the next request may start, on the monotonic clock

    def stop(self) -> None:
        """End all waiting; a request on its way still comes to its end."""
        self._stopped.set()

    def ask(self, rubric: Rubric, message: str) -> Reply:
        """The judge's reply, valid or not.

        Raises:
            InputError: the endpoint refuses for good, or fails ``tries`` times in a row.
        """
        for attempt in range(1, self.judge.tries + 1):
            self._wait(self._until_next())
            try:
                return self._once(rubric, message)
            except _Trouble as trouble:
                if attempt == self.judge.tries:
                    raise InputError(
                        f"judge {self.judge.name}: {trouble}, {attempt} times in a row; what it said "
                        "before is kept, and the same command goes on from there"
                    ) from None
                self._notice(f"trying again: {trouble}")
                self._wait(self._pause(attempt, trouble.wait_s))
        raise AssertionError("tries is at least 1")

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds) if seconds > 0 else self._stopped.is_set():
            raise InputError(f"judge {self.judge.name} was stopped")

    def _until_next(self) -> float:
        """Seconds until the next free place under the limit of requests per minute, which is taken."""
        if self.judge.requests_per_minute is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            place = max(now, self._next)
            self._next = place + 60 / self.judge.requests_per_minute
        return place - now

    def _pause(self, attempt: int, wanted: float | None) -> float:
        """Exponential backoff with jitter, so that threads turned away together do not return together."""
        pause = min(self.judge.retry_cap_s, self.judge.retry_base_s * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
        return pause if wanted is None else wanted + random.uniform(0, min(1, self.judge.retry_base_s))

    def _once(self, rubric: Rubric, message: str) -> Reply:
        judge, host = self.judge, self.judge.host
        try:
            raw = self._client.chat.completions.with_raw_response.create(**self._request(rubric, message))
            return _Completion.model_validate_json(raw.text).reply(self._hide)
        except ValidationError:
            raise _Trouble(f"{host} answers with something that is no chat completion") from None
        except openai.APITimeoutError:
            raise _Trouble(f"{host} gives no reply within {judge.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            raise _Trouble(f"no connection to {host} ({self._line(error.__cause__ or error)})") from None
        except openai.APIStatusError as error:
            self._refused(error)

    def _request(self, rubric: Rubric, message: str) -> dict[str, Any]:
        judge = self.judge
        request = {
            "model": judge.model,
            "temperature": judge.temperature,
            judge.limit_key: judge.max_tokens,
            "messages": [{"role": "system", "content": rubric.text}, {"role": "user", "content": message}],
        }
        if judge.structured == "json_object":
            request["response_format"] = {"type": "json_object"}
        elif judge.structured == "json_schema":
            request["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": rubric.name, "strict": True, "schema": rubric.reply.model_json_schema()},
            }
        return request

    def _refused(self, error: openai.APIStatusError) -> NoReturn:
        judge, host, code = self.judge, self.judge.host, error.status_code
        quota = code == 429 and error.code == "insufficient_quota"
        if (code in (408, 409, 429) or code >= 500) and not quota:
            wanted = _retry_after(error.response.headers.get("retry-after"))
            if wanted is None or wanted <= LONGEST_WAIT_S:
                raise _Trouble(f"{host} answers {code}", wanted)
            reason = f"{host} is busy ({code}) and asks to wait {wanted:.0f} s; run the same command again then"
        elif code == 401:
            reason = (
                f"{host} does not accept the key in {judge.api_key_env} (401); put a valid one there"
                if judge.api_key_env
                else f"{host} wants a key (401); put it into an environment variable and name that as api_key_env"
            )
        elif code == 403:
            reason = f"{host} does not let this key use {judge.model!r} (403); choose another model or key"
        elif code == 404:
            reason = f"{host} knows no model {judge.model!r} at that address (404); check model and base_url"
        else:
            reason = f"{host} does not take the request ({code}: {self._line(error)}); check the settings of the judge"
        raise InputError(f"judge {judge.name}: {reason}") from None

    def _line(self, error: BaseException) -> str:
        """An error's message, the key hidden, as one line of bounded length."""
        return self._hide(" ".join(str(error).split()))[:200] or type(error).__name__

    def _hide(self, text: str) -> str:
        """The text without the key, in case a server repeats it."""
        return text.replace(self._key, "[key]") if len(self._key) >= SECRET_CHARACTERS else text


def _key(judge: Judge) -> str:
    if judge.api_key_env is None:
        return "none"  # the client wants some key; a local server ignores it
    key = os.environ.get(judge.api_key_env, "").strip()
    if not key:
        raise InputError(
            f"judge {judge.name}: the environment variable {judge.api_key_env} is not set; put the key of "
            f"{judge.host} there"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise InputError(
            f"judge {judge.name}: the environment variable {judge.api_key_env} holds characters that no "
            "key has; copy the key anew"
        )
    return key


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, of either form (RFC 9110, section 10.2.3); None if it says nothing."""
    try:
        seconds = float(header or "nan")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)
