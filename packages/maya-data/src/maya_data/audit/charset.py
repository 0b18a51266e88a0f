"""Audit of characters by language: texts with letters of a foreign script, digits, joiners or controls."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maya_data.audit.characters import (
    ASCII_DIGIT,
    CONTROL,
    JOINER,
    KINDS,
    LATIN,
    NATIVE_DIGIT,
    OTHER_SCRIPT,
    SCRIPT_BITS,
    SCRIPTS,
    Characters,
    kinds,
    own_kind,
)
from maya_data.indexing.flags import EMPTY_TEXT, WRONG_SCRIPT

PROBLEMS = (
    *("empty", "wrong_script", "mixed_script", "latin", "ascii_digits", "native_digits"),
    *("joiners", "control", "not_nfc"),
)
EXAMPLES = 3
RARE = 12
PLANE = 0x10000
"""Characters beyond the basic plane are counted as one."""

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class CharsetRow:
    """The transcripts of one language: how many texts have what."""

    lang: str
    texts: int
    empty: int
    """Nothing but white space."""
    wrong_script: int
    """Most letters are of a script that the language is not written in."""
    mixed_script: int
    """Letters of two scripts or more."""
    latin: int
    """Latin letters in a language that is not written with them."""
    ascii_digits: int
    native_digits: int
    """Digits other than 0-9."""
    joiners: int
    """Zero-width joiners and non-joiners."""
    control: int
    """Control and format characters, line ends and tabs among them, and unassigned ones."""
    not_nfc: int
    """Not in Unicode's composed form."""
    distinct: int
    """Different characters."""
    scripts: dict[str, float] = field(default_factory=dict)
    """Script -> its part of all letters."""
    rare: dict[str, int] = field(default_factory=dict)
    """The rarest characters, and how often each occurs."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong -> ids of the first segments."""


class CharsetCounter:
    """Counts chunk by chunk; L languages, P problems."""

    def __init__(self, langs: Sequence[str]):
        """Count for `langs`, in the order of the index."""
        self.langs = langs
        self._own = np.array([own_kind(lang) for lang in langs] or [0], np.uint8)
        self._texts = np.zeros(len(langs), np.int64)
        self._problems = np.zeros((len(langs), len(PROBLEMS)), np.int64)
        self._points = np.zeros((len(langs), PLANE), np.int64)
        self._examples: list[list[list[int]]] = [[[] for _ in PROBLEMS] for _ in langs]

    def add(self, start: int, chars: Characters, lang_ids: Ints, flags: Flags, changed: Mask) -> None:
        """Count texts (N,).

        Args:
            start: Row of the first text.
            chars: Their characters, as the index has them.
            lang_ids: Position of each text's language (N,).
            flags: The index's flags (N,): they say which texts are empty or in a wrong script.
            changed: Which texts (N,) NFC changes.
        """
        kind = kinds(chars.points)
        self._texts += np.bincount(lang_ids, minlength=len(self.langs))
        self._count_points(chars, lang_ids)
        problems = _problems(chars, kind, self._own[lang_ids])
        problems["empty"] = (flags & EMPTY_TEXT) > 0
        problems["wrong_script"] = (flags & WRONG_SCRIPT) > 0
        problems["not_nfc"] = changed
        for number, name in enumerate(PROBLEMS):
            self._note(number, start, np.flatnonzero(problems[name]), lang_ids)

    def _count_points(self, chars: Characters, lang_ids: Ints) -> None:
        points, present = np.minimum(chars.points, PLANE - 1), np.unique(lang_ids).tolist()
        for lang in present:
            mine = points if len(present) == 1 else points[np.repeat(lang_ids == lang, chars.lens)]
            self._points[lang] += np.bincount(mine, minlength=PLANE)

    def _note(self, problem: int, start: int, rows: Ints, lang_ids: Ints) -> None:
        mine = lang_ids[rows]
        for lang in np.unique(mine).tolist():
            found = rows[mine == lang]
            self._problems[lang, problem] += len(found)
            kept = self._examples[lang][problem]
            kept += (start + found[: EXAMPLES - len(kept)]).tolist() if len(kept) < EXAMPLES else []

    def rows(self, ids: dict[int, str]) -> list[CharsetRow]:
        """Return one row a language; `ids` names the rows of `example_rows`."""
        return [self._row(number, ids) for number in range(len(self.langs))]

    def example_rows(self) -> list[int]:
        """Return the rows whose ids the report shows."""
        return sorted({row for lang in self._examples for rows in lang for row in rows})

    def _row(self, number: int, ids: dict[int, str]) -> CharsetRow:
        by_kind = np.bincount(kinds(np.arange(PLANE, dtype=np.uint32)), self._points[number], len(KINDS))
        letters = by_kind[1 : OTHER_SCRIPT + 1]
        there = np.flatnonzero(self._points[number])
        rarest = there[np.argsort(self._points[number, there], kind="stable")[:RARE]]
        examples = zip(PROBLEMS, self._examples[number], strict=True)
        return CharsetRow(
            lang=self.langs[number],
            texts=int(self._texts[number]),
            **dict(zip(PROBLEMS, self._problems[number].tolist(), strict=True)),
            distinct=len(there),
            scripts={
                script: float(n / letters.sum()) for script, n in zip(SCRIPTS, letters, strict=True) if n
            },
            rare={chr(point): int(self._points[number, point]) for point in rarest.tolist()},
            examples={name: [ids[row] for row in rows] for name, rows in examples if rows},
        )


def _problems(chars: Characters, kind: npt.NDArray[np.uint8], own: npt.NDArray[np.uint8]) -> dict[str, Mask]:
    """Return which texts (N,) have what; `own` (N,) is the kind of the letters that each should have."""
    bits = chars.any_bits(np.left_shift(np.uint32(1), kind.astype(np.uint32)))
    scripts = bits & SCRIPT_BITS
    found = {
        "mixed_script": (scripts & (scripts - np.minimum(scripts, np.uint32(1)))) > 0,
        "latin": _has(bits, LATIN) & (own != LATIN) & (own > 0),
    }
    names = {
        "ascii_digits": ASCII_DIGIT,
        "native_digits": NATIVE_DIGIT,
        "joiners": JOINER,
        "control": CONTROL,
    }
    return found | {name: _has(bits, number) for name, number in names.items()}


def _has(bits: npt.NDArray[np.uint32], kind: int) -> Mask:
    return (bits & np.uint32(1 << kind)) > 0
