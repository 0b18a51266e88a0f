"""Text profiles: the one spelling of a transcript that every model of a run learns and writes.

A profile is named and versioned, and its name stands in every checkpoint. Scoring has its own rules.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from maya_data.script import BLOCKS

VIRAMA_ZWJ = "\u0d4d\u200d"
CHILLU = {
    "\u0d23": "\u0d7a",
    "\u0d28": "\u0d7b",
    "\u0d30": "\u0d7c",
    "\u0d32": "\u0d7d",
    "\u0d33": "\u0d7e",
    "\u0d15": "\u0d7f",
}
OLD_CHILLU = re.compile(f"([{''.join(CHILLU)}]){VIRAMA_ZWJ}")
TAG = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
LOOSE_APOSTROPHE = re.compile(r"(?<![^\s'])'|'(?![^\s'])")
DIGITS = re.compile(r"\d+")
APOSTROPHES = "'\u2019\u02bc\uff07"


class _CharacterTable(dict[int, str]):
    """`str.translate` table that decides each character once, by its Unicode category, and remembers it."""

    def __init__(self, punctuation: str):
        self.drop = punctuation == "drop"
        super().__init__({0x200B: " "})
        self.update({ord(mark): "'" for mark in APOSTROPHES})

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = self._replacement(chr(codepoint))
        return self[codepoint]

    def _replacement(self, char: str) -> str:
        category = unicodedata.category(char)
        if category in ("Cf", "Cs", "Co", "Cn"):
            return ""
        if category[0] == "Z" or category == "Cc":
            return " "
        return " " if self.drop and category[0] in "PS" else char


@dataclass(frozen=True, kw_only=True)
class TextProfile:
    """NFC, atomic chillu, no joiners, no bracketed tags, single spaces; the rest is by switches."""

    name: str = "asr-v1"
    """Name and version; it is stored with every tokenizer and checkpoint."""
    punctuation: Literal["drop", "keep"] = "drop"
    """`drop` puts a space for punctuation and symbols; an apostrophe inside a word stays."""
    digits: Literal["native", "ascii", "words"] = "native"
    """`native` writes digits in the language's own script, `ascii` as 0-9, `words` as spoken numbers."""
    lowercase: bool = True
    """Lower case for the scripts that have case."""
    _table: _CharacterTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse unknown switches."""
        for key, choices in (("punctuation", ("drop", "keep")), ("digits", ("native", "ascii", "words"))):
            if getattr(self, key) not in choices:
                raise ValueError(f"`{key}` must be one of {', '.join(choices)}, got {getattr(self, key)!r}")
        object.__setattr__(self, "_table", _CharacterTable(self.punctuation))

    def normalize(self, text: str, lang: str) -> str:
        """Return `text` as this profile spells it in language `lang`; applying it twice changes nothing."""
        text = unicodedata.normalize("NFC", text)
        text = OLD_CHILLU.sub(lambda match: CHILLU[match[1]], text)
        text = TAG.sub(" ", text).translate(self._table)
        if self.punctuation == "drop":
            text = LOOSE_APOSTROPHE.sub(" ", text)
        if self.lowercase:
            text = text.lower()
        text = DIGITS.sub(_digit_writer(self.digits, lang), text)
        return " ".join(unicodedata.normalize("NFC", text).split())


def _digit_writer(style: str, lang: str) -> Callable[[re.Match[str]], str]:
    zero = BLOCKS.get(lang, 0) + 0x66 if style == "native" and lang in BLOCKS else ord("0")
    if style == "words":
        return lambda match: f" {_number_words(match[0], lang)} "
    return lambda match: "".join(chr(zero + unicodedata.digit(char)) for char in match[0])


def _number_words(digits: str, lang: str) -> str:
    try:
        from indic_numtowords import num2words
    except ImportError as error:
        raise ModuleNotFoundError(
            "digits='words' needs indic-numtowords; pip install 'maya-data[synth]'"
        ) from error
    return str(num2words(int(digits), lang=lang))


PROFILES = {"asr-v1": TextProfile()}


def profile(name: str) -> TextProfile:
    """Return the profile called `name`."""
    if name in PROFILES:
        return PROFILES[name]
    close = get_close_matches(name, PROFILES, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"no text profile named {name!r}; there are: {', '.join(PROFILES)}.{hint}")
