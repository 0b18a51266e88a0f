"""What is held against a text: silence, loops that the CTC text does not have, words out of nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maya_bridge.decoding.options import DecodeOptions
from maya_bridge.decoding.result import Decoded
from maya_bridge.text_side import LLMTokenizer

LONGEST_UNIT = 8
REPEATS = 4
ENOUGH_ALONE = 4
"""How many times as often something must be repeated where no CTC text can speak for or against it."""
SHORT_TEXT = 3
"""Characters up to which a text is too short to be compared."""


def tail_loop(items: Sequence[object], longest_unit: int = LONGEST_UNIT) -> tuple[int, int]:
    """Return (length of the unit, times in a row) that `items` end with; (0, 1) where nothing is repeated.

    Of units that are equally long together, the shortest counts.
    """
    best, covered = (0, 1), 0
    for size in range(1, min(longest_unit, len(items) // 2) + 1):
        unit, times = items[-size:], 1
        while items[-size * (times + 1) : -size * times] == unit:
            times += 1
        if times > 1 and size * times > covered:
            best, covered = (size, times), size * times
    return best


def times_in_a_row(unit: str, text: str) -> int:
    """Return how many times in a row `text` holds `unit`; white space does not count."""
    unit, text = "".join(unit.split()), "".join(text.split())
    times = 0
    while unit and unit * (times + 1) in text:
        times += 1
    return times


@dataclass(frozen=True)
class LoopGuard:
    """Ends a row that repeats itself at least four times, and twice as often as its CTC text."""

    tokenizer: LLMTokenizer
    langs: Sequence[str]
    ctc_texts: Sequence[str] | None

    def stops(self, row: int, ids: list[int]) -> bool:
        """Return whether the ids end in a loop."""
        size, times = tail_loop(ids)
        if times < REPEATS:
            return False
        unit = self.tokenizer.decode(ids[-size:], self.langs[row])
        return self._is_loop(unit, times, row)

    def loops(self, row: int, text: str) -> bool:
        """Return whether a whole text holds a loop of words."""
        words = text.split()
        for end in range(REPEATS, len(words) + 1):
            size, times = tail_loop(words[:end])
            if times >= REPEATS and self._is_loop(" ".join(words[end - size : end]), times, row):
                return True
        return False

    def _is_loop(self, unit: str, times: int, row: int) -> bool:
        if self.ctc_texts is None:
            return times >= ENOUGH_ALONE * REPEATS
        return times > 2 * times_in_a_row(unit, self.ctc_texts[row])


def cut_loop(ids: list[int]) -> list[int]:
    """Return the ids with what they repeat at their end written once."""
    size, times = tail_loop(ids)
    return ids[: len(ids) - size * (times - 1)]


def edit_distance(first: str, second: str) -> int:
    """Return the fewest insertions, deletions and substitutions of characters between two texts."""
    codes = np.array([ord(c) for c in second])
    place = np.arange(len(second) + 1)
    row = place.copy()
    for number, character in enumerate(first, start=1):
        moved = np.minimum(row[1:] + 1, row[:-1] + (codes != ord(character)))
        stepped = np.concatenate([[number], moved])
        row = np.minimum.accumulate(stepped - place) + place  # insertions, from left to right
    return int(row[-1])


def character_error_rate(text: str, reference: str) -> float:
    """Return the edits between two texts, without white space, for each character of the reference."""
    text, reference = "".join(text.split()), "".join(reference.split())
    return edit_distance(text, reference) / max(len(reference), 1)


def doubt_of(decoded: Decoded, ctc_text: str | None, lang: str, options: DecodeOptions) -> str | None:
    """Return what speaks against a text, or None.

    Args:
        decoded: of the LLM.
        ctc_text: of the CTC head for the same audio, if there is one.
        lang: language.
        options: with the thresholds.
    """
    if ctc_text is not None and max(len(decoded.text), len(ctc_text)) > SHORT_TEXT:
        rate = character_error_rate(decoded.text, ctc_text)
        if rate >= options.threshold(lang):
            return "hallucination"
    if decoded.ids and decoded.mean_log_prob < options.min_mean_log_prob:
        return "hallucination"
    return None


def leaked(text: str, hotwords: Sequence[str], ctc_text: str) -> bool:
    """Return whether a text recites the hotwords: three words in their order that CTC did not hear."""
    spoken = text.split()
    listed = [word for hotword in hotwords for word in hotword.split()]
    if len(spoken) < 3 or len(listed) < 3:
        return False
    joined = f" {' '.join(listed)} "
    runs = (spoken[at : at + 3] for at in range(len(spoken) - 2))
    return any(f" {' '.join(run)} " in joined and " ".join(run) not in ctc_text for run in runs)


def near_hotwords(
    hotwords: Sequence[str], ctc_text: str, limit: int, max_error_rate: float = 0.5
) -> list[str]:
    """Return the hotwords that the CTC text may hold, most alike first, `limit` at most.

    Args:
        hotwords: words or phrases.
        ctc_text: what the CTC head heard.
        limit: most words to return.
        max_error_rate: edits a character of the hotword from which it counts as not heard.
    """
    words = ctc_text.split()
    rated = []
    for place, hotword in enumerate(hotwords):
        size = len(hotword.split())
        spans = [" ".join(words[at : at + size]) for at in range(max(len(words) - size + 1, 1))]
        rate = min(edit_distance(hotword, span) for span in spans) / max(len(hotword), 1)
        if rate <= max_error_rate:
            rated.append((rate, place))
    return [hotwords[place] for _, place in sorted(rated)[:limit]]
