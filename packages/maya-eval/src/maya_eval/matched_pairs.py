"""The matched-pairs sentence-segment word error test (Gillick and Cox, 1989) between two systems.

Utterances are cut where both systems got two or more words in a row right: errors on one side of such a
stretch hardly depend on those on the other, so the segments between are taken as independent. What is
tested is whether the mean difference of errors in a segment is zero.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from maya_eval.significance import MINIMUM

BUFFER = 2
"""Words in a row that both systems must have right between two segments."""


@dataclass(frozen=True)
class MatchedPairs:
    """Outcome of the test; `p` is None where there were too few segments for one."""

    segments: int
    mean: float
    """Errors of the second system minus those of the first, a segment."""
    z: float | None
    p: float | None


def matched_pairs(texts: Iterable[tuple[str, str, str]], minimum: int = MINIMUM) -> MatchedPairs:
    """Tests the difference of two systems.

    Args:
        texts: reference, first system's and second system's words of each utterance, normalised.
        minimum: segments with an error in them below which no z and p are given.
    """
    gaps = [second - first for text in texts for first, second in segments(*text)]
    count = len(gaps)
    mean = sum(gaps) / count if count else 0.0
    if count < max(minimum, 2):
        return MatchedPairs(count, mean, None, None)
    variance = sum((gap - mean) ** 2 for gap in gaps) / (count - 1)
    if variance == 0:
        z = math.copysign(math.inf, mean) if mean else 0.0
    else:
        z = mean / math.sqrt(variance / count)
    return MatchedPairs(count, mean, z, math.erfc(abs(z) / math.sqrt(2)))


def segments(ref: str, first: str, second: str) -> Iterator[tuple[int, int]]:
    """Yields the errors of both systems in each segment of an utterance that has any."""
    words = ref.split()
    first_slots, second_slots = _slots(words, first.split()), _slots(words, second.split())
    errors = [0, 0]
    clean = 0
    for place, pair in enumerate(zip(first_slots, second_slots, strict=True)):
        if any(pair):
            errors = [errors[0] + pair[0], errors[1] + pair[1]]
            clean = 0
        elif place % 2:  # a word that both have right
            clean += 1
            if clean == BUFFER and any(errors):
                yield errors[0], errors[1]
                errors = [0, 0]
    if any(errors):
        yield errors[0], errors[1]


def _slots(ref: list[str], hyp: list[str]) -> list[int]:
    """Errors by place: even places are the gaps (insertions), odd places the reference words."""
    slots = [0] * (2 * len(ref) + 1)
    for operation in Levenshtein.editops(ref, hyp):
        slots[2 * operation.src_pos + (operation.tag != "insert")] += 1
    return slots
