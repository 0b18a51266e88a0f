"""Where long audio is cut: at quiet points, so that no word is halved and no piece is too long for the LLM.

Quiet is where there is little energy, or where the CTC head hears nothing: a pause under music or noise is
loud, and a breath is no word.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

TICK = 0.02
"""Seconds between the points at which audio may be cut."""
SMOOTHED = 0.3
"""Seconds around a point that must be quiet: the pause between words."""
LOUDNESS_WEIGHT = 0.5
"""Share of the energy where blanks are known too; they know more of what is a word."""
OFF_TARGET = 0.05
"""Cost of lying a whole `reach` away from where the cut was wanted, beside costs of 0 to 1."""


@dataclass(kw_only=True)
class Cutting:
    """How long the pieces of long audio are."""

    target: float = 28.0
    """Seconds that a piece should have at most."""
    cap: float = 30.0
    """Seconds that no piece is longer than; audio up to this length stays whole."""
    reach: float = 5.0
    """Seconds before and behind the wanted cut in which the quietest point is looked for."""

    def __post_init__(self) -> None:
        if not 0 < self.target <= self.cap:
            raise ValueError(f"`target` must be above 0 and at most the cap {self.cap}, got {self.target}")
        if not 0 < self.reach <= self.target / 2:
            raise ValueError(f"`reach` must be above 0 and at most half of `target`, got {self.reach}")


def cut_points(
    waveform: npt.NDArray[np.floating],
    sampling_rate: int,
    cutting: Cutting | None = None,
    blank_probs: npt.ArrayLike | None = None,
) -> list[tuple[int, int]]:
    """Return the pieces of a recording as (start, end) in samples; they touch and do not overlap.

    Args:
        waveform: samples (S,).
        sampling_rate: in Hz.
        cutting: lengths.
        blank_probs: probability of the CTC blank in each encoder frame of the whole recording (T,).
    """
    cutting = cutting or Cutting()
    total = len(waveform)
    if total <= cutting.cap * sampling_rate:
        return [(0, total)]
    cost = unrest(waveform, sampling_rate, blank_probs)
    pieces, start = [], 0
    while (left := (total - start) / sampling_rate) > cutting.cap:
        begin = start / sampling_rate
        wanted = left / np.ceil(left / cutting.target)
        cut = _quietest(cost, begin + wanted, begin + cutting.cap, cutting.reach)
        end = min(round(cut * sampling_rate), start + int(cutting.cap * sampling_rate))
        pieces.append((start, end))
        start = end
    return [*pieces, (start, total)]


def unrest(
    waveform: npt.NDArray[np.floating], sampling_rate: int, blank_probs: npt.ArrayLike | None = None
) -> Array:
    """Return how far from a pause each TICK of a recording is, about 0 to 1: (ticks,)."""
    loud = _loudness(waveform, sampling_rate)
    if blank_probs is None:
        return _smooth(loud)
    blanks = np.asarray(blank_probs, dtype=np.float64)
    frame = ((np.arange(len(loud)) + 0.5) / len(loud) * len(blanks)).astype(np.int64)
    heard = 1 - blanks[frame.clip(0, len(blanks) - 1)] if len(blanks) else np.zeros(len(loud))
    return LOUDNESS_WEIGHT * _smooth(loud) + _smooth(heard)


def _loudness(waveform: npt.NDArray[np.floating], sampling_rate: int) -> Array:
    """Level of each TICK, 0 at the recording's quiet end and 1 at its loud end; 0 where all is alike."""
    size = max(round(TICK * sampling_rate), 1)
    ticks = max(len(waveform) // size, 1)
    cells = np.resize(waveform[: ticks * size], ticks * size).reshape(ticks, size)
    level = 10 * np.log10(np.square(cells, dtype=np.float64).mean(axis=1) + 1e-9)
    quiet, loud = np.percentile(level, [5, 95])
    # Steady noise has a level too: differences of a few decibels say nothing about words.
    return ((level - quiet) / max(loud - quiet, 20.0)).clip(0, 1)  # type: ignore[no-any-return]


def _smooth(values: Array) -> Array:
    """Mean over SMOOTHED seconds around each tick; beyond the ends the end values go on."""
    half = round(SMOOTHED / TICK) // 2
    sums = np.cumsum(np.concatenate([[0.0], np.pad(values, half, mode="edge")]))
    width = 2 * half + 1
    return (sums[width:] - sums[:-width]) / width  # type: ignore[no-any-return]


def _quietest(cost: Array, wanted: float, latest: float, reach: float) -> float:
    """The second at which to cut: the middle of the quietest ticks within reach, and not behind `latest`."""
    first = max(round((wanted - reach) / TICK), 1)
    last = max(min(round(min(wanted + reach, latest) / TICK), len(cost) - 1), first + 1)
    place = np.arange(first, last)
    aside = np.abs((place + 0.5) * TICK - wanted) / reach
    best = first + int(np.argmin(cost[first:last] + OFF_TARGET * aside))
    return float((best + 0.5) * TICK)
