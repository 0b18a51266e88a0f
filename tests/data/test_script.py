import pytest

from maya_data.script import BLOCKS, LANGS, fold, fold_rules, unfold

WORDS = {
    "as": "অসমীয়া ৰাতি",
    "bn": "বাংলা ভাষা",
    "gu": "ગુજરાતી",
    "hi": "हिन्दी",
    "kn": "ಕನ್ನಡ",
    "ml": "മലയാളം അവൻ",
    "mr": "मराठी",
    "or": "ଓଡ଼ିଆ",
    "pa": "ਪੰਜਾਬੀ",
    "ta": "தமிழ்",
    "te": "తెలుగు",
}


@pytest.mark.parametrize("lang", BLOCKS)
def test_a_word_comes_back_in_its_own_script(lang):
    folded = fold(WORDS[lang])
    assert all(ord(char) < 0x980 for char in folded)
    assert unfold(folded, lang) == WORDS[lang]


def test_english_is_never_moved():
    assert "en" in LANGS
    assert unfold(fold("plain ascii's 12"), "en") == "plain ascii's 12"


def test_no_rule_lands_on_a_danda():
    assert not {"\u0964", "\u0965"} & set(fold_rules().values())
    assert "\u09e4" not in fold_rules()
    assert unfold("\u0964\u0965", "ta") == fold("\u0964\u0965") == "\u0964\u0965"


def test_rules_are_what_fold_does():
    rules = fold_rules()
    assert all(fold(source) == target for source, target in rules.items())
    assert min(rules) == "\u0980"
    assert max(rules) == "\u0d7f"
