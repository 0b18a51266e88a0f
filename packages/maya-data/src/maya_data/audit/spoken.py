"""A 64-bit key of what a text says: letters, marks and digits in lower case, and where words begin.

Punctuation, symbols and white space only part words; joiners and control characters count for nothing.
Shapes: N texts, C characters.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from maya_data.audit.characters import KNOWN, Characters
from maya_data.planning.permutation import hash64

BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that its powers never vanish."""
WORD = np.uint64(0xD1B54A32D192ED03)
"""What is added to the first character of a word."""
MOST_WORDS = 255

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


class Spoken(NamedTuple):
    """What N texts say."""

    keys: Keys
    """Key (N,) of each text; two texts that say the same have the same."""
    words: npt.NDArray[np.uint8]
    """Words (N,), at most 255."""


def spoken(texts: Characters) -> Spoken:
    """Return what texts in NFC say."""
    keys, words = np.zeros(len(texts.lens), np.uint64), np.zeros(len(texts.lens), np.uint8)
    values, ignored = _tables()
    texts = texts.without(ignored[np.minimum(texts.points, KNOWN - 1)])
    there = texts.lens > 0
    if not there.any():
        return Spoken(keys, words)
    value = values[np.minimum(texts.points, KNOWN - 1)]
    starts = texts.starts[there]
    sounds = value != 0
    begins = sounds.copy()
    begins[1:] &= ~sounds[:-1]
    begins[starts] = sounds[starts]
    with np.errstate(over="ignore"):
        value += WORD * begins
        value *= _powers(sounds, starts, texts.lens[there])
        keys[there] = hash64(np.add.reduceat(value, starts))
    words[there] = np.minimum(np.add.reduceat(begins, starts, dtype=np.int32), MOST_WORDS)
    keys[words == 0] = 0
    return Spoken(keys, words)


def _powers(sounds: npt.NDArray[np.bool_], starts: Ints, lens: Ints) -> Keys:
    """Return the base to the power of how many sounds of its text come before each character (C,)."""
    before = np.cumsum(sounds, dtype=np.int32)
    before -= np.repeat(before[starts] - sounds[starts], lens)
    powers: Keys = np.cumprod(np.full(int(lens.max()) + 1, BASE), dtype=np.uint64)[before]
    return powers


@lru_cache(1)
def _tables() -> tuple[Keys, npt.NDArray[np.bool_]]:
    """Return the value of each code point, 0 for what parts words, and which count for nothing."""
    lowered = np.zeros(KNOWN, np.uint64)
    ignored = np.zeros(KNOWN, np.bool_)
    for point in range(KNOWN):
        category = unicodedata.category(chr(point))
        ignored[point] = category[0] == "C" and not chr(point).isspace()
        if category[0] in "LMN":
            lower = chr(point).lower()
            lowered[point] = ord(lower) if len(lower) == 1 else point
    return np.where(lowered > 0, hash64(lowered), np.uint64(0)), ignored
