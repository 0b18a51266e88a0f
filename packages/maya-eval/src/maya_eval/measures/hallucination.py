"""Hallucination, from texts and durations alone.

On recordings without speech (an empty reference): how many outputs hold any word, and made-up words a
minute. On speech: outputs in which up to six words come four or more times in a row (and do not in the
reference), outputs of more than twice the reference's length, and outputs faster than anybody speaks.
"""

from collections.abc import Sequence

from maya_eval.counting import Scored
from maya_eval.measures.measure import Figures, Measure, Totals, share

LONGEST_GRAM = 6
TIMES_IN_A_ROW = 4
LENGTH_RATIO = 2
SPARE_CHARACTERS = 10
"""An output must also be longer by so many code points, so that `oh yes` for `yes` is none."""
CHARACTERS_A_SECOND = {"en": 30.0, "ur": 30.0}
"""Code points a second, spaces counted, about twice the pace of fast reading."""
OTHER_CHARACTERS_A_SECOND = 35.0
"""The limit of the other languages, whose vowel signs and viramas are code points too."""


def repeats(words: Sequence[str]) -> int:
    """Returns how often in a row the most repeated group of one to six words comes."""
    most = 1 if words else 0
    for size in range(1, min(LONGEST_GRAM, len(words) // 2) + 1):
        streak = 0
        for place in range(size, len(words)):
            streak = streak + 1 if words[place] == words[place - size] else 0
            most = max(most, streak // size + 1)
    return most


def _count(item: Scored) -> tuple[int, ...]:
    words = item.hyp.split()
    duration = item.hypothesis.duration or 0.0
    if not item.ref:
        timed = bool(duration)
        milliseconds = round(1000 * duration)
        return (1, int(bool(words)), len(words) * timed, milliseconds, 0, 0, 0, 0, 0, 0)
    most = repeats(words)
    repeated = most >= TIMES_IN_A_ROW and most > repeats(item.ref.split())
    extra = len(item.hyp) - len(item.ref)
    stretched = len(item.hyp) > LENGTH_RATIO * len(item.ref) and extra >= SPARE_CHARACTERS
    limit = CHARACTERS_A_SECOND.get(item.hypothesis.lang, OTHER_CHARACTERS_A_SECOND)
    hurried = duration > 0 and len(item.hyp) > limit * duration and len(item.hyp) > len(item.ref)
    flagged = repeated or stretched or hurried
    return (0, 0, 0, 0, 1, int(repeated), int(stretched), int(hurried), int(flagged), int(duration > 0))


def _figures(totals: Totals) -> Figures:
    silent, speech = totals["silent"], totals["speech"]
    minutes = totals["silent_milliseconds"] / 60_000
    return {
        "non_speech_utterances": silent,
        "non_speech_filled": share(totals["silent_filled"], silent),
        "non_speech_words_a_minute": totals["silent_words"] / minutes if minutes else None,
        "speech_utterances": speech,
        "repeated": share(totals["repeated"], speech),
        "stretched": share(totals["stretched"], speech),
        "hurried": share(totals["hurried"], totals["timed"]),
        "flagged": share(totals["flagged"], speech),
    }


MEASURE = Measure(
    "hallucination",
    (
        "silent",
        "silent_filled",
        "silent_words",
        "silent_milliseconds",
        "speech",
        "repeated",
        "stretched",
        "hurried",
        "flagged",
        "timed",
    ),
    _count,
    _figures,
    ("non_speech_filled", "non_speech_words_a_minute", "repeated", "stretched", "hurried", "flagged"),
)
