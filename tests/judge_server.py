"""A judge for tests: a real HTTP server on loopback that answers as an OpenAI endpoint does, or misbehaves as told."""

import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = {"assessment": "Fine.", "grammar": 7, "creativity": 5, "consistency": 8, "plot": 6, "age_group": "B"}
# what a reply can be when it is not right; a grading has to be asked for again
BAD_REPLIES = {
    "cut": json.dumps(GOOD)[:-20],
    "zero": json.dumps({**GOOD, "grammar": 0}),
    "eleven": json.dumps({**GOOD, "plot": 11}),
    "string": json.dumps({**GOOD, "plot": "7"}),
    "fraction": json.dumps({**GOOD, "plot": 3.5}),
    "whole_float": json.dumps({**GOOD, "plot": 7.0}),
    "true": json.dumps({**GOOD, "plot": True}),
    "missing": json.dumps({key: value for key, value in GOOD.items() if key != "plot"}),
    "extra": json.dumps({**GOOD, "style": 9}),
    "prose": "Here are my grades: " + json.dumps(GOOD),
    "after": json.dumps(GOOD) + " I hope this helps.",
    "unknown_age": json.dumps({**GOOD, "age_group": "G"}),
    "list": json.dumps([GOOD]),
    "nothing": "",
    "two_fences": f"```json\n{json.dumps(GOOD)}\n```\n```json\n{json.dumps(GOOD)}\n```",
}


def grades_for(message: str) -> dict:
    """Grades that follow from the text, so that every order of requests gives each text the same."""
    digits = hashlib.sha256(message.encode()).digest()
    grades = {key: 1 + digits[i] % 10 for i, key in enumerate(("grammar", "creativity", "consistency", "plot"))}
    return {**GOOD, **grades, "age_group": "ABCDEF"[digits[9] % 6]}


class JudgeServer:
    """Request number n (from 0) is treated as ``behaviours[n]`` says, every later one as ``after``.

    Behaviours: "good"; a key of ``BAD_REPLIES``; "fenced", "refusal", "echo" (repeats the key, as a reply), "no_usage";
    "html", "empty", "half" (bodies that are no completion), "drop" and "hang" (no answer); or a status code as digits,
    with a Retry-After after a slash.
    """

    def __init__(self, *behaviours: str, after: str = "good", delay: float = 0.0, reply=grades_for):
        self.behaviours, self.after, self.delay, self.reply = list(behaviours), after, delay, reply
        self.requests: list[dict] = []  # bodies, with "key" and "at" beside
        self.good: Counter = Counter()  # texts, by how often a good reply went out whole
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.most_at_once = self._now = 0

    def __enter__(self) -> "JudgeServer":
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                server._answer(self)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        return self

    def __exit__(self, *_):
        self._released.set()
        self._http.shutdown()
        self._http.server_close()

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
                self._released.wait(20)
            handler.close_connection = True
            handler.connection.close()
        elif behaviour[:3].isdigit():
            code, _, wait = behaviour.partition("/")
            error = {"error": {"message": f"no, {key}\nnot at all", "code": "trouble"}}
            self._send(handler, json.dumps(error), int(code), headers={"Retry-After": wait} if wait else {})
        elif behaviour == "html":
            self._send(handler, "<html>busy</html>", content_type="text/html")
        elif behaviour == "empty":
            self._send(handler, "{}")
        elif behaviour == "half":
            self._send(handler, _completion("x")[:40])
        else:
            good = json.dumps(self.reply(message))
            texts = {
                "fenced": f"```json\n{good}\n```",
                "echo": f"your key is {key}",
                "refusal": "I will not.",
                **BAD_REPLIES,
            }
            self._send(
                handler,
                _completion(texts.get(behaviour, good), refused=behaviour == "refusal", usage=behaviour != "no_usage"),
            )
            if behaviour in ("good", "fenced", "no_usage"):
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


def _completion(text: str, refused: bool = False, usage: bool = True) -> str:
    message = {"role": "assistant", "content": None if refused else text, "refusal": text if refused else None}
    return json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "served-model-1",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            **({"usage": {"prompt_tokens": 700, "completion_tokens": 100, "total_tokens": 800}} if usage else {}),
        }
    )
