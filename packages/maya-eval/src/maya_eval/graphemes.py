"""Grapheme clusters: what a reader sees as one character, for the second character error rate.

The rules of Unicode Standard Annex 29 (extended clusters) as far as the scripts here need them, with the
conjuncts of Unicode 15.1 and later: Bengali, Devanagari, Gujarati, Malayalam, Odia and Telugu consonants
joined by a virama are one cluster, Gurmukhi, Kannada and Tamil ones are not. The rules are fixed here, so
that a rate does not change with a library's Unicode version.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby

CONJUNCT_SCRIPTS = {
    0x0900: ((0x15, 0x39), (0x58, 0x5F), (0x78, 0x7F)),
    0x0980: (
        (0x15, 0x28),
        (0x2A, 0x30),
        (0x32, 0x32),
        (0x36, 0x39),
        (0x5C, 0x5D),
        (0x5F, 0x5F),
        (0x70, 0x71),
    ),
    0x0A80: ((0x15, 0x28), (0x2A, 0x30), (0x32, 0x33), (0x35, 0x39), (0x79, 0x79)),
    0x0B00: (
        (0x15, 0x28),
        (0x2A, 0x30),
        (0x32, 0x33),
        (0x35, 0x39),
        (0x5C, 0x5D),
        (0x5F, 0x5F),
        (0x71, 0x71),
    ),
    0x0C00: ((0x15, 0x28), (0x2A, 0x39), (0x58, 0x5A)),
    0x0D00: ((0x15, 0x3A),),
}
"""Consonants by block, as offsets."""
VIRAMA = 0x4D
ZWNJ, ZWJ = "\u200c", "\u200d"
PREPENDED = "\u0d4e"
PICTOGRAPHS = "\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
SKIN_TONES = "\U0001f3fb-\U0001f3ff"
LAST = 0x1FFFF


def clusters(text: str) -> list[str]:
    """Returns the clusters of a text in order; joined they are the text again."""
    if text.isascii():
        return list(text)
    found: list[str] = []
    for number, word in enumerate(text.split(" ")):
        if number and unicodedata.category(word[0] if word else "A")[0] in "MC":
            return _pattern().findall(text)  # a mark that belongs to the space before it
        found += (" ", *_of_word(word)) if number else _of_word(word)
    return found


@lru_cache(maxsize=100_000)
def _of_word(word: str) -> tuple[str, ...]:
    return tuple(_pattern().findall(word))


@cache
def _pattern() -> re.Pattern[str]:
    marks = [chr(c) for c in range(0x300, LAST + 1) if unicodedata.category(chr(c))[0] == "M"]
    extend = f"[{''.join(_ranges(marks))}{ZWNJ}{ZWJ}{SKIN_TONES}]"
    conjunct = _conjunct([mark for mark in marks if unicodedata.category(mark) == "Mn"])
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    emoji = f"[{PICTOGRAPHS}](?:{extend}*{ZWJ}[{PICTOGRAPHS}])+"
    return re.compile(f"\r\n|[\r\n]|{PREPENDED}*(?:{conjunct}|{flag}|{emoji}|[^\r\n]){extend}*|.")


def _conjunct(joining: list[str]) -> str:
    """Consonants with a virama between each two, and other joining marks (a nukta) around it."""
    consonants = "".join(
        f"{chr(block + first)}-{chr(block + last)}"
        for block, ranges in CONJUNCT_SCRIPTS.items()
        for first, last in ranges
    )
    viramas = "".join(chr(block + VIRAMA) for block in CONJUNCT_SCRIPTS)
    others = "".join(_ranges([mark for mark in joining if mark not in viramas])) + ZWJ
    return f"[{consonants}](?:[{others}]*[{viramas}][{others}{viramas}]*[{consonants}])*"


def _ranges(characters: list[str]) -> Iterator[str]:
    """Yields `first-last` for each run of neighbours."""
    for _, run in groupby(enumerate(characters), key=lambda pair: ord(pair[1]) - pair[0]):
        members = [character for _, character in run]
        yield f"{members[0]}-{members[-1]}"
