"""What in the environment keeps a program from the network: proxies and certificates that do not work."""

import os
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # read by OpenSSL, and so by every client
PROXIES = ("http", "https", "socks5", "socks5h")  # that clients know
HUB = "https://huggingface.co"


def unreachable(error: Exception) -> str:
    """Why the Hub could not be asked and what to do, as the end of a sentence that says what for."""
    said = " ".join(str(error).split())[:120]
    return f" ({type(error).__name__}: {said}); {environment_fault() or 'go online'}"


def environment_fault(url: str = HUB) -> str:
    """What is wrong, as far as can be known, with the variables that decide how ``url`` is reached: one of them is
    named, with what to do. Empty if nothing is. Of a proxy only host and port are told, for it may hold a password."""
    for name in CERTIFICATES:
        path = os.environ.get(name)
        if path and not os.path.exists(path):
            return f"{name} names {path}, which is not there; correct it or unset it"
    parts = urlsplit(url)
    for name in _proxy_variables("http", "https", "all"):  # clients prepare all of them, used or not
        kind, place = _kind_and_place(name)
        if kind not in PROXIES:
            return f"{name} names a {kind} proxy ({place}), a kind that is not known; correct it or unset it"
        if kind.startswith("socks") and not find_spec("socksio"):
            return f"{name} names a {kind} proxy ({place}); for these, pip install socksio, or unset it"
    used = _proxy_variables(parts.scheme, "all")
    if not used or proxy_bypass(parts.hostname):
        return ""
    return f"{used[0]} names the proxy {_kind_and_place(used[0])[1]}; if that is wrong, correct it or unset it"


def _proxy_variables(*kinds: str) -> list[str]:
    """Those that are set, in the order in which clients look: the lower-case name first."""
    names = [spelled for kind in kinds for spelled in (f"{kind}_proxy", f"{kind}_proxy".upper())]
    return [name for name in names if os.environ.get(name)]


def _kind_and_place(variable: str) -> tuple[str, str]:
    """Of a proxy, such as ("http", "127.0.0.1:3128")."""
    kind, _, rest = os.environ[variable].rpartition("://")
    return kind.lower() or "http", rest.rpartition("@")[2].strip("/")
