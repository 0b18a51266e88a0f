import random

import pytest

from maya_eval.normalize import profile
from maya_eval.normalize.number_reader import read_numbers

FORMS = [
    ("hi", "१,२३,४५६ रुपये", "123456 रुपये"),
    ("hi", "1,23,456 और 123,456", "123456 और 123456"),
    ("hi", "एक लाख तेईस हजार चार सौ छप्पन", "123456"),
    ("hi", "5 लाख 23 हज़ार", "523000"),
    ("hi", "डेढ़ लाख लोग", "150000 लोग"),
    ("hi", "साढ़े तीन हज़ार", "3500"),
    ("hi", "पौने दो सौ और सवा सौ", "175 और 125"),
    ("hi", "साढ़े तीन किलो", "3.5 किलो"),
    ("hi", "तीन दशमलव पांच", "3.5"),
    ("hi", "3.5 किलो", "3.5 किलो"),
    ("hi", "उन्नीस सौ सैंतालीस", "1947"),
    ("hi", "नौ आठ सात छह पाँच", "98765"),
    ("hi", "दो तीन दिन", "2 3 दिन"),
    ("hi", "दो लाख करोड़", "2000000000000"),
    ("hi", "अरब सागर", "अरब सागर"),
    ("hi", "दो अरब", "2000000000"),
    ("hi", "०७ 2024.", "07 2024"),
    ("hi", "12.5.2024", "12 5 2024"),
    ("mr", "अडीच लाख", "250000"),
    ("bn", "১২,৩৪,৫৬৭ টাকা", "1234567 টাকা"),
    ("bn", "দেড়শো", "দেড়শো"),
    ("ta", "ஒரு நாள் ஒரு லட்சம்", "ஒரு நாள் 100000"),
    ("ta", "இரண்டாயிரத்து இருபத்து நான்கு", "2024"),
    ("te", "ఒక రోజు రెండు వేల ఇరవై నాలుగు", "ఒక రోజు 2024"),
    ("kn", "ನೂರಿಪ್ಪತ್ತ್ಮೂರು", "123"),
    ("kn", "ಸಾವಿರದ ಒಂಬೈನೂರ ನಲವತ್ತೇಳು", "1947"),
    ("kn", "ಮುನ್ನೂರ ಅರವತ್ತೈದು ದಿನ", "365 ದಿನ"),
    ("kn", "ನಾನೂರ ಎಂಭತ್ಮೂರು ಮತ್ತು ಒಂಭೈನೂರು", "483 ಮತ್ತು 900"),
    ("kn", "ಎರಡುನೂರು ನಲ್ವತ್ತೈದು", "245"),
    ("kn", "ಮೂರು ಕೋಟಿಯ ಎರಡು ಲಕ್ಷ", "30200000"),
    ("kn", "ಒಂದೂವರೆ ಲಕ್ಷ ಜನ", "150000 ಜನ"),
    ("kn", "ಎರಡೂವರೆ ಗಂಟೆ", "2.5 ಗಂಟೆ"),
    ("ml", "നാനൂറ്റമ്പത്തിയാറ്", "456"),
    ("en", "one lakh twenty three thousand rupees", "123000 rupees"),
    ("en", "no one came at ten", "no 1 came at 10"),
    ("sa", "१२ दिनानि", "12 दिनानि"),
]


@pytest.mark.parametrize(("lang", "text", "expected"), FORMS)
def test_numbers_come_to_one_form(lang, text, expected):
    assert profile("indic-numbers-v1")(text, lang) == expected


def test_the_form_is_its_own_form():
    for lang, _, expected in FORMS:
        assert profile("indic-numbers-v1")(expected, lang) == expected


@pytest.mark.parametrize("lang", ["as", "bn", "en", "gu", "hi", "ml", "mr", "or", "pa", "ta", "te"])
def test_numbers_written_out_by_another_library_are_read(lang):
    written_out = pytest.importorskip("indic_numtowords").num2words
    rng = random.Random(3)
    numbers = [*range(100), *(rng.randrange(10 ** rng.randint(3, 7)) for _ in range(60))]
    right = [str(n) == profile("indic-numbers-v1")(written_out(n, lang=lang), lang) for n in numbers]
    assert sum(right) >= 0.99 * len(right)


def test_kannada_numbers_written_out_by_another_library_are_read_where_it_writes_them_whole():
    """It cuts 110, 120, ... off behind the hundreds, says 82 for 83, and gives all spellings of 4 and 7."""
    written_out = pytest.importorskip("indic_numtowords").num2words
    rng = random.Random(3)
    numbers = [*range(1000), *(rng.randrange(10 ** rng.randint(4, 7)) for _ in range(200))]
    cut = {10, 20, 30, 50, 60, 70, 90}

    def is_whole(n):
        parts = (n % 1000, n // 1000 % 100, n // 100_000 % 100, n // 10_000_000)
        return not (
            any(part % 100 == 83 for part in parts) or (parts[0] > 100 and n % 100 in cut) or n % 10 in (4, 7)
        )

    whole = [n for n in numbers if is_whole(n)]
    wrong = [n for n in whole if str(n) != profile("indic-numbers-v1")(written_out(n, lang="kn"), "kn")]
    assert len(whole) > 700
    assert wrong == []


def test_every_value_below_a_hundred_is_a_word_of_its_own():
    from maya_eval.normalize.number_words import lexicon

    for lang in ("as", "bn", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta"):
        known = lexicon(lang)
        values = {*known.values.values(), *known.joined.values()}
        assert values >= set(range(100)), lang


def test_a_language_without_a_table_keeps_its_words():
    assert read_numbers(["ek", "5"], "ur") == ["ek", "5"]
