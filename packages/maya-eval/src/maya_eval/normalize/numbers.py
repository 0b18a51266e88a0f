"""The profile `indic-numbers-v1`: the strict form with numbers in one form, ASCII digits without groups.

Native digits, Indian and western groups (1,23,456 and 123,456), number words (with lakh and crore, the
Indo-Aryan halves and quarters, and the joined forms of the Dravidian languages), mixtures (`5 lakh`) and
digits read out one by one (three and more) come to the same text. Units, ordinals, dates and clock times
are left as they stand.
"""

import re
import unicodedata

from maya_eval.normalize.english import whisper_en
from maya_eval.normalize.indic import APOSTROPHE, composed, plain, raw
from maya_eval.normalize.number_reader import read_numbers

GROUPED = re.compile(r"(?<![\d,.])(?:\d{1,2}(?:,\d{2})*,\d{3}|\d{1,3}(?:,\d{3})+)(?![\d,])")
DECIMAL = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?!\d|\.\d)")
DIGITS_APART = re.compile(r"(?<!\S)\d(?: \d){2,}(?!\S)")
POINT = "\ue000"
"""Stands for a decimal point while punctuation is removed."""


def indic_numbers(text: str, lang: str) -> str:
    """Returns the strict form of a text with its numbers in one form."""
    text = composed(_ascii_digits(text), lang)
    text = GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    if lang == "en":
        text = whisper_en(APOSTROPHE.sub("'", text), lang)
    else:
        text = plain(DECIMAL.sub(rf"\1{POINT}\2", text), lang).replace(POINT, ".")
    text = " ".join(read_numbers(text.split(), lang))
    return raw(DIGITS_APART.sub(lambda match: match[0].replace(" ", ""), text), lang)


def _ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(unicodedata.digit(c)) if not c.isascii() and c.isdecimal() else c for c in text)
