"""Proxies and certificates of the environment that do not work are named, in one sentence without a password."""

import pytest

from pn_lib.data.corpora import check_corpus
from pn_lib.errors import InputError
from pn_lib.evaluation.judge_client import Client
from pn_lib.evaluation.judge_settings import Judge
from pn_lib.models.loading import open_model
from pn_lib.network import environment_fault

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
CASES = [
    ("ALL_PROXY", "socks5://user:secret@127.0.0.1:9", r"ALL_PROXY names a socks5 proxy \(127\.0\.0\.1:9\).*socksio"),
    ("ALL_PROXY", "nonsense://user:secret@127.0.0.1:9", r"ALL_PROXY names a nonsense proxy \(127\.0\.0\.1:9\)"),
    ("SSL_CERT_FILE", "/no/such/file", "SSL_CERT_FILE names /no/such/file, which is not there"),
]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr("pn_lib.network.find_spec", lambda package: None)  # socksio, if somebody has it


@pytest.mark.parametrize(("name", "value", "sentence"), CASES)
def test_what_is_wrong_is_named_wherever_the_network_is_asked(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    for ask in (
        lambda: check_corpus("tinystories", None),
        lambda: open_model("nobody/nothing"),
        lambda: Client(Judge("j", "https://judge.invalid/v1", "m")),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            ask()
        assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_proxy_is_told_by_host_and_port_unless_it_is_bypassed(monkeypatch):
    assert environment_fault() == ""
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.invalid:3128/")
    assert environment_fault().startswith("https_proxy names the proxy proxy.invalid:3128;")
    monkeypatch.setenv("NO_PROXY", "huggingface.co")
    assert environment_fault() == ""
    monkeypatch.delenv("https_proxy")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("HTTP_PROXY", "proxy.invalid:3128")  # not for https
    assert environment_fault() == "" and "proxy.invalid:3128" in environment_fault("http://judge.invalid/v1")
