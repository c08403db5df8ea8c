"""How a judge behind an OpenAI-compatible endpoint is asked until it answers.

The ``openai`` client sends the requests, and repeats those that may yet succeed: after a lost connection, a timeout and
the codes 408, 409, 429 and 5xx, with pauses of half a second to eight, or as long as the server asks (two minutes at
most). Added here: a limit of requests per minute, what is not worth repeating, and what the answers mean.
"""

import json
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import openai

from pn_lib.errors import InputError, one_line
from pn_lib.evaluation.judge import Rubric
from pn_lib.evaluation.judge_settings import Judge
from pn_lib.network import environment_fault

BODIES = 4  # asked for until one is a chat completion, after pauses of 1, 2 and 3 seconds
SECRET_CHARACTERS = 8  # a shorter key is a placeholder; to cut it out of texts would spoil them
FORMAT_UNKNOWN = re.compile(r"response[_ ]?format|json[_ ]?(schema|object)|structured[_ ]output|grammar", re.IGNORECASE)
AGAIN = "what it said before is kept, and the same command goes on from there"


class Stopped(Exception):
    """The client was stopped before it sent a request."""


@dataclass(frozen=True)
class Reply:
    """What is used of a chat completion. (The client's own class takes anything for one.)"""

    text: str  # with thinking that came beside it in front, as <think>...</think>
    refused: bool
    cut: bool  # came to ``max_tokens`` before its end
    model: str | None
    tokens: tuple[int, int] | None  # of the question and of the reply, if the server says

    @classmethod
    def read(cls, body: dict) -> "Reply":
        """Raises LookupError, TypeError or AttributeError if ``body`` is no chat completion."""
        choice, usage = body["choices"][0], body.get("usage") or {}
        message, reason = choice["message"], choice.get("finish_reason")
        text = message.get("refusal") or message.get("content") or ""
        if not isinstance(text, str):  # a list of parts; those without a text are thinking
            text = "".join(part.get("text", "") for part in text)
        if thinking := message.get("reasoning") or message.get("reasoning_content"):
            text = f"<think>{thinking}</think>{text}"
        tokens = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")]
        known = all(type(n) in (int, float) and 0 <= n < 1e9 for n in tokens)
        refused = bool(message.get("refusal")) or reason == "content_filter"
        return cls(text, refused, reason == "length", body.get("model"), tuple(map(int, tokens)) if known else None)


