"""The profiles `raw` and `indic-strict-v1`.

The strict form: NFC; old chillu to atomic (Malayalam, before joiners go); joiners and other invisible
characters deleted; `<tags>` and `[tags]` removed; punctuation and symbols to a space, an apostrophe between
Latin letters deleted; native digits to ASCII; Latin letters case folded; single spaces. Categories Mn and Mc
are never touched. English is written as `whisper-en` has it.
"""

import re
import unicodedata

from maya_eval.normalize.english import whisper_en

VIRAMA_ML = "\u0d4d"
ZWJ = "\u200d"
OLD_CHILLU = re.compile(f"([\u0d23\u0d28\u0d30\u0d32\u0d33\u0d15]){VIRAMA_ML}{ZWJ}")
ATOMIC_CHILLU = dict(
    zip("\u0d23\u0d28\u0d30\u0d32\u0d33\u0d15", "\u0d7a\u0d7b\u0d7c\u0d7d\u0d7e\u0d7f", strict=True)
)
TAG = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
APOSTROPHE = re.compile(f"(?<=[{LATIN}])['\u02bc\u2019](?=[{LATIN}])")
EMOJI_FORM = re.compile("(.)[\ufe0e\ufe0f]\u20e3?")
"""A presentation selector (and keycap) belongs to the symbol or digit before it, and goes with it."""


class _StrictTable(dict[int, str]):
    """What becomes of one character, worked out when it is first seen (for `str.translate`)."""

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = result = _strict_character(chr(codepoint))
        return result


def _strict_character(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] in "PSZ" or category == "Cc" or character == "\u200b":
        return " "
    if category == "Cf":  # joiners, soft hyphen, byte order mark, word joiner
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category[0] == "L" and unicodedata.name(character, "").startswith("LATIN"):
        return character.casefold()
    return character


_STRICT = _StrictTable()


def raw(text: str, lang: str) -> str:
    """Returns the text in NFC with single spaces, and nothing else done to it."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def indic_strict(text: str, lang: str) -> str:
    """Returns the headline form of a text."""
    text = composed(text, lang)
    if lang == "en":
        return raw(whisper_en(APOSTROPHE.sub("'", text), lang), lang)  # whose rules know one apostrophe
    return plain(text, lang)


def composed(text: str, lang: str) -> str:
    """Returns the text in NFC, old chillu as atomic ones, without tags."""
    text = unicodedata.normalize("NFC", text)
    if lang == "ml":
        text = OLD_CHILLU.sub(lambda match: ATOMIC_CHILLU[match[1]], text)
    return TAG.sub(" ", text)


def plain(text: str, lang: str) -> str:
    """Returns composed text without punctuation, symbols, joiners and case, digits ASCII."""
    if "\ufe0f" in text or "\ufe0e" in text:
        text = EMOJI_FORM.sub(_without_selector, text)
    return raw(APOSTROPHE.sub("", text).translate(_STRICT), lang)


def _without_selector(match: re.Match[str]) -> str:
    symbol = match[1]
    return symbol if unicodedata.category(symbol)[0] in "PSN" else match[0]
