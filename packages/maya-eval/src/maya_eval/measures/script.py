"""Script fidelity: which share of an output's letters is in the script of its language.

A system that writes the right sounds in Latin letters has a WER near or over 100 %; this tells it from one
that heard nothing. Letters are code points of the categories L and M; digits and punctuation count for no
script.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache, lru_cache

from maya_eval.counting import Scored
from maya_eval.measures.measure import Figures, Measure, Totals, share

LATIN = "latin"
BLOCKS: Mapping[str, tuple[tuple[int, int], ...]] = {
    LATIN: ((0x41, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A)),
    "arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "devanagari": ((0x900, 0x97F), (0xA8E0, 0xA8FF), (0x1CD0, 0x1CFF)),
    "bengali": ((0x980, 0x9FF),),
    "gurmukhi": ((0xA00, 0xA7F),),
    "gujarati": ((0xA80, 0xAFF),),
    "odia": ((0xB00, 0xB7F),),
    "tamil": ((0xB80, 0xBFF), (0x11FC0, 0x11FFF)),
    "telugu": ((0xC00, 0xC7F),),
    "kannada": ((0xC80, 0xCFF),),
    "malayalam": ((0xD00, 0xD7F),),
}
SCRIPTS = {
    "as": "bengali",
    "bn": "bengali",
    "en": LATIN,
    "gu": "gujarati",
    "hi": "devanagari",
    "kn": "kannada",
    "ml": "malayalam",
    "mr": "devanagari",
    "or": "odia",
    "pa": "gurmukhi",
    "sa": "devanagari",
    "ta": "tamil",
    "te": "telugu",
    "ur": "arabic",
}


@cache
def _script_of(character: str) -> str | None:
    """The script of a letter or mark, "other" for one not listed here, None for what is no letter."""
    if unicodedata.category(character)[0] not in "LM":
        return None
    codepoint = ord(character)
    for name, ranges in BLOCKS.items():
        if any(first <= codepoint <= last for first, last in ranges):
            return name
    return "other"


@lru_cache(maxsize=200_000)
def letters(word: str) -> Mapping[str, int]:
    """Returns how many letters of each script a word has."""
    counts: dict[str, int] = {}
    for character in word:
        if (name := _script_of(character)) is not None:
            counts[name] = counts.get(name, 0) + 1
    return counts


def in_script(text: str, lang: str) -> tuple[int, int]:
    """Returns the letters in the language's script, and all letters; an unknown language has no script."""
    expected = SCRIPTS.get(lang, "")
    counts = [letters(word) for word in text.split()]
    return sum(count.get(expected, 0) for count in counts), sum(sum(count.values()) for count in counts)


def _count(item: Scored) -> tuple[int, ...]:
    lang = item.hypothesis.lang
    right, written = in_script(item.hyp, lang)
    ref_right, ref_written = in_script(item.ref, lang)
    strayed = written > 0 and 2 * right < written and 2 * ref_right >= ref_written > 0
    return right, written, ref_right, ref_written, int(strayed)


def _figures(totals: Totals) -> Figures:
    return {
        "fidelity": share(totals["right"], totals["written"]),
        "reference_fidelity": share(totals["ref_right"], totals["ref_written"]),
        "utterances_in_another_script": totals["strayed"],
    }


MEASURE = Measure("script", ("right", "written", "ref_right", "ref_written", "strayed"), _count, _figures)