class Client:
    """Asks a judge, from several threads if need be."""

    def __init__(self, judge: Judge):
        """Raises InputError if the key is not there, or a proxy or certificate that the environment names."""
        self.judge, self._key = judge, judge.key()
        self._local = re.fullmatch(r"localhost|127\.[\d.]+|::1|0\.0\.0\.0", judge.host) is not None
        self._format, self._limit = judge.structured, "max_tokens"  # until the server says it does not know them
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._next = 0.0  # when the next request may start, on the monotonic clock
        hooks = {"request": [self._before], "response": [self._after]}
        try:  # a proxy of the environment is not for a server on this machine
            http = openai.DefaultHttpxClient(event_hooks=hooks, trust_env=not self._local)
        except (ImportError, OSError, ValueError) as error:
            advice = environment_fault(judge.base_url) or "see the proxies and certificates in the environment"
            raise self._error(f"cannot be connected to ({one_line(error)})", advice) from None
        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=judge.base_url,
            timeout=judge.timeout_s,
            max_retries=judge.tries - 1,
            http_client=http,
        )
        # Set in the environment for one endpoint, they are no business of another.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}

    def stop(self) -> None:
        """Send nothing any more; a request on its way still comes to its end."""
        self._stopped.set()

    def ask(self, rubric: Rubric, message: str) -> Reply:
        """The judge's reply, valid or not.

        Raises:
            InputError: the endpoint refuses for good, or fails ``tries`` times in a row.
            Stopped: by ``stop``.
        """
        for attempt in range(BODIES):
            if self._stopped.wait(attempt):
                raise Stopped
            body = self._send(rubric, message)
            try:
                # written anew before the key is looked for, as some servers escape each slash
                return Reply.read(json.loads(self._hide(json.dumps(json.loads(body)))))
            except (ValueError, LookupError, TypeError, AttributeError):
                continue
        raise self._error(f"answers what is no chat completion ({self._said(body)})", f"check base_url; {AGAIN}")

    def _send(self, rubric: Rubric, message: str) -> str:
        judge, request = self.judge, self._request(rubric, message)
        try:
            return self._client.chat.completions.with_raw_response.create(**request).text
        except openai.APIConnectionError as error:
            within = f" within {judge.timeout_s:g} s" if isinstance(error, openai.APITimeoutError) else ""
            reason = self._said(str(error.__cause__))
            raise self._error(f"gives no reply{within}{self._proxy()} ({reason})", AGAIN) from None
        except openai.APIStatusError as error:
            if self._leave_out(request, error.response.text):
                return self._send(rubric, message)
            code, after = error.status_code, error.response.headers.get("retry-after")
            advice = {
                401: f"put a valid key into the environment variable {judge.api_key_env}"
                if judge.api_key_env
                else "put a key into an environment variable, and that variable's name into api_key_env",
                403: f"choose another key, or another model than {judge.model!r}",
                404: f"check model, {judge.model!r}, and base_url, which often ends with /v1",
                429: f"wait {after} s; {AGAIN}" if after else AGAIN,
            }.get(code, AGAIN if code in (408, 409) or code >= 500 else "check the settings of the judge")
            raise self._error(f"answers {code} ({self._said(error.response.text)})", advice) from None

    def _request(self, rubric: Rubric, message: str) -> dict[str, Any]:
        formats = {"none": {}, "json_object": {"response_format": {"type": "json_object"}}}
        schema = {"name": rubric.name, "strict": True, "schema": rubric.reply.model_json_schema()}
        formats["json_schema"] = {"response_format": {"type": "json_schema", "json_schema": schema}}
        return {
            "model": self.judge.model,
            "temperature": self.judge.temperature,
            self._limit: self.judge.max_tokens,
            "messages": [{"role": "system", "content": rubric.text}, {"role": "user", "content": message}],
            **formats[self._format],
        }

    def _leave_out(self, request: dict, said: str) -> bool:
        """Do without what the server says it does not know, from now on; whether ``request`` had any such thing."""
        if "response_format" in request and FORMAT_UNKNOWN.search(said):
            self._format = "none"
        elif "max_tokens" in request and "max_completion_tokens" in said:
            self._limit = "max_completion_tokens"
        else:
            return False
        return True

    def _before(self, request: object) -> None:
        """Each request, also one repeated, waits for its place under the limit per minute; none starts after a stop."""
        with self._lock:
            now = time.monotonic()
            place = max(now, self._next)
            self._next = place + 60 / (self.judge.requests_per_minute or float("inf"))
        if self._stopped.wait(place - now):
            raise Stopped

    def _after(self, response: Any) -> None:
        """Tell the client not to repeat what cannot succeed, whatever its code."""
        if response.is_error:
            said = response.read().decode(errors="replace")
            if FORMAT_UNKNOWN.search(said) or "insufficient_quota" in said:
                response.headers["x-should-retry"] = "false"

    def _error(self, what: str, advice: str) -> InputError:
        return InputError(f"judge {self.judge.name}: {self.judge.host} {what}; {advice}")

    def _proxy(self) -> str:
        """Which proxy the environment has put before the endpoint; nothing of what may be its password."""
        proxies = urllib.request.getproxies()
        proxy = urlsplit(proxies.get(urlsplit(self.judge.base_url).scheme) or proxies.get("all") or "")
        used = proxy.hostname and not self._local and not urllib.request.proxy_bypass(self.judge.host)
        return f" through the proxy {proxy.hostname}:{proxy.port}" if used else ""

    def _said(self, body: str) -> str:
        """What a server said, without its wrapping and the key, as one line of bounded length."""
        try:
            found = json.loads(body)
            found = found.get("error", found)
            body = found if isinstance(found, str) else found.get("message") or json.dumps(found)
        except (ValueError, AttributeError):
            pass  # no JSON, or of another form: as it stands
        return self._hide(" ".join(str(body).split()))[:200] or "nothing"

    def _hide(self, text: str) -> str:
        """The text without the key, in case a server repeats it."""
        return text.replace(self._key, "[key]") if len(self._key) >= SECRET_CHARACTERS else text
