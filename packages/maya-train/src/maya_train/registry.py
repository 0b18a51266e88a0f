"""A kind and a name to the plugin they stand for, for names that the user typed."""

from functools import cache
from typing import Any

from maya_encoder.plugins import UnknownPlugin, available, find

__all__ = ["UnknownPlugin", "available", "lookup"]


@cache  # what is installed stays so; a chain asks for the same few again and again
def lookup(kind: str, name: str) -> Any:
    """The plugin class; `module:Class` is an import path, for code that is not installed as a plugin."""
    return find(kind, name, allow_path=True)
