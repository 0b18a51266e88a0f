"""What the index notes of a row that is not as it should be: bits, and how a table of rows gets them."""

import unicodedata
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from maya_data.script import BLOCKS, LANGS

EMPTY_TEXT = 1
"""The transcript is empty or white space."""
BAD_DURATION = 2
"""The duration is zero, negative or not finite."""
UNKNOWN_LANG = 4
"""The language is none of the twelve."""
WRONG_SCRIPT = 8
"""Most letters of the transcript are not of the language's script."""
NO_AUDIO = 16
"""The shard has no bytes for the segment: its tar ends before, or lacks the member."""
UNTRAINABLE = EMPTY_TEXT | BAD_DURATION | UNKNOWN_LANG | NO_AUDIO
"""The plan leaves out a segment with any of these."""

MEANINGS = {
    EMPTY_TEXT: "has an empty transcript",
    BAD_DURATION: "has a duration that is zero, negative or not finite",
    UNKNOWN_LANG: f"has a language that is none of {', '.join(LANGS)}",
    WRONG_SCRIPT: "is mostly written in another script than its language's",
    NO_AUDIO: "has no audio in its shard",
}
"""Bit -> what is wrong, to follow the name of a segment."""

MOST_CHARS = 65_535
"""Longer texts count as this long in the column `chars`."""
CODE_POINTS = 0x110000
LATIN, OTHER = 1, 255
LATIN_RANGES = (
    *((0x41, 0x2E0), (0x1D00, 0x2190), (0x2C60, 0x2C80), (0xA720, 0xA800), (0xAB30, 0xAB70)),
    *((0xFB00, 0xFB07), (0xFF21, 0xFF5B)),
)

Numbers = npt.NDArray[Any]


def trainable(flags: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return where nothing in `flags` forbids training on the segment; another script does not."""
    free: npt.NDArray[np.bool_] = (np.asarray(flags) & UNTRAINABLE) == 0
    return free


def flag(rows: pa.Table) -> tuple[Numbers, Numbers]:
    """Return `flags` (uint8) and `chars` (uint16, characters of the raw text) of a table of rows."""
    texts, durations = rows["text"].combine_chunks(), rows["duration"].to_numpy()
    empty = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0).to_numpy(zero_copy_only=False)
    known = pc.is_in(rows["lang"], value_set=pa.array(LANGS)).to_numpy()
    bad = ~(np.isfinite(durations) & (durations > 0))
    chars = pc.utf8_length(texts).to_numpy()
    flags = EMPTY_TEXT * empty + BAD_DURATION * bad + UNKNOWN_LANG * ~known
    flags = flags + WRONG_SCRIPT * _wrong_script(texts, chars, rows["lang"])
    flags = flags + NO_AUDIO * _no_audio(rows)
    return flags.astype(np.uint8), np.minimum(chars, MOST_CHARS).astype(np.uint16)


def _no_audio(rows: pa.Table) -> Numbers:
    """Return where a tar member has no bytes; whole files begin at 0, and table cells have no byte range."""
    if not {"offset", "size"} <= set(rows.column_names):
        return np.zeros(len(rows), bool)
    absent: Numbers = (rows["size"].to_numpy() <= 0) & (rows["offset"].to_numpy() > 0)
    if not absent.any():
        return absent
    embedded = pc.match_substring(rows["shard"], ".parquet#").to_numpy()
    lacks: Numbers = absent & ~embedded
    return lacks


def _wrong_script(texts: pa.Array, chars: Numbers, langs: pa.ChunkedArray) -> Numbers:
    """Return where less than half of the letters are of the language's script (N,)."""
    starts = np.cumsum(chars) - chars
    scripts = _scripts()[_code_points(texts)]  # (characters,)
    expected = _expected(langs)
    alike = len(expected) and (expected == expected[0]).all()
    own = scripts == (expected[0] if alike else np.repeat(expected, chars))
    wrong = np.zeros(len(chars), bool)
    full = chars > 0
    letters, owned = (_counts(marked, starts[full]) for marked in (scripts > 0, own))
    wrong[full] = owned * 2 < letters
    return wrong & (expected > 0)


def _code_points(texts: pa.Array) -> Numbers:
    """Return the characters of all texts in a row, as numbers."""
    ends = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = memoryview(texts.buffers()[2] or b"")[int(ends[0]) : int(ends[-1])] if len(texts) else b""
    return np.frombuffer(str(data, "utf-8").encode("utf-32-le"), np.uint32)


def _counts(marked: Numbers, starts: Numbers) -> Numbers:
    """Return how many characters are marked from each start up to the next."""
    counts: Numbers = np.add.reduceat(marked, starts, dtype=np.uint32) if len(starts) else starts
    return counts


def _expected(langs: pa.ChunkedArray) -> Numbers:
    """Return the number of each row's script, 0 for a language that we do not know (N,)."""
    coded = langs.combine_chunks().dictionary_encode()
    numbers = np.array([_script_of(lang) for lang in coded.dictionary.to_pylist()], np.uint8)
    expected: Numbers = numbers[coded.indices.to_numpy()] if len(numbers) else np.zeros(0, np.uint8)
    return expected


def _script_of(lang: str) -> int:
    if lang in BLOCKS:
        return BLOCKS[lang] >> 7
    return LATIN if lang == "en" else 0


@cache
def _scripts() -> Numbers:
    """Return the number of each letter's script by code point; 0 for what is no letter."""
    scripts = np.zeros(CODE_POINTS, np.uint8)
    for point in range(0x20000):  # beyond are ideographs
        if unicodedata.category(chr(point))[0] == "L":
            scripts[point] = OTHER
    for first, last in LATIN_RANGES:
        for point in range(first, last):
            if scripts[point] and unicodedata.name(chr(point), "").startswith(("LATIN", "FULLWIDTH LATIN")):
                scripts[point] = LATIN
    scripts[0x20000:0x40000] = OTHER
    for block in BLOCKS.values():
        for point in range(block, block + 0x80):
            if unicodedata.category(chr(point))[0] in "LM":
                scripts[point] = block >> 7
    return scripts
