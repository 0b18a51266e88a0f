"""The profile `whisper-en`: the English rules of the Whisper paper (arXiv 2212.04356, appendix C).

Brackets and what is in them, fillers and symbols go; contractions and titles are written out; number words
become digits, with their currency and percent signs; British spellings become American. On Latin text the
result is that of Whisper's own normaliser. Unlike it, no mark of an Indic script is touched in code-mixed
lines.
"""

import re
import unicodedata
from functools import cache
from importlib.resources import files

from maya_eval.normalize.english_numbers import spoken_to_digits

BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]")
PARENTHESES = re.compile(r"\(([^)]+?)\)")
FILLERS = re.compile(r"\b(hmm|mm|mhm|mmm|uh|um)\b")
SPACE_BEFORE_APOSTROPHE = re.compile(r"\s+'")

SHORT_FORMS = (
    "won't=will not|can't=can not|let's=let us|ain't=aint|y'all=you all|wanna=want to|kinda=kind of|"
    "sorta=sort of|dunno=do not know|gotta=got to|gonna=going to|i'ma=i am going to|imma=i am going to|"
    "woulda=would have|coulda=could have|shoulda=should have|cause=because|ma'am=madam"
)
TITLES = (
    "mr=mister|mrs=missus|st=saint|dr=doctor|prof=professor|capt=captain|gov=governor|ald=alderman|"
    "gen=general|sen=senator|rep=representative|pres=president|rev=reverend|hon=honorable|asst=assistant|assoc=associate|"
    "lt=lieutenant|col=colonel|jr=junior|sr=senior|esq=esquire"
)
ENDINGS = (
    "'d been=had been|'s been=has been|'d gone=had gone|'s gone=has gone|'d done=had done|'s got=has got|"
    "n't=not|'re=are|'s=is|'d=would|'ll=will|'t=not|'ve=have|'m=am"
)

COMMA_IN_NUMBER = re.compile(r"(\d),(\d)")
FULL_STOP = re.compile(r"\.([^0-9]|$)")
KEPT_FOR_NUMBERS = ".%$\u00a2\u20ac\u00a3"
LONE_PREFIX = re.compile(r"[.$\u00a2\u20ac\u00a3]([^0-9])")
LONE_PERCENT = re.compile(r"([^0-9])%")
INDIC = range(0x0900, 0x0E00)
WITHOUT_DECOMPOSITION = dict(
    zip(
        "\u0153\u0152\u00f8\u00d8\u00e6\u00c6\u00df\u1e9e\u0111\u0110\u00f0\u00d0\u00fe\u00de\u0142\u0141",
        ["oe", "OE", "o", "O", "ae", "AE", "ss", "SS", "d", "D", "d", "D", "th", "th", "l", "L"],
        strict=True,
    )
)
"""Latin letters that NFKD leaves whole, and what is written for them."""


class _SymbolTable(dict[int, str]):
    """What becomes of one decomposed character, worked out when it is first seen (for `str.translate`)."""

    def __missing__(self, codepoint: int) -> str:
        self[codepoint] = result = _without_symbol(chr(codepoint))
        return result


def _without_symbol(character: str) -> str:
    if character in WITHOUT_DECOMPOSITION:
        return WITHOUT_DECOMPOSITION[character]
    category = unicodedata.category(character)
    if character in KEPT_FOR_NUMBERS or (category[0] == "M" and ord(character) in INDIC):
        return character
    if category == "Mn":
        return ""
    return " " if category[0] in "MSP" else character


_SYMBOLS = _SymbolTable()


def whisper_en(text: str, lang: str) -> str:
    """Returns English as Whisper's normaliser writes it."""
    text = PARENTHESES.sub("", BRACKETS.sub("", text.lower()))
    text = SPACE_BEFORE_APOSTROPHE.sub("'", FILLERS.sub("", text))
    for pattern, full in _replacements():
        text = pattern.sub(full, text)
    text = FULL_STOP.sub(r" \1", COMMA_IN_NUMBER.sub(r"\1\2", text))
    text = unicodedata.normalize("NFKD", text).translate(_SYMBOLS)
    spellings = _spellings()
    text = " ".join(spellings.get(word, word) for word in spoken_to_digits(text).split())
    text = LONE_PERCENT.sub(r"\1 ", LONE_PREFIX.sub(r" \1", text))
    return " ".join(unicodedata.normalize("NFC", text).split())


@cache
def _replacements() -> list[tuple[re.Pattern[str], str]]:
    found = [(re.compile(rf"\b{short}\b"), full) for short, full in _table(SHORT_FORMS)]
    found += [(re.compile(rf"\b{short}\b"), full + " ") for short, full in _table(TITLES)]
    return found + [(re.compile(rf"{short}\b"), " " + full) for short, full in _table(ENDINGS)]


def _table(text: str) -> list[tuple[str, str]]:
    return [(short, full) for short, _, full in (entry.partition("=") for entry in text.split("|"))]


@cache
def _spellings() -> dict[str, str]:
    """British spelling to American, from the table beside this file."""
    table: dict[str, str] = {}
    old = new = ""
    for line in files("maya_eval.normalize").joinpath("english_spelling.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            old, new = (part.replace("_", "") for part in line.strip("[]").split(">"))
        elif line and not line.startswith("#"):
            endings, _, stems = line.partition(": ")
            for ending in endings.replace("-", "").split(" "):
                table |= {stem + old + ending: stem + new + ending for stem in stems.split()}
    return table
