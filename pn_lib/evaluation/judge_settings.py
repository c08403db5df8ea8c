"""A judge as its TOML file describes it."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from pn_lib.config import parse_config
from pn_lib.errors import InputError
from pn_lib.evaluation.judge import digest
from pn_lib.files import read_toml

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Judge:
    """A judge's settings. Prices and ``max_cost`` are in one currency, whichever it is."""

    name: str  # its log is named after it
    base_url: str
    model: str
    api_key_env: str | None = None  # the NAME of the environment variable with the key; None: the endpoint wants none
    structured: Literal["json_schema", "json_object", "none"] = "json_schema"  # left out where the endpoint refuses it
    temperature: NotNegative = 1.0
    max_tokens: AtLeastOne = 4000  # of a reply, thinking included
    repeats: AtLeastOne = 1  # gradings of each story
    replies: AtLeastOne = 3  # asked for until one is valid; then the story is given up
    requests_per_minute: Positive | None = None
    parallel: AtLeastOne = 4  # requests at a time
    timeout_s: Positive = 600.0
    tries: AtLeastOne = 12  # of a request that meets a busy or broken server, over about a minute
    price_input: NotNegative = 0.0  # per million tokens
    price_output: NotNegative = 0.0
    max_cost: Positive | None = None  # of all replies in the log, over all calls of the command

    @field_validator("base_url")
    @classmethod
    def _without_endpoint(cls, url: str) -> str:
        return re.sub(r"/chat/completions/?$", "", url)  # the client adds it

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name must be letters, digits, '.', '_' and '-', as a file is named so: {self.name!r}")
        if not re.fullmatch(r"https?://(\[[\da-fA-F:.]+\]|[^][/?#@:\s]+)(:\d+)?(/[^?#\s]*)?", self.base_url):
            raise ValueError("base_url must be http(s)://host/path, without a password or a query")
        if self.max_cost is not None and not self.priced:
            raise ValueError("max_cost needs price_input and price_output, or nothing would ever count")

    @property
    def fingerprint(self) -> str:
        """Changes with every setting that the replies depend on."""
        return digest(self.base_url, self.model, self.structured, str(self.temperature), str(self.max_tokens))

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def priced(self) -> bool:
        return self.price_input > 0 or self.price_output > 0

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_input + tokens_out * self.price_output) / 1e6

    def key(self) -> str:
        """The key, from the environment. Raises InputError if there is none, or one that cannot be one."""
        if self.api_key_env is None:
            return "none"  # the client wants some key; a local server ignores it
        key = os.environ.get(self.api_key_env, "").strip()
        if not re.fullmatch(r"[!-~]+", key):  # the name is not repeated, as it may be a key put in the wrong place
            raise InputError(
                f"judge {self.name}: the environment variable that api_key_env names is not set, or holds characters "
                f"that no key has; put the key of {self.host} there, and nothing but the variable's name into the file"
            )
        return key


def load_judge(path: Path | str) -> Judge:
    """Read a judge's TOML file.

    Raises:
        InputError: no such file, no TOML, or a key or value that no setting takes (it is named).
    """
    return parse_config(Judge, read_toml(Path(path), "judge file"), f"judge file {path}")
