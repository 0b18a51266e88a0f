"""The characters of many texts at once: flat code points, and the kind of each by one table.

Shapes: N texts, C characters of all texts.
"""

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from maya_data.script import BLOCKS

SCRIPTS = (
    *("Latin", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu"),
    *("Kannada", "Malayalam", "other script"),
)
"""Kinds 1 to 11: letters and vowel signs of a script."""
KINDS = ("other", *SCRIPTS, "ascii digit", "native digit", "joiner", "control")
LATIN, OTHER_SCRIPT = 1, len(SCRIPTS)
ASCII_DIGIT, NATIVE_DIGIT, JOINER, CONTROL = range(OTHER_SCRIPT + 1, OTHER_SCRIPT + 5)
SCRIPT_BITS = np.uint32(sum(1 << kind for kind in range(1, OTHER_SCRIPT + 1)))
INDIC = range(0x900, 0xD80)
BLOCK = 0x80
KNOWN = 0x20000
"""Code points from here on count as the last one below: they are rare ideographs, or assigned to nobody."""

Kinds = npt.NDArray[np.uint8]


class Characters(NamedTuple):
    """The characters of N texts, one after the other."""

    points: npt.NDArray[np.uint32]
    """Code points (C,)."""
    lens: npt.NDArray[np.int64]
    """Characters of each text (N,)."""

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """First character of each text (N,)."""
        return np.cumsum(self.lens) - self.lens

    def any_bits(self, bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Return which of `bits` (C,) each text has (N,)."""
        there = self.lens > 0
        out = np.zeros(len(self.lens), np.uint32)
        if there.any():
            out[there] = np.bitwise_or.reduceat(bits, self.starts[there])
        return out

    def without(self, marked: npt.NDArray[np.bool_]) -> "Characters":
        """Return the same texts less the marked characters (C,)."""
        if not marked.any():
            return self
        owner = np.repeat(np.arange(len(self.lens)), self.lens)
        gone = np.bincount(owner[marked], minlength=len(self.lens))
        return Characters(self.points[~marked], self.lens - gone)


def characters(texts: pa.Array) -> Characters:
    """Return the characters of an Arrow array of strings (N,); a null is an empty text."""
    texts = texts.fill_null("") if texts.null_count else texts
    joined = "".join(texts.to_pylist())
    lens = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    return Characters(np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32), lens)


def kinds(points: npt.NDArray[np.uint32]) -> Kinds:
    """Return the kind of each code point (C,)."""
    found: Kinds = _table()[np.minimum(points, KNOWN - 1)]
    return found


def own_kind(lang: str) -> int:
    """Return the kind of the letters that a language is written in; 0 for a language that is not ours."""
    if lang == "en":
        return LATIN
    return 2 + (BLOCKS[lang] - INDIC.start) // BLOCK if lang in BLOCKS else 0


@lru_cache(1)
def _table() -> Kinds:
    return np.array([_kind(chr(point)) for point in range(KNOWN)], np.uint8)


def _kind(char: str) -> int:
    point, category = ord(char), unicodedata.category(char)
    if category[0] in "LM":
        if point in INDIC:
            return 2 + (point - INDIC.start) // BLOCK
        if unicodedata.name(char, "").startswith("LATIN"):
            return LATIN
        return OTHER_SCRIPT if category[0] == "L" else 0
    if category == "Nd":
        return ASCII_DIGIT if point < 0x80 else NATIVE_DIGIT
    if point in (0x200C, 0x200D):
        return JOINER
    return CONTROL if category[0] == "C" else 0
