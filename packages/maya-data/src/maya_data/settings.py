"""Config objects from mappings and YAML files; a wrong key is answered with the nearest right one."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

Config = TypeVar("Config")


def from_mapping(kind: type[Config], given: Mapping[str, Any], path: str = "") -> Config:
    """Return the config object of type `kind`; settings that are config objects may be mappings too.

    Args:
        kind: A dataclass.
        given: Its settings; those that are not there keep their defaults.
        path: Where `given` stands in a larger mapping, for messages: empty, or keys with a dot at the end.

    Raises:
        ValueError: A key is unknown, or a value is wrong; the message names the key.
    """
    hints = _hints(kind)
    for name in given:
        if name not in hints:
            raise ValueError(f"`{path}{name}` is no setting; {_advice(hints, str(name), path)}")
    values = {name: _value(hints[name], value, f"{path}{name}") for name, value in given.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(
            f"{f'`{path[:-1]}`' if path else 'the settings'}: a value is wrong: {error}"
        ) from error


def _hints(kind: Any) -> dict[str, Any]:
    """Return the type of every setting."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _kind(hint: Any) -> Any:
    """Return the dataclass that a setting is, or None."""
    kinds = [kind for kind in (hint, *get_args(hint)) if is_dataclass(kind) and isinstance(kind, type)]
    return kinds[0] if kinds else None


def _advice(hints: Mapping[str, Any], name: str, path: str) -> str:
    for outer, hint in hints.items():
        if (kind := _kind(hint)) and name in _hints(kind):
            return f"did you mean `{path}{outer}.{name}`?"
    close = get_close_matches(name, hints, n=1)
    return f"did you mean `{path}{close[0]}`?" if close else f"there are: {', '.join(hints)}"


def _value(hint: Any, value: Any, name: str) -> Any:
    """Make a config object of a mapping where the setting is one."""
    kind = _kind(hint)
    if kind is None or isinstance(value, kind) or (value is None and type(None) in get_args(hint)):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be a mapping of settings, got {value!r}")
    return from_mapping(kind, value, f"{name}.")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, with its interpolations resolved.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML, or no mapping.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        read = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(read, dict):
        raise ValueError(f"{path} must hold a mapping of settings, got {type(read).__name__}")
    return {str(name): value for name, value in read.items()}
