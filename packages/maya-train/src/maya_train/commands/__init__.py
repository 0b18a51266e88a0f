"""Commands beside training, such as `maya-train plan`; `main(arguments)` returns the exit status."""

from collections.abc import Callable, Sequence
from importlib import import_module

NAMES = ("plan", "calibrate", "score", "export")


def find(name: str) -> Callable[[Sequence[str]], int] | None:
    """The command of that name, imported now, or None."""
    if name not in NAMES:
        return None
    main: Callable[[Sequence[str]], int] = import_module(f"maya_train.commands.{name}").main
    return main
