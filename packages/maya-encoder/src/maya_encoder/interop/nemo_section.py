"""Reading a NeMo config strictly: what is not known by its key and value is refused, by both."""

from collections.abc import Mapping
from typing import Any

from maya_encoder.fit import BadCheckpoint

_NUMBER = (int, float)


class Section:
    """A part of model_config.yaml.

    Args:
        values: its keys and values.
        source: the archive, for messages.
        path: the keys that lead to the section.
    """

    def __init__(self, values: Any, source: str, path: str = "") -> None:
        self.values: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
        self.source = source
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def section(self, key: str) -> "Section":
        """The section under `key`, empty if there is none."""
        return Section(self.values.get(key), self.source, self.name(key))

    def name(self, key: str) -> str:
        """The full key."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`; null counts as absent."""
        value = self.values.get(key)
        return default if value is None else value

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refusal(key, value, "a whole number")
        return value

    def number(self, key: str, default: float) -> float:
        """A number."""
        value = self.get(key, default)
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)  # of a string too: YAML 1.1 takes 1e-5 for one
        except (TypeError, ValueError):
            raise self.refusal(key, value, "a number") from None

    def flag(self, key: str, default: bool) -> bool:
        """True or false; null is neither."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, value, "true or false")
        return value

    def one_of(self, key: str, known: tuple[Any, ...], default: Any) -> Any:
        """One of the `known` values; null is one like others, numbers may differ in the last digits."""
        value = self.values.get(key, default)
        for candidate in known:
            if type(value) in _NUMBER and type(candidate) in _NUMBER:
                if abs(value - candidate) <= 1e-6 * abs(candidate):
                    return candidate
            elif value == candidate:
                return candidate
        raise self.refusal(key, value, " or ".join(str(candidate) for candidate in known))

    def refusal(self, key: str, value: Any, wanted: str) -> BadCheckpoint:
        """The error for a value that is not supported."""
        return BadCheckpoint(f"{self.source}: {self.name(key)} must be {wanted} here, got {value!r}")
