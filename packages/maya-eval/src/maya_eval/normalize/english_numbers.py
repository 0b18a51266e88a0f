"""English number words as digits, by the conventions of Whisper's normaliser.

Successive digits are a string of them (`one oh one` is 101), `and` after a hundred is nothing, currencies
and percent become signs (`ten dollars` is $10), suffixes stay (`1960s`, `32nd`), a lone 1 stays the word
`one`.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

UNITS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "quadrillion": 15}
SCALES |= {
    "quintillion": 18,
    "sextillion": 21,
    "septillion": 24,
    "octillion": 27,
    "nonillion": 30,
    "decillion": 33,
}
IRREGULAR_ORDINALS = {"first": 1, "second": 2, "third": 3, "fifth": 5, "twelfth": 12}
SIGNS_BEFORE = {"minus": "-", "negative": "-", "plus": "+", "positive": "+"}
CURRENCIES = {
    word + plural: sign
    for word, sign in (("pound", "\u00a3"), ("euro", "\u20ac"), ("dollar", "$"), ("cent", "\u00a2"))
    for plural in ("", "s")
}
PREFIXES = {*SIGNS_BEFORE.values(), *CURRENCIES.values()}

LONGEST = 1000
"""Digits above which a word is no number; outputs that loop have them, and Python refuses to read 4300."""
NUMBER = re.compile(r"\d+(\.\d+)?$")
HALF = re.compile(r"\band\s+a\s+half\b")
LETTER_DIGIT = re.compile(r"([a-z])([0-9])")
DIGIT_LETTER = re.compile(r"([0-9])([a-z])")
SPACED_SUFFIX = re.compile(r"([0-9])\s+(st|nd|rd|th|s)\b")
CENTS_AFTER = re.compile("([\u20ac\u00a3$])([0-9]+) (?:and )?\u00a2([0-9]{1,2})\\b")
ONLY_CENTS = re.compile("[\u20ac\u00a3$]0.([0-9]{1,2})\\b")
LONE_ONE = re.compile(r"\b1(s?)\b")


class Word(NamedTuple):
    """A word that numbers are made of."""

    kind: str
    """zero, unit, ten, scale, sign, currency, percent, per, or special."""
    value: int = 0
    suffix: str = ""
    sign: str = ""


@cache
def _lexicon() -> dict[str, Word]:
    words = {word: Word("zero") for word in ("o", "oh", "zero")}
    words["zeroth"] = Word("unit", 0, "th")
    for value, name in enumerate(UNITS.split(), 1):
        words[name] = Word("unit", value)
        words["sixes" if name == "six" else name + "s"] = Word("unit", value, "s")
        words[name + ("h" if name.endswith("t") else "th")] = Word("unit", value, "th")
    for wrong in ("oneth", "twoth", "threeth", "fiveth", "twelveth"):
        del words[wrong]
    for name, value in IRREGULAR_ORDINALS.items():
        words[name] = Word("unit", value, {1: "st", 2: "nd", 3: "rd"}.get(value, "th"))
    for value, name in zip(range(20, 100, 10), TENS.split(), strict=True):
        words[name] = Word("ten", value)
        words[name[:-1] + "ies"] = Word("ten", value, "s")
        words[name[:-1] + "ieth"] = Word("ten", value, "th")
    for name, power in SCALES.items():
        for ending in ("", "s", "th"):
            words[name + ending] = Word("scale", 10**power, ending)
    words |= {word: Word("sign", sign=sign) for word, sign in SIGNS_BEFORE.items()}
    words |= {word: Word("currency", sign=sign) for word, sign in CURRENCIES.items()}
    words |= {"per": Word("per", sign="%"), "percent": Word("percent", sign="%")}
    return words | {word: Word("special") for word in ("and", "double", "triple", "point")}


def spoken_to_digits(text: str) -> str:
    """Returns lower-case English with its numbers in digits."""
    text = DIGIT_LETTER.sub(r"\1 \2", LETTER_DIGIT.sub(r"\1 \2", _halves(text)))
    text = " ".join(_Reader(SPACED_SUFFIX.sub(r"\1\2", text).split()).read())
    text = CENTS_AFTER.sub(lambda m: f"{m[1]}{m[2]}.{int(m[3]):02d}", text)
    text = ONLY_CENTS.sub(lambda m: f"\u00a2{int(m[1])}", text)
    return LONE_ONE.sub(r"one\1", text)


def _halves(text: str) -> str:
    """`two and a half` as `two point five`."""
    *heads, last = HALF.split(text)
    parts = []
    for head in heads:
        if words := head.split():
            known = _plain(words[-1], "unit", "ten", "zero", "scale")
            parts += [head, "point five" if known else "and a half"]
    return " ".join([*parts, last] if last.strip() else parts)


def _plain(word: str | None, *kinds: str) -> bool:
    """Whether the word is of one of these kinds and has no ending."""
    found = _lexicon().get(word or "")
    return found is not None and found.kind in kinds and not found.suffix


class _Reader:
    """Goes over the words once, holding the number that is being read.

    The number is an int while it is counted (`twenty` + `one`) and a text once it is spelt (`one` + `oh`).
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.at = 0
        self.out: list[str] = []
        self.number: int | str | None = None
        self.sign = ""
        self.readers: dict[str, Callable[[str, Word], None]] = {
            "zero": self._zero,
            "unit": self._small,
            "ten": self._small,
            "scale": self._scale,
            "sign": self._sign,
            "currency": self._currency,
            "percent": self._percent,
            "per": self._per,
            "special": self._special,
        }

    def read(self) -> list[str]:
        """Returns the words with numbers in digits."""
        while self.at < len(self.words):
            word = self.words[self.at]
            bare = word[1:] if word[0] in PREFIXES else word
            if len(bare) < LONGEST and NUMBER.match(bare):
                self._digits(word, bare)
            elif word in (lexicon := _lexicon()):
                self.readers[lexicon[word].kind](word, lexicon[word])
            else:
                self._flush()
                self._write(word)
            self.at += 1
        self._flush()
        return self.out

    def _near(self, step: int) -> str | None:
        place = self.at + step
        return self.words[place] if 0 <= place < len(self.words) else None

    def _number_follows(self) -> bool:
        following = self._near(1)
        return following is not None and NUMBER.match(following) is not None

    def _write(self, text: str) -> None:
        self.out.append(self.sign + text)
        self.number, self.sign = None, ""

    def _flush(self) -> None:
        if self.number is not None:
            self._write(str(self.number))

    def _digits(self, word: str, bare: str) -> None:
        if isinstance(self.number, str) and self.number.endswith("."):
            self.number += word
            return
        self._flush()
        self.sign = word[0] if bare != word else self.sign
        value = Fraction(bare)
        self.number = value.numerator if value.denominator == 1 else bare

    def _zero(self, word: str, entry: Word) -> None:
        self.number = str(self.number or "") + "0"

    def _small(self, word: str, entry: Word) -> None:
        self.number = self._joined(entry.value, entry.kind)
        if entry.suffix:
            self._write(f"{self.number}{entry.suffix}")

    def _joined(self, value: int, kind: str) -> int | str:
        """The number with a unit or a ten after it: added where there is room, else written behind."""
        number, previous = self.number, self._near(-1)
        if number is None:
            return value
        after_unit = kind == "unit" and _plain(previous, "unit")
        if isinstance(number, str) or after_unit:
            if kind == "unit" and value < 10 and _plain(previous, "ten"):
                return str(number)[:-1] + str(value)
            return f"{number}{value}"
        room = 10 if kind == "unit" and value < 10 else 100
        return number + value if number % room == 0 else f"{number}{value}"

    def _scale(self, word: str, entry: Word) -> None:
        number, factor = self.number, entry.value
        if number is None:
            self.number = factor
        elif isinstance(number, int) and number:
            self.number = number // 1000 * 1000 + number % 1000 * factor
        elif (product := _product(number, factor)) is not None:
            self.number = product
        else:
            self._flush()
            self.number = factor
        if entry.suffix:
            self._write(f"{self.number}{entry.suffix}")

    def _sign(self, word: str, entry: Word) -> None:
        self._flush()
        if self._near(1) in _lexicon() or self._number_follows():
            self.sign = entry.sign
        else:
            self._write(word)

    def _currency(self, word: str, entry: Word) -> None:
        if self.number is None:
            self._write(word)
        else:
            self.sign = entry.sign
            self._flush()

    def _percent(self, word: str, entry: Word) -> None:
        self._write(word if self.number is None else f"{self.number}%")

    def _per(self, word: str, entry: Word) -> None:
        if self.number is not None and self._near(1) == "cent":
            self._write(f"{self.number}%")
            self.at += 1
        else:
            self._flush()
            self._write(word)

    def _special(self, word: str, entry: Word) -> None:
        following = self._near(1)
        if following not in _lexicon() and not self._number_follows():
            self._flush()
            self._write(word)
        elif word == "point":
            if _plain(following, "unit", "ten", "zero") or self._number_follows():
                self.number = str(self.number or "") + "."
        elif word == "and":
            if not _plain(self._near(-1), "scale"):
                self._flush()
                self._write(word)
        elif _plain(following, "unit", "zero"):
            digit = _lexicon()[following or ""].value
            self.number = str(self.number or "") + str(digit) * (2 if word == "double" else 3)
            self.at += 1
        else:
            self._flush()
            self._write(word)


def _product(number: int | str, factor: int) -> int | None:
    try:
        product = Fraction(number) * factor
    except ValueError:
        return None
    return product.numerator if product.denominator == 1 else None
