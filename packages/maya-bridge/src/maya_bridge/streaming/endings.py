"""Where an open segment ends: in a pause between words, or at its quietest point when it grows too long."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from maya_bridge.decoding.long_audio import TICK, unrest
from maya_bridge.streaming.options import SAMPLING_RATE, StreamOptions
from maya_encoder.audio import Waveform
from maya_encoder.hypothesis import Word


class Ending(NamedTuple):
    """The end of a segment within the audio that was heard."""

    sample: int
    """Samples that belong to the segment."""
    num_words: int
    """Words that do."""


def ending(
    waveform: Waveform, words: Sequence[Word], num_stable: int, options: StreamOptions
) -> Ending | None:
    """Return where the segment ends, None while it goes on.

    Args:
        waveform: the open segment (S,).
        words: what was heard in it, in order.
        num_stable: how many of the words are stable; they stay before the end.
        options: lengths.
    """
    if not words:
        return None
    length = len(waveform) / SAMPLING_RATE
    pause = options.needed_pause(length)
    following = [*(word.start for word in words[1:]), length]
    for number, (word, start) in enumerate(zip(words, following, strict=True), 1):
        if number >= num_stable and start - word.end >= pause:
            return Ending(quietest(waveform, words, word.end, start), number)
    if length < options.cap:
        return None
    last = words[num_stable - 1].end if num_stable else 0.0
    sample = quietest(waveform, words, max(last, length - options.hold), length)
    before = sum((word.start + word.end) / 2 * SAMPLING_RATE < sample for word in words)
    return Ending(sample, max(before, num_stable))


def quietest(waveform: Waveform, words: Sequence[Word], start: float, end: float) -> int:
    """Return the sample within these seconds around which there is least sound and no word."""
    ticks = max(len(waveform) // round(TICK * SAMPLING_RATE), 1)
    pauses = np.ones(ticks)
    for word in words:
        pauses[int(word.start / TICK) : int(np.ceil(word.end / TICK))] = 0.0
    cost = unrest(waveform, SAMPLING_RATE, pauses)
    first = min(int(np.ceil(start / TICK)), ticks - 1)
    last = max(min(int(end / TICK), ticks), first + 1)
    best = first + int(np.argmin(cost[first:last]))
    return min(round((best + 0.5) * TICK * SAMPLING_RATE), len(waveform))
