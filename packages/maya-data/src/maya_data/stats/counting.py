"""One pass over the numeric columns of an index, a million rows at a time.

Shapes: N segments of a chunk, L languages, C corpora, K speakers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from maya_data.indexing.flags import MEANINGS, trainable
from maya_data.indexing.segments import SegmentIndex

CHUNK = 1 << 20
TICKS_A_SECOND = 100
TICKS = 1 << 16
"""Durations are counted to 0.01 s, up to eleven minutes."""
SPEED_STEPS = 20
SPEEDS = 2000
"""Characters a second are counted to 0.05, up to a hundred."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Tally:
    """Sums over all rows; the memory does not depend on how many there are, but for one number a speaker."""

    def __init__(self, index: SegmentIndex):
        """Prepare to count `index`."""
        self.index = index
        self.names = {
            name: index.names(name) for name in ("lang", "corpus", "domain", "sampling_rate", "speaker")
        }
        langs = len(self.names["lang"])
        self.segments: dict[str, Ints] = {
            name: np.zeros(len(held), np.int64) for name, held in self.names.items()
        }
        self.seconds: dict[str, Floats] = {name: np.zeros(len(held)) for name, held in self.names.items()}
        self.corpus_segments = np.zeros((langs, len(self.names["corpus"])), np.int64)
        self.corpus_seconds = np.zeros((langs, len(self.names["corpus"])))
        self.trainable_seconds = np.zeros(langs)
        self.chars = np.zeros(langs, np.int64)
        self.flags = np.zeros((langs, len(MEANINGS)), np.int64)
        self.ticks = np.zeros((langs, TICKS), np.int64)
        self.trainable_ticks = np.zeros(TICKS, np.int64)
        self.speeds = np.zeros((langs, SPEEDS), np.int64)
        self._voices = np.zeros(0, np.int64)

    def count(self) -> "Tally":
        """Count all rows."""
        columns = {name: self.index.columns[name] for name in (*self.names, "duration", "chars", "flags")}
        for start in range(0, len(self.index), CHUNK):
            self._add({name: np.asarray(held[start : start + CHUNK]) for name, held in columns.items()})
        return self

    def speakers(self) -> Ints:
        """Return the number of named speakers of each language (L,)."""
        speakers, corpora = len(self.names["speaker"]), len(self.names["corpus"])
        named = self._voices[self._voices % max(speakers, 1) != self.unnamed()]
        found = np.bincount(named // max(speakers * corpora, 1), minlength=len(self.names["lang"]))
        return found.astype(np.int64)

    def unnamed(self) -> int:
        """Return the number of the speaker without a name, or -1."""
        names: Any = self.names["speaker"]
        return int(names.find("")) if len(names) else -1

    def _add(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        seconds = np.nan_to_num(columns["duration"].astype(np.float64), posinf=0.0, neginf=0.0).clip(0)
        lang = columns["lang"].astype(np.int64)
        for name in self.names:
            self.segments[name] += np.bincount(columns[name], minlength=len(self.names[name]))
            self.seconds[name] += np.bincount(columns[name], seconds, len(self.names[name]))
        self._add_corpora(lang, columns, seconds)
        self._add_lengths(lang, columns["chars"].astype(np.int64), seconds, trainable(columns["flags"]))
        for place, bit in enumerate(MEANINGS):
            self.flags[:, place] += np.bincount(lang[(columns["flags"] & bit) > 0], minlength=len(self.flags))

    def _add_corpora(self, lang: Ints, columns: dict[str, npt.NDArray[Any]], seconds: Floats) -> None:
        shape, size = self.corpus_segments.shape, self.corpus_segments.size
        pair = lang * shape[1] + columns["corpus"]
        self.corpus_segments += np.bincount(pair, minlength=size).reshape(shape)
        self.corpus_seconds += np.bincount(pair, seconds, size).reshape(shape)
        voices = pair * len(self.names["speaker"]) + columns["speaker"]
        self._voices = np.union1d(self._voices, voices)

    def _add_lengths(self, lang: Ints, chars: Ints, seconds: Floats, usable: npt.NDArray[np.bool_]) -> None:
        langs = len(self.chars)
        self.chars += np.bincount(lang, chars, langs).astype(np.int64)
        self.trainable_seconds += np.bincount(lang[usable], seconds[usable], langs)
        ticks = np.minimum(np.rint(seconds * TICKS_A_SECOND), TICKS - 1).astype(np.int64)
        self.ticks += np.bincount(lang * TICKS + ticks, minlength=self.ticks.size).reshape(self.ticks.shape)
        self.trainable_ticks += np.bincount(ticks[usable], minlength=TICKS)
        spoken = usable & (chars > 0)
        speed = chars[spoken] / seconds[spoken] * SPEED_STEPS
        steps = lang[spoken] * SPEEDS + np.minimum(speed, SPEEDS - 1).astype(np.int64)
        self.speeds += np.bincount(steps, minlength=self.speeds.size).reshape(self.speeds.shape)
