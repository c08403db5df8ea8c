"""A judge for tests: a real HTTP server on loopback that answers as an OpenAI endpoint does, or misbehaves as told."""

import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler

from loopback import LoopbackServer

GOOD = {"assessment": "Fine.", "grammar": 7, "creativity": 5, "consistency": 8, "plot": 6, "age_group": "B"}
_TEXT = json.dumps(GOOD)
_THOUGHT = "Let me see {perhaps}. " + json.dumps({**GOOD, "plot": 1})
# what models and servers put around an answer, or write it like, that everyone can read
LOOSE_REPLIES = {
    "fence": f"```json\n{_TEXT}\n```",
    "fence_upper": f"```JSON {_TEXT}```",
    "fence_unclosed": f"```json\n{_TEXT}",
    "two_fences": f"```json\n{json.dumps({**GOOD, 'plot': 2})}\n```\nNo, rather:\n```json\n{_TEXT}\n```",
    "prose": "Here are my grades: " + _TEXT,
    "after": _TEXT + " I hope {this} helps.",
    "think": f"<think>\n{_THOUGHT}</think>\n\n{_TEXT}",
    "think_from_the_template": f"{_THOUGHT}</think>{_TEXT}",
    "think_twice": f"<think>{_THOUGHT}</think><think>{_THOUGHT}</think>{_TEXT}",
    "think_in_brackets": f"[THINK]{_THOUGHT}[/THINK]{_TEXT}",
    "channels": f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{_TEXT}",
    "string": json.dumps({**GOOD, "plot": "6"}),
    "of_ten": json.dumps({**GOOD, "plot": "6/10", "grammar": "7 out of 10"}),
    "whole_float": json.dumps({**GOOD, "plot": 6.0}),
    "age_in_words": json.dumps({**GOOD, "age_group": "b (4-5 years)"}),
    "extra": json.dumps({"style": 9, **GOOD, "overall": 7}),
    "capitals": json.dumps({key.replace("_", " ").title(): value for key, value in GOOD.items()}),
    "nested": json.dumps({"result": GOOD}),
    "list": json.dumps([GOOD]),
    "quoted": json.dumps(_TEXT),
    "python": str(GOOD),
    "trailing_comma": _TEXT[:-1] + ",}",
    "raw_newline": _TEXT.replace("Fine.", "Fine.\n\t"),
    "bad_escape": _TEXT.replace("Fine", "\\Fine"),
}
# what is no answer; it has to be asked for again
BAD_REPLIES = {
    "cut": _TEXT[:-20],
    "zero": json.dumps({**GOOD, "grammar": 0}),
    "eleven": json.dumps({**GOOD, "plot": 11}),
    "hundred": json.dumps({**GOOD, "plot": "60/100"}),
    "fraction": json.dumps({**GOOD, "plot": 3.5}),
    "true": json.dumps({**GOOD, "plot": True}),
    "none": json.dumps({**GOOD, "plot": None}),
    "missing": json.dumps({key: value for key, value in GOOD.items() if key != "plot"}),
    "missing_last": _TEXT + json.dumps({**GOOD, "plot": "?"}),
    "unknown_age": json.dumps({**GOOD, "age_group": "G"}),
    "two_ages": json.dumps({**GOOD, "age_group": "A - B"}),
    "an_article": json.dumps({**GOOD, "age_group": "a child of six"}),
    "words": "I am sorry, I cannot.",
    "quotes_an_answer": json.dumps({"assessment": f"It says {GOOD}", "grammar": 7}),
    "thought_only": f"<think>{_THOUGHT}</think>",
    "thought_without_end": f"<think>{_THOUGHT}",
    "channel_without_end": f"<|channel|>analysis<|message|>{_THOUGHT}",
    "nothing": "",
}


def grades_for(message: str) -> dict:
    """Grades that follow from the text, so that every order of requests gives each text the same."""
    digits = hashlib.sha256(message.encode()).digest()
    grades = {key: 1 + digits[i] % 10 for i, key in enumerate(("grammar", "creativity", "consistency", "plot"))}
    return {**GOOD, **grades, "age_group": "ABCDEF"[digits[9] % 6]}


