"""Notes on an import: what was chosen for the user or left out, and which of it may change numbers."""

import warnings
from collections.abc import Iterable
from pathlib import Path


class Doubt(str):
    """A note on something that may make numbers differ from those of the checkpoint's own program."""

    __slots__ = ()


class FrontendDoubt(Doubt):
    """One that a user who gives `frontend` has settled."""

    __slots__ = ()


def warn_of_doubts(notes: Iterable[str], source: str | Path, stacklevel: int) -> None:
    """One warning that lists the doubts among `notes`, if there are any.

    Args:
        notes: of an import.
        source: the checkpoint.
        stacklevel: whose line is named, counted from the caller's as in `warnings.warn`.
    """
    if doubts := [note for note in notes if isinstance(note, Doubt)]:
        warnings.warn(
            f"{source}: numbers may differ from those of its own program: {'; '.join(doubts)}",
            stacklevel=stacklevel + 1,
        )
