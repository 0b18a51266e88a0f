"""What a measure is: columns of integers an utterance, and rates made of their sums."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from maya_eval.counting import Scored

Totals = Mapping[str, int]
Figures = dict[str, float | int | None]


@dataclass(frozen=True)
class Measure:
    """Counts of an utterance by name, and what is shown of their sums over a group."""

    name: str
    columns: tuple[str, ...]
    count: Callable[[Scored], tuple[int, ...]]
    figures: Callable[[Totals], Figures]
    shown: tuple[str, ...] = ()
    """Figures of the terminal table; empty means all."""


def share(part: int, whole: int) -> float | None:
    """Returns the part as a fraction, None of nothing."""
    return part / whole if whole else None
