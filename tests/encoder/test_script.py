import pytest

from maya_encoder.script import BLOCKS, LANGS, fold, unfold

WORDS = {"as": "অসমীয়া", "bn": "বাংলা", "gu": "ગુજરાતી", "hi": "हिन्दी", "kn": "ಕನ್ನಡ", "ml": "മലയാളം"}
WORDS |= {"mr": "मराठी", "or": "ଓଡ଼ିଆ", "pa": "ਪੰਜਾਬੀ", "ta": "தமிழ்", "te": "తెలుగు", "en": "it's english"}


@pytest.mark.parametrize("lang", LANGS)
def test_unfolding_gives_the_native_word_again(lang):
    assert unfold(fold(WORDS[lang]), lang) == WORDS[lang]


def test_folded_words_are_devanagari():
    for lang in BLOCKS:
        assert all(0x900 <= ord(letter) < 0x980 for letter in fold(WORDS[lang]))


def test_dandas_and_ascii_never_move():
    assert fold("a।॥b") == "a।॥b"
    assert unfold("a।॥b", "ta") == "a।॥b"


def test_nothing_folds_onto_a_danda():
    assert not {"।", "॥"} & set(fold("".join(map(chr, range(0x980, 0xD80)))))


def test_unknown_language_is_refused():
    with pytest.raises(ValueError, match=r"`lang` must be one of as, bn, .*, got 'xx'"):
        unfold("क", "xx")
