"""What a notebook declares to read of a profile, and a profile that gives no more than that."""

from collections.abc import Iterable
from typing import Any

from pn_lib.errors import InputError
from pn_lib.run.profile import Profile

ALWAYS = ("name", "seed")  # need not be declared


def declared_values(profile: Profile, declared: Iterable[str], notebook: str) -> dict[str, Any]:
    """The values that a notebook's result depends on, as plain JSON types, by the names that it declares.

    Raises:
        InputError: profiles have no such section or key.
    """
    settings = profile.settings()
    return {path: _value(settings, path, notebook) for path in (*ALWAYS, *declared)}


def _value(settings: dict[str, Any], path: str, notebook: str) -> Any:
    value: Any = settings
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise InputError(f"{notebook} declares that it reads {path!r} of the profile, which has no {key!r}")
        value = value[key]
    return value


def _lies_in(path: str, section: str) -> bool:
    return path == section or path.startswith(section + ".")


class Sections:
    """A profile, or a section of it, of which only what the notebook declares can be read: its key holds no more."""

    def __init__(self, values: Any, declared: tuple[str, ...], notebook: str, path: str = ""):
        self._values, self._declared, self._notebook, self._path = values, declared, notebook, path

    def __getattr__(self, name: str) -> Any:
        """Raises InputError: not declared."""
        value, path = getattr(self._values, name), self._path + name
        if any(_lies_in(path, declared) for declared in (*ALWAYS, *self._declared)):
            return value
        if any(_lies_in(declared, path) for declared in self._declared):  # keys of it
            return Sections(value, self._declared, self._notebook, f"{path}.")
        raise InputError(
            f"{self._notebook} reads {path!r} of the profile, which its metadata does not declare; "
            'add it there to "profile"'
        )
