"""The Hugging Face Hub for tests: a real HTTP server on loopback that serves a folder as a repository, through a proxy
that misbehaves as told. A process asks it where HF_ENDPOINT names it when huggingface_hub is loaded."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from loopback import LoopbackServer

COMMIT = "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64"  # every revision is this one
API = re.compile(r"/api/(datasets|models)/([\w.-]+/[\w.-]+)(?:/(revision|tree|paths-info)/([^/]+))?(?:/(.*))?")
FILE = re.compile(r"/(?:datasets/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)")
# What a proxy does: to questions and to files, or to files only
MISCHIEF = (
    "refuses",
    "stalls",
    "answers with a page",
    "stalls at the list",
    "stalls in the middle",
    "cuts off",
    "lies about the length",
)


class HubServer(LoopbackServer):
    """Serves ``folder``, whatever the repository's name. ``mischief`` is one of MISCHIEF, or None."""

    def __init__(self, folder: Path, mischief: str | None = None):
        super().__init__()
        self.folder, self.mischief = folder, mischief

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        form = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        path = unquote(urlsplit(handler.path).path)
        try:
            if self.mischief == "stalls":
                self.released.wait(600)
            elif self.mischief == "answers with a page":
                self._send(handler, b"<html>Please log in to this network</html>", kind="text/html")
            elif self.mischief != "refuses":
                self._hub(handler, path, form)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone

    def _hub(self, handler: BaseHTTPRequestHandler, path: str, form: str) -> None:
        if (match := FILE.fullmatch(path)) and (file := self.folder / match[3]).is_file():
            self._file(handler, file.read_bytes())
        elif match := API.fullmatch(path):
            if self.mischief == "stalls at the list" and match[3] == "tree":
                self.released.wait(600)
            asked = re.findall(r"paths=([^&]+)", form)
            self._send(handler, json.dumps(self._about(match[2], match[3], match[5], map(unquote, asked))).encode())
        else:
            self._send(handler, b"Entry not found", 404, {"X-Error-Code": "EntryNotFound"}, "text/plain")

    def _about(self, name: str, what: str | None, under: str | None, asked) -> dict | list:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        names = {path.relative_to(self.folder).as_posix(): path for path in files}
        rows = {
            name: {"type": "file", "path": name, "size": path.stat().st_size, "oid": _digest(path.read_bytes())}
            for name, path in names.items()
        }
        folders = {parent.as_posix() for name in names for parent in Path(name).parents if parent != Path()}
        rows |= {name: {"type": "directory", "path": name, "size": 0, "oid": "0"} for name in folders}
        if what == "paths-info":
            return [rows[name] for name in asked if name in rows]
        if what == "tree":
            inside = f"{under}/" if under else ""
            return [row for name, row in rows.items() if name.startswith(inside)]
        siblings = [{"rfilename": name} for name in names]
        return {"id": name, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings}

    def _file(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        headers = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        code = 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", "")):
            begin, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
            content, code = content[begin : end + 1], 206
        self._send(handler, content, code, headers, "application/octet-stream", self.mischief)

    def _send(self, handler, content: bytes, code=200, headers=None, kind="application/json", mischief=None) -> None:
        false = mischief == "lies about the length" and handler.command == "GET"
        length = len(content) - false * (len(content) // 3)
        headers = {"Content-Type": kind, "Content-Length": length, "Connection": "close", **(headers or {})}
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if mischief in ("cuts off", "stalls in the middle"):
            content = content[: len(content) // 2] if len(content) > 1 else b""
        handler.wfile.write(content[:length])
        handler.wfile.flush()
        if mischief == "stalls in the middle":
            self.released.wait(600)


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
