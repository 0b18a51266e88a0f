"""What is said: a small closed lexicon and the sentences made of it.

Names of countries, languages, weekdays and months come from CLDR, number words from indic-numtowords,
templates and corrections from phrases.toml. Everything is lower case NFC: letters, marks, apostrophes and
single spaces.
"""

import functools
import itertools
import random
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from maya_data.synth.errors import MissingExtra, SynthesisError

COUNTRIES = ("IN", "CN", "JP", "NP", "IT", "IR", "GH", "CA", "PE", "CU", "KE", "OM", "BR", "ES", "EG", "DE")
LANGUAGES = ("as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te", "ur", "ne")
_SLOT = re.compile(r"\{(\w+)\}")
_MAX_MISSES = 2000


@dataclass(frozen=True)
class Lexicon:
    """The templates of a language and the fillers of their slots."""

    lang: str
    templates: tuple[str, ...]
    fillers: dict[str, tuple[str, ...]]

    def sentence(self, rng: random.Random) -> str:
        """One random sentence; a slot that stands twice is filled with two different words."""
        template = rng.choice(self.templates)
        slots = _SLOT.findall(template)
        for slot in dict.fromkeys(slots):
            for filler in rng.sample(self.fillers[slot], slots.count(slot)):
                template = _fill(template, slot, filler)
        return normalize(template)

    def sentences(self, count: int, rng: random.Random, avoid: Iterable[str] = ()) -> list[str]:
        """`count` different sentences, none of them in `avoid`."""
        seen, found, misses = set(avoid), list[str](), 0
        while len(found) < count:
            sentence = self.sentence(rng)
            if sentence not in seen:
                seen.add(sentence)
                found.append(sentence)
                misses = 0
            elif (misses := misses + 1) > _MAX_MISSES:
                total = len(seen)
                raise SynthesisError(
                    f"the templates of {self.lang} give about {total} sentences; ask for fewer"
                )
        return found

    def words(self) -> list[str]:
        """Every word that a sentence can have, sorted."""
        tokens = {token for template in self.templates for token in template.split()}
        return sorted({word for token in tokens for form in self._forms(token) for word in form.split()})

    def _forms(self, token: str) -> Iterator[str]:
        slots = _SLOT.findall(token)
        for chosen in itertools.product(*(self.fillers[slot] for slot in slots)):
            pairs = zip(slots, chosen, strict=True)
            yield normalize(functools.reduce(lambda text, pair: _fill(text, *pair), pairs, token))


@functools.cache
def lexicon(lang: str) -> Lexicon:
    """The closed lexicon of one language."""
    entry = _phrases(lang)
    corrections = {normalize(old): normalize(new) for old, new in entry.get("corrections", {}).items()}
    fillers = {
        slot: tuple(corrections.get(word, word) for word in map(normalize, words))
        for slot, words in {**_names(lang), **_numbers(lang)}.items()
    }
    return Lexicon(lang, tuple(entry["templates"]), fillers)


def plain_words(lang: str) -> list[str]:
    """The words that the templates themselves hold, sorted: no package of the extra is needed for them."""
    texts = (_SLOT.sub(" ", template) for template in _phrases(lang)["templates"])
    return sorted({word for text in texts for word in normalize(text).split()})


def normalize(text: str) -> str:
    """Lower case NFC with only letters, marks and apostrophes; brackets go with what is in them."""
    text = unicodedata.normalize("NFC", re.sub(r"\([^)]*\)", " ", text)).lower()
    text = text.replace("\u200c", "").replace("\u200d", "")
    keep = (char if char == "'" or unicodedata.category(char)[0] in "LM" else " " for char in text)
    return " ".join("".join(keep).split())


def _fill(text: str, slot: str, filler: str) -> str:
    return text.replace(f"{{{slot}}}", filler, 1)


def _names(lang: str) -> dict[str, list[str]]:
    try:
        from babel import Locale
    except ImportError:
        raise MissingExtra("babel") from None
    locale = Locale.parse(lang)
    return {
        "country": [locale.territories[code] for code in COUNTRIES],
        "language": [locale.languages[code] for code in LANGUAGES],
        "weekday": list(locale.days["format"]["wide"].values()),
        "month": list(locale.months["format"]["wide"].values()),
    }


def _numbers(lang: str) -> dict[str, list[str]]:
    try:
        from indic_numtowords import num2words
    except ImportError:
        raise MissingExtra("indic-numtowords") from None
    spoken = [str(num2words(number, lang=lang)) for number in range(1, 31)]
    return {"number": spoken, "date": spoken[:28], "count": spoken[1:]}


def _phrases(lang: str) -> dict[str, Any]:
    phrases = _all_phrases()
    if lang not in phrases:
        raise SynthesisError(f"no phrases for language {lang!r}; there are: {', '.join(phrases)}")
    entry: dict[str, Any] = phrases[lang]
    return entry


@functools.cache
def _all_phrases() -> dict[str, Any]:
    return tomllib.loads(files("maya_data.synth").joinpath("phrases.toml").read_text(encoding="utf-8"))
