"""Code-switching: errors on Latin and on native words apart, and how much a text mixes languages.

A substitution or deletion counts for the kind of the reference word, an insertion for the kind of the word
that was made up, so the kinds add up to all errors. The mixing index is Gambaeck and Das' CMI (2014): 100
times one minus the share of the largest language among the words that belong to one; digits belong to none.
"""

from collections import Counter
from functools import lru_cache

from rapidfuzz.distance import Levenshtein

from maya_eval.counting import Scored
from maya_eval.measures.measure import Figures, Measure, Totals, share
from maya_eval.measures.script import LATIN, SCRIPTS, letters

NATIVE, OTHER, NEUTRAL = "native", "other", "neutral"
MILLIONTHS = 1_000_000


@lru_cache(maxsize=200_000)
def kind(word: str, lang: str) -> str:
    """Returns native (any letter of the language's script), latin, other (a third script) or neutral."""
    found = letters(word)
    if SCRIPTS.get(lang, "") in found:
        return NATIVE
    return LATIN if LATIN in found else OTHER if found else NEUTRAL


def mixing_index(text: str, lang: str) -> float:
    """Returns the CMI of a text, 0 to 100; 0 for one language or none."""
    kinds = Counter(kind(word, lang) for word in text.split())
    spoken = sum(kinds.values()) - kinds.pop(NEUTRAL, 0)
    return 100 * (1 - max(kinds.values()) / spoken) if spoken else 0.0


def _count(item: Scored) -> tuple[int, ...]:
    lang = item.hypothesis.lang
    ref, hyp = item.ref.split(), item.hyp.split()
    words = Counter(kind(word, lang) for word in ref)
    errors: Counter[str] = Counter()
    if item.words.errors:
        for operation in Levenshtein.editops(ref, hyp):
            wrong = hyp[operation.dest_pos] if operation.tag == "insert" else ref[operation.src_pos]
            errors[kind(wrong, lang)] += 1
    index = mixing_index(item.ref, lang)
    rest_words = words[OTHER] + words[NEUTRAL]
    rest_errors = errors[OTHER] + errors[NEUTRAL]
    return (
        words[LATIN],
        errors[LATIN],
        words[NATIVE],
        errors[NATIVE],
        rest_words,
        rest_errors,
        int(index > 0),
        round(index * MILLIONTHS),
        1,
    )


def _figures(totals: Totals) -> Figures:
    mixed, summed = totals["mixed"], totals["cmi_millionths"] / MILLIONTHS
    return {
        "latin_words": totals["latin_words"],
        "latin_wer": share(totals["latin_errors"], totals["latin_words"]),
        "native_words": totals["native_words"],
        "native_wer": share(totals["native_errors"], totals["native_words"]),
        "other_words": totals["rest_words"],
        "latin_errors": totals["latin_errors"],
        "native_errors": totals["native_errors"],
        "other_errors": totals["rest_errors"],
        "mixed_utterances": mixed,
        "cmi": summed / totals["texts"] if totals["texts"] else None,
        "cmi_of_mixed": summed / mixed if mixed else None,
    }


MEASURE = Measure(
    "codeswitch",
    (
        "latin_words",
        "latin_errors",
        "native_words",
        "native_errors",
        "rest_words",
        "rest_errors",
        "mixed",
        "cmi_millionths",
        "texts",
    ),
    _count,
    _figures,
    ("latin_words", "latin_wer", "native_words", "native_wer", "mixed_utterances", "cmi_of_mixed"),
)
