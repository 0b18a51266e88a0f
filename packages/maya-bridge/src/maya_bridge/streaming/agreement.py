"""What successive hypotheses of a growing segment agree on."""

from collections import deque
from collections.abc import Sequence

from maya_encoder.hypothesis import Word


class StablePrefix:
    """The words of one segment that are never taken back.

    Args:
        agreement: successive hypotheses that must begin alike.
    """

    def __init__(self, agreement: int = 2) -> None:
        self.words: list[Word] = []
        self._before: deque[list[Word]] = deque(maxlen=agreement - 1)

    def joined(self, words: Sequence[Word]) -> list[Word]:
        """Return the stable words and those of a hypothesis that follow them.

        Where the hypothesis does not begin with the stable words, the words behind their last second follow.
        """
        count = len(self.words)
        if [word.text for word in words[:count]] == [word.text for word in self.words]:
            return [*self.words, *words[count:]]
        last = self.words[-1].end
        return [*self.words, *(word for word in words if (word.start + word.end) / 2 > last)]

    def update(self, joined: Sequence[Word], settled: float) -> None:
        """Take one more hypothesis, as `joined` gives it.

        Args:
            joined: the stable words and those that follow them.
            settled: second of the segment; a word that ends later does not become stable yet.
        """
        rest = list(joined[len(self.words) :])
        agreed = 0
        if len(self._before) == self._before.maxlen:
            agreed = min(_alike(rest, before) for before in self._before)
        while agreed and rest[agreed - 1].end > settled:
            agreed -= 1
        self.words += rest[:agreed]
        for before in self._before:
            del before[:agreed]
        self._before.append(rest[agreed:])


def _alike(some: Sequence[Word], others: Sequence[Word]) -> int:
    """How many words two sequences begin with in common."""
    count = 0
    for one, other in zip(some, others, strict=False):
        if one.text != other.text:
            break
        count += 1
    return count
