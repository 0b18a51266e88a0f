"""`raw`: the text as the model writes it. `readable`: sentences end where the speaker makes a long pause.

A model that learnt `asr-v1` writes no punctuation, and pauses are all that is known of where sentences end:
no comma, question mark or digit is made up. A text that has sentence ends of its own is left alone.
"""

from collections.abc import Sequence
from dataclasses import replace

from maya_encoder.hypothesis import Hypothesis, Word

STYLES = ("raw", "readable")
PAUSE = 0.7
"""Seconds without a word that end a sentence."""
SHORTEST = 3
"""Words that a sentence has at least."""
DANDA = "\u0964"
DANDA_LANGS = frozenset({"as", "bn", "hi", "or", "pa"})
"""Languages whose sentences end in a danda; of the others, in a full stop."""
ENDS = (".", "?", "!", DANDA, "\u0965", ",", ";", ":")


def styled(hypothesis: Hypothesis, style: str, lang: str | None = None) -> Hypothesis:
    """Return the transcript in a style; `readable` needs word times, without them only the end is marked.

    Args:
        hypothesis: of a model.
        style: of STYLES.
        lang: language, where the hypothesis does not know its own.
    """
    if style == "raw" or not hypothesis.text.strip() or any(end in hypothesis.text for end in ENDS):
        return hypothesis
    lang = hypothesis.lang or lang
    stop = DANDA if lang in DANDA_LANGS else "."
    if not hypothesis.words:
        return replace(hypothesis, text=_capital(hypothesis.text.strip(), lang) + stop)
    words = _sentences(hypothesis.words, stop, lang)
    return replace(hypothesis, text=" ".join(word.text for word in words), words=words)


def _sentences(words: Sequence[Word], stop: str, lang: str | None) -> list[Word]:
    found: list[Word] = []
    length = 0
    for number, word in enumerate(words):
        length += 1
        shown = _capital(word.text, lang) if length == 1 else _pronoun(word.text, lang)
        last = number == len(words) - 1
        if last or (length >= SHORTEST and words[number + 1].start - word.end >= PAUSE):
            shown, length = shown + stop, 0
        found.append(replace(word, text=shown))
    return found


def _capital(text: str, lang: str | None) -> str:
    return text[:1].upper() + text[1:] if lang == "en" else text


def _pronoun(text: str, lang: str | None) -> str:
    return "I" + text[1:] if lang == "en" and text.split("'")[0] == "i" else text
