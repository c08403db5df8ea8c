"""Atomic files, JSON and digests; settings from mappings."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from pn_lib.config import parse_config
from pn_lib.errors import InputError
from pn_lib.files import atomic, read_json, sha256, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trip_keeps_order_and_refuses_nan(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"b": 0.1, "a": ["é", None]})
    assert list(read_json(path).items()) == [("b", 0.1), ("a", ["é", None])]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"x": float("nan")})
    assert read_json(path)["b"] == 0.1


@pytest.mark.parametrize("content", [b'{"a": 1', b"\xff\xfe", b"[1, 2]", b""])
def test_a_damaged_json_file_is_named(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"results\.json is damaged"):
        read_json(path)


def test_a_missing_json_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.json does not exist"):
        read_json(tmp_path / "gone.json")


def test_digest_of_a_file_sees_its_bytes_alone(tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        write_text(tmp_path / name, text)
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b") != sha256(tmp_path / "c")


@dataclass(frozen=True)
class Inner:
    n: int = 3

    def __post_init__(self):
        if self.n < 1:
            raise ValueError(f"n must be at least 1, not {self.n}")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    sizes: tuple[int, ...] = ()
    kind: Literal["a", "b"] = "a"
    rate: float = 1.0


def test_settings_are_parsed_into_dataclasses():
    mapping = {"inner": {"n": 4}, "sizes": [1, 2], "rate": 2}
    assert parse_config(Outer, mapping, "x") == Outer(Inner(4), (1, 2), "a", 2.0)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"sise": [1]}, "unknown key 'sise'"),
        ({"inner": {"m": 1}}, "unknown key 'inner.m'"),
        ({"inner": {"n": "4"}}, "inner.n must be a valid integer (got '4')"),
        ({"inner": {"n": 0}}, "n must be at least 1, not 0"),
        ({"kind": "c"}, "kind must be 'a' or 'b' (got 'c')"),
        ({"sizes": [1, "x"]}, "sizes.1 must be"),
    ],
)
def test_wrong_settings_are_named(mapping, message):
    with pytest.raises(InputError, match=r"my\.toml") as caught:
        parse_config(Outer, mapping, "my.toml")
    assert message in str(caught.value)
