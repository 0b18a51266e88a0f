"""The installed plugins of a kind, by name: the entry points of all packages are the registry."""

import difflib
from importlib.metadata import EntryPoint, entry_points
from typing import Any


class UnknownPlugin(LookupError):
    """No installed package offers that name for that kind, or two do."""


def available(kind: str) -> dict[str, EntryPoint]:
    """Every plugin of `kind` ("encoders", "heads", ...) by name; nothing is imported."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"maya.{kind}"):
        if (first := found.setdefault(point.name, point)).value != point.value:
            raise UnknownPlugin(f"two packages offer {kind} {point.name!r}: {first.value} and {point.value}")
    return found


def find(kind: str, name: str, allow_path: bool = False) -> Any:
    """The plugin class; `module:Class` is an import path, only for names that the user typed."""
    if allow_path and ":" in name:
        return EntryPoint(name, name, f"maya.{kind}").load()
    if name in (found := available(kind)):
        return found[name].load()
    close = difflib.get_close_matches(name, found, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else "If you just added it, install its package again."
    raise UnknownPlugin(f"no {kind} named {name!r}; installed: {', '.join(sorted(found)) or 'none'}. {hint}")
