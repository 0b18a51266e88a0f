"""Scoring profiles: what is done to reference and hypothesis alike before the edit distance.

A profile's name carries its version; a rule that changes gets a new name, so that old scores stay comparable.
Combining marks (vowel signs, virama, nukta, anusvara) are never touched: without them Indic words fall apart.
"""

import difflib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LANGS = ("as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te")

VIRAMA_ML = "\u0d4d"
ZWNJ, ZWJ = "\u200c", "\u200d"
OLD_CHILLU = re.compile(f"([\u0d23\u0d28\u0d30\u0d32\u0d33\u0d15]){VIRAMA_ML}{ZWJ}")
ATOMIC_CHILLU = dict(
    zip("\u0d23\u0d28\u0d30\u0d32\u0d33\u0d15", "\u0d7a\u0d7b\u0d7c\u0d7d\u0d7e\u0d7f", strict=True)
)
TAG = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
APOSTROPHE = re.compile(f"(?<=[{LATIN}])['\u02bc\u2019](?=[{LATIN}])")


@dataclass(frozen=True)
class Profile:
    """A named way to normalise text for scoring."""

    name: str
    description: str
    rule: Callable[[str, str], str]

    def __call__(self, text: str, lang: str) -> str:
        """Returns `text` as it is scored in this profile."""
        return self.rule(text, lang)


class _StrictTable(dict[int, str]):
    """What becomes of one character, worked out when it is first seen (for `str.translate`)."""

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = result = _strict_character(chr(codepoint))
        return result


def _strict_character(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] in "PSZ" or category == "Cc" or character == "\u200b":
        return " "
    if (
        category == "Cf" or "\ufe00" <= character <= "\ufe0f"
    ):  # joiners, soft hyphen, BOM, variation selectors
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    return character


_STRICT = _StrictTable()


def raw(text: str, lang: str) -> str:
    """Returns the text in NFC with single spaces, and nothing else done to it."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def indic_strict(text: str, lang: str) -> str:
    """Returns the headline form: tags, punctuation, joiners and case gone, digits ASCII, every mark kept.

    English goes through the same steps. Unlike Whisper's English normaliser it leaves contractions, spelling
    variants, fillers and number words as they are, so English figures are stricter than a leaderboard's.
    """
    if lang not in LANGS:
        raise ValueError(f"`lang` must be one of {', '.join(LANGS)} in indic-strict-v1, got {lang!r}")
    text = unicodedata.normalize("NFC", text)
    if lang == "ml":
        text = OLD_CHILLU.sub(lambda match: ATOMIC_CHILLU[match[1]], text)
    text = TAG.sub(" ", text)
    text = APOSTROPHE.sub("", text).translate(_STRICT).casefold()
    return raw(text, lang)


PROFILES = {
    p.name: p
    for p in (
        Profile("raw", "NFC and single spaces", raw),
        Profile(
            "indic-strict-v1",
            "NFC, joiners, tags, punctuation and case removed, digits ASCII, all vowel signs and marks kept",
            indic_strict,
        ),
    )
}


def profile(name: str) -> Profile:
    """Returns the profile of that name."""
    if name in PROFILES:
        return PROFILES[name]
    close = difflib.get_close_matches(name, PROFILES, n=1)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"no scoring profile named {name!r}; there are: {', '.join(PROFILES)}{hint}")
