"""Reads number words of one language in a list of words, by the tables in number_words.json.

A number is read as a sum of `amount x multiplier` with falling multipliers, as all twelve languages build
theirs.
"""

from collections.abc import Sequence
from fractions import Fraction

from maya_eval.normalize.number_words import Lexicon, lexicon, word_key

HUNDRED = 100
HIGHEST = 10**12
"""Totals from which on a larger multiplier (`lakh crore`) begins a number of its own."""
LONGEST = 40
"""Digits above which a word is left alone."""
WITH_QUARTERS = {*range(1, HUNDRED), *range(HUNDRED, 1000, HUNDRED)}
"""Numbers that halves and quarters are said of: 3 and a half, a quarter less than 200."""
QUARTERS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4), "less": Fraction(-1, 4)}


def read_numbers(words: Sequence[str], lang: str) -> list[str]:
    """Returns the words with every number in digits; a language without a table keeps its words."""
    table = lexicon(lang)
    if table is None:
        return list(words)
    out: list[str] = []
    at = 0
    while at < len(words):
        reading = _Reading(table, words, at)
        text = reading.text()
        out.append(words[at] if text is None else text)
        at = at + 1 if text is None else reading.end
    return out


class _Reading:
    """One number, read from its first word on; `end` is the place after the last word that belongs to it."""

    def __init__(self, table: Lexicon, words: Sequence[str], start: int) -> None:
        self.table = table
        self.words = words
        self.start = self.at = self.end = start
        self.total = Fraction(0)
        self.amount: Fraction | None = None
        self.in_digits = False
        self.floor: int | None = None
        """The smallest multiplier so far; what follows must stay below it."""

    def text(self) -> str | None:
        """Returns the number, None where no number begins or where it is one word of digits already."""
        while self.at < len(self.words) and self._take(self.words[self.at]):
            self.at += 1
        only_digits = self.end == self.start + 1 and _digits(self.words[self.start]) is not None
        if self.end == self.start or only_digits:
            return None
        value = self.total + (self.amount or 0)
        return self._spelt(value) + (self._decimals() if value.denominator == 1 else "")

    def _take(self, word: str) -> bool:
        """Takes a word into the number; False where it does not belong to it."""
        key = word_key(word)
        table = self.table
        if (digits := _digits(word)) is not None:
            return self.amount is None and self._start_amount(digits, in_digits=True)
        if key in table.ones or key in table.bound:
            return self._take_bound(key)
        if key in table.multipliers:
            return self._multiply(table.multipliers[key])
        if key in table.fixed and self.amount is None:
            return self._start_amount(table.fixed[key])
        if key in table.quarters and self.amount is None:
            return self._quarter(QUARTERS[table.quarters[key]])
        value = table.value(key)
        return value is not None and self._add(value)

    def _take_bound(self, key: str) -> bool:
        """Words that are numbers only in front of, or behind, another number word."""
        if key in self.table.bound:
            return (self.amount is not None or self.floor is not None) and self._multiply(
                self.table.bound[key]
            )
        following = word_key(self.words[self.at + 1]) if self.at + 1 < len(self.words) else ""
        if following not in self.table.multipliers or self.amount is not None:
            return False
        return self._start_amount(Fraction(1))

    def _start_amount(self, value: Fraction, in_digits: bool = False) -> bool:
        if self.floor is not None and value >= self.floor:
            return False
        self.amount, self.in_digits = value, in_digits
        self.end = self.at + 1
        return True

    def _quarter(self, part: Fraction) -> bool:
        """`half three` is 3.5, `quarter hundred` 1.25 hundred."""
        following = self.words[self.at + 1] if self.at + 1 < len(self.words) else ""
        value = _digits(following)
        if value is None and (known := self.table.value(word_key(following))) is not None:
            value = Fraction(known)
        if value in WITH_QUARTERS:
            assert value is not None
            self.at += 1
            return self._start_amount(value + part * (1 if value < HUNDRED else HUNDRED))
        return word_key(following) in self.table.multipliers and self._start_amount(1 + part)

    def _add(self, value: int) -> bool:
        amount = self.amount
        if amount is None:
            return self._start_amount(Fraction(value))
        if self.in_digits:
            return False
        if self._tens_of(amount) and value < 10_000 and value % 1000 == 0 < value:
            amount *= 1000  # twenty | three-thousand
        elif not self._room(amount, value):
            return False
        self.amount = amount + value
        self.end = self.at + 1
        return True

    def _tens_of(self, amount: Fraction) -> bool:
        return self.table.tens_and_units and 20 <= amount < HUNDRED and amount % 10 == 0

    def _room(self, amount: Fraction, value: int) -> bool:
        if amount.denominator != 1 or not value or not amount:
            return False
        for unit in (1000, HUNDRED):
            if amount % unit == 0:
                return value < unit
        return self.table.tens_and_units and amount % 10 == 0 and amount % HUNDRED >= 20 and value < 10

    def _multiply(self, factor: int) -> bool:
        floor, amount = self.floor, self.amount
        if factor == HUNDRED:
            if amount is not None and amount >= 1000 and amount % 1000 == 0 and not self.in_digits:
                self.amount = amount + HUNDRED
            elif amount is None or 0 < amount < HUNDRED:
                self.amount, self.in_digits = Fraction(HUNDRED) * (amount or 1), False
            else:
                return False
        elif floor is None or factor < floor:
            self.total += (1 if amount is None else amount) * factor
            self.amount, self.floor = None, factor
        elif amount is None and factor > floor and self.total < HIGHEST:
            self.total *= factor
            self.floor = floor * factor
        else:
            return False
        self.end = self.at + 1
        return True

    def _decimals(self) -> str:
        """The digits that are read out after the language's word for a decimal point."""
        at = self.end
        if at >= len(self.words) or word_key(self.words[at]) not in self.table.points:
            return ""
        digits = ""
        while (at := at + 1) < len(self.words):
            word = self.words[at]
            value = word if word.isascii() and word.isdigit() else self.table.value(word_key(word))
            if value is None or (isinstance(value, int) and value > 9):
                break
            digits += str(value)
            self.end = at + 1
        return f".{digits}" if digits else ""

    def _spelt(self, value: Fraction) -> str:
        if value.denominator == 1:
            return str(value.numerator)
        whole, rest = divmod(value, 1)
        return f"{whole}.{str(float(rest))[2:]}"


def _digits(word: str) -> Fraction | None:
    """The value of a word in ASCII digits, with or without a decimal point."""
    if not word.isascii() or not word[:1].isdigit() or len(word) > LONGEST:
        return None
    whole, point, rest = word.partition(".")
    return Fraction(word) if whole.isdigit() and (rest.isdigit() if point else True) else None
