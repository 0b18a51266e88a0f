"""Space-insensitive WER: neighbouring words may be joined or parted at no cost.

Indic languages write many particles and compounds both ways. Where a group of reference words and a group
of output words are the same letters, they match; all else costs what it costs in WER, and the reference
words stay the denominator, so the rate is at most the strict one.
"""

from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Levenshtein

from maya_eval.counting import Scored
from maya_eval.measures.measure import Figures, Measure, Totals, share

LARGEST = 4_000_000
"""Words times words of an utterance above which its strict errors are taken: two thousand words each."""
MOST_GROUPS = 12
Place = tuple[int, int]
"""How many words of reference and output lie before it."""


def space_insensitive_errors(ref: Sequence[str], hyp: Sequence[str]) -> int:
    """Returns the fewest word errors when groups of words with the same letters match.

    A cheapest path goes through some of the groups, in order, and is an ordinary alignment between them; with
    so many groups that all their pairs would take longer than the table of all words, that table is filled.
    """
    groups = _groups(ref, hyp)
    if len(groups) > MOST_GROUPS:
        return _by_table(ref, hyp, dict(groups))
    # from the last group to the first: what it costs from its beginning on, when it is taken
    costs: list[int] = []
    starts = [start for start, _ in groups]
    for at in range(len(groups) - 1, -1, -1):
        costs.insert(0, _onwards(ref, hyp, groups[at][1], starts[at + 1 :], costs))
    return _onwards(ref, hyp, (0, 0), starts, costs)


def _onwards(
    ref: Sequence[str], hyp: Sequence[str], place: Place, starts: Sequence[Place], costs: Sequence[int]
) -> int:
    """The cost from a place on: an ordinary alignment to the end, or to a group that is taken next."""
    i, j = place
    best = Levenshtein.distance(ref[i:], hyp[j:])
    for (row, column), cost in zip(starts, costs, strict=True):
        if row >= i and column >= j and abs(row - i - column + j) + cost < best:
            best = min(best, Levenshtein.distance(ref[i:row], hyp[j:column]) + cost)
    return best


def _groups(ref: Sequence[str], hyp: Sequence[str]) -> list[tuple[Place, Place]]:
    """Begin and end of the smallest groups of words that differ and have the same letters, in order."""
    by_letter: dict[str, list[int]] = {}
    for j, word in enumerate(hyp):
        by_letter.setdefault(word[0], []).append(j)
    return [
        ((i, j), end)
        for i, word in enumerate(ref)
        for j in by_letter.get(word[0], ())
        if word != hyp[j] and (end := _same_letters(ref, hyp, i, j))
    ]


def _by_table(ref: Sequence[str], hyp: Sequence[str], groups: Mapping[Place, Place]) -> int:
    best = [[0] * (len(hyp) + 1) for _ in range(len(ref) + 1)]
    best[len(ref)] = list(range(len(hyp), -1, -1))
    # filled from the end: best[i][j] is the cost of ref[i:] against hyp[j:]
    for i in range(len(ref) - 1, -1, -1):
        row, below = best[i], best[i + 1]
        row[len(hyp)] = len(ref) - i
        for j in range(len(hyp) - 1, -1, -1):
            cost = min(1 + below[j], 1 + row[j + 1], (ref[i] != hyp[j]) + below[j + 1])
            end = groups.get((i, j))
            row[j] = cost if end is None else min(cost, best[end[0]][end[1]])
    return best[0][0]


def _same_letters(ref: Sequence[str], hyp: Sequence[str], i: int, j: int) -> Place | None:
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
