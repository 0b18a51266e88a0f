import sys
import unicodedata

import numpy as np
import pytest

from maya_data.text import TextProfile, profile

ASR = profile("asr-v1")


@pytest.mark.parametrize(
    ("raw", "lang", "spelled"),
    [
        ("Don\u2019t STOP \u2014 'now', \u201cit's\u201d OK!", "en", "don't stop now it's ok"),
        ("rock 'n' roll  a''b", "en", "rock n roll a b"),
        ("नमस्ते। क्या\u00a0हाल?", "hi", "नमस्ते क्या हाल"),
        ("अवन\u094d\u200dद \u200cक", "hi", "अवन्द क"),
        ("അവന\u0d4d\u200d", "ml", "അവൻ"),
        ("[noise] ہ <unk>ab", "en", "ہ ab"),
        ("ড়\u200bক", "bn", "ড় ক"),
        ("कमरा 12", "hi", "कमरा १२"),
        ("अंक १२", "en", "अंक 12"),
    ],
)
def test_asr_v1_spells(raw, lang, spelled):
    assert ASR.normalize(raw, lang) == unicodedata.normalize("NFC", spelled)


def test_vowel_signs_and_viramas_survive():
    text = "क्षत्रिय சென்னை తెలుగు"
    assert ASR.normalize(text, "hi") == text


def test_normalizing_twice_changes_nothing():
    rng = np.random.default_rng(0)
    letters = [*range(0x20, 0x250), *range(0x900, 0xD80), 0x200B, 0x200C, 0x200D, 0x2019]
    for _ in range(300):
        text = "".join(chr(cp) for cp in rng.choice(letters, 30))
        once = ASR.normalize(text, "ml")
        assert ASR.normalize(once, "ml") == once


def test_keep_leaves_punctuation_and_case():
    keep = TextProfile(name="own", punctuation="keep", lowercase=False, digits="ascii")
    assert keep.normalize("Stop, 'now'  १२!", "hi") == "Stop, 'now' 12!"


def test_digits_as_words_are_spoken():
    pytest.importorskip("indic_numtowords")
    words = TextProfile(name="own", digits="words")
    assert words.normalize("45 rooms", "en") == "forty five rooms"


def test_digits_as_words_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "indic_numtowords", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'maya-data\[synth\]'"):
        TextProfile(name="own", digits="words").normalize("4", "en")


def test_unknown_profile_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"no text profile named 'asr-1'.*Did you mean 'asr-v1'"):
        profile("asr-1")


def test_unknown_switch_is_refused():
    with pytest.raises(ValueError, match="`punctuation` must be one of drop, keep, got 'some'"):
        TextProfile(punctuation="some")
