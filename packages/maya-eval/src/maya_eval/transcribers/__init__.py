"""Other people's systems as plugins of the kind `transcribers`, so that they are scored by the same run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Transcript:
    """What a system wrote for one utterance."""

    text: str
    pred_lang: str | None = None
    """The language that the system recognised; None where it was told, or recognises none."""


def float_samples(audio: Any) -> npt.NDArray[np.float32]:
    """Returns samples (S,) as float32 in -1..1, from 16-bit integers or floats."""
    samples = np.asarray(audio)
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float32) / 32768.0
    return samples.astype(np.float32, copy=False)


def languages_of(langs: str | Sequence[str], count: int) -> list[str]:
    """Returns one language an utterance."""
    return [langs] * count if isinstance(langs, str) else list(langs)


def by_language(langs: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Yields each language with the positions that have it."""
    for lang in dict.fromkeys(langs):
        yield lang, [at for at, other in enumerate(langs) if other == lang]
