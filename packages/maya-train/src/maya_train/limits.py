"""Checks of numbers in a config; the message names the key, the value and what would be right."""


def at_least(key: str, value: float, least: float) -> None:
    """Refuse a value below the least one."""
    if not value >= least:  # nor NaN
        raise ValueError(f"`{key}` must be {least} or more, got {value}")


def within(key: str, value: float, low: float, high: float) -> None:
    """Refuse a value outside of a range, whose ends belong to it."""
    if not low <= value <= high:
        raise ValueError(f"`{key}` must be between {low} and {high}, got {value}")
