import unicodedata

import pytest

from maya_eval.normalize import LANGS, PROFILES, profile

STRICT = [
    ("hi", "आज, मौसम अच्छा है।", "आज मौसम अच्छा है"),
    ("hi", "ज़रूर", "ज\u093cरूर"),
    ("hi", "१२ बजे", "12 बजे"),
    ("hi", "क्\u200dष", "क्ष"),
    ("hi", "एक\u00a0दो\u200bतीन\ufeff", "एक दो तीन"),
    ("hi", "[noise] हाँ <hes> जी", "हाँ जी"),
    ("bn", "বৃষ্টি হবে॥ ৩টি", "বৃষ্টি হবে 3টি"),
    ("bn", "\u0995\u09c7\u200c\u09be", "\u0995\u09cb"),
    ("ml", "അവന്\u200d", "അവൻ"),
    ("ml", "എന്റെ\u200c", "എന്റെ"),
    ("ta", "மழை-பெய்யும்", "மழை பெய்யும்"),
    ("en", "Don't STOP, it’s 5 o'clock!", "dont stop its 5 oclock"),
    ("en", "'quoted' text \U0001f600\ufe0f", "quoted text"),
    ("mr", "ॲप\tआणि\nTaxi", "ॲप आणि taxi"),
]


@pytest.mark.parametrize(("lang", "text", "expected"), STRICT)
def test_strict_profile_follows_the_hand_table(lang, text, expected):
    assert profile("indic-strict-v1")(text, lang) == expected


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_applied_twice_changes_nothing_more(name):
    for lang, text, _ in STRICT:
        once = profile(name)(text, lang)
        assert profile(name)(once, lang) == once


def test_no_combining_mark_of_any_indic_block_is_lost():
    for codepoint in range(0x0900, 0x0D80):
        mark = chr(codepoint)
        if unicodedata.category(mark) in ("Mn", "Mc"):
            text = unicodedata.normalize("NFC", "\u0915" + mark)
            assert profile("indic-strict-v1")(text, "hi") == text


def test_raw_keeps_punctuation_case_and_joiners():
    assert profile("raw")(" Hello,  क्\u200dष। ", "xx") == "Hello, क्\u200dष।"


def test_strict_profile_names_an_unknown_language():
    with pytest.raises(ValueError, match=r"`lang` must be one of as, .* got 'xx'"):
        profile("indic-strict-v1")("a", "xx")


def test_an_unknown_profile_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"no scoring profile named 'indic-strict'.*Did you mean 'indic-strict-v1'"
    ):
        profile("indic-strict")


def test_all_twelve_languages_are_known():
    assert all(profile("indic-strict-v1")("1", lang) == "1" for lang in LANGS)
