"""Space-insensitive WER: neighbouring words may be joined or parted at no cost.

Indic languages write many particles and compounds both ways. Where a group of reference words and a group
of output words are the same letters, they match; all else costs what it costs in WER, and the reference
words stay the denominator, so the rate is at most the strict one.
"""

from collections.abc import Sequence

from maya_eval.counting import Scored
from maya_eval.measures.measure import Figures, Measure, Totals, share

LARGEST = 4_000_000
"""Words times words of an utterance above which its strict errors are taken: two thousand words each."""


def space_insensitive_errors(ref: Sequence[str], hyp: Sequence[str]) -> int:
    """Returns the fewest word errors when groups of words with the same letters match."""
    best = [[0] * (len(hyp) + 1) for _ in range(len(ref) + 1)]
    # filled from the end: best[i][j] is the cost of ref[i:] against hyp[j:]
    for i in range(len(ref), -1, -1):
        row, below = best[i], best[i + 1] if i < len(ref) else None
        for j in range(len(hyp), -1, -1):
            if below is None or j == len(hyp):
                row[j] = len(ref) - i + len(hyp) - j
            else:
                cost = min(1 + below[j], 1 + row[j + 1], (ref[i] != hyp[j]) + below[j + 1])
                if ref[i][0] == hyp[j][0] and ref[i] != hyp[j] and (end := _same_letters(ref, hyp, i, j)):
                    cost = min(cost, best[end[0]][end[1]])
                row[j] = cost
    return best[0][0]


def _same_letters(ref: Sequence[str], hyp: Sequence[str], i: int, j: int) -> tuple[int, int] | None:
    """Where the smallest groups that begin at these words and have the same letters end."""
    left, right = ref[i], hyp[j]
    while left != right:
        if left.startswith(right):
            left, right = left[len(right) :], ""
        elif right.startswith(left):
            left, right = "", right[len(left) :]
        else:
            return None
        if not left:
            i += 1
            if i == len(ref):
                return None
            left = ref[i]
        else:
            j += 1
            if j == len(hyp):
                return None
            right = hyp[j]
    return i + 1, j + 1


def _count(item: Scored) -> tuple[int, ...]:
    if not item.words.errors:
        return item.words.ref, 0
    ref, hyp = item.ref.split(), item.hyp.split()
    if len(ref) * len(hyp) > LARGEST:
        return item.words.ref, item.words.errors
    return item.words.ref, space_insensitive_errors(ref, hyp)


def _figures(totals: Totals) -> Figures:
    return {"wer": share(totals["errors"], totals["words"]), "errors": totals["errors"]}


MEASURE = Measure("spacing", ("words", "errors"), _count, _figures)
