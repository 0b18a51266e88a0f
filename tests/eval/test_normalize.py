import json
import unicodedata
from pathlib import Path

import pytest

from maya_eval.normalize import ALSO_KNOWN, LANGS, PROFILES, profile

GOLDENS = Path(__file__).parent / "goldens"
STRICT = [
    ("hi", "आज, मौसम अच्छा है।", "आज मौसम अच्छा है"),
    ("hi", "ज़रूर", "ज\u093cरूर"),
    ("hi", "१२ बजे", "12 बजे"),
    ("hi", "क्\u200dष", "क्ष"),
    ("hi", "एक\u00a0दो\u200bतीन\ufeff", "एक दो तीन"),
    ("hi", "[noise] हाँ <hes> जी", "हाँ जी"),
    ("hi", "अच्छा 👍🏽\ufe0f ठीक", "अच्छा ठीक"),
    ("hi", "उसने Don't WORRY कहा", "उसने dont worry कहा"),
    ("as", "ৰাতিপুৱা ৱাহ", "ৰাতিপুৱা ৱাহ"),
    ("bn", "বৃষ্টি হবে॥ ৩টি", "বৃষ্টি হবে 3টি"),
    ("bn", "\u0995\u09c7\u200c\u09be", "\u0995\u09cb"),
    ("gu", "૧૦૮", "108"),
    ("kn", "೧೨ ಗಂಟೆ.", "12 ಗಂಟೆ"),
    ("ml", "അവന്\u200d", "അവൻ"),
    ("ml", "എന്റെ\u200c", "എന്റെ"),
    ("mr", "ॲप\tआणि\nTaxi", "ॲप आणि taxi"),
    ("or", "\u0b2c\u0b35\u0b71", "\u0b2c\u0b35\u0b71"),
    ("pa", "ਸਿੰਘ ਪੱਕਾ", "ਸਿੰਘ ਪੱਕਾ"),
    ("ta", "மழை-பெய்யும்", "மழை பெய்யும்"),
    ("te", "౩ రోజులు", "3 రోజులు"),
    ("en", "Don't STOP, it’s five o'clock!", "do not stop it is 50 clock"),
    ("en", "Mr. Smith paid ten dollars (cash) in 1,23,456 ways", "mister smith paid $10 in 123456 ways"),
    ("en", "<hes> colour \U0001f600\ufe0f", "color"),
]
MARKS = [chr(c) for c in range(0x0900, 0x0E00) if unicodedata.category(chr(c)) in ("Mn", "Mc")]


@pytest.mark.parametrize(("lang", "text", "expected"), STRICT)
def test_strict_profile_follows_the_hand_table(lang, text, expected):
    assert profile("indic-strict-v1")(text, lang) == expected


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "vistaar"])
def test_a_profile_applied_twice_changes_nothing_more(name):
    for lang, text, _ in STRICT:
        if profile(name).covers(lang):
            once = profile(name)(text, lang)
            assert profile(name)(once, lang) == once


@pytest.mark.parametrize("name", ["raw", "indic-strict-v1", "indic-numbers-v1", "whisper-en"])
def test_no_combining_mark_of_an_indic_block_is_lost(name):
    chosen = profile(name)
    for lang in chosen.langs or LANGS:
        for mark in MARKS:
            text = unicodedata.normalize("NFC", "\u0915" + mark)
            assert chosen(text, lang) == text


def test_marks_stay_even_where_nothing_carries_them():
    for mark in map(chr, range(0x300, 0x1100)):
        if unicodedata.category(mark) in ("Mn", "Mc"):
            assert mark in unicodedata.normalize(
                "NFD", profile("indic-strict-v1")("\u0915" + mark, "hi")
            ) or (unicodedata.normalize("NFD", mark) != mark)


def test_raw_keeps_punctuation_case_and_joiners():
    assert profile("raw")(" Hello,  क्\u200dष। ", "xx") == "Hello, क्\u200dष।"


@pytest.mark.parametrize(
    ("name", "lang"), [("indic-strict-v1", "xx"), ("vistaar", "en"), ("whisper-en", "hi")]
)
def test_a_language_without_rules_is_named(name, lang):
    with pytest.raises(ValueError, match=rf"`lang` must be one of .* in {name}, got {lang!r}"):
        profile(name)("a", lang)


def test_an_unknown_profile_is_answered_with_the_nearest():
    with pytest.raises(
        ValueError, match=r"no scoring profile named 'indic-strict'.*Did you mean 'indic-strict-v1'"
    ):
        profile("indic-strict")


def test_all_languages_are_known():
    assert all(profile("indic-strict-v1")("12", lang) == "12" for lang in (*LANGS, *ALSO_KNOWN))


def test_vistaar_equals_what_indic_nlp_wrote():
    for lang, text, expected in json.loads((GOLDENS / "vistaar.json").read_text()):
        assert profile("vistaar")(text, lang) == expected


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("hi", "अ-ब, HeLLo १२।", "अब HeLLo १२"),
        ("mr", "ॲप", "एप"),
        ("or", "ଵ", "ବ"),
        ("ur", "یہ، ہے۔", "یہ، ہے"),
    ],
)
def test_vistaar_deletes_punctuation_and_keeps_case_and_digits(lang, text, expected):
    assert profile("vistaar")(text, lang) == expected


def test_vistaar_puts_a_word_for_an_empty_reference_only():
    chosen = profile("vistaar")
    assert (chosen.reference("।", "hi"), chosen("।", "hi")) == ("<empty>", "")


def test_whisper_en_equals_what_whisper_wrote():
    for text, expected in json.loads((GOLDENS / "whisper_en.json").read_text()):
        assert profile("whisper-en")(text, "en") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("twenty one hundred and five", "2105"),
        ("one oh one", "101"),
        ("nineteen sixties and the thirty second", "1960s and the 32nd"),
        ("two and a half million dollars", "$2500000"),
        ("$2 and 7 cents", "$2.07"),
        ("double seven", "77"),
        ("minus five percent", "-5%"),
        ("one", "one"),
        ("organisations' favourite colours", "organizations favorite colors"),
        ("archaeology", "archeology"),
    ],
)
def test_whisper_en_writes_numbers_and_spellings_one_way(text, expected):
    assert profile("whisper-en")(text, "en") == expected