class JudgeServer(LoopbackServer):
    """Request number n (from 0) is treated as ``behaviours[n]`` says, every later one as ``after``.

    Behaviours: "good"; a key of ``LOOSE_REPLIES`` (the text, not this request's grades) or ``BAD_REPLIES``; "refusal",
    "echo" (repeats the key, as a reply), "no_usage", "parts", "beside" (all in the field for thinking), "length";
    "html", "empty", "half" (bodies that are no completion), "drop" and "hang" (no answer); or a status code as digits,
    with a Retry-After, or what it says, after a slash.
    """

    def __init__(self, *behaviours: str, after: str = "good", delay: float = 0.0, reply=grades_for):
        super().__init__()
        self.behaviours, self.after, self.delay, self.reply = list(behaviours), after, delay, reply
        self.requests: list[dict] = []  # bodies, with "key" and "at" beside
        self.good: Counter = Counter()  # texts, by how often a good reply went out whole
        self._lock = threading.Lock()
        self.most_at_once = self._now = 0

    def __enter__(self) -> "JudgeServer":
        super().__enter__()
        self.url += "/v1"
        return self

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        body |= {
            "key": handler.headers["Authorization"],
            "at": time.monotonic(),
            "path": handler.path,
            "headers": str(handler.headers),
        }
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        behaviour = self.behaviours[number] if number < len(self.behaviours) else self.after
        try:
            time.sleep(self.delay)
            self._behave(handler, behaviour, body)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True
        finally:
            with self._lock:
                self._now -= 1

    def _behave(self, handler: BaseHTTPRequestHandler, behaviour: str, body: dict) -> None:
        key, message = body["key"], body["messages"][1]["content"]
        if behaviour in ("drop", "hang"):
            if behaviour == "hang":
                self.released.wait(20)
            handler.close_connection = True
            handler.connection.close()
        elif behaviour[:3].isdigit():
            code, _, more = behaviour.partition("/")
            error = {"error": {"message": f"no, {key}\nnot at all {more}", "code": more or None}}
            self._send(handler, json.dumps(error), int(code), headers={"Retry-After": more} if more.isdigit() else {})
        elif behaviour == "html":
            self._send(handler, "<html>busy</html>", content_type="text/html")
        elif behaviour == "empty":
            self._send(handler, "{}")
        elif behaviour == "half":
            self._send(handler, _completion("x")[:40])
        else:
            good = json.dumps(self.reply(message))
            texts = {"echo": f"your key is {key}", "refusal": "I will not.", **LOOSE_REPLIES, **BAD_REPLIES}
            self._send(handler, _completion(texts.get(behaviour, good), behaviour))
            if behaviour in ("good", "no_usage", "parts"):
                with self._lock:
                    self.good[message] += 1

    @staticmethod
    def _send(
        handler: BaseHTTPRequestHandler,
        text: str,
        code: int = 200,
        content_type: str = "application/json",
        headers: dict | None = None,
    ) -> None:
        content = text.encode()
        handler.send_response(code)
        headers = {"Content-Type": content_type, "Content-Length": str(len(content)), **(headers or {})}
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)


def _completion(text: str, behaviour: str = "good") -> str:
    message = {"role": "assistant", "content": text}
    if behaviour == "refusal":
        message |= {"content": None, "refusal": text}
    elif behaviour == "parts":
        message["content"] = [{"type": "thinking", "thinking": [{"text": "{}"}]}, {"type": "text", "text": text}]
    elif behaviour == "beside":
        message |= {"content": "", "reasoning": text}
    usage = {"prompt_tokens": 700, "completion_tokens": 100.0, "total_tokens": 800}
    return json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "served-model-1",
            "choices": [
                {"index": 0, "finish_reason": "length" if behaviour == "length" else "stop", "message": message}
            ],
            "usage": None if behaviour == "no_usage" else usage,
        }
    )
