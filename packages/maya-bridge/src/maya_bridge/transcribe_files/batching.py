"""Which files are decoded together: those of like length, so that little of a batch is padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maya_bridge.transcribe_files.inputs import Source
from maya_bridge.transcribe_files.opening import PART, claimed_seconds
from maya_encoder.audio import BadAudio

MOST_SECONDS = 480.0
"""Of audio in a batch, which bounds memory."""
WINDOW = 32
"""Batches of files that are sorted by length at a time; their texts appear together, in the user's order."""


@dataclass(frozen=True)
class Measured:
    """A source with what its header says."""

    source: Source
    seconds: float | None = None
    """Claimed duration; None where nothing is claimed, or nothing can be read."""
    mistake: str | None = None
    """Why it cannot be read."""

    @property
    def is_long(self) -> bool:
        """Whether it must be read part by part."""
        return self.seconds is None or self.seconds > PART


def measured(source: Source) -> Measured:
    """Return a source with its claimed duration, or with why it cannot be read."""
    if source.mistake is not None:
        return Measured(source, mistake=source.mistake)
    try:
        return Measured(source, claimed_seconds(source.path))
    except (BadAudio, OSError) as error:
        return Measured(source, mistake=str(error))


def windows(files: Sequence[Measured], batch_size: int) -> Iterator[Sequence[Measured]]:
    """Yield the files, in their order, in groups within which batches are made."""
    size = WINDOW * batch_size
    for start in range(0, len(files), size):
        yield files[start : start + size]


def batches(files: Sequence[Measured], batch_size: int) -> Iterator[list[Measured]]:
    """Yield short files in batches of like length; each long one alone, behind the others."""
    batch: list[Measured] = []
    for file in sorted((one for one in files if not one.is_long), key=lambda one: one.seconds or 0.0):
        # Files come shortest first, so that the new one is what all are padded to.
        if batch and (len(batch) == batch_size or (len(batch) + 1) * (file.seconds or 0.0) > MOST_SECONDS):
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch
    yield from ([file] for file in files if file.is_long)
