"""Which part of a stream is louder than its pauses.

A model that normalises what it hears makes words of the noise in a pause; what is quiet is not shown to it.
Where noise is nearly as loud as speech nothing counts as quiet, and pauses are found by the words alone.
"""

import numpy as np

from maya_bridge.decoding.long_audio import TICK
from maya_bridge.streaming.options import SAMPLING_RATE
from maya_encoder.audio import Waveform

BELOW = 30.0
"""Decibels below the loudest speech from which on audio is quiet."""
SILENT = -60.0
"""Decibels of full scale below which audio is always quiet."""
FIRST = -30.0
"""Level of speech that is assumed before any was heard."""
FORGET = 0.1
"""Decibels by which the loudest speech is forgotten with every step."""


class Activity:
    """The level of a stream's speech."""

    def __init__(self) -> None:
        self._loudest = FIRST

    def speech(self, waveform: Waveform) -> tuple[int, int]:
        """Return the first sample that is not quiet and the one after the last; both the end if all is."""
        size = round(TICK * SAMPLING_RATE)
        cells = np.pad(waveform, (0, -len(waveform) % size)).reshape(-1, size)
        level = 10 * np.log10(np.square(cells, dtype=np.float64).mean(axis=1) + 1e-12)
        self._loudest = max(self._loudest - FORGET, float(level.max(initial=FIRST - BELOW)))
        (loud,) = np.nonzero(level > max(self._loudest - BELOW, SILENT))
        if not len(loud):
            return len(waveform), len(waveform)
        return int(loud[0]) * size, min((int(loud[-1]) + 1) * size, len(waveform))
