"""Scoring profiles: what is done to reference and hypothesis alike before the edit distance.

A profile never loses a combining mark of an Indic script (vowel signs, virama, nukta, anusvara): without them
words fall apart. A rule that changes gets a new version, which every score row carries.
"""

import difflib
from functools import cache

from maya_eval.normalize.english import whisper_en
from maya_eval.normalize.indic import indic_strict, raw
from maya_eval.normalize.numbers import indic_numbers
from maya_eval.normalize.profile import ALSO_KNOWN, LANGS, Profile
from maya_eval.normalize.vistaar import VISTAAR_LANGS, vistaar

__all__ = ["ALSO_KNOWN", "LANGS", "PROFILES", "Profile", "profile"]

PROFILES = {
    p.name: p
    for p in (
        Profile("raw", "1", "NFC and single spaces", raw),
        Profile(
            "indic-strict-v1",
            "1",
            "NFC, joiners, tags, punctuation and case removed, digits ASCII, all vowel signs and marks kept; "
            "English as whisper-en",
            indic_strict,
            (*LANGS, *ALSO_KNOWN),
        ),
        Profile(
            "indic-numbers-v1",
            "1",
            "indic-strict-v1, and digits, groups of digits and number words in one form",
            indic_numbers,
            (*LANGS, *ALSO_KNOWN),
        ),
        Profile(
            "vistaar",
            "1",
            "as Vistaar scores: punctuation deleted, indic-nlp's script rules, case and digits kept",
            vistaar,
            VISTAAR_LANGS,
            empty_reference="<empty>",
        ),
        Profile(
            "whisper-en", "1", "Whisper's English rules, marks of other scripts kept", whisper_en, ("en",)
        ),
    )
}


@cache
def profile(name: str) -> Profile:
    """Returns the profile of that name."""
    if name in PROFILES:
        return PROFILES[name]
    close = difflib.get_close_matches(name, PROFILES, n=1)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"no scoring profile named {name!r}; there are: {', '.join(PROFILES)}{hint}")
