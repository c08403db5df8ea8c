"""What in the environment keeps a program from the network: proxies and certificates that do not work."""

import os
from importlib.util import find_spec
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # read by OpenSSL, and so by every client
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
    return _proxy_fault(urlsplit(url))


def _proxy_fault(url: SplitResult) -> str:
    variable = next((name for name in _proxy_variables(url.scheme) if os.environ.get(name)), None)
    if variable is None or proxy_bypass(url.hostname):
        return ""
    scheme, _, rest = os.environ[variable].rpartition("://")
    place = rest.rpartition("@")[2].strip("/")
    if scheme.startswith("socks") and not find_spec("socksio"):
        return (
            f"{variable} names a SOCKS proxy ({place}), and the package for these is missing; pip install socksio, "
            "or unset it"
        )
    return f"{variable} names the proxy {place}; if that is wrong, correct it or unset it"


def _proxy_variables(scheme: str) -> list[str]:
    """In the order in which clients look: the lower-case name first, as ``urllib.request.getproxies``."""
    return [spelled for kind in (scheme, "all") for spelled in (f"{kind}_proxy", f"{kind}_PROXY".upper())]
