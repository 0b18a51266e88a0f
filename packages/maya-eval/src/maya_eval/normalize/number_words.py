"""The number words of a language: number_words.json, and what the Dravidian languages join of its words."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

FOLD = str.maketrans(
    {
        **dict.fromkeys("\u093c\u09bc\u0a3c\u0abc\u0b3c", ""),  # nuktas
        **dict.fromkeys("\u0981\u0b01\u0a71", ""),  # chandrabindu (Bengali, Odia) and addak
        "\u0901": "\u0902",
        "\u0a70": "\u0a02",
        "\u0cad": "\u0cac",  # Kannada bha for ba: nine
    }
)
"""For look-up only: these marks are written or left out at will in number words."""

JOINING = {"kn": 0x0C80, "ml": 0x0D00, "ta": 0x0B80}
"""Languages that write the parts of a number as one word, and where their script's block begins."""
VOWELS = range(0x06, 0x15)
"""Offsets of the independent vowels behind A, which has no sign; the others' signs stand SIGN further on."""
SIGN, VIRAMA, GLIDE = 0x38, 0x4D, 0x2F
THOUSAND = 1000


@dataclass
class Lexicon:
    """What the reader looks words up in, all under `word_key`."""

    values: dict[str, int]
    multipliers: dict[str, int]
    bound: dict[str, int] = field(default_factory=dict)
    """Multipliers that are a word of their own where no number stands before them."""
    ones: frozenset[str] = frozenset()
    """Articles that mean one in front of a multiplier."""
    fixed: dict[str, Fraction] = field(default_factory=dict)
    quarters: dict[str, str] = field(default_factory=dict)
    points: frozenset[str] = frozenset()
    tens_and_units: bool = False
    """Whether 23 is said as twenty and three, two words."""
    joined: dict[str, int] = field(default_factory=dict)

    def value(self, key: str) -> int | None:
        """Returns what a word stands for by itself."""
        found = self.values.get(key)
        return self.joined.get(key) if found is None else found


def word_key(word: str) -> str:
    """Returns the word as it is looked up."""
    return word.translate(FOLD)


@cache
def _tables() -> dict[str, dict[str, Any]]:
    text = files("maya_eval.normalize").joinpath("number_words.json").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = json.loads(text)
    return tables


@cache
def lexicon(lang: str) -> Lexicon | None:
    """Returns the number words of a language, None where there is no table for it."""
    table = _tables().get(lang)
    if table is None:
        return None
    fractions = dict(_entries(table, "fractions"))
    found = Lexicon(
        values=_numbers(table, "values"),
        multipliers=_numbers(table, "multipliers"),
        bound=_numbers(table, "bound"),
        ones=frozenset(_words(table, "one")),
        fixed={word: Fraction(name) for word, name in fractions.items() if name[0].isdigit()},
        quarters={word: name for word, name in fractions.items() if name[0].isalpha()},
        points=frozenset(_words(table, "point")),
        tens_and_units=lang in (*JOINING, "te"),
    )
    if lang in JOINING:
        found.joined = _joined_numbers(found, lang)
    return found


def _entries(table: dict[str, Any], name: str) -> Iterator[tuple[str, str]]:
    """Pairs of a word and what it stands for."""
    for meaning, words in table.get(name, {}).items():
        yield from ((word_key(word), meaning) for word in words.split())


def _numbers(table: dict[str, Any], name: str) -> dict[str, int]:
    return {word: int(meaning) for word, meaning in _entries(table, name)}


def _words(table: dict[str, Any], name: str) -> frozenset[str]:
    return frozenset(word_key(word) for word in table.get(name, "").split())


def _joined_numbers(table: Lexicon, lang: str) -> dict[str, int]:
    """Numbers below 1000, and round thousands below 100,000, written as one word."""
    block = JOINING[lang]
    small = {word: value for word, value in table.values.items() if 0 < value < 100}
    tens = [(word, value) for word, value in small.items() if value >= 20 and value % 10 == 0]
    units = [(word, value) for word, value in small.items() if value < 10]
    below = dict(small)
    for (ten, high), (unit, low) in product(tens, units):
        below |= dict.fromkeys(_join(ten, unit, block), high + low)
    hundreds = [(word, value) for word, value in table.values.items() if 100 <= value < THOUSAND]
    hundreds += [(word, value) for word, value in table.multipliers.items() if value == 100]
    thousands = [word for word, value in table.multipliers.items() if value == THOUSAND]
    joined = dict(below)
    for (hundred, high), (word, low) in product(hundreds, below.items()):
        joined |= dict.fromkeys(_join(hundred, word, block), high + low)
    for (word, count), thousand in product(below.items(), thousands):
        joined |= dict.fromkeys(_join(word, thousand, block), count * THOUSAND)
    for one, (word, value) in product(table.ones, table.multipliers.items()):
        joined |= dict.fromkeys(_join(one, word, block), value)
    return joined


def _join(first: str, second: str, block: int) -> set[str]:
    """The spellings of two words as one: side by side, the vowel as a sign, or behind a glide."""
    stem = first[:-1] if ord(first[-1]) - block in range(0x3E, VIRAMA + 1) else first
    if ord(second[0]) - block == VOWELS.start - 1:
        return {stem + second[1:], first + chr(block + GLIDE) + second[1:]}
    if ord(second[0]) - block in VOWELS:
        tail = chr(ord(second[0]) + SIGN) + second[1:]
        return {stem + tail, first + chr(block + GLIDE) + tail}
    spellings = {first + second, stem + second, stem + chr(block + VIRAMA) + second}
    if stem[-2:-1] == chr(block + VIRAMA) and stem[-3:-2] == stem[-1]:  # a double consonant is said once
        spellings.add(stem[:-1] + second)
    return spellings
